"""The records that wait before a request is started for them, in the order in which they are sent.

Pure. The first alert of each kind goes first, then the highest priority, within a priority the oldest. A record waits
by itself until it is sent or folded, a fold until it is sent or digested.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.series import Series, count_brief, restore_brief
from emitkit_logging._outbox.admission import Admission, Examined
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Digest, Fold, Rank
from emitkit_logging._outbox.folds import DigestKey, Folds
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import NO_OBSERVER, BacklogObserver
from emitkit_logging._outbox.queues import Queues, key_of_event
from emitkit_logging._outbox.repeats import repeated_fold, series_of_folds

ALERT = logging.ERROR
"""The priority from which a record is an alert (design, *Delivery*)."""

_SERIES_CHECKS = frozenset((16, 256, 2_048))
"""Numbers of folded records after which `fold` looks for series, which make folding the next ones cheaper."""


class Popped(NamedTuple):
    """What was taken out of the backlog in order to be sent.

    Attributes:
        priority: of the most important record.
        first_position: the position of the oldest record.
        position: where it waited.
        records: how many log records it stands for.
        event: its event, or `None` where it could not be made.
        is_new: whether it has the first record of a kind of alerts.
        key: what it has in common with others that fold with it; `None`: a digest.
    """

    priority: int
    first_position: float
    position: int
    records: int
    event: Event | None
    is_new: bool = False
    key: FoldKey | None = None


class Backlog:
    """The records that wait. It folds and digests them when it is asked to.

    Args:
        factory: makes events.
        kinds: what is remembered of the kinds of alerts.
        observer: receives the reports of where each record is.
        clock: returns seconds of a monotonic clock.

    Attributes:
        taken: how many log records `take` has moved here.
    """

    def __init__(
        self,
        factory: EventFactory,
        kinds: KindMemory,
        observer: BacklogObserver = NO_OBSERVER,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._factory = factory
        self._kinds = kinds
        self._observer = observer
        self._queues = Queues()
        self._folds = Folds(kinds, observer)
        self.taken = 0
        self._is_series_ended = False
        self._admission = Admission(factory, kinds, self._queues, self._folds, observer, clock)

    def take(self, queue: deque[Any], count: int, newest: int) -> None:
        """Move records from `queue` to the backlog, the oldest first.

        Args:
            queue: captured records, and brief ones of `series`.
            count: how many are moved.
            newest: the position before the first of them; it is not less than the positions of all that waits.
        """
        pop, came, by_priority = queue.popleft, self._observer.came, self._queues.singles.by_priority
        series_of, joined = self._folds.series, self._observer.joined
        changed: dict[Fold, None] = {}
        self.taken += count
        for position in range(newest + 1, newest + count + 1):
            captured = pop()
            if type(captured) is tuple:  # a brief record
                if count_brief(captured):
                    continue  # a store with an observer takes no brief records
                captured = restore_brief(captured)
            came(position, captured)
            if series_of and (fold := repeated_fold(series_of, captured)) is not None:
                fold.repeat(captured, captured.user_id)
                joined(position, fold.position)
                changed[fold] = None
                continue
            priority = captured.priority
            if priority >= ALERT:
                self._queues.arrivals.append((position, captured))
                continue
            items = by_priority.get(priority)
            if items is None:
                items = by_priority[priority] = deque()
            items.append((position, captured))
        for fold in changed:
            self._observer.changed(fold)

    @property
    def series(self) -> Mapping[object, Series]:
        """The series whose records join their fold when they come in, by the name of their event; always one dict."""
        return self._folds.series

    def join_series(self, *, is_wanted: bool) -> None:
        """Let records of a series join its fold when they come in, or let each wait by itself.

        While all records fold, nothing else has to be decided for them. In a storm nearly all records are such.

        Args:
            is_wanted: whether records that are no alerts fold.
        """
        found = self._folds.series
        found.clear()
        if is_wanted and not self._is_series_ended:
            found.update(series_of_folds(self._folds.by_key.values(), self._factory))

    def end_series(self, rank: Rank) -> bool:
        """End all series until the next `pop`, if the fold that has this rank is the fold of one.

        Returns:
            Whether it is. Then brief records of it may still be in the queue: they have to be taken before the fold is
            popped.
        """
        if not any(series.fold.rank == rank for series in self._folds.series.values()):
            return False
        self._folds.series.clear()
        self._is_series_ended = True
        return True

    def take_fold(self, fold: Fold) -> None:
        """Take records that were folded elsewhere; alerts that came in before have been admitted.

        Args:
            fold: it has its position; all that waits came in before.
        """
        waiting = self._folds.by_key.get(fold.key)
        if waiting is not None:
            self._folds.merge(waiting, fold)
        else:
            self._folds.resume(fold)
            if fold.priority >= ALERT:
                self._admission.admit_fold(fold)
        if fold.priority >= ALERT:
            self._kinds.count(fold.key, fold.count)
        self._observer.changed(fold if waiting is None else waiting)

    # Alerts: new kinds and repeats

    def admit(self, most: float = math.inf, *, most_behind_first: float = math.inf) -> list[Examined]:
        """Decide of alerts that came in whether each is new, goes by itself or joins a fold, see `Admission.admit`."""
        return self._admission.admit(most, most_behind_first=most_behind_first)

    def release(self) -> None:
        """End all waiting for a place of a kind, or for more reports of an exception."""
        self._admission.reports.release()
        self._folds.release()

    def release_due(self, now: float) -> None:
        """Release the folds whose kinds have a place at `now`, in seconds of the clock."""
        self._folds.release_due(now)

    @property
    def release_at(self) -> float:
        """When the next fold that waits for a place is released, in seconds of the clock; infinite: none waits so."""
        return self._folds.release_at

    # What waits

    def __len__(self) -> int:
        """Count the log records."""
        return len(self._queues) + self._folds.records

    @property
    def held(self) -> int:
        """How much is held in memory: records, and each digest as one."""
        return len(self._queues) + self._folds.held_in_memory

    def singles(self, below: float = math.inf) -> int:
        """Count the records of priorities less than `below` that wait by themselves, first alerts left out."""
        return self._queues.singles.count(below)

    def news(self) -> int:
        """Count the events that have the first alert of a kind."""
        return self._queues.news() + sum([entry.is_new for entry in self._folds])

    def events(self, below: float = math.inf) -> int:
        """Count the events of priorities less than `below` that could be sent now if nothing more folded."""
        return self._queues.count(below) + sum([entry.priority < below for entry in self._folds.sendable()])

    def rank(self) -> Rank | None:
        """Return the rank of what goes first, or `None` when nothing can go."""
        of_folds = min((entry.rank for entry in self._folds.sendable()), default=None)
        return min(filter(None, (self._queues.rank(), of_folds)), default=None)

    def report_wait(self, rank: Rank) -> float:
        """Return for how many seconds the entry with this rank waits for more reports of its exception."""
        return self._admission.reports.wait(int(rank[2]))

    def is_one_record(self, rank: Rank) -> bool:
        """Whether the entry with this rank stands for one record."""
        return not any(entry.rank == rank and entry.count > 1 for entry in self._folds)

    def is_after(self, position: float) -> bool:
        """Whether all that waits came in after `position`."""
        return self._queues.is_after(position) and all(entry.first_position > position for entry in self._folds)

    # What is sent

    def pop(self, rank: Rank) -> Popped:
        """Take out what goes first, whose rank `rank` has returned."""
        self._is_series_ended = False
        queues = self._queues
        priority = -int(rank[1])
        if rank == queues.firsts.rank():
            position, first = queues.firsts.pop(priority)
            queues.first_keys.discard(first.key)
            return Popped(
                priority, position, position, 1, self._factory.event(first.captured), is_new=True, key=first.key
            )
        if rank == queues.unfoldable_firsts.rank():
            position, event = queues.unfoldable_firsts.pop(priority)
            queues.first_keys.discard(key_of_event(event))
            return Popped(priority, position, position, 1, event, is_new=True, key=key_of_event(event))
        if rank == queues.singles.rank():
            position, captured = queues.singles.pop(priority)
            return _popped_single(priority, position, self._factory.event(captured))
        if rank == queues.unfoldable.rank():
            position, event = queues.unfoldable.pop(priority)
            return _popped_single(priority, position, event)
        entry = next(entry for entry in self._folds.sendable() if entry.rank == rank)
        self._folds.remove(entry)
        key = entry.key if isinstance(entry, Fold) else None
        made = entry.event(self._factory)
        return Popped(priority, entry.first_position, entry.position, entry.count, made, is_new=entry.is_new, key=key)

    # What folds

    def fold(self, below: float = math.inf, most: float = math.inf) -> list[Examined]:
        """Fold records of priorities less than `below`, at most `most` of them, the least important and oldest first.

        First alerts stay as they are, see `fold_firsts`.

        Returns:
            The records whose events name users, who are identified whatever happens to the fold, and the records of
            which no event could be made. The latter, and those that only identify, have left the backlog.
        """
        examined: list[Examined] = []
        by_priority, by_key, key_of = self._queues.singles.by_priority, self._folds.by_key, self._factory.fold_key
        join, joined = self._folds.join, self._observer.joined
        changed: dict[FoldKey, Fold] = {}
        series_of: dict[object, Series] = {}
        for priority in sorted(priority for priority in by_priority if priority < below):
            items = by_priority[priority]
            number = int(min(len(items), most))
            most -= number
            for folded in range(number):
                if folded in _SERIES_CHECKS and priority < ALERT:
                    series_of = series_of_folds(self._folds.by_key.values(), self._factory)
                position, captured = items.popleft()
                if series_of and (fold := repeated_fold(series_of, captured)) is not None:
                    fold.repeat(captured, captured.user_id)
                    joined(position, fold.position)
                    changed[fold.key] = fold
                    continue
                try:
                    key = key_of(captured)
                except BaseException as error:  # from an application's own formatter; making the event raises it again
                    if not is_fault(error):
                        raise
                    key = None
                if key is None:
                    self._fold_event(priority, position, captured, examined)
                    continue
                fold = by_key.get(key)
                if fold is None:
                    fold = self._folds.add(key, position)
                elif priority >= ALERT:
                    self._pass_place(fold)
                join(fold, position, captured, captured.user_id)
                changed[key] = fold
            if not items:
                del by_priority[priority]
        for fold in changed.values():
            self._observer.changed(fold)
        self._admission.follow_templates()
        return examined

    def fold_firsts(self, most: float = math.inf) -> list[Examined]:
        """Fold first alerts, at most `most`, the least important and oldest first; their folds are new as they were.

        Returns:
            What `fold` returns.
        """
        examined: list[Examined] = []
        for priority in sorted(self._queues.firsts.by_priority):
            for _ in range(int(min(len(self._queues.firsts.by_priority[priority]), most))):
                position, first = self._queues.firsts.pop(priority)
                self._queues.first_keys.discard(first.key)
                self._fold_event(priority, position, first.captured, examined, is_new=True)
                most -= 1
        return examined

    def _pass_place(self, fold: Fold) -> None:
        """Pass on the place of its kind that an alert has taken which now joins a fold.

        A fold that waits for a place gets it; else it goes back to the kind.
        """
        if fold.is_held:
            fold.is_held = False
        else:
            self._kinds.return_place(fold.key)

    def _fold_event(
        self, priority: int, position: int, captured: CapturedRecord, examined: list[Examined], *, is_new: bool = False
    ) -> None:
        event = self._factory.event(captured)
        if event is None or event.identities:
            examined.append(Examined(priority, position, event))
        if event is None or event.only_identifies:
            return
        key = event.fold_key
        if key is None:
            # it keeps its identities: they are taken out of it by the reader of `examined`
            (self._queues.unfoldable_firsts if is_new else self._queues.unfoldable).put(priority, position, event)
            if is_new:
                self._queues.first_keys.add(key_of_event(event))
            return
        fold = self._folds.by_key.get(key)
        if fold is None:
            fold = self._folds.add(key, position)
        elif priority >= ALERT:
            self._pass_place(fold)
        fold.is_new = fold.is_new or is_new
        self._folds.join(fold, position, captured, event.user_id)
        self._observer.changed(fold)

    def digest(self, most: float, below: float = math.inf) -> None:
        """Digest the least important folds of priorities less than `below` until at most `most` events of them wait."""
        excess = self.events(below) - most
        if excess <= 0:
            return
        folds = (fold for fold in self._folds.by_key.values() if fold.priority < below and not fold.is_held)
        chosen: dict[Digest | DigestKey, list[Fold]] = {}
        for fold in sorted(folds, key=_least_first):
            together = chosen.setdefault(self._folds.digest_of(fold), [])
            together.append(fold)
            # one fold by itself is no digest
            excess -= len(together) > 1 or isinstance(self._folds.digest_of(fold), Digest)
            if excess <= 0:
                break
        for digest, together in chosen.items():
            if len(together) > 1 or isinstance(digest, Digest):
                for fold in together:
                    self._digest(fold)

    def _digest(self, fold: Fold) -> None:
        is_push_due = False
        if fold.priority >= ALERT:
            self._kinds.started(fold.key)
            # the first of the kind pushes itself
            is_push_due = fold.key not in self._queues.first_keys and self._kinds.push(fold.key)
        self._folds.digest(fold, is_push_due=is_push_due)

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
        while self.held > size and (
            self._queues.arrivals or self._queues.singles.by_priority or self._queues.firsts.by_priority
        ):
            if self._queues.singles.by_priority:
                examined += self.fold(most=most)
            elif self._queues.arrivals:
                examined += self.admit(most)
            else:
                examined += self.fold_firsts(most)
        if self.held <= size:
            return examined, Counter()
        self._condense(size)
        return examined, self._drop(size)

    def _condense(self, size: int) -> None:
        """Leave each fold one sample, then digest folds, the least important and oldest first.

        A fold that would be a digest by itself stays one: nothing would be held less.
        """
        enough = size - size // 10  # so that not each further record sorts all folds
        folds = sorted(self._folds.by_key.values(), key=_least_first)
        for fold in folds:
            if self.held <= enough:
                return
            self._folds.thin(fold)
        together = Counter(map(self._folds.digest_of, folds))
        for fold in folds:
            if self.held <= enough:
                return
            digest = self._folds.digest_of(fold)
            if isinstance(digest, Digest) or together[digest] > 1:
                self._digest(fold)

    def _drop(self, size: int) -> Counter[int]:
        lost: Counter[int] = Counter()
        while self.held > size:
            priority, records = self._drop_least()
            lost[priority] += records
        return lost

    def _drop_least(self) -> tuple[int, int]:
        """Drop what is least important, when only events that never fold, and digests, are left."""
        queues = (self._queues.unfoldable, self._queues.unfoldable_firsts)
        priority = min((priority for queue in queues for priority in queue.by_priority), default=math.inf)
        entry = min(self._folds, key=_least_first, default=None)
        if entry is not None and entry.priority < priority:
            self._folds.remove(entry)
            priority, position, records = entry.priority, entry.position, entry.count
        else:
            queue = next(queue for queue in queues if priority in queue.by_priority)
            position, event = queue.pop(int(priority))
            records = 1
            self._queues.first_keys.discard(key_of_event(event))
        self._observer.ended(position, "overflow")
        return int(priority), records

    def expire(self, oldest: float) -> Counter[int]:
        """Drop what was logged before `oldest`, in epoch seconds.

        Returns:
            How many log records were dropped of each priority.
        """
        expired = [(priority, position, 1) for priority, position in self._queues.expire(oldest)]
        for entry in [entry for entry in self._folds if entry.last_seen < oldest]:
            self._folds.remove(entry)
            expired.append((entry.priority, entry.position, entry.count))
        lost: Counter[int] = Counter()
        for priority, position, records in expired:
            lost[priority] += records
            self._observer.ended(position, "expired")
        return lost

    def resume(self, position: int, entry: CapturedRecord | Fold | Digest) -> None:
        """Take over what waited in another outbox, in the order of positions. It is not reported to the observer."""
        if isinstance(entry, CapturedRecord):
            if entry.priority >= ALERT:
                self._queues.arrivals.append((position, entry))
            else:
                self._queues.singles.put(entry.priority, position, entry)
            return
        self._folds.resume(entry)
        if isinstance(entry, Fold) and entry.priority >= ALERT:
            entry.is_new = not self._kinds.is_known(entry.key)
            if not entry.is_new:
                self._folds.hold(entry)

    def clear(self) -> None:
        """Forget all that waits."""
        self._queues.clear()
        self._admission.reports.clear()
        self._folds.clear()


def _popped_single(priority: int, position: int, event: Event | None) -> Popped:
    return Popped(priority, position, position, 1, event, key=None if event is None else key_of_event(event))


def _least_first(entry: Fold | Digest) -> tuple[bool, float, float]:
    is_repeat, priority, first_position = entry.rank
    return (not is_repeat, -priority, -first_position)
