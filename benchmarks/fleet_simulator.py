"""A fleet in virtual time: ten thousand machines, a storm, a relay's death and an outage of Redis.

`python -m benchmarks.fleet_simulator` prints the figures; `--machines`, `--rate` and `--seconds` change its size,
`--svg FILE` draws them. The applications' stores, the relay's outbox and its signal are the real ones. Redis is a list,
and has the relay's state by definition: a takeover costs the time that the lease's rules say.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import logging
import pathlib
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from benchmarks.simulator import Clock, Factory
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Quota, Verdict
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._relay.batches import Receipt, Reply, Shipment
from emitkit_logging._relay.edge import EdgeBacklog, Item
from emitkit_logging._relay.edge_store import EdgeStore
from emitkit_logging._relay.lease import LOOK
from emitkit_logging._relay.signal import ScarcitySignal
from emitkit_logging._relay.trouble import TroubleLog

LIMIT = 100
WINDOW = 60.0
ROUND_TRIP = 0.05
POLL = 0.1
KINDS = 20
STORM = (30.0, 50.0)
DEATH = 60.0
TAKEOVER = 3 * LOOK
OUTAGE = (75.0, 135.0)
NEW_ALERT = 7.0
"""Seconds between two alerts of new kinds: the reserve is for ten in a minute."""


@dataclass
class Result:
    """What was seen.

    Attributes:
        entries: entries that were written into Redis, by second.
        records: log records that were logged, by second.
        delays: of alerts of a new kind, from the call to the server's answer, by the second of the call.
        stored: log records at the server.
        relay: seconds of this machine's CPU that the relay has used.
    """

    entries: Counter[int] = field(default_factory=Counter)
    records: Counter[int] = field(default_factory=Counter)
    delays: dict[int, float] = field(default_factory=dict)
    stored: int = 0
    requests: int = 0
    refused: int = 0
    relay: float = 0.0


class Server:
    """Allows `LIMIT` requests in each window of `WINDOW` seconds, and says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window, self._count = -1, 0

    def answer(self) -> ApiResponse:
        """Return the answer to a request."""
        window = int(self._clock.now // WINDOW)
        if window != self._window:
            self._window, self._count = window, 0
        self._count += 1
        quota = Quota(LIMIT, max(0, LIMIT - self._count), WINDOW - self._clock.now % WINDOW)
        verdict = Verdict.LIMITED if self._count > LIMIT else Verdict.ACCEPTED
        return ApiResponse(verdict, quota=quota)


class Fleet:
    """All of it.

    Args:
        machines: how many.
        rate: log records of each in a second.
        seconds: of virtual time.
    """

    def __init__(self, machines: int, rate: int, seconds: float) -> None:
        self.result = Result()
        self._rate, self._seconds = rate, seconds
        self._draw = random.Random(1)
        self._clock = clock = Clock()
        self._factory = Factory()
        self._edges = [self._edge() for _ in range(machines)]
        self._stream: dict[str, deque[Item]] = {"alerts": deque(), "records": deque()}
        self._sent_signal = ""
        self._signal = ScarcitySignal(clock)
        self._server = Server(clock)
        self._outbox = Outbox(
            size=10_000,
            budget=RateBudget(rate_limit=None, alert_reserve=0.1, clock=clock),
            users=KnownUsers(ttl=3_600.0, size=10, clock=clock),
            kinds=KindMemory(notify_interval=300.0, clock=clock),
            factory=self._factory,
            clock=clock,
        )
        self._new_at: dict[str, float] = {}
        self._answer_at = 0.0
        self._under_way: ApiRequest | None = None
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, int]] = []

    def _edge(self) -> EdgeStore:
        users = KnownUsers(ttl=3_600.0, size=1, clock=self._clock)
        backlog = EdgeBacklog(size=10_000, factory=SafeEventFactory(self._factory), users=users, clock=self._clock)
        return EdgeStore(backlog, TroubleLog("redis", str, self._clock), self._clock)

    # Redis

    @property
    def _is_away(self) -> bool:
        return OUTAGE[0] <= self._clock.now < OUTAGE[1]

    def _write(self, shipment: Shipment) -> Receipt:
        if self._is_away:
            return Receipt([], ConnectionError("away"))
        for batch in shipment.batches:
            self._stream[batch.lane].extend(batch.items)
            self.result.entries[int(self._clock.now)] += len(batch.items)
        return Receipt([Reply("added", self._sent_signal, 0) for _ in shipment.batches])

    # Machines

    def _log(self, machine: int, level: int, name: str, count: int = 1) -> None:
        created = self._clock.now
        queue = self._edges[machine].queue
        for _ in range(count):
            queue.append(CapturedRecord({"created": created, "levelno": level, "name": name, "msg": name}))
        self.result.records[int(created)] += count

    def _tick(self, machine: int) -> None:
        now = self._clock.now
        if now < self._seconds:
            each = self._draw.randrange(KINDS)
            for number in range(4):
                self._log(machine, logging.INFO, f"info_{(each + number) % KINDS}", self._rate // 4)
            if STORM[0] <= now < STORM[1] and machine % 10 == 0:
                self._log(machine, logging.ERROR, "storm", self._rate // 2)
        self._work(machine)
        self._at(now + 1.0, "tick", machine)

    def _new_alert(self, number: int) -> None:
        machine = self._draw.randrange(len(self._edges))
        name = f"new_{number}"
        self._new_at[name] = self._clock.now
        self._log(machine, logging.ERROR, name)
        self._work(machine)
        if self._clock.now + NEW_ALERT < self._seconds:
            self._at(self._clock.now + NEW_ALERT, "alert", number + 1)

    def _work(self, machine: int) -> None:
        store = self._edges[machine]
        store.take()
        step = store.next()
        while not isinstance(step, int | float):
            store.settle(self._write(step))
            step = store.next()
        if step < 0.05 and not store.is_done():
            self._at(self._clock.now + step + 0.001, "work", machine)

    # The relay

    def _relay(self) -> None:
        now = self._clock.now
        is_dead = DEATH <= now < DEATH + TAKEOVER
        began = time.process_time()
        if not is_dead and not self._is_away:
            for items in self._stream.values():
                self._read(items)
            if self._under_way is None:
                self._start()
            capacity, waiting = self._outbox.capacity, self._outbox.pending
            self._sent_signal = self._signal.value(is_spent=self._outbox.is_scarce, capacity=capacity, waiting=waiting)
        self.result.relay += time.process_time() - began
        self._at(now + POLL, "relay", 0)

    def _read(self, items: deque[Item]) -> None:
        records: deque[CapturedRecord] = deque()
        while items:
            item = items.popleft()
            self._signal.arrived(item.records)
            if isinstance(item.entry, Fold):
                self._outbox.take_fold(item.entry)
            elif isinstance(item.entry, CapturedRecord):
                records.append(item.entry)
        self._outbox.take(records)

    def _start(self) -> None:
        step = self._outbox.next()
        if isinstance(step, ApiRequest):
            self._under_way = step
            self._at(self._clock.now + ROUND_TRIP, "answer", 0)

    def _answer(self) -> None:
        request, self._under_way = self._under_way, None
        assert request is not None
        answer = self._server.answer()
        self.result.requests += 1
        self.result.refused += answer.verdict is Verdict.LIMITED
        self._outbox.settle(answer)
        if answer.verdict is Verdict.ACCEPTED:
            metadata = json.loads(request.body)["metadata"]
            self.result.stored += metadata.get("occurrences", 1)
            for name in metadata.get("digest", {metadata.get("event"): 1}):
                if name in self._new_at:
                    at = self._new_at.pop(name)
                    self.result.delays[int(at)] = self._clock.now - at
        if not self._is_away:
            self._start()

    # Time

    def _at(self, when: float, what: str, which: int) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, which))

    def run(self) -> None:
        """Let the time pass until nothing waits."""
        for machine in range(len(self._edges)):
            self._at(self._draw.random(), "tick", machine)
        self._at(0.0, "relay", 0)
        self._at(1.0, "alert", 0)
        do = {"tick": self._tick, "alert": self._new_alert, "work": self._work}
        while True:
            when, _, what, which = heapq.heappop(self._events)
            self._clock.now = max(self._clock.now, when)
            if what == "relay":
                self._relay()
                if when > self._seconds and self._is_over():
                    return
            elif what == "answer":
                self._answer()
            else:
                do[what](which)

    def _is_over(self) -> bool:
        is_read = not any(self._stream.values()) and self._outbox.is_empty and self._under_way is None
        return is_read and all(edge.is_done() for edge in self._edges)

    @property
    def dropped(self) -> int:
        """Log records that were dropped, by anybody."""
        edges = sum(sum(edge.stats().dropped.values()) for edge in self._edges)
        return edges + sum(self._outbox.stats().dropped.values())


def picture(result: Result, seconds: int) -> str:
    """Draw log records and entries in Redis by second, and the delays of new alerts, as SVG."""
    width, most = 860 / seconds, max(result.records.values())
    parts = []
    for second in range(seconds):
        for count, colour in ((result.records[second], "#dddddd"), (result.entries[second], "#2a7de1")):
            height = 150 * count / most
            at = f'x="{20 + second * width:.1f}" y="{190 - height:.1f}"'
            parts.append(f'<rect {at} width="{width:.2f}" height="{height:.1f}" fill="{colour}"/>')
        if second in result.delays:
            y = 330 - min(110, result.delays[second] * 1.5)
            parts.append(f'<circle cx="{20 + second * width:.1f}" cy="{y:.1f}" r="2.5" fill="#c0392b"/>')
    texts = [(18, f"log records a second (grey, {most:,} at most), entries in Redis (blue)")]
    texts += [(215, "seconds from the call to the server for alerts of new kinds (red)")]
    parts += [f'<text x="20" y="{y}">{text}</text>' for y, text in texts]
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="350" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>", ""])


def main(arguments: list[str] | None = None) -> None:
    """Print the figures, and draw them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=170)
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args(arguments)
    fleet = Fleet(options.machines, options.rate, options.seconds)
    fleet.run()
    result = fleet.result
    logged = sum(result.records.values())
    away = range(int(OUTAGE[0]) - 2, int(OUTAGE[1]))
    delays = sorted(delay for at, delay in result.delays.items() if at not in away)
    print(f"{options.machines:,} machines, {logged:,} log records in {options.seconds} s, a storm, a death, an outage")
    steady = [count for second, count in result.entries.items() if second > 5 and second < OUTAGE[0]]
    print(f"entries in Redis: {sum(steady) / len(steady):,.0f} a second, {max(steady):,} at most before the outage")
    print(f"the relay: {result.relay / options.seconds:.2f} s of CPU a second, {result.requests:,} requests", end="")
    print(f", {result.refused:,} refused")
    print(
        f"alerts of new kinds: median {delays[len(delays) // 2]:.2f} s, p99 {delays[int(len(delays) * 0.99)]:.2f} s",
        end="",
    )
    print(f", those during the outage at most {max(result.delays.values()):.0f} s")
    print(f"stored {result.stored:,}, dropped {fleet.dropped:,}: ", end="")
    print("the account is exact" if result.stored + fleet.dropped == logged else "the account is NOT exact")
    if options.svg:
        options.svg.write_text(picture(result, options.seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
