"""What the leader reads from Redis and writes to it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._relay import scripts, unit, wire
from emitkit_logging._relay.keys import ALERTS, LANES, RECORDS, Keys
from emitkit_logging._relay.lease import LeaseLost
from emitkit_logging._relay.signal import SIGNAL_SECONDS

_ENTRIES = 16
"""Batches of a stream that are read at a time."""

_SCAN = 500
"""Fields of a hash that are read at a time."""

_BEGINNING = b"0-0"


class NewerFormat(Exception):  # noqa: N818 - no error: an older relay has to leave it
    """Redis has data of a newer version of this library."""


class StateBehind(Exception):  # noqa: N818 - it says what Redis is
    """Redis has an older state than the one that this relay wrote last."""


class Arrival(NamedTuple):
    """What one batch brought.

    Attributes:
        parts: as they stand in the batch.
        records: how many log records they stand for.
    """

    parts: list[bytes]
    records: int


@dataclass(slots=True)
class _Position:
    """How far a stream was read since the last commit.

    Attributes:
        last: the id of the last batch that was read.
        lines: parts that were read since the last commit.
        records: log records for which they stand.
    """

    last: bytes = _BEGINNING
    lines: int = 0
    records: int = 0


@dataclass(slots=True)
class Counted:
    """What a commit adds to the counts, and what it writes besides the rows.

    Attributes:
        counts: by name.
        newest: the newest position of the outbox.
        budget: the state of budget and kinds.
        signal: what the relay says to applications.
        config: what applications need to know.
        now: seconds of the relays' clock.
    """

    counts: Counter[str]
    newest: int
    budget: dict[str, Any]
    signal: str
    config: dict[str, Any] = field(default_factory=dict)
    now: float = 0.0


class LeaderState:
    """The state in Redis, as the leader sees it.

    Args:
        client: of Redis.
        keys: the names of the keys.
        most_users: users that are remembered.
    """

    def __init__(self, client: Any, keys: Keys, *, most_users: int) -> None:
        self._client = client
        self._keys = keys
        self._most_users = most_users
        self._positions: dict[str, _Position] = {}
        self._users: dict[str, None] = {}
        self._budget = ""
        self._dead: set[int] = set()  # rows that cannot be read, and requests without a row
        self.rows = unit.Rows()
        self.revision = 0
        self.unreadable: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget what was read since the last commit: another relay reads it."""
        self._positions = {lane: _Position() for lane in LANES}

    def seconds(self) -> float:
        """Return the time of the Redis server, in epoch seconds."""
        seconds, microseconds = self._client.time()
        return float(seconds) + float(microseconds) / 1e6

    # After another leader

    def load(self, outbox: Outbox, now: float) -> None:
        """Hand an empty outbox all that waits, and the budget that is left.

        Args:
            outbox: the outbox.
            now: seconds of the relays' clock.
        """
        self.reset()
        self.rows = unit.Rows()
        self.unreadable.clear()
        self._dead = set()
        state = self._client.hgetall(self._keys.relay("state"))
        self.revision = int(state.get(b"revision", 0))
        self._budget = ""
        with contextlib.suppress(ValueError):  # a budget that cannot be read is learned anew
            outbox.begin_at(int(state.get(b"newest", 0)), json.loads(state.get(b"budget", b"{}")))
        self._load_users(outbox, now)
        requests = dict(self._scan("requests"))
        self.rows.requests.update(map(int, requests))
        for field_name, data in sorted(self._scan("waiting"), key=lambda pair: int(pair[0])):
            self._resume(outbox, int(field_name), data, requests.get(field_name))
        self._dead |= self.rows.requests - self.rows.positions

    def _scan(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        yield from self._client.hscan_iter(self._keys.relay(name), count=_SCAN)

    def _load_users(self, outbox: Outbox, now: float) -> None:
        found = []
        for user_id, value in self._scan("users"):
            with contextlib.suppress(ValueError):
                found.append(unit.read_user(user_id.decode(), value))
        found.sort(key=lambda pair: pair[1])
        self._users = dict.fromkeys(call.user_id for call, _ in found)
        for call, at in found:
            outbox.remember(call, max(0.0, now - at))

    def _resume(self, outbox: Outbox, position: int, data: bytes, started: bytes | None) -> None:
        self.rows.positions.add(position)
        try:
            entry = wire.read_entry(data, position)
            if isinstance(entry, Identity):
                raise ValueError("it does not wait in a relay")  # noqa: TRY004, TRY301 - data has a wrong value
            request = None if started is None else unit.read_request(started)
        except ValueError as error:
            self.unreadable[str(error)] += wire.records_of(data)
            self._dead.add(position)
            return
        if request is None:
            outbox.resume(position, entry)
            return
        if isinstance(entry, IdentifyCall):
            self.rows.calls[position] = entry
        outbox.resume(
            position,
            entry,
            priority=request.priority,
            first_position=request.first_position,
            records=request.records,
            request=request.request,
        )

    # What comes in

    def read(self) -> Iterator[Arrival]:
        """Yield some of what applications have written since the last call, alerts first.

        Raises:
            NewerFormat: if the next batch of a stream is of a newer version; what was yielded before is read.
        """
        streams = {self._keys.stream(lane): position.last for lane, position in self._positions.items()}
        answer = dict(self._client.xread(streams, count=_ENTRIES) or ())
        for lane in LANES:
            position = self._positions[lane]
            for entry_id, fields in answer.get(self._keys.stream(lane).encode(), ()):
                if int(fields.get(b"v", 0)) > wire.FORMAT:
                    raise NewerFormat
                arrival = Arrival(wire.read_batch(fields.get(b"d", b"")), int(fields.get(b"n", 0)))
                position.last = entry_id
                position.lines += int(fields.get(b"l", 0))
                position.records += arrival.records
                yield arrival

    @property
    def has_read(self) -> bool:
        """Whether anything was read since the last commit."""
        return any(position.lines for position in self._positions.values())

    # What is written

    def commit(self, changes: Changes, counted: Counted, lease: str) -> None:
        """Write a unit of work in one step.

        Args:
            changes: all that the outbox reported since the last commit that succeeded.
            counted: what else is written.
            lease: its value.

        Raises:
            LeaseLost: another relay leads.
            StateBehind: Redis has an older state.
            Exception: those of redis-py; the same changes, and more, are to be given again.
        """
        work = unit.Unit.of(changes, self.rows)
        budget = json.dumps(counted.budget)
        names = ("lease", "state", "waiting", "requests", "users", "counts")
        keys = [self._keys.relay(name) for name in names]
        keys += [self._keys.totals, self._keys.relay("signal"), self._keys.relay("config")]
        keys += [self._keys.stream(ALERTS), self._keys.stream(RECORDS)]
        users, forgotten = self._user_changes(work, counted.now)
        arguments: list[Any] = [lease, self.revision]
        for lane in LANES:
            position = self._positions[lane]
            arguments += [unit.until(position.last) if position.lines else "", position.lines, position.records]
        gone = work.gone | self._dead
        arguments += _counted_list(list(gone & self.rows.positions))
        arguments += _counted_list(list(gone & self.rows.requests))
        arguments += _pairs(work.rows)
        arguments += _pairs(work.requests)
        arguments += _pairs(users)
        arguments += _counted_list(forgotten)
        state: dict[str, Any] = {"newest": counted.newest, "format": wire.FORMAT}
        if budget != self._budget:
            state["budget"] = budget
        arguments += _pairs(state)
        counts = [(name, number) for name, number in counted.counts.items() if number]
        arguments += [len(counts), *(value for pair in counts for value in pair)]
        arguments += [counted.signal, SIGNAL_SECONDS]
        arguments += _pairs(counted.config)
        answer = self._client.eval(scripts.COMMIT, len(keys), *keys, *arguments)
        if answer == b"fenced":
            raise LeaseLost
        if answer == b"behind":
            raise StateBehind
        self.revision += 1
        self._budget = budget
        work.apply(changes, self.rows)
        self.rows.positions -= self._dead
        self.rows.requests -= self._dead
        self._dead = set()
        for user_id in (*forgotten, *users):
            self._users.pop(user_id, None)
        self._users.update(dict.fromkeys(users))
        for position in self._positions.values():
            position.lines = position.records = 0

    def _user_changes(self, work: unit.Unit, now: float) -> tuple[dict[str, str], list[str]]:
        users = {user_id: unit.user_value(call, now) for user_id, call in work.users.items()}
        excess = len(self._users.keys() | users.keys()) - self._most_users
        old = [user_id for user_id in self._users if user_id not in users]
        return users, old[: max(0, excess)]


def _counted_list(values: list[Any]) -> list[Any]:
    return [len(values), *values]


def _pairs(values: dict[Any, Any]) -> list[Any]:
    return [len(values), *(part for pair in values.items() for part in pair)]


def hand_over(parts: list[bytes], outbox: Outbox, unreadable: Counter[str]) -> None:
    """Let an outbox take the parts of a batch, in their order.

    Args:
        parts: as they stand in the batch.
        outbox: takes them.
        unreadable: counts the log records of parts that cannot be read, by reason.
    """
    records: deque[CapturedRecord] = deque()
    for part in parts:
        try:
            entry = wire.read_part(part)
        except ValueError as error:
            unreadable[str(error)] += wire.records_of(part)
            continue
        if isinstance(entry, wire.ShapedRecord):
            records.append(entry)
            continue
        outbox.take(records)
        if isinstance(entry, Identity):
            outbox.identify(entry)
        else:
            outbox.take_fold(entry)
    outbox.take(records)
