"""The commands of the guide on fleets, typed as they stand except for the address of Redis."""

from __future__ import annotations

import shlex

from tests.docs.pages import commands
from tests.relay.fleet import until


def test_commands(account, edge, logger, redis_server, relay):
    """A relay that starts as the guide says relays."""
    (command,) = [each for each in commands("guides/fleet.md") if each.startswith("emitkit-logging")]
    program, name, option, url, *more = shlex.split(command)
    assert (program, name, option) == ("emitkit-logging", "relay", "--redis")
    assert url.startswith("redis://127.0.0.1")
    relay(*more)
    edge()
    logger.error("x")
    until(lambda: account.total() == 1)
