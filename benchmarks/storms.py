"""Storms of errors in virtual time: how long the first record of a kind waits, and what the storm costs.

`python -m benchmarks.storms` prints for each storm and server the delay of the first records of kinds, pushes,
requests, and how many records arrived one by one, folded and digested: of this library, of the same without its memory
of kinds (as it was before: records fold by their message, alerts wait in the order of their age, each event pushes),
and of a plain queue, which sends one by one. `--svg FILE` draws the delay of new failures. It takes some minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import pathlib
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.picture import BEFORE, OTHERS, OURS, Bar, drawn, duration
from benchmarks.simulator import DAY, OUTAGE, ROUND_TRIP, SERVERS, Arrival, Clock, Factory, Server
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import Verdict
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox

HOUR = 3_600.0
NEW_KINDS = 40
TEXT = "order "
"""What begins a text of which the template is the kind; all other names are kinds by themselves."""

GIVEN_UP = 2 * DAY
"""Seconds after which the plain queue is no longer watched."""


def one_failure() -> list[Arrival]:
    """Return one ERROR at 50 a second for an hour."""
    return [(number / 50, logging.ERROR, "storm") for number in range(int(50 * HOUR))]


def twenty_kinds() -> list[Arrival]:
    """Return twenty kinds that break out together, each at five a second for ten minutes."""
    return [(number / 100, logging.ERROR, f"storm {number % 20}") for number in range(60_000)]


def f_strings() -> list[Arrival]:
    """Return f-strings with an id of their own each, twenty a second for ten minutes."""
    return [
        (number / 20, logging.ERROR, f"{TEXT}{number} for user{number}@example.com failed") for number in range(12_000)
    ]


def leak() -> list[Arrival]:
    """Return one ERROR each five seconds, all day."""
    return [(5.0 * number, logging.ERROR, "storm") for number in range(int(DAY / 5))]


STORMS: dict[str, Callable[[], list[Arrival]]] = {
    "one failure, 50 a second, 1 h": one_failure,
    "20 kinds, 100 a second, 10 min": twenty_kinds,
    "f-strings, 20 a second, 10 min": f_strings,
    "a leak, one in 5 s, 24 h": leak,
}


@dataclass
class Outcome:
    """What became of a storm.

    Attributes:
        delays: how long the first record of each kind waited, in seconds; infinite: it did not arrive.
        pushes: events of the storm that pushed.
        requests: requests for the storm and the new kinds.
        forms: records of the storm that arrived one by one, folded or digested.
    """

    delays: list[float] = field(default_factory=list)
    pushes: int = 0
    requests: int = 0
    forms: Counter[str] = field(default_factory=Counter)


class Kinds(Factory):
    """Makes events whose kind is their name, or the template of a text."""

    def fold_key(self, captured: CapturedRecord) -> FoldKey:
        """Return what a record folds by."""
        key, name = super().fold_key(captured), captured.attributes["name"]
        return FoldKey(key.channel, key.level, self.kind(name)) if name.startswith(TEXT) else key

    def kind(self, text: str) -> tuple[str, ...]:
        """Return the kind of a text."""
        return ("shop", self.plain_kinds.templates.of(("shop", "shop.py", "7"), text), "", "")


class Forgetful(KindMemory):
    """Knows each kind, lets it have as many requests as it wants, and lets each event push."""

    def is_known(self, key: FoldKey) -> bool:  # noqa: ARG002
        """Return that it is."""
        return True

    def take_place(self, key: FoldKey) -> bool:  # noqa: ARG002
        """Return that there is one."""
        return True

    def push(self, key: FoldKey) -> bool:  # noqa: ARG002
        """Return that it does."""
        return True


def kind_of(name: str) -> str:
    """Return the kind of what was logged."""
    return TEXT if name.startswith(TEXT) else name


def with_new_kinds(storm: list[Arrival]) -> list[Arrival]:
    """Return a storm in which new kinds come up at any time before the outage of the servers."""
    draw = random.Random(7)
    end = min(storm[-1][0], OUTAGE[0] - 1_000.0)
    return sorted([*storm, *((draw.uniform(0, end), logging.ERROR, f"new {number}") for number in range(NEW_KINDS))])


def first_times(arrivals: list[Arrival]) -> dict[str, float]:
    """Return when the first record of each kind was logged."""
    found: dict[str, float] = {}
    for at, _, name in arrivals:
        found.setdefault(kind_of(name), at)
    return found


def through_outbox(kind: str, arrivals: list[Arrival], *, is_before: bool = False) -> Outcome:
    """Send a storm through the outbox.

    Args:
        kind: the server.
        arrivals: the records.
        is_before: without the memory of kinds.
    """
    clock, outcome = Clock(), Outcome()
    memory = (Forgetful if is_before else KindMemory)(notify_interval=300.0, clock=clock)
    outbox = Outbox(
        size=10_000,
        # without the memory of kinds any alert may use the reserve, and here all are alerts
        budget=RateBudget(rate_limit=None, alert_reserve=0.0 if is_before else 0.1, clock=clock),
        users=KnownUsers(ttl=HOUR, size=100, clock=clock),
        kinds=memory,
        factory=Factory() if is_before else Kinds(),
        clock=clock,
    )
    server, coming, queue = Server(kind, clock), deque(arrivals), deque[CapturedRecord]()
    logged_at = first_times(arrivals)
    while coming or not outbox.is_empty:
        while coming and coming[0][0] <= clock.now:
            at, level, name = coming.popleft()
            queue.append(CapturedRecord({"created": at, "levelno": level, "name": name, "msg": name}))
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
    # names that a digest counts together under an ellipsis did not arrive for anybody who waits for them
    outcome.delays += [math.inf] * len(logged_at)
    return outcome


def note(body: dict[str, object], now: float, logged_at: dict[str, float], outcome: Outcome) -> None:
    """Note an event that arrived."""
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    names = metadata.get("digest") or {metadata["event"]: metadata.get("occurrences", 1)}
    form = "digested" if "digest" in metadata else "folded" if "occurrences" in metadata else "one by one"
    for name, count in names.items():
        if kind_of(name) in logged_at:
            outcome.delays.append(now - logged_at.pop(kind_of(name)))
        if not name.startswith("new"):
            outcome.forms[form] += count
    outcome.pushes += bool(body["notify"]) and not all(name.startswith("new") for name in names)


def through_plain_queue(kind: str, arrivals: list[Arrival]) -> Outcome:
    """Send a storm through a first-in-first-out queue that tries again after a second when it is refused."""
    clock, outcome = Clock(), Outcome()
    server, logged_at = Server(kind, clock), first_times(arrivals)
    for at, _, name in arrivals:
        clock.now = max(clock.now, at)
        while clock.now < GIVEN_UP and server.answer().verdict is not Verdict.ACCEPTED:
            clock.now += 1.0
            outcome.requests += 1
        if clock.now >= GIVEN_UP or not logged_at:
            break
        clock.now += ROUND_TRIP
        outcome.requests += 1
        is_of_storm = not name.startswith("new")
        outcome.pushes += is_of_storm
        outcome.forms["one by one"] += is_of_storm
        if kind_of(name) in logged_at:
            outcome.delays.append(clock.now - logged_at.pop(kind_of(name)))
    outcome.delays += [math.inf] * len(logged_at)
    return outcome


SENDERS: dict[str, tuple[str, Callable[[str, list[Arrival]], Outcome]]] = {
    "emitkit-logging": (OURS, through_outbox),
    "before kinds": (BEFORE, lambda kind, arrivals: through_outbox(kind, arrivals, is_before=True)),
    "plain queue": (OTHERS, through_plain_queue),
}


def late(delays: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(delays)[min(len(delays) - 1, int(len(delays) * 0.99))]


def line(outcome: Outcome) -> str:
    """Return an outcome for people."""
    delays = outcome.delays
    forms = ", ".join(f"{count:,} {form}" for form, count in outcome.forms.items())
    return (
        f"first of a kind: median {duration(statistics.median(delays))}, p99 {duration(late(delays))}, "
        f"max {duration(max(delays))}; {outcome.pushes:,} pushes, {outcome.requests:,} requests; {forms}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the figures, and write the picture where it is asked for."""
    parser = argparse.ArgumentParser(description="Simulate storms of errors.")
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args(arguments)
    groups: dict[str, list[Bar]] = {}
    for (storm, make), kind in itertools.product(STORMS.items(), SERVERS):
        arrivals = with_new_kinds(make())
        bars = groups[f"{storm}, {kind} server"] = []
        print(f"{storm}, {kind} server", flush=True)
        for sender, (colour, send) in SENDERS.items():
            outcome = send(kind, arrivals)
            bars.append(Bar(sender, late(outcome.delays), colour))
            print(f"  {sender:16} {line(outcome)}", flush=True)
    if options.svg:
        options.svg.write_text(drawn("99 of 100 new failures arrive in a storm within …", groups), encoding="utf-8")


if __name__ == "__main__":
    main()
