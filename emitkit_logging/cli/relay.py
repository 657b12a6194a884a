"""`emitkit-logging relay`: send what a fleet has written into Redis, or show its state."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from emitkit_logging import __version__, _log
from emitkit_logging import _options as checks
from emitkit_logging._assembly import Formatting
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import BacklogObserver
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.relay_store import RelayStore
from emitkit_logging._relay.shaping import ShapedFactory
from emitkit_logging._relay.status import FleetStatus, lines, read_status
from emitkit_logging._relay.trouble import cause_of
from emitkit_logging._worker.client import Client
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.worker import Worker
from emitkit_logging.formatter import EmitKitFormatter

_HELD = 10_000
"""Records, folds and digests that a relay holds in memory."""

_USERS = 10_000
_USER_TTL = 3_600.0
_PATIENCE = 2.0
"""Seconds that the end waits for Redis, besides those for the request under way."""


@dataclass(frozen=True)
class RelaySettings:
    """The options of a relay, checked; their meaning is that of the command's."""

    base_url: str
    api_key: str = field(repr=False)
    rate_limit: int | None
    alert_reserve: float
    notify_interval: float
    size: int
    timeout: float


def run(address: Address, settings: RelaySettings) -> int:
    """Relay until a SIGTERM or SIGINT; the request under way is finished, and another relay leads at once.

    Args:
        address: of Redis.
        settings: what else the command line says.

    Returns:
        The exit status.
    """
    _log_to_stderr()
    ends = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        ends.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    worker = make_relay(address, settings, _print)
    _print(f"relay {os.getpid()} with Redis at {address.label}")
    if warning := checks.key_warning(settings.api_key):
        _log.warn("%s", warning)
    worker.start()
    while not ends.wait(1.0):
        if not worker.is_alive():
            _print("the background thread has ended")
            return 1
    deadline = monotonic() + settings.timeout + _PATIENCE
    worker.finish(deadline)
    worker.end()
    worker.join(deadline)
    _print(f"relay {os.getpid()} ends")
    return 0


def make_relay(address: Address, settings: RelaySettings, on_line: Callable[[str], None]) -> Worker:
    """Return a relay that has not started.

    Args:
        address: of Redis.
        settings: its options.
        on_line: called with each line for the log that is no warning.
    """
    factory = ShapedFactory(Formatting(EmitKitFormatter()))

    def make_outbox(observer: BacklogObserver, clock: Callable[[], float]) -> Outbox:
        return Outbox(
            size=max(1, min(_HELD, settings.size // 2)),
            budget=RateBudget(rate_limit=settings.rate_limit, alert_reserve=settings.alert_reserve, clock=clock),
            users=KnownUsers(ttl=_USER_TTL, size=_USERS, clock=clock),
            kinds=KindMemory(notify_interval=settings.notify_interval, clock=clock),
            factory=factory,
            clock=clock,
            observer=observer,
        )

    store = RelayStore(
        address,
        make_outbox,
        size=settings.size,
        most_users=_USERS,
        timeout=settings.timeout,
        shown={"rate_limit": settings.rate_limit, "alert_reserve": settings.alert_reserve},
        on_line=on_line,
    )
    client = Client(
        base_url=settings.base_url,
        api_key=settings.api_key,
        timeout=settings.timeout,
        user_agent=f"emitkit-logging-relay/{__version__}",
    )
    return Worker(store, client, size=_HELD, debug=False)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger(_log.NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _print(text: str) -> None:
    logging.getLogger(_log.NAME).info("%s", text)


def status(address: Address, *, as_json: bool) -> int:
    """Print the state of a fleet.

    Args:
        address: of Redis.
        as_json: whether it is one JSON object.

    Returns:
        The exit status: 0 when a relay leads, 1 when none does or Redis cannot be asked.
    """
    try:
        found: FleetStatus = read_status(address)
    except Exception as error:  # of redis-py or the network
        detail = address.clean(" ".join(str(error).split()))[:200]
        print(f"Redis at {address.label} {cause_of(error)}: {detail}", file=sys.stderr)
        return 1
    print(json.dumps(found.json(), indent=2) if as_json else "\n".join(lines(found)))
    return 0 if found.leader else 1
