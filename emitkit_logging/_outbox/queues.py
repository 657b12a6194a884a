"""The queues of the backlog: items in the order in which they are sent.

Pure. The highest priority goes first, within a priority the oldest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey, RenamedKinds
from emitkit_logging._outbox.folding import Rank

_FAR = 1_000
"""Items that `remove` looks at, at most."""


class Positions:
    """Numbers the positions where records, folds, digests and requests wait. A later position has a greater number.

    Attributes:
        newest: the number of the latest position.
    """

    newest = 0

    def add(self) -> int:
        """Return the number of one more position."""
        self.newest += 1
        return self.newest


class FirstOfKind(NamedTuple):
    """The first record of a kind of alerts.

    Attributes:
        captured: the record.
        key: its kind.
    """

    captured: CapturedRecord
    key: FoldKey

    @property
    def created(self) -> float:
        """When it was logged, in epoch seconds."""
        return self.captured.created


_Item = TypeVar("_Item", CapturedRecord, Event, FirstOfKind)


class PriorityQueue(Generic[_Item]):
    """Items with their positions: the highest priority first, within a priority the oldest.

    Args:
        is_new: whether the items are the first alerts of their kinds, which go before all else.

    Attributes:
        by_priority: the items of each priority, the oldest first; no deque in it is empty.
    """

    def __init__(self, *, is_new: bool = False) -> None:
        self._is_repeat = not is_new
        self.by_priority: dict[int, deque[tuple[int, _Item]]] = {}

    def put(self, priority: int, position: int, item: _Item) -> None:
        """Add an item; its position is behind all that are here."""
        items = self.by_priority.get(priority)
        if items is None:
            items = self.by_priority[priority] = deque()
        items.append((position, item))

    def count(self, below: float = math.inf) -> int:
        """Count the items of priorities less than `below`."""
        if not self.by_priority:
            return 0
        # counted at each call: an interrupt (a signal handler that raises) cannot make it wrong
        if below == math.inf:
            return sum(map(len, self.by_priority.values()))
        return sum([len(items) for priority, items in self.by_priority.items() if priority < below])

    def rank(self) -> Rank | None:
        """Return the rank of the first item, or `None` when there is none."""
        priority = max(self.by_priority, default=None)
        return None if priority is None else (self._is_repeat, -priority, self.by_priority[priority][0][0])

    def is_after(self, position: float) -> bool:
        """Whether all items came in after `position`."""
        return all(items[0][0] > position for items in self.by_priority.values())

    def pop(self, priority: int) -> tuple[int, _Item]:
        """Take out the oldest item of a priority, and return its position and it."""
        items = self.by_priority[priority]
        first = items.popleft()
        if not items:
            del self.by_priority[priority]
        return first

    def remove(self, priority: int, position: int) -> _Item | None:
        """Take out the item of a priority that waits at `position` and came in lately; return `None` if none does."""
        items = self.by_priority.get(priority)
        if items is None:
            return None
        for number, (at, item) in enumerate(reversed(items)):
            if at == position:
                del items[len(items) - 1 - number]
                if not items:
                    del self.by_priority[priority]
                return item
            if at < position or number >= _FAR:
                break
        return None

    def expire(self, oldest: float) -> Iterator[tuple[int, int]]:
        """Take out what was logged before `oldest`, in epoch seconds, and yield priority and position of each item."""
        for priority in list(self.by_priority):
            while priority in self.by_priority and self.by_priority[priority][0][1].created < oldest:
                yield priority, self.pop(priority)[0]


@dataclass(slots=True)
class Queues:
    """All that waits by itself.

    Attributes:
        arrivals: alerts of which it is not decided yet how they wait, with their positions.
        firsts: the first alerts of their kinds.
        unfoldable_firsts: likewise, events that never fold.
        singles: records that may fold; alerts among them have a place of their kind each.
        unfoldable: events that never fold: they have an idempotency key of their own, or wait for an answer.
        first_keys: the kinds of both queues of firsts.
    """

    arrivals: deque[tuple[int, CapturedRecord]] = field(default_factory=deque)
    firsts: PriorityQueue[FirstOfKind] = field(default_factory=lambda: PriorityQueue(is_new=True))
    unfoldable_firsts: PriorityQueue[Event] = field(default_factory=lambda: PriorityQueue(is_new=True))
    singles: PriorityQueue[CapturedRecord] = field(default_factory=PriorityQueue)
    unfoldable: PriorityQueue[Event] = field(default_factory=PriorityQueue)
    first_keys: set[FoldKey] = field(default_factory=set)

    @property
    def _filled(self) -> list[PriorityQueue[Any]]:
        queues = (self.firsts, self.unfoldable_firsts, self.singles, self.unfoldable)
        return [queue for queue in queues if queue.by_priority]

    def __len__(self) -> int:
        """Count the log records."""
        return len(self.arrivals) + self.count()

    def count(self, below: float = math.inf) -> int:
        """Count the events of priorities less than `below`, arrivals left out."""
        return sum([queue.count(below) for queue in self._filled])

    def news(self) -> int:
        """Count the first alerts of kinds."""
        return self.firsts.count() + self.unfoldable_firsts.count()

    def rank(self) -> Rank | None:
        """Return the rank of what goes first, or `None` when nothing waits."""
        return min(filter(None, [queue.rank() for queue in self._filled]), default=None)

    def is_after(self, position: float) -> bool:
        """Whether all items came in after `position`."""
        if self.arrivals and self.arrivals[0][0] <= position:
            return False
        return all(queue.is_after(position) for queue in self._filled)

    def expire(self, oldest: float) -> Iterator[tuple[int, int]]:
        """Take out what was logged before `oldest`, in epoch seconds, and yield priority and position of each item."""
        for queue in self._filled:
            yield from queue.expire(oldest)
        self.first_keys = {first.key for items in self.firsts.by_priority.values() for _, first in items}
        self.first_keys |= {key_of_event(e) for items in self.unfoldable_firsts.by_priority.values() for _, e in items}
        while self.arrivals and self.arrivals[0][1].created < oldest:
            position, captured = self.arrivals.popleft()
            yield captured.priority, position

    def rename(self, renamed: RenamedKinds) -> None:
        """Remember what kinds are called now."""
        self.first_keys = set(map(renamed.of, self.first_keys))
        for items in self.firsts.by_priority.values():
            for number, (position, first) in enumerate(items):
                items[number] = position, FirstOfKind(first.captured, renamed.of(first.key))

    def clear(self) -> None:
        """Forget all."""
        self.arrivals.clear()
        self.first_keys.clear()
        for queue in self._filled:
            queue.by_priority.clear()


def key_of_event(event: Event) -> FoldKey:
    """Return the kind of an event, also of one that never folds."""
    return FoldKey(event.channel, event.level, event.kind)
