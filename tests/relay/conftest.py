"""Fixtures of the tests of the relay: each test has a Redis server of its own.

Where none is installed, they are skipped; `make relay` requires it.
"""

from __future__ import annotations

import pytest

from tests.relay import fleet
from tests.spool.processes import Account


@pytest.fixture
def redis_server(tmp_path):
    """A Redis server that only this test uses."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = fleet.RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


@pytest.fixture
def client(redis_server):
    with redis_server.client() as client:
        yield client


@pytest.fixture
def account(server):
    server.script = account = Account()
    return account


@pytest.fixture
def relay(redis_server, server):
    """Start relays; all are ended with the test."""
    made = []

    def start(*arguments: str) -> fleet.RelayProcess:
        made.append(fleet.RelayProcess(redis_server.url, server, *arguments))
        return made[-1]

    yield start
    for each in made:
        each.kill()


@pytest.fixture
def edge(redis_server, logger):
    """Make handlers whose records go through the relay; they are closed with the test."""
    from emitkit_logging import EmitKitHandler

    made = []

    def make(**options) -> EmitKitHandler:
        made.append(EmitKitHandler(**{"relay": redis_server.url, "shutdown_timeout": 0.5, **options}))
        logger.addHandler(made[-1])
        return made[-1]

    yield make
    for each in made:
        each.close()
