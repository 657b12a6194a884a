"""How alerts wait: the first of a kind goes before all else, the next by themselves or in the fold of their kind.

Pure. The rules are those of the design's section *Kinds, repeats, pushes*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.kinds import FoldKey, RenamedKinds
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.folds import Folds
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import BacklogObserver
from emitkit_logging._outbox.queues import FirstOfKind, Queues, key_of_event
from emitkit_logging._outbox.reports import Report, Reports


class Examined(NamedTuple):
    """A record that the outbox has to look at when the backlog admits or folds it.

    Its event names users; or no event could be made of it; or it is a later report of an exception whose first report
    has left the backlog.

    Attributes:
        priority: of the record.
        position: where the record came in.
        event: its event; `None` if it could not be made, and for a later report.
        reported_at: of a later report, where the first one waited; `None` for all other records.
    """

    priority: int
    position: int
    event: Event | None
    reported_at: int | None = None


class Admission:
    """Decides of alerts that came in how they wait.

    Args:
        factory: makes events.
        kinds: what is remembered of the kinds of alerts.
        queues: where alerts come in, and where they wait by themselves.
        folds: where they wait together.
        observer: receives the reports of where each record is.
        clock: returns seconds of a monotonic clock.

    Attributes:
        reports: the exceptions that alerts have reported lately.
    """

    def __init__(
        self,
        factory: EventFactory,
        kinds: KindMemory,
        queues: Queues,
        folds: Folds,
        observer: BacklogObserver,
        clock: Callable[[], float],
    ) -> None:
        self._factory = factory
        self._kinds = kinds
        self._queues = queues
        self._folds = folds
        self._observer = observer
        self.reports = Reports(clock)
        # not counted yet: records of each kind, and what the folds that grew had before
        self._admitted: dict[FoldKey, int] = {}
        self._joined: dict[Fold, int] = {}

    def admit(self, most: float = math.inf, *, most_behind_first: float = math.inf) -> list[Examined]:
        """Decide of alerts that came in, the oldest first, whether each is new, goes by itself or joins a fold.

        The first of a kind is new. The next go by themselves as long as the kind has places (design, *Kinds, repeats,
        pushes*), all others join the kind's fold, which waits for a place.

        Args:
            most: how many alerts are looked at, at most.
            most_behind_first: how many more are looked at after the first alert of a kind, so that it is sent soon.

        Returns:
            What `Backlog.fold` returns.
        """
        examined: list[Examined] = []
        arrivals, by_key, key_of, join = (
            self._queues.arrivals,
            self._folds.by_key,
            self._factory.fold_key,
            self._folds.join,
        )
        records, counts = self._admitted, self._joined
        left = int(min(len(arrivals), most))
        while left:
            left -= 1
            position, captured = arrivals.popleft()
            try:
                key = key_of(captured)
            except BaseException as error:  # from an application's own formatter; making the event raises it again
                if not is_fault(error):
                    raise
                key = None
            if key is None:
                key = self._admit_event(position, captured, examined)
                if key is None:
                    continue
            elif captured.report and (first := self.reports.find(captured, key)) is not None:
                self._add_report(first, position, captured, captured.user_id, examined)
                key = first.key
            elif (fold := by_key.get(key)) is not None:
                counts.setdefault(fold, fold.count)
                join(fold, position, captured, captured.user_id)
                if captured.report:
                    self.reports.add(captured, key, fold.position, waits=False)
                continue
            elif self._admit_single(key, position, captured):
                left = int(min(left, most_behind_first))
            if by_key.get(key) not in counts:  # else it is counted with what its fold grew by
                records[key] = records.get(key, 0) + 1
        self._count_admitted()
        return examined

    def _count_admitted(self) -> None:
        for key, count in self._admitted.items():
            self._kinds.count(key, count)
            if (changed := self._folds.by_key.get(key)) is not None:
                self._observer.changed(changed)
        for fold, before in self._joined.items():
            self._kinds.count(fold.key, fold.count - before)
            self._observer.changed(fold)
        self._admitted.clear()
        self._joined.clear()

    def _admit_single(self, key: FoldKey, position: int, captured: CapturedRecord) -> bool:
        """Admit an alert; no fold of its kind waited when the kind was looked up. Return whether it is the first."""
        self.follow_templates()
        if (fold := self._folds.by_key.get(key)) is not None:
            self._folds.join(fold, position, captured, captured.user_id)
            self.reports.add(captured, key, fold.position, waits=False)
            return False
        self.reports.add(captured, key, position, waits=True)
        if self._is_first(key):
            self._put_first(key, position, captured)
            return True
        if self._kinds.take_place(key):
            self._queues.singles.put(key.level, position, captured)
        else:
            fold = self._folds.add(key, position)
            self._folds.join(fold, position, captured, captured.user_id)
            self._folds.hold(fold)
        return False

    def follow_templates(self) -> None:
        """Rename the kinds whose templates became part of more general ones, in all that waits and is remembered."""
        merged = self._factory.plain_kinds.pop_merged()
        if not merged:
            return
        self._count_admitted()
        renamed = RenamedKinds(merged)
        self._kinds.rename(renamed)
        self._folds.rename(renamed)
        self.reports.rename(renamed)
        self._queues.rename(renamed)

    def admit_fold(self, fold: Fold) -> None:
        """Decide whether alerts that were folded elsewhere are new, or wait for a place of their kind."""
        fold.is_new = self._is_first(fold.key)
        if not self._kinds.take_place(fold.key) and not fold.is_new:
            self._folds.hold(fold)

    def _is_first(self, key: FoldKey) -> bool:
        return key not in self._queues.first_keys and not self._kinds.is_known(key)

    def _put_first(self, key: FoldKey, position: int, captured: CapturedRecord) -> None:
        self._kinds.take_place(key)
        self._queues.first_keys.add(key)
        self._queues.firsts.put(key.level, position, FirstOfKind(captured, key))

    def _admit_event(self, position: int, captured: CapturedRecord, examined: list[Examined]) -> FoldKey | None:
        """Admit an alert whose kind only its event says; return the kind, or `None` where it waits no more."""
        event = self._factory.event(captured)
        if event is None or event.only_identifies:
            examined.append(Examined(captured.priority, position, event))
            return None
        key = key_of_event(event)
        first = None if event.fold_key is None else self.reports.find(captured, key)
        if first is not None:
            self._add_report(first, position, captured, event.user_id, examined)
            if event.identities:
                examined.append(Examined(event.level, position, event))
            return first.key
        if event.fold_key is None and not self._is_first(key):
            self._queues.unfoldable.put(event.level, position, event)
        elif event.fold_key is not None and (fold := self._folds.by_key.get(key)) is not None:
            self._folds.join(fold, position, captured, event.user_id)
            self.reports.add(captured, key, fold.position, waits=False)
        else:
            self._admit_single(key, position, captured)
        if event.identities and key in self._folds.by_key:
            examined.append(Examined(event.level, position, event))
        return key

    # Several reports of one exception

    def _add_report(
        self, first: Report, position: int, captured: CapturedRecord, user_id: object, examined: list[Examined]
    ) -> None:
        """Add a later report of an exception to the fold of the first, or to where the first is by now."""
        fold = self._folds.by_key.get(first.key) or self._fold_waiting(first)
        if fold is None:
            examined.append(Examined(captured.priority, position, None, first.position))
            return
        self._folds.join(fold, position, captured, fold.user_id if user_id is None else user_id)
        self._observer.changed(fold)

    def _fold_waiting(self, first: Report) -> Fold | None:
        """Make a fold of a report that waits by itself; return `None` where it does not."""
        new = self._queues.firsts.remove(first.key.level, first.position)
        captured = self._queues.singles.remove(first.key.level, first.position) if new is None else new.captured
        if captured is None:
            return None
        self._queues.first_keys.discard(first.key)
        fold = self._folds.add(first.key, first.position)
        fold.is_new = new is not None
        self._folds.join(fold, first.position, captured, captured.user_id)
        return fold
