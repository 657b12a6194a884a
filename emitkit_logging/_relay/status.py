"""The state of a fleet, for people and for programs."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._relay import wire
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.keys import ALERTS, LANES, Keys
from emitkit_logging._relay.signal import SCARCE

HEARD_OF = 300.0
"""Seconds for which a process is listed after it was heard of."""

_SCAN = 500
_ENTRIES = 100


@dataclass(slots=True)
class Waiting:
    """What waits of one channel and level.

    Attributes:
        records: log records.
        events: events that they would be if nothing more folded.
    """

    records: int = 0
    events: int = 0


@dataclass(slots=True)
class Process:
    """A process that was heard of.

    Attributes:
        host, pid: of the process.
        seen: when it was heard of, in epoch seconds of the Redis server.
        records: log records that it has written into Redis.
        dropped: log records that it has dropped.
    """

    host: str
    pid: int
    seen: float
    records: int
    dropped: int


@dataclass(slots=True)
class FleetStatus:
    """The state of a fleet at one moment.

    Attributes:
        leader: the relay that leads; empty where none does.
        lag: seconds for which the oldest batch has not been read.
        unread: log records that no relay has read, by stream.
        waiting: what waits by channel and level, whether or not a relay has read it.
        identifies: users that wait to be identified.
        requests: requests that were started and not answered.
        budget: requests that may start now, of how many in a window; `None` where no relay has said so.
        signal: what the relay says to applications, or an empty text.
        processes: those that were heard of lately.
        storming: the kinds of alerts that have no place left, and the records of each.
        counts: what became of log records.
        dropped: log records that were dropped, by who dropped them and why.
    """

    leader: str = ""
    lag: float = 0.0
    unread: dict[str, int] = field(default_factory=dict)
    waiting: dict[tuple[str, int], Waiting] = field(default_factory=dict)
    identifies: int = 0
    requests: int = 0
    budget: tuple[float, float] | None = None
    signal: str = ""
    processes: list[Process] = field(default_factory=list)
    storming: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        waiting = [
            {"channel": channel, "level": logging.getLevelName(level), "records": each.records, "events": each.events}
            for (channel, level), each in self.waiting.items()
        ]
        budget = None if self.budget is None else {"available": self.budget[0], "capacity": self.budget[1]}
        return {
            "leader": self.leader or None,
            "lag": round(self.lag, 3),
            "unread": self.unread,
            "waiting": waiting,
            "identifies": self.identifies,
            "requests": self.requests,
            "budget": budget,
            "signal": self.signal or None,
            "processes": [
                {
                    "host": each.host,
                    "pid": each.pid,
                    "seen": each.seen,
                    "records": each.records,
                    "dropped": each.dropped,
                }
                for each in self.processes
            ],
            "storming": self.storming,
            "counts": self.counts,
            "dropped": self.dropped,
        }


def read_status(address: Address) -> FleetStatus:
    """Return the state of a fleet.

    Raises:
        Exception: those of redis-py.
    """
    client, keys = address.connect(), Keys(address.prefix)
    try:
        return _read(client, keys)
    finally:
        client.connection_pool.disconnect()


def _read(client: Any, keys: Keys) -> FleetStatus:
    seconds, microseconds = client.time()
    now = float(seconds) + float(microseconds) / 1e6
    state = client.hgetall(keys.relay("state"))
    found = FleetStatus(
        leader=(client.get(keys.relay("lease")) or b"").decode(),
        signal=(client.get(keys.relay("signal")) or b"").decode(),
        counts={name.decode(): int(number) for name, number in client.hgetall(keys.relay("counts")).items()},
        requests=client.hlen(keys.relay("requests")),
    )
    totals = client.hgetall(keys.totals)
    for lane in LANES:
        found.unread[lane] = int(totals.get(f"{lane}_count".encode(), 0))
        first = client.xrange(keys.stream(lane), count=1)
        if first:
            found.lag = max(found.lag, now - int(first[0][0].partition(b"-")[0]) / 1000)
        for part in _parts(client, keys.stream(lane)):
            _add(found, part)
    for _, data in client.hscan_iter(keys.relay("waiting"), count=_SCAN):
        _add(found, data)
    _read_budget(found, state, client.hgetall(keys.relay("config")), now)
    found.processes = list(_processes(client, keys, now))
    dropped: Counter[str] = Counter()
    for name, number in found.counts.items():
        reason = name.partition(":")[2] if name.startswith("dropped:") else name
        if name.startswith("dropped:") or name in ("evicted", "lost"):
            dropped[f"relay: {reason}"] += number
    for process in found.processes:
        dropped["applications"] += process.dropped
    found.dropped = dict(+dropped)
    found.waiting = dict(sorted(found.waiting.items(), key=lambda pair: (-pair[0][1], pair[0][0])))
    return found


def _parts(client: Any, stream: str) -> Iterator[bytes]:
    start = "-"
    while entries := client.xrange(stream, min=start, count=_ENTRIES):
        for entry_id, fields in entries:
            yield from wire.read_batch(fields.get(b"d", b""))
            start = f"({entry_id.decode()}"


def _add(found: FleetStatus, part: bytes) -> None:
    try:
        entry = wire.read_entry(part, 0)
    except ValueError:
        channel, level, records = "(unreadable)", 0, wire.records_of(part)
    else:
        if isinstance(entry, Identity | IdentifyCall):
            found.identifies += 1
            return
        records = entry.count if isinstance(entry, Fold | Digest) else 1
        channel, level = entry.channel, entry.priority
    each = found.waiting.setdefault((channel, level), Waiting())
    each.records += records
    each.events += 1


def _read_budget(found: FleetStatus, state: dict[bytes, bytes], config: dict[bytes, bytes], now: float) -> None:
    if b"budget" not in state:
        return
    try:
        known, options = json.loads(state[b"budget"]), json.loads(config.get(b"options", b"{}"))
    except ValueError:
        return
    budget = RateBudget(
        rate_limit=options.get("rate_limit"), alert_reserve=options.get("alert_reserve", 0.0), clock=lambda: now
    )
    budget.resume(known)
    found.budget = budget.available(alert=True), budget.capacity(alert=True)
    found.storming = dict(options.get("storming", {}))


def _processes(client: Any, keys: Keys, now: float) -> Iterator[Process]:
    names = client.zrevrangebyscore(keys.seen, "+inf", now - HEARD_OF, withscores=True)
    with client.pipeline(transaction=False) as pipe:
        for name, _ in names:
            pipe.hgetall(keys.process(name.decode()))
        found = [_process(values, float(seen)) for (_, seen), values in zip(names, pipe.execute(), strict=True)]
    yield from filter(None, found)


def _process(values: dict[bytes, bytes], seen: float) -> Process | None:
    try:
        facts = json.loads(values.get(b"facts", b"{}"))
        records, dropped = int(values.get(b"count", 0)), int(values.get(b"dropped", 0))
        return Process(str(facts["host"]), int(facts["pid"]), seen, records, dropped)
    except (ValueError, KeyError, TypeError):
        return None


def lines(found: FleetStatus) -> Iterable[str]:
    """Yield it for a person, line by line."""
    leader, _, term = found.leader.rpartition(":")
    yield f"leader: {leader} (term {term})" if found.leader else "no relay leads"
    unread, alerts = sum(found.unread.values()), found.unread.get(ALERTS, 0)
    yield f"lag: {found.lag:.1f} s; {unread:,} log records unread, {alerts:,} of them alerts"
    if found.budget is not None:
        available, capacity = found.budget
        how = "fold" if found.signal == SCARCE else "send each record by itself"
        yield f"budget: {available:g} of {capacity:g} requests may start now; applications {how}"
    yield "waiting:" if found.waiting else "nothing waits"
    for (channel, level), each in found.waiting.items():
        yield f"  {channel:24} {logging.getLevelName(level):10} {each.records:>9,} in {each.events:,} entries"
    if found.identifies:
        yield f"  {found.identifies:,} users to identify"
    if found.requests:
        yield f"{found.requests:,} requests started"
    for name, count in found.storming.items():
        yield f"storming: {name} ×{count:,}"
    yield f"processes heard of in the last {HEARD_OF / 60:.0f} minutes: {len(found.processes):,}"
    for process in found.processes:
        seen = time.strftime("%H:%M:%S", time.localtime(process.seen))
        yield f"  {process.host:24} {process.pid:>8} {seen} {process.records:>9,} records"
    received, delivered, events = (found.counts.get(name, 0) for name in ("received", "delivered", "events"))
    yield f"received {received:,}, delivered {delivered:,} in {events:,} events"
    for reason, number in found.dropped.items():
        yield f"dropped: {number:,} ({reason})"
