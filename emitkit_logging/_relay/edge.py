"""What waits in an application for Redis: which records go by themselves, which fold, and what is dropped.

Pure: the clock is passed in. As long as the relay says that the budget lasts, each record goes by itself. When it says
that it does not, the first record of a kind goes at once, and further ones join a fold, which goes `FOLD_SECONDS` after
what went before it. So what passes Redis grows with the kinds, not with the records.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.series import Series, count_brief, restore_brief
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.repeats import repeated_fold, series_of_folds
from emitkit_logging._relay.keys import ALERTS, LANES, RECORDS

FOLD_SECONDS = 10.0
"""Seconds for which records of one kind fold while the budget does not last."""

MOST_KINDS = 4_096
"""Kinds of which an application remembers when it sent them last."""

_SOME = 1_000
"""Records that are sorted at a time, since the lock is held meanwhile."""

_ALERT = logging.ERROR

Entry: TypeAlias = "CapturedRecord | Fold | Identity"
"""What becomes one part of a batch."""


class Item(NamedTuple):
    """Something that waits.

    Attributes:
        position: the number of its first record; positions grow by one.
        entry: what it is.
    """

    position: int
    entry: Entry

    @property
    def records(self) -> int:
        """How many log records it stands for."""
        if isinstance(self.entry, Fold):
            return self.entry.count
        return int(isinstance(self.entry, CapturedRecord))


class EdgeBacklog:
    """Holds the records of one application until they are taken for a batch.

    Args:
        size: records held in memory. Beyond it they fold, then folds keep one sample, then the least important is
            dropped.
        factory: makes events, where only these say what a record folds by.
        users: remembers what was sent about users.
        clock: returns seconds of a monotonic clock.

    Attributes:
        is_scarce: whether the relay says that the budget does not last.
        newest: the position of what came in last.
        overflowed: log records that were dropped because too many waited.
        series: by the name of the event, the series whose records join their fold when they come in, see `Fold.series`.
    """

    def __init__(self, *, size: int, factory: SafeEventFactory, users: KnownUsers, clock: Callable[[], float]) -> None:
        self._size = size
        self._factory = factory
        self._users = users
        self._clock = clock
        self._arrivals: dict[str, deque[Item]] = {lane: deque() for lane in LANES}
        self._ready: dict[str, deque[Item]] = {lane: deque() for lane in LANES}
        self._identities: deque[Item] = deque()
        self._folds: dict[FoldKey, Fold] = {}
        self._due: dict[FoldKey, float] = {}
        self._samples = 0
        self._sent_at: OrderedDict[FoldKey, float] = OrderedDict()
        self._released = 0
        self.is_scarce = False
        self.newest = 0
        self.overflowed = 0
        self.series: dict[object, Series] = {}

    # What comes in

    def take(self, queue: deque[Any], most: int) -> None:
        """Move at most `most` records from `queue` to here, the oldest first; it may have brief ones of `series`."""
        alerts, records = self._arrivals[ALERTS], self._arrivals[RECORDS]
        arrived = min(len(queue), most)
        for _ in range(arrived):
            captured = queue.popleft()
            self.newest += 1
            if type(captured) is tuple:  # a brief record
                if count_brief(captured):
                    continue
                captured = restore_brief(captured)
            if self.series and (fold := repeated_fold(self.series, captured)) is not None:
                fold.repeat(captured, _user_of(captured))
                continue
            (alerts if captured.priority >= _ALERT else records).append(Item(self.newest, captured))
        if arrived and self.held > self._size:
            self._shrink(arrived)

    def identify(self, identity: Identity) -> None:
        """Take what is known of a user, unless Redis was given the same."""
        facts = self._users.learn(identity)
        if facts is None:
            return
        self._users.succeeded(facts)
        if len(self._identities) >= self._size:
            self._identities.popleft()
        self.newest += 1
        self._identities.append(Item(self.newest, identity))

    # What waits

    @property
    def held(self) -> int:
        """How many records are held in memory."""
        waiting = (*self._arrivals.values(), *self._ready.values())
        return sum([len(items) for items in waiting]) + self._samples

    @property
    def pending(self) -> int:
        """How many log records wait."""
        singles = sum([len(items) for items in self._arrivals.values()])
        ready = sum([item.records for items in self._ready.values() for item in items])
        return singles + ready + sum([fold.count for fold in self._folds.values()])

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._identities or self._folds or any(self._arrivals.values()) or any(self._ready.values()))

    @property
    def identities(self) -> int:
        """How many waiting parts say something about users and stand for no log record."""
        return len(self._identities)

    def is_after(self, position: int) -> bool:
        """Whether all that waits came in after `position`."""
        queues = (*self._arrivals.values(), *self._ready.values(), self._identities)
        waiting = (item.position for items in queues for item in items)
        return all(other > position for other in waiting) and all(
            fold.position > position for fold in self._folds.values()
        )

    def release(self) -> None:
        """Let nothing that came in before now wait for others of its kind."""
        self._released = self.newest
        self._due = dict.fromkeys(self._due, self._clock())

    # What goes

    def pop(self, lane: str, most: int) -> list[Item]:
        """Take out what goes next in a lane, at most `most` items, the oldest first.

        Users go with the lane of records, before them.
        """
        ready = self._ready[lane]
        items: list[Item] = []
        if lane == RECORDS:
            while self._identities and len(items) < most:
                items.append(self._identities.popleft())
        if self.is_scarce:
            self._sort(_SOME)
        arrivals = self._arrivals[lane]
        self._release_due()
        while ready and len(items) < most:
            items.append(ready.popleft())
        while not self.is_scarce and arrivals and len(items) < most:
            items.append(arrivals.popleft())
        if self.is_scarce:
            self.series.clear()
            self.series.update(series_of_folds(self._folds.values(), self._factory))
        return items

    def end_series(self) -> bool:
        """Let no more records join a fold whose time has come without being looked at.

        Returns:
            Whether some may have: then all that came in is to be taken before the fold goes.
        """
        if not self.series or not self._due_folds(self._clock()):
            return False
        self.series.clear()
        return True

    def _due_folds(self, now: float) -> list[FoldKey]:
        return [key for key in self._folds if not self.is_scarce or self._due[key] <= now]

    def _release_due(self) -> None:
        """Let the folds go whose time has come; all of them, once the budget lasts again."""
        if not self._folds:
            return
        now, in_series = self._clock(), [series.fold for series in self.series.values()]
        for key in self._due_folds(now):
            if self._folds[key] in in_series:
                continue  # it came due just now: its series is to end first
            fold = self._take_out(key)
            self._remember(key, now)
            self._ready[ALERTS if fold.priority >= _ALERT else RECORDS].append(Item(fold.position, fold))

    def _take_out(self, key: FoldKey) -> Fold:
        fold = self._folds.pop(key)
        del self._due[key]
        self._samples -= len(fold.samples)
        self.series.clear()
        fold.is_gone = True
        return fold

    def put_back(self, lane: str, items: list[Item]) -> None:
        """Take back what was taken out last and did not go."""
        self._ready[lane].extendleft(reversed(items))

    # Folding

    def _sort(self, most: float, *, folds_all: bool = False) -> None:
        """Decide of what came in whether it goes by itself or folds, the alerts first."""
        # a fold that waits a few seconds keeps the kind that it was begun with
        self._factory.plain_kinds.pop_merged()
        for lane in LANES:
            arrivals = self._arrivals[lane]
            while arrivals and most > 0:
                self._sort_one(lane, arrivals.popleft(), folds_all=folds_all)
                most -= 1

    def _sort_one(self, lane: str, item: Item, *, folds_all: bool) -> None:
        captured = item.entry
        assert isinstance(captured, CapturedRecord)  # noqa: S101 - only records arrive
        key, user_id = self._key_of(captured)
        if key is None:
            self._ready[lane].append(item)
            return
        fold, now = self._folds.get(key), self._clock()
        if fold is None:
            due = self._sent_at.get(key, -math.inf) + FOLD_SECONDS
            if now >= due and not folds_all:
                self._remember(key, now)
                self._ready[lane].append(item)
                return
            fold = self._folds[key] = Fold(key, item.position)
            self._due[key] = max(now, due)
        if item.position <= self._released:
            self._due[key] = now
        self._samples += fold.add(captured, user_id)

    def _key_of(self, captured: CapturedRecord) -> tuple[FoldKey | None, object]:
        """Return what a record folds by and its user; no key where it goes by itself in any case."""
        try:
            key = self._factory.fold_key(captured)
        except BaseException as error:  # from an application's own formatter; shaping the record raises it again
            if not is_fault(error):
                raise
            key = None
        if key is not None:
            return key, _user_of(captured)
        event = self._factory.event(captured)
        if event is None or event.only_identifies or event.fold_key is None:
            return None, None
        for identity in event.identities:
            self.identify(identity)
        return event.fold_key, event.user_id

    def _remember(self, key: FoldKey, now: float) -> None:
        self._sent_at[key] = now
        self._sent_at.move_to_end(key)
        if len(self._sent_at) > MOST_KINDS:
            self._sent_at.popitem(last=False)

    # What is too much

    def _shrink(self, most: int) -> None:
        """Hold less: fold as many records as came in, thin the folds, drop the least important."""
        while self.held > self._size and any(self._arrivals.values()):
            self._sort(most, folds_all=True)
        if self.held <= self._size:
            return
        for fold in self._folds.values():
            if len(fold.samples) > 1:
                self._samples -= len(fold.samples) - 1
                fold.keep_samples(1)
        while self.held > self._size:
            self._drop_least()

    def _drop_least(self) -> None:
        fold = min(self._folds.values(), key=lambda fold: (fold.priority, -fold.position), default=None)
        for lane in reversed(LANES):
            ready = self._ready[lane]
            if ready and (fold is None or lane == RECORDS or fold.priority >= _ALERT):
                self.overflowed += ready.popleft().records
                return
        assert fold is not None  # noqa: S101 - more is held than may be
        self.overflowed += self._take_out(fold.key).count

    def clear(self) -> None:
        """Forget all that waits."""
        for items in (*self._arrivals.values(), *self._ready.values()):
            items.clear()
        self._identities.clear()
        for key in list(self._folds):
            self._take_out(key)


def _user_of(captured: CapturedRecord) -> str | None:
    user = captured.user_id
    return None if user is None else str(user)
