"""Waiting: the records that no request has been started for, in the order in which they are to go.

Pure. The most important comes first, of those the oldest. A record waits by itself until it is folded, a fold until it
is digested or its request starts.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._outbox.folding import Digest, Fold, Shape
from emitkit_logging._outbox.observer import NOBODY, BacklogObserver

ALERT = logging.ERROR
"""The level from which on a record is an alert (design, *Delivery*)."""

_Held = TypeVar("_Held")

Met: TypeAlias = "tuple[int, int, Event | None]"
"""Level, age and event of a record that tells of users; no event where none could be made."""


class Backlog:
    """What waits, folded as far as it was asked to.

    Args:
        shape: turns records into events.
        observer: receives the reports of where each record is.
    """

    def __init__(self, shape: Shape, observer: BacklogObserver = NOBODY) -> None:
        self._shape = shape
        self._observer = observer
        self._lanes: dict[int, deque[tuple[int, CapturedRecord]]] = {}
        self._folds: dict[Any, Fold] = {}
        self._digests: dict[tuple[str, bool], Digest] = {}
        self._alone: dict[int, deque[tuple[int, Event]]] = {}  # a key of their own, or an answer to wait for
        self._kept = 0

    def put(self, age: int, captured: CapturedRecord) -> None:
        """Take in a record; ages grow, and are its place."""
        self._observer.came(age, captured)
        self._line_up(age, captured)

    def _line_up(self, age: int, captured: CapturedRecord) -> None:
        level = captured.priority
        lane = self._lanes.get(level)
        if lane is None:
            lane = self._lanes[level] = deque()
        lane.append((age, captured))

    # What there is

    def __len__(self) -> int:
        """Count the log records."""
        return (
            self.singles()
            + sum(fold.count for fold in self._folds.values())
            + sum(digest.count for digest in self._digests.values())
            + self._never_folding()
        )

    def singles(self, below: float = math.inf) -> int:
        """Count the records of levels under `below` that wait by themselves."""
        # counted anew each time: what interrupts a change of the lanes cannot make it wrong
        return _count(self._lanes, below)

    def _never_folding(self, below: float = math.inf) -> int:
        return _count(self._alone, below)

    @property
    def held(self) -> int:
        """How much is held in memory: records, and a digest as one of them."""
        return self.singles() + self._kept + len(self._digests) + self._never_folding()

    def events(self, below: float = math.inf) -> int:
        """Count the events of levels under `below` that would be sent as things stand."""
        joined = sum(-entry.rank[0] < below for entry in self._joined())
        return self.singles(below) + self._never_folding(below) + joined

    def _joined(self) -> Iterator[Fold | Digest]:
        yield from self._folds.values()
        yield from self._digests.values()

    def rank(self) -> tuple[float, float] | None:
        """Return the place in the line of what goes first, or `None` when nothing waits."""
        return min(filter(None, (_head(self._lanes), _head(self._alone), self._joined_rank())), default=None)

    def _joined_rank(self) -> tuple[float, float] | None:
        return min((entry.rank for entry in self._joined()), default=None)

    def is_after(self, age: float) -> bool:
        """Tell whether all that waits came in after `age`."""
        heads = [lane[0][0] for lanes in (self._lanes, self._alone) for lane in lanes.values()]
        return all(head > age for head in heads) and all(entry.age > age for entry in self._joined())

    # What goes

    def pop(self) -> tuple[int, float, int, int, Event | None]:
        """Take out what goes first: its level, age, place, number of records, and event, if one could be made."""
        rank = self.rank()
        assert rank is not None  # noqa: S101 - its caller looked
        level = -int(rank[0])
        if rank == _head(self._lanes):
            age, captured = _leave(self._lanes, level)
            return level, age, age, 1, self._shape.event(captured)
        if rank == _head(self._alone):
            age, event = _leave(self._alone, level)
            return level, age, age, 1, event
        joined = next(entry for entry in self._joined() if entry.rank == rank)
        self._forget(joined)
        return level, joined.age, joined.place, joined.count, joined.event(self._shape)

    def _forget(self, joined: Fold | Digest) -> None:
        if isinstance(joined, Digest):
            del self._digests[_digested(joined.channel, joined.level)]
        else:
            del self._folds[joined.key]
            self._kept -= len(joined.kept)

    # What folds

    def fold(self, below: float = math.inf, most: float = math.inf) -> list[Met]:
        """Fold records of levels under `below`, at most `most` of them, the least important and oldest first.

        Returns:
            Those that tell of users: they must be made known, whatever becomes of the fold. One that only identifies,
            and one that could not be made an event, waits no more.
        """
        met: list[Met] = []
        lanes, folds, key_of, observer = self._lanes, self._folds, self._shape.fold_key, self._observer
        for level in sorted(level for level in lanes if level < below):
            lane = lanes[level]
            number = int(min(len(lane), most))
            most -= number
            for _ in range(number):
                age, captured = lane.popleft()
                try:
                    key = key_of(captured)
                except Exception:  # a formatter of the application's own; its event is asked next, and raises again
                    key = None
                if key is None:
                    self._fold_event(level, age, captured, met)
                    continue
                fold = folds.get(key)
                if fold is None:
                    fold = folds[key] = Fold(key, age)
                self._kept += fold.add(captured, captured.user_id)
                observer.joined(age, fold.place)
                observer.changed(fold)
            if not lane:
                del lanes[level]
        return met

    def _fold_event(self, level: int, age: int, captured: CapturedRecord, met: list[Met]) -> None:
        event = self._shape.event(captured)
        if event is None or event.identities:
            met.append((level, age, event))
        if event is None or event.only_identifies:
            return
        key = event.fold_key
        if key is None:
            event.identities = ()
            self._alone.setdefault(level, deque()).append((age, event))
            return
        fold = self._folds.get(key)
        if fold is None:
            fold = self._folds[key] = Fold(key, age)
        self._kept += fold.add(captured, event.user_id)
        self._observer.joined(age, fold.place)
        self._observer.changed(fold)

    def digest(self, most: float, below: float = math.inf) -> None:
        """Digest the least important folds of levels under `below` until at most `most` events of them are left."""
        excess = self.events(below) - most
        if excess > 0:
            for fold in sorted((fold for fold in self._folds.values() if fold.key.level < below), key=_last_first):
                excess -= not self._digest(fold)
                if excess <= 0:
                    return

    def condense(self, most: int) -> None:
        """Digest the least important folds when more than `most` are held, until a tenth of them is free."""
        if self.held > most:
            for fold in sorted(self._folds.values(), key=_last_first):
                self._digest(fold)
                if self.held <= most - most // 10:
                    return

    def _digest(self, fold: Fold) -> bool:
        """Put a fold into its channel's digest; tell whether that made a new one."""
        key = _digested(fold.key.channel, fold.key.level)
        digest = self._digests.get(key)
        is_new = digest is None
        if digest is None:
            digest = self._digests[key] = Digest(fold.key.channel, fold.place)
        digest.add(fold)
        self._forget(fold)
        self._observer.joined(fold.place, digest.place)
        self._observer.changed(digest)
        return is_new

    def drop(self, most: int) -> Counter[int]:
        """Give up the least important, of them the oldest, until `most` are held at most; return how many, by level."""
        lost: Counter[int] = Counter()
        while self.held > most:
            level, records = self._drop_least()
            lost[level] += records
        return lost

    def _drop_least(self) -> tuple[int, int]:
        lanes: tuple[dict[int, deque[tuple[int, Any]]], ...] = (self._lanes, self._alone)
        level = min((level for each in lanes for level in each), default=math.inf)
        joined = min(self._joined(), key=_last_first, default=None)
        if joined is not None and -joined.rank[0] < level:
            self._forget(joined)
            level, place, records = -joined.rank[0], joined.place, joined.count
        else:
            lane = min((each for each in lanes if level in each), key=lambda each: each[int(level)][0][0])
            place, records = _leave(lane, int(level))[0], 1
        self._observer.ended(place, "overflow")
        return int(level), records

    def expire(self, oldest: float) -> Counter[int]:
        """Give up what was logged before `oldest`, in epoch seconds; return the records by level."""
        lost: Counter[int] = Counter()
        for level in list(self._lanes):
            while level in self._lanes and self._lanes[level][0][1].created < oldest:
                lost[level] += self._expired(_leave(self._lanes, level)[0], 1)
        for level in list(self._alone):
            while level in self._alone and self._alone[level][0][1].created < oldest:
                lost[level] += self._expired(_leave(self._alone, level)[0], 1)
        for entry in [entry for entry in self._joined() if entry.last_seen < oldest]:
            self._forget(entry)
            lost[-entry.rank[0]] += self._expired(entry.place, entry.count)
        return lost

    def _expired(self, place: int, records: int) -> int:
        self._observer.ended(place, "expired")
        return records

    def resume(self, place: int, entry: CapturedRecord | Fold | Digest) -> None:
        """Take back what waited before, in the order of places; the observer knows of it."""
        if isinstance(entry, Digest):
            self._digests[_digested(entry.channel, entry.level)] = entry
        elif isinstance(entry, Fold):
            self._folds[entry.key] = entry
            self._kept += len(entry.kept)
        else:
            self._line_up(place, entry)

    def clear(self) -> None:
        """Forget all."""
        self._lanes.clear()
        self._folds.clear()
        self._digests.clear()
        self._alone.clear()
        self._kept = 0


def _digested(channel: str, level: int) -> tuple[str, bool]:
    """Return what is digested together: of a channel what browsers say, or what the server itself does."""
    return channel, level < 0


def _last_first(joined: Fold | Digest) -> tuple[int, float]:
    level, age = joined.rank
    return (-level, -age)


def _count(lanes: dict[int, deque[_Held]], below: float) -> int:
    if below == math.inf:
        return sum(map(len, lanes.values()))
    return sum([len(lane) for level, lane in lanes.items() if level < below])


def _head(lanes: dict[int, deque[tuple[int, _Held]]]) -> tuple[float, float] | None:
    level = max(lanes, default=None)
    return None if level is None else (-level, lanes[level][0][0])


def _leave(lanes: dict[int, deque[tuple[int, _Held]]], level: int) -> tuple[int, _Held]:
    lane = lanes[level]
    first = lane.popleft()
    if not lane:
        del lanes[level]
    return first
