"""A day of traffic in virtual time: the outbox against three servers, beside a plain queue.

`python -m benchmarks.simulator` prints for each server and level how long records waited and in what form they arrived;
`--svg FILE` draws the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import random
import statistics
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.picture import OTHERS, OURS, Bar, drawn
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Quota, Verdict, unanswered
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey, PlainKinds
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox

DAY = 86_400.0
LIMIT = 100
WINDOW = 60.0
SILENCE = 60.0
ROUND_TRIP = 0.05
OUTAGE = (50_000.0, 51_800.0)
LEVELS = (logging.ERROR, logging.WARNING, logging.INFO)
SERVERS = ("truthful", "silent", "self-hosted")

Arrival = tuple[float, int, str]


def day(seed: int = 7) -> list[Arrival]:
    """Return a day's records, as time, level and name: quiet, four bursts, and a storm of errors."""
    draw = random.Random(seed)
    arrivals: list[Arrival] = []

    def traffic(begin: float, end: float, rate: float, levels: dict[int, float], names: int) -> None:
        now = begin
        while (now := now + draw.expovariate(rate)) < end:
            level = draw.choices(list(levels), list(levels.values()))[0]
            arrivals.append((now, level, f"{logging.getLevelName(level).lower()}_{draw.randrange(names)}"))

    ordinary = {logging.INFO: 0.95, logging.WARNING: 0.045, logging.ERROR: 0.005}
    traffic(0.0, DAY, 0.5, ordinary, 30)
    for begin in (20_000.0, 35_000.0, 60_000.0, 75_000.0):
        traffic(begin, begin + 300.0, 200.0, ordinary, 60)
    traffic(40_000.0, 40_120.0, 100.0, {logging.ERROR: 1.0}, 12)
    return sorted(arrivals)


class Clock:
    """Virtual time, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


class Server:
    """Answers as one of the three servers does, by the virtual clock.

    Args:
        kind: one of `SERVERS`.
        clock: the virtual time.
    """

    def __init__(self, kind: str, clock: Clock) -> None:
        self._kind = kind
        self._clock = clock
        self._window = 0.0
        self._used = 0
        self._last = -DAY

    def answer(self) -> ApiResponse:
        """Take one request."""
        now = self._clock()
        if OUTAGE[0] <= now < OUTAGE[1]:
            return unanswered("down")
        if self._kind == "self-hosted":
            if now - self._last > SILENCE:
                self._used = 0
            if self._used >= LIMIT:
                return ApiResponse(Verdict.AMBIGUOUS_401)
            self._used += 1
            self._last = now
            return ApiResponse(Verdict.ACCEPTED, quota=Quota(LIMIT, LIMIT, WINDOW))
        if now - self._window >= WINDOW:
            self._window, self._used = now - now % WINDOW, 0
        reset = self._window + WINDOW - now
        if self._used >= LIMIT:
            return ApiResponse(Verdict.LIMITED, retry_after=reset if self._kind == "truthful" else None)
        self._used += 1
        quota = Quota(LIMIT, LIMIT - self._used, reset) if self._kind == "truthful" else None
        return ApiResponse(Verdict.ACCEPTED, quota=quota)


class Factory:
    """Makes the smallest events: a channel for each level."""

    plain_kinds = PlainKinds(Redactor())
    shows_revenue = True

    def event(self, captured: CapturedRecord) -> Event:
        """Return the event of a record."""
        key = self.fold_key(captured)
        name = captured.attributes["name"]
        metadata = {"event": name, "at": captured.created}
        return Event(key.channel, name, metadata=metadata, level=key.level, kind=key.kind)

    def fold_key(self, captured: CapturedRecord) -> FoldKey:
        """Return what a record folds by."""
        level = captured.level
        return FoldKey("alerts" if level >= logging.ERROR else "general", level, (captured.attributes["name"],))

    def summary(self, channel: str | None, level: int, title: str, description: str, metadata: dict[str, Any]) -> Event:
        """Return an event that is not made of a single record."""
        return Event(channel or "alerts", title, description, metadata=metadata, level=level)


@dataclass
class Result:
    """What became of a day's records.

    Attributes:
        delays: for each level how long each record waited, in seconds.
        forms: for each level how many records arrived one by one, folded or digested.
        requests: requests sent.
        refused: those of them that the rate limit refused.
        waiting: records that had not arrived a day later.
    """

    delays: dict[int, list[float]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    forms: dict[int, Counter[str]] = field(default_factory=lambda: {level: Counter() for level in LEVELS})
    requests: int = 0
    refused: int = 0
    waiting: int = 0


class Account:
    """Matches what arrives with what was logged: for each name, first in is first out."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._logged: dict[str, deque[tuple[float, int]]] = {}

    def logged(self, arrival: Arrival) -> None:
        """Note a record."""
        at, level, name = arrival
        self._logged.setdefault(name, deque()).append((at, level))

    def arrived(self, body: dict[str, Any], now: float) -> None:
        """Note an event."""
        metadata = body["metadata"]
        digest: dict[str, int] = metadata.get("digest") or {metadata.get("event", ""): metadata.get("occurrences", 1)}
        form = "digested" if "digest" in metadata else "folded" if "occurrences" in metadata else "one by one"
        for name, count in digest.items():
            for _ in range(count):
                self._note(name, form, now)

    def _note(self, name: str, form: str, now: float) -> None:
        at, level = self._logged[name].popleft()
        self._result.delays[level].append(now - at)
        self._result.forms[level][form] += 1


def ours(kind: str, arrivals: list[Arrival]) -> Result:
    """Send the day's records through the outbox."""
    clock, result = Clock(), Result()
    budget = RateBudget(rate_limit=None, alert_reserve=0.1, clock=clock)
    users = KnownUsers(ttl=3_600.0, size=100, clock=clock)
    kinds = KindMemory(notify_interval=300.0, clock=clock)
    outbox = Outbox(size=10_000, budget=budget, users=users, kinds=kinds, factory=Factory(), clock=clock)
    server, account = Server(kind, clock), Account(result)
    coming = iter(arrivals)
    following = next(coming, None)
    while following is not None or not outbox.is_empty:
        queue: deque[CapturedRecord] = deque()
        while following is not None and following[0] <= clock.now:
            account.logged(following)
            created, level, name = following
            queue.append(CapturedRecord({"created": created, "levelno": level, "name": name}))
            following = next(coming, None)
        outbox.take(queue)
        step = outbox.next()
        if isinstance(step, ApiRequest):
            answer = server.answer()
            clock.now += ROUND_TRIP
            outbox.settle(answer)
            result.requests += 1
            result.refused += answer.verdict in (Verdict.LIMITED, Verdict.AMBIGUOUS_401)
            if answer.verdict is Verdict.ACCEPTED:
                account.arrived(json.loads(step.body), clock.now)
        else:
            clock.now = min(clock.now + max(step, 0.001), following[0] if following is not None else DAY * 30)
    stats = outbox.stats()
    assert stats.accepted == stats.delivered == len(arrivals), stats
    return result


def plain_queue(kind: str, arrivals: list[Arrival]) -> Result:
    """Send the day's records through a first-in-first-out queue that tries again after a second when it is refused."""
    clock, result = Clock(), Result()
    server = Server(kind, clock)
    for at, level, _ in arrivals:
        clock.now = max(clock.now, at)
        while server.answer().verdict is not Verdict.ACCEPTED:
            clock.now += 1.0
            result.requests += 1
            result.refused += not OUTAGE[0] <= clock.now < OUTAGE[1]
            if clock.now > 2 * DAY:
                break
        if clock.now > 2 * DAY:
            break
        clock.now += ROUND_TRIP
        result.requests += 1
        result.delays[level].append(clock.now - at)
        result.forms[level]["one by one"] += 1
    result.waiting = len(arrivals) - sum(map(len, result.delays.values()))
    return result


def rows(result: Result) -> Iterator[tuple[str, int, float, float, float, str]]:
    """Yield for each level its name, records, and median, p99 and longest delay in seconds, and the forms."""
    for level in LEVELS:
        delays = sorted(result.delays[level]) or [float("inf")]
        total = max(1, result.forms[level].total())
        forms = ", ".join(f"{form} {count / total:.1%}" for form, count in result.forms[level].most_common())
        yield (
            logging.getLevelName(level),
            len(result.delays[level]),
            statistics.median(delays),
            delays[int(len(delays) * 0.99)],
            delays[-1],
            forms,
        )


def picture(results: dict[str, tuple[Result, Result]]) -> str:
    """Draw the 99th percentile of the delays as SVG."""
    groups: dict[str, list[Bar]] = {}
    for kind, pair in results.items():
        bars = groups[f"{kind} server"] = []
        for (name, _, _, late, _, _), (_, _, _, queued, _, _) in zip(*map(rows, pair), strict=True):
            bars += [Bar(f"{name}, emitkit-logging", late, OURS), Bar(f"{name}, plain queue", queued, OTHERS)]
    return drawn("99 of 100 records of a day arrive within …", groups)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, and write the picture where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args(arguments)
    arrivals = day()
    results = {}
    for kind in SERVERS:
        results[kind] = (ours(kind, arrivals), plain_queue(kind, arrivals))
        for who, result in zip(("emitkit-logging", "plain queue"), results[kind], strict=True):
            print(f"{kind} server, {who}: {result.requests:,} requests, {result.refused:,} refused", end="")
            print(f", {result.waiting:,} records still waiting a day later" if result.waiting else "")
            for name, count, median, late, longest, forms in rows(result):
                print(f"  {name:8} {count:8,} records  median {median:9.1f} s  p99 {late:9.1f} s", end="")
                print(f"  max {longest:9.1f} s  {forms}")
    if options.svg:
        options.svg.write_text(picture(results), encoding="utf-8")


if __name__ == "__main__":
    main()
