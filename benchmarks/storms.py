"""Storms of errors in virtual time: how long the first record of a new kind waits, and what the storm costs.

`python -m benchmarks.storms` prints for each storm and server the delay of first records, pushes, requests, and how
many records arrived one by one, folded and digested; next to it the delay in a plain queue. It takes some minutes.
"""

from __future__ import annotations

import json
import logging
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.simulator import DAY, ROUND_TRIP, SERVERS, Arrival, Clock, Factory, Server, plain_queue
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import Verdict
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox

HOUR = 3_600.0
NEW_KINDS = 40
QUEUE_LIMIT = 20_000
"""Records of the longest storm that is also sent through the plain queue."""


def one_failure() -> list[Arrival]:
    """Return one ERROR at 50 a second for an hour."""
    return [(number / 50, logging.ERROR, "storm") for number in range(int(50 * HOUR))]


def twenty_kinds() -> list[Arrival]:
    """Return twenty kinds that break out together, each at five a second for ten minutes."""
    return [(number / 100, logging.ERROR, f"storm {number % 20}") for number in range(60_000)]


def leak() -> list[Arrival]:
    """Return one ERROR each five seconds, all day."""
    return [(5.0 * number, logging.ERROR, "storm") for number in range(int(DAY / 5))]


STORMS: dict[str, Callable[[], list[Arrival]]] = {
    "one failure, 50 a second, 1 h": one_failure,
    "20 kinds, 100 a second, 10 min": twenty_kinds,
    "a leak, one in 5 s, 24 h": leak,
}


@dataclass
class Outcome:
    """What became of a storm.

    Attributes:
        delays: how long the first record of each new kind waited, in seconds.
        pushes: events of the storm that pushed.
        requests: requests for the storm and the new kinds.
        forms: records of the storm that arrived one by one, folded or digested.
    """

    delays: list[float] = field(default_factory=list)
    pushes: int = 0
    requests: int = 0
    forms: Counter[str] = field(default_factory=Counter)


def with_new_kinds(storm: list[Arrival]) -> list[Arrival]:
    """Return a storm in which new kinds come up at any time before the outage of the servers."""
    draw = random.Random(7)
    end = min(storm[-1][0], 49_000.0)
    return sorted([*storm, *((draw.uniform(0, end), logging.ERROR, f"new {number}") for number in range(NEW_KINDS))])


def ours(kind: str, arrivals: list[Arrival]) -> Outcome:
    """Send a storm through the outbox."""
    clock, outcome = Clock(), Outcome()
    outbox = Outbox(
        size=10_000,
        budget=RateBudget(rate_limit=None, alert_reserve=0.1, clock=clock),
        users=KnownUsers(ttl=HOUR, size=100, clock=clock),
        kinds=KindMemory(notify_interval=300.0, clock=clock),
        factory=Factory(),
        clock=clock,
    )
    server, coming, queue = Server(kind, clock), deque(arrivals), deque[CapturedRecord]()
    logged_at = {name: at for at, _, name in arrivals if name.startswith("new")}
    while coming or not outbox.is_empty:
        while coming and coming[0][0] <= clock.now:
            at, level, name = coming.popleft()
            queue.append(CapturedRecord({"created": at, "levelno": level, "name": name}))
        outbox.take(queue)
        step = outbox.next()
        if not isinstance(step, ApiRequest):
            clock.now = min(clock.now + max(step, 0.001), coming[0][0] if coming else 30 * DAY)
            continue
        answer = server.answer()
        clock.now += ROUND_TRIP
        outbox.settle(answer)
        outcome.requests += 1
        if answer.verdict is Verdict.ACCEPTED:
            note(json.loads(step.body), clock.now, logged_at, outcome)
    stats = outbox.stats()
    assert stats.accepted == stats.delivered == len(arrivals), stats
    return outcome


def note(body: dict[str, object], now: float, logged_at: dict[str, float], outcome: Outcome) -> None:
    """Note an event that arrived."""
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    names = metadata.get("digest") or {metadata["event"]: metadata.get("occurrences", 1)}
    form = "digested" if "digest" in metadata else "folded" if "occurrences" in metadata else "one by one"
    for name, count in names.items():
        if name in logged_at:
            outcome.delays.append(now - logged_at.pop(name))
        elif name.startswith("storm"):
            outcome.forms[form] += count
    outcome.pushes += bool(body["notify"]) and any(name.startswith("storm") for name in names)


def in_plain_queue(kind: str, arrivals: list[Arrival]) -> list[float]:
    """Return how long records of new kinds wait in a plain queue, in seconds."""
    marked = [(at, logging.INFO if name.startswith("new") else level, name) for at, level, name in arrivals]
    return plain_queue(kind, marked[:QUEUE_LIMIT]).delays[logging.INFO]


def line(delays: list[float]) -> str:
    """Return median, 99th percentile and maximum for people."""
    if not delays:
        return "none arrived"
    ordered = sorted(delays)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(ordered):.2f} s, p99 {p99:.2f} s, max {ordered[-1]:.2f} s"


def main() -> None:
    """Print the figures."""
    for storm, make in STORMS.items():
        arrivals = with_new_kinds(make())
        for kind in SERVERS:
            outcome = ours(kind, arrivals)
            forms = ", ".join(f"{count:,} {form}" for form, count in outcome.forms.items())
            print(
                f"{storm}, {kind} server: {outcome.requests:,} requests, {outcome.pushes} pushes of the storm; {forms}"
            )
            print(f"  new kinds: {line(outcome.delays)}; plain queue: {line(in_plain_queue(kind, arrivals))}")


if __name__ == "__main__":
    main()
