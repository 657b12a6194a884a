"""The records that wait and that no request was started for, in the order in which they are sent.

Pure. The highest priority goes first, within a priority the oldest. A record waits by itself until it is folded, a fold
until it is digested or its request starts.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.observer import NOBODY, BacklogObserver

ALERT = logging.ERROR
"""The priority from which a record is an alert (design, *Delivery*)."""

_Item = TypeVar("_Item", CapturedRecord, Event)


class Places:
    """Numbers the places where records, folds, digests and requests wait. A later place has a greater number.

    Attributes:
        newest: the number of the latest place.
    """

    newest = 0

    def add(self) -> int:
        """Return the number of one more place."""
        self.newest += 1
        return self.newest


class Examined(NamedTuple):
    """A record whose event had to be made when it was to be folded, since the event names users or could not be made.

    Attributes:
        priority: of the record.
        place: where the record came in.
        event: its event, or `None` where it could not be made.
    """

    priority: int
    place: int
    event: Event | None


class Popped(NamedTuple):
    """What was taken out of the backlog in order to be sent.

    Attributes:
        priority: of the most important record.
        age: of the oldest record.
        place: where it waited.
        records: how many log records it stands for.
        event: its event, or `None` where it could not be made.
    """

    priority: int
    age: float
    place: int
    records: int
    event: Event | None


class PriorityQueue(Generic[_Item]):
    """Items with their places: the highest priority first, within a priority the oldest.

    Attributes:
        by_priority: the items of each priority, the oldest first; no deque in it is empty.
    """

    def __init__(self) -> None:
        self.by_priority: dict[int, deque[tuple[int, _Item]]] = {}

    def put(self, priority: int, place: int, item: _Item) -> None:
        """Add an item; its place is behind all that are here."""
        items = self.by_priority.get(priority)
        if items is None:
            items = self.by_priority[priority] = deque()
        items.append((place, item))

    def count(self, below: float = math.inf) -> int:
        """Count the items of priorities less than `below`."""
        # counted at each call: an interrupt (a signal handler that raises) cannot make it wrong
        if below == math.inf:
            return sum(map(len, self.by_priority.values()))
        return sum([len(items) for priority, items in self.by_priority.items() if priority < below])

    def rank(self) -> tuple[float, float] | None:
        """Return the rank of the first item, or `None` when there is none."""
        priority = max(self.by_priority, default=None)
        return None if priority is None else (-priority, self.by_priority[priority][0][0])

    def is_after(self, place: float) -> bool:
        """Whether all items came in after `place`."""
        return all(items[0][0] > place for items in self.by_priority.values())

    def pop(self, priority: int) -> tuple[int, _Item]:
        """Take out the oldest item of a priority, and return its place and it."""
        items = self.by_priority[priority]
        first = items.popleft()
        if not items:
            del self.by_priority[priority]
        return first

    def expire(self, oldest: float) -> Iterator[tuple[int, int]]:
        """Take out what was logged before `oldest`, in epoch seconds, and yield priority and place of each item."""
        for priority in list(self.by_priority):
            while priority in self.by_priority and self.by_priority[priority][0][1].created < oldest:
                yield priority, self.pop(priority)[0]


class Backlog:
    """The records that wait, folded as far as it was asked for.

    Args:
        factory: makes events.
        observer: receives the reports of where each record is.
    """

    def __init__(self, factory: EventFactory, observer: BacklogObserver = NOBODY) -> None:
        self._factory = factory
        self._observer = observer
        self._singles: PriorityQueue[CapturedRecord] = PriorityQueue()
        # events that never fold: they have an idempotency key of their own, or wait for an answer
        self._unfoldable: PriorityQueue[Event] = PriorityQueue()
        self._folds: dict[FoldKey, Fold] = {}
        self._digests: dict[tuple[str, bool], Digest] = {}
        self._samples = 0

    def take(self, queue: deque[CapturedRecord], count: int, newest: int) -> None:
        """Move records from `queue` to the backlog, the oldest first.

        Args:
            queue: the records.
            count: how many are moved.
            newest: the place before the first of them; it is not less than the places of all that waits.
        """
        pop, came, by_priority = queue.popleft, self._observer.came, self._singles.by_priority
        for place in range(newest + 1, newest + count + 1):
            captured = pop()
            came(place, captured)
            priority = captured.priority
            items = by_priority.get(priority)
            if items is None:
                items = by_priority[priority] = deque()
            items.append((place, captured))

    # What waits

    def __len__(self) -> int:
        """Count the log records."""
        return self._singles.count() + self._unfoldable.count() + sum(entry.count for entry in self._joined())

    @property
    def held(self) -> int:
        """How much is held in memory: records, and each digest as one."""
        return self._singles.count() + self._samples + len(self._digests) + self._unfoldable.count()

    def singles(self, below: float = math.inf) -> int:
        """Count the records of priorities less than `below` that wait by themselves."""
        return self._singles.count(below)

    def events(self, below: float = math.inf) -> int:
        """Count the events of priorities less than `below` that would be sent if nothing more folded."""
        joined = sum(entry.priority < below for entry in self._joined())
        return self._singles.count(below) + self._unfoldable.count(below) + joined

    def _joined(self) -> Iterator[Fold | Digest]:
        yield from self._folds.values()
        yield from self._digests.values()

    def rank(self) -> tuple[float, float] | None:
        """Return the rank of what goes first, or `None` when nothing waits."""
        joined = min((entry.rank for entry in self._joined()), default=None)
        return min(filter(None, (self._singles.rank(), self._unfoldable.rank(), joined)), default=None)

    def is_after(self, place: float) -> bool:
        """Whether all that waits came in after `place`."""
        queues = self._singles.is_after(place) and self._unfoldable.is_after(place)
        return queues and all(entry.age > place for entry in self._joined())

    # What is sent

    def pop(self) -> Popped:
        """Take out what goes first. Something must wait."""
        rank = self.rank()
        assert rank is not None  # noqa: S101 - its caller looked
        priority = -int(rank[0])
        if rank == self._singles.rank():
            place, captured = self._singles.pop(priority)
            return Popped(priority, place, place, 1, self._factory.event(captured))
        if rank == self._unfoldable.rank():
            place, event = self._unfoldable.pop(priority)
            return Popped(priority, place, place, 1, event)
        joined = next(entry for entry in self._joined() if entry.rank == rank)
        self._remove(joined)
        return Popped(priority, joined.age, joined.place, joined.count, joined.event(self._factory))

    def _remove(self, joined: Fold | Digest) -> None:
        if isinstance(joined, Digest):
            del self._digests[_digest_key(joined)]
        else:
            del self._folds[joined.key]
            self._samples -= len(joined.samples)

    # What folds

    def fold(self, below: float = math.inf, most: float = math.inf) -> list[Examined]:
        """Fold records of priorities less than `below`, at most `most` of them, the least important and oldest first.

        Returns:
            The records whose events name users, which must be identified whatever happens to the fold, and those that
            could not be made events. Of these, a record that only identifies and one without an event wait no more.
        """
        examined: list[Examined] = []
        by_priority, folds, key_of, joined = (
            self._singles.by_priority,
            self._folds,
            self._factory.fold_key,
            self._observer.joined,
        )
        changed: dict[FoldKey, Fold] = {}
        for priority in sorted(priority for priority in by_priority if priority < below):
            items = by_priority[priority]
            number = int(min(len(items), most))
            most -= number
            for _ in range(number):
                place, captured = items.popleft()
                try:
                    key = key_of(captured)
                except Exception:  # from a formatter of the application's own; making the event raises it again
                    key = None
                if key is None:
                    self._fold_event(priority, place, captured, examined)
                    continue
                fold = folds.get(key)
                if fold is None:
                    fold = folds[key] = Fold(key, place)
                self._samples += fold.add(captured, captured.user_id)
                joined(place, fold.place)
                changed[key] = fold
            if not items:
                del by_priority[priority]
        for fold in changed.values():
            self._observer.changed(fold)
        return examined

    def _fold_event(self, priority: int, place: int, captured: CapturedRecord, examined: list[Examined]) -> None:
        event = self._factory.event(captured)
        if event is None or event.identities:
            examined.append(Examined(priority, place, event))
        if event is None or event.only_identifies:
            return
        key = event.fold_key
        if key is None:
            # it keeps its identities: they are taken out of it by the reader of `examined`
            self._unfoldable.put(priority, place, event)
            return
        fold = self._folds.get(key)
        if fold is None:
            fold = self._folds[key] = Fold(key, place)
        self._samples += fold.add(captured, event.user_id)
        self._observer.joined(place, fold.place)
        self._observer.changed(fold)

    def digest(self, most: float, below: float = math.inf) -> None:
        """Digest the least important folds of priorities less than `below` until at most `most` events of them wait."""
        excess = self.events(below) - most
        if excess > 0:
            for fold in sorted((fold for fold in self._folds.values() if fold.priority < below), key=_least_first):
                excess -= not self._digest(fold)
                if excess <= 0:
                    return

    def _digest(self, fold: Fold) -> bool:
        """Move a fold into its channel's digest, and return whether that is a new one."""
        key = _digest_key(fold)
        digest = self._digests.get(key)
        is_new = digest is None
        if digest is None:
            digest = self._digests[key] = Digest(fold.channel, fold.place)
        digest.add(fold)
        self._remove(fold)
        self._observer.joined(fold.place, digest.place)
        self._observer.changed(digest)
        return is_new

    # What is too much

    def shrink(self, size: int, most: float = math.inf) -> tuple[list[Examined], Counter[int]]:
        """Fold, then digest, then drop, until at most `size` are held; the least important and oldest first.

        Args:
            size: what `held` may be afterwards.
            most: how many records fold at a time.

        Returns:
            What `fold` returns, and how many log records were dropped of each priority.
        """
        examined: list[Examined] = []
        while self.held > size and self._singles.by_priority:
            examined += self.fold(most=most)
        if self.held <= size:
            return examined, Counter()
        self._condense(size)
        return examined, self._drop(size)

    def _condense(self, size: int) -> None:
        # until a tenth is free, so that not each further record sorts all folds
        for fold in sorted(self._folds.values(), key=_least_first):
            self._digest(fold)
            if self.held <= size - size // 10:
                return

    def _drop(self, size: int) -> Counter[int]:
        lost: Counter[int] = Counter()
        while self.held > size:
            priority, records = self._drop_least()
            lost[priority] += records
        return lost

    def _drop_least(self) -> tuple[int, int]:
        queues: tuple[PriorityQueue[Any], ...] = (self._singles, self._unfoldable)
        priority = min((priority for queue in queues for priority in queue.by_priority), default=math.inf)
        joined = min(self._joined(), key=_least_first, default=None)
        if joined is not None and joined.priority < priority:
            self._remove(joined)
            priority, place, records = joined.priority, joined.place, joined.count
        else:
            least = [queue for queue in queues if priority in queue.by_priority]
            queue = min(least, key=lambda queue: queue.by_priority[int(priority)][0][0])
            place, records = queue.pop(int(priority))[0], 1
        self._observer.ended(place, "overflow")
        return int(priority), records

    def expire(self, oldest: float) -> Counter[int]:
        """Drop what was logged before `oldest`, in epoch seconds.

        Returns:
            How many log records were dropped of each priority.
        """
        expired = [(priority, place, 1) for priority, place in self._singles.expire(oldest)]
        expired += [(priority, place, 1) for priority, place in self._unfoldable.expire(oldest)]
        for entry in [entry for entry in self._joined() if entry.last_seen < oldest]:
            self._remove(entry)
            expired.append((entry.priority, entry.place, entry.count))
        lost: Counter[int] = Counter()
        for priority, place, records in expired:
            lost[priority] += records
            self._observer.ended(place, "expired")
        return lost

    def resume(self, place: int, entry: CapturedRecord | Fold | Digest) -> None:
        """Take over what waited in another outbox, in the order of places. It is not reported to the observer."""
        if isinstance(entry, Digest):
            self._digests[_digest_key(entry)] = entry
        elif isinstance(entry, Fold):
            self._folds[entry.key] = entry
            self._samples += len(entry.samples)
        else:
            self._singles.put(entry.priority, place, entry)

    def clear(self) -> None:
        """Forget all that waits."""
        self._singles.by_priority.clear()
        self._unfoldable.by_priority.clear()
        self._folds.clear()
        self._digests.clear()
        self._samples = 0


def _digest_key(entry: Fold | Digest) -> tuple[str, bool]:
    """Return what is digested together: of each channel the trusted records, and those from browsers."""
    return entry.channel, entry.priority < 0


def _least_first(joined: Fold | Digest) -> tuple[float, float]:
    priority, age = joined.rank
    return (-priority, -age)
