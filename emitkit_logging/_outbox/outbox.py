"""What is sent next, and what becomes of it.

Pure: no thread, no I/O, the clock is passed in. While the budget lasts each record is sent as an event of its own, the
highest priority first. When it does not, what waits folds (`scarcity.py`), and folds that are still too many are
digested. Each record that comes in is counted exactly once: delivered, pending or dropped.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.series import Series
from emitkit_logging._outbox.admission import Examined
from emitkit_logging._outbox.backlog import ALERT, Backlog
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.deliveries import Deliveries
from emitkit_logging._outbox.delivery import Delivery, EventDelivery, IdentifyDelivery
from emitkit_logging._outbox.factory import EventFactory, SafeEventFactory
from emitkit_logging._outbox.folding import Digest, Fold, Rank
from emitkit_logging._outbox.identifies import IdentifyQueue, KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.losses import REPORT_PRIORITY, Losses, Undelivered
from emitkit_logging._outbox.observer import NO_OBSERVER, BacklogObserver, Knowledge
from emitkit_logging._outbox.outage import Outage
from emitkit_logging._outbox.queues import Positions
from emitkit_logging._outbox.scarcity import ScarcityPolicy
from emitkit_logging.stats import Stats

NEVER = math.inf
"""What `next` returns when nothing waits, and `wake_level` when no new record can be sent."""

_BELOW_ALERTS = ALERT - 1
"""The priority of identifies without an event: an event that follows one may name the user by an alias of it."""


class Outbox:
    """Holds the records that wait, and decides what is sent.

    It is not safe for use by several threads. One request is under way at a time: `next`, then `settle`.

    Args:
        size: records held in memory. Beyond it they fold, then they are digested, then the least important are dropped.
        budget: decides when a request may start.
        users: decides which identify requests are due.
        kinds: what is remembered of the kinds of alerts.
        factory: makes events of records.
        clock: returns seconds of a monotonic clock.
        observer: receives the reports of where each record is.

    Attributes:
        closed: whether it gave up, and takes nothing more.
    """

    def __init__(
        self,
        *,
        size: int,
        budget: RateBudget,
        users: KnownUsers,
        kinds: KindMemory,
        factory: EventFactory,
        clock: Callable[[], float],
        observer: BacklogObserver = NO_OBSERVER,
    ) -> None:
        self._size = size
        self._budget = budget
        self._factory = SafeEventFactory(factory)
        self._clock = clock
        self._observer = observer
        self._positions = Positions()
        self._losses = Losses(clock)
        self._kinds = kinds
        self._backlog = Backlog(self._factory, kinds, observer, clock=clock)
        self._identifies = IdentifyQueue(
            users, size=size, positions=self._positions, losses=self._losses, observer=observer
        )
        self._outage = Outage(self._losses.notices, lambda: self.pending, clock)
        self._deliveries = Deliveries(
            budget=budget,
            identifies=self._identifies,
            losses=self._losses,
            outage=self._outage,
            observer=observer,
            clock=clock,
        )
        self._scarcity = ScarcityPolicy(self._backlog, self._deliveries, budget, clock)
        self.closed = False

    # What comes in

    @property
    def series(self) -> Mapping[object, Series]:
        """The series of which brief records may be taken, by the name of their event; always one dict."""
        return self._backlog.series

    def take(self, queue: deque[Any], most: int | None = None) -> None:
        """Move records from `queue` to the outbox, the oldest first.

        When the outbox is full, as many older records fold as came in: a call costs in proportion to what it takes.

        Args:
            queue: captured records, and brief ones of `series`; those that were taken are removed from it.
            most: how many to take at most.
        """
        arrived = len(queue) if most is None else min(len(queue), most)
        if not arrived:
            return
        if self.closed:
            self._losses.dropped["shutdown"] += arrived
            for _ in range(arrived):
                queue.popleft()
            return
        newest = self._positions.newest
        self._positions.newest += arrived
        self._backlog.take(queue, arrived, newest)
        self._read_examined(self._scarcity.fold_arrived())
        if self.held > self._size:
            self._shrink(self._size - self._deliveries.events, arrived)

    def take_fold(self, fold: Fold) -> None:
        """Take records that were folded elsewhere.

        Args:
            fold: it gets its position here.
        """
        if self.closed:
            self._losses.dropped["shutdown"] += fold.count
            return
        if fold.priority >= ALERT:
            self._read_examined(self._backlog.admit())
        fold.position = self._positions.add()
        self._backlog.take_fold(fold)
        if self.held > self._size:
            self._shrink(self._size - self._deliveries.events, len(fold.samples))

    def halve(self) -> bool:
        """Hold half as much of what waits: fold it, digest it, drop the least important.

        Returns:
            Whether it can be called again with an effect.
        """
        held = self._backlog.held
        if held:
            self._shrink(held // 2)
        return held > 1

    def _shrink(self, size: int, most: float = math.inf) -> None:
        examined, lost = self._backlog.shrink(max(size, 1), most)
        self._read_examined(examined)
        if lost:
            self._losses.add("overflow", lost, "more records than can be held")

    def expire(self, oldest: float) -> None:
        """Drop what was logged before `oldest`, in epoch seconds, except for requests that were started."""
        lost = self._backlog.expire(oldest)
        if lost:
            self._losses.add("expired", lost, "it waited too long")

    def refuse(self) -> None:
        """Count a record that was logged after the handler was closed."""
        self._losses.dropped["shutdown"] += 1

    def identify(self, identity: Identity) -> None:
        """Take what is known of a user, to be sent without an event."""
        if not self.closed:
            self._identifies.add(identity, _BELOW_ALERTS, self._positions.add())

    # What another outbox left

    def budget(self) -> dict[str, Any]:
        """Return what was learned of the budget, as JSON values, for `begin_at`."""
        return self._budget.state() | self._scarcity.state()

    def begin_at(self, newest: int, budget: Mapping[str, Any]) -> None:
        """Continue behind the last position of another outbox, with its budget.

        Args:
            newest: its last position, see `newest`.
            budget: what its `budget` returned.
        """
        self._positions.newest = newest
        self._budget.resume(budget)
        self._scarcity.resume(budget)

    def know_kinds(self, kinds: Mapping[str, Json]) -> None:
        """Replace what is known of kinds by what another outbox reported to its observer, latest changes last."""
        self._kinds.load(kinds)

    def know_templates(self, templates: Mapping[str, Json]) -> None:
        """Replace what is known of templates by what another outbox reported to its observer, latest changes last."""
        self._factory.plain_kinds.load(templates)

    def report_all_known(self) -> None:
        """Report again all that is known of kinds and templates: what was reported is lost."""
        self._kinds.learn_again()
        self._factory.plain_kinds.templates.learn_again()

    def remember(self, facts: IdentifyCall, age: float) -> None:
        """Take over what another outbox sent about a user, `age` seconds ago."""
        self._identifies.users.remember(facts, age)

    def resume(
        self,
        position: int,
        entry: CapturedRecord | Fold | Digest | IdentifyCall,
        *,
        priority: int = 0,
        first_position: float = 0.0,
        records: int = 0,
        request: ApiRequest | None = None,
    ) -> None:
        """Take over what waited in another outbox, in the order of positions. The observer knows of it already.

        Args:
            position: where it waits.
            entry: what waits there.
            priority: of the delivery, if it is an identify request or its request was started.
            first_position: of that delivery.
            records: how many log records that delivery stands for.
            request: the request that was started, which is sent again to the byte; `None` if none was.
        """
        self._positions.newest = max(self._positions.newest, position)
        delivery: Delivery
        if isinstance(entry, IdentifyCall):
            delivery = identify = IdentifyDelivery(
                priority, first_position, position=position, facts=entry, records=records
            )
            self._identifies.resume(identify)
        elif request is None:
            self._backlog.resume(position, entry)
            return
        else:
            delivery = event = EventDelivery(
                priority, first_position, position=position, event=self._event_of(entry), records=records
            )
            self._deliveries.add(event)
        delivery.request = request
        delivery.tries = int(request is not None)

    def _event_of(self, entry: CapturedRecord | Fold | Digest) -> Event | None:
        return self._factory.event(entry) if isinstance(entry, CapturedRecord) else entry.event(self._factory)

    # What is sent next

    def next(self) -> ApiRequest | float:
        """Decide what is sent next.

        Returns:
            The request to start now, which is then under way until `settle` is called; or the seconds until there may
            be one, infinite when nothing waits. 0: ask again, after all that came in was taken.
        """
        self._add_report()
        step = self._next()
        if not isinstance(step, ApiRequest):
            self._scarcity.remember_spent()
        self._report_learned()
        return step

    def _report_learned(self) -> None:
        for of, learned in (
            (Knowledge.KIND, self._kinds.pop_learned()),
            (Knowledge.TEMPLATE, self._factory.plain_kinds.pop_learned()),
        ):
            if learned:
                self._observer.learned(of, learned)

    def _next(self) -> ApiRequest | float:
        while True:
            self._read_examined(self._scarcity.apply())
            now = self._clock()
            first = self._first(now)
            if first is None:
                # ask again when the budget is back: what comes in until then counts as having waited for it
                until_budget = self._budget.wait(alert=False, spread=self._scarcity.is_scarce)
                until_sendable = min(until_budget, self._scarcity.until_calm)
                return min(until_sendable if until_budget > 0 else NEVER, self._until_retry(now))
            wait = self._wait_of(first)
            if wait > 0:
                return min(wait, self._until_retry(now))
            if not isinstance(first, Delivery) and self._backlog.end_series(first):
                return 0.0
            delivery = first if isinstance(first, Delivery) else self._pop(first)
            if delivery is not None:
                self._scarcity.started(delivery)
                return self._deliveries.start(delivery, now)

    def _wait_of(self, first: Delivery | Rank) -> float:
        """Return the seconds until a request for what goes first may start."""
        is_repeat, priority, _ = first.rank if isinstance(first, Delivery) else first
        is_spread = self._scarcity.is_scarce and -priority < ALERT
        may_keep = not isinstance(first, Delivery) and self._backlog.is_one_record(first)
        kept = self._scarcity.kept(is_new=not is_repeat) if may_keep else 0
        wait = self._budget.wait(alert=not is_repeat, spread=is_spread, kept=kept)
        if not isinstance(first, Delivery):
            wait = max(wait, self._backlog.report_wait(first))
        return max(wait, self._scarcity.untrusted_wait()) if -priority <= UNTRUSTED_PRIORITY else wait

    def _first(self, now: float) -> Delivery | Rank | None:
        """Return what goes first: a delivery, the rank of the first of the backlog, or `None`."""
        event = self._first_event(now)
        identify = self._identifies.first(now)
        if identify is None or event is None:
            return event or identify
        if self._scarcity.is_scarce:
            return event  # what waited for the budget goes before identifies, which nobody sees
        is_earlier = identify.rank < (event.rank if isinstance(event, Delivery) else event)
        events = self._backlog.events() + self._deliveries.events
        # it goes before its event only while that delays no event
        return identify if is_earlier and self._budget.available(alert=False) > events else event

    def _first_event(self, now: float) -> EventDelivery | Rank | None:
        started, rank = self._deliveries.first_event(now), self._backlog.rank()
        return started if rank is None or (started is not None and started.rank < rank) else rank

    def _pop(self, rank: Rank) -> EventDelivery | None:
        """Make a delivery of the first of the backlog, which has this rank.

        Returns:
            The delivery; `None` where what goes first must be looked up again.
        """
        priority, first_position, position, records, event, is_new, key = self._backlog.pop(rank)
        if event is None:
            self._reject_unbuilt(priority, position, records)
            return None
        if event.only_identifies:
            self._add_identify_only(event, priority, position)
            return None
        delivery = EventDelivery(priority, first_position, position=position, event=event, records=records)
        delivery.is_new = is_new
        if priority >= ALERT:
            self._limit_pushes(event, key)
        elif priority <= UNTRUSTED_PRIORITY:
            event.notify = event.notify and event.is_notify_given
        try:
            delivery.prepare()
        except BaseException as error:  # a formatter of the application's own returned values that are not JSON
            if not is_fault(error):
                raise
            self._factory.error = error
            self._reject_unbuilt(priority, position, records)
            return None
        self._deliveries.add(delivery)
        return None if self._add_identities(event, priority, first_position) else delivery

    def _limit_pushes(self, event: Event, key: FoldKey | None) -> None:
        """Let an alert push unless one of its kind has pushed before; what its record says goes before that."""
        if key is None:
            return
        self._kinds.started(key)
        if event.is_notify_given:
            if event.notify:
                self._kinds.pushed(key)
        elif event.notify:
            event.notify = self._kinds.push(key)

    def _until_retry(self, now: float) -> float:
        times = (self._deliveries.next_retry(now), self._losses.report_at, self._backlog.release_at)
        return min((time for time in times if time > now), default=NEVER) - now

    def settle(self, answer: ApiResponse) -> None:
        """Take the answer to the request under way."""
        self._deliveries.settle(answer)

    def wake_level(self) -> float:
        """Return the priority from which a new record may be sendable before the time that `next` returned."""
        for priority, alert in ((logging.NOTSET, False), (ALERT, True)):
            if self._budget.wait(alert=alert, spread=self._scarcity.is_scarce) <= 0:
                return priority
        return NEVER

    # What records say about users

    def _read_examined(self, examined: Iterable[Examined]) -> None:
        for priority, position, event, reported_at in examined:
            if reported_at is not None:
                self._deliveries.add_report(position, reported_at)
            elif event is None:
                self._reject_unbuilt(priority, position, 1)
            elif event.only_identifies:
                self._add_identify_only(event, priority, position)
            else:
                self._add_identities(event, priority, position)

    def _add_identities(self, event: Event, priority: int, first_position: float) -> bool:
        """Take what an event says about users, and return whether an identify request waits for it."""
        identities, event.identities = event.identities, ()
        if self._identifies.is_full_for(priority):
            return False
        # half a number before the position of its event, so that the identify request goes first within a priority
        due = [self._identifies.add(identity, priority, first_position - 0.5) for identity in identities]
        return any(delivery is not None for delivery in due)

    def _add_identify_only(self, event: Event, priority: int, position: int) -> None:
        if self._identifies.is_full_for(priority):
            self._observer.ended(position, "overflow")
            self._losses.add("overflow", {priority: 1}, "browsers name more users than can be identified")
        elif not self._identifies.add_record(event.identities, priority, position):
            self._deliveries.counts.delivered += 1  # the server has these facts
            self._observer.ended(position)

    # What is dropped

    def _reject_unbuilt(self, priority: int, position: int, records: int) -> None:
        error = type(self._factory.error).__name__
        self._observer.ended(position, "rejected", error)
        self._losses.add("rejected", {priority: records}, f"no event could be made of it: {error}")

    def _add_report(self) -> None:
        """Let the event wait that reports drops, when it is due."""
        event = None if self.closed else self._losses.report(self._factory)
        if event is not None:
            position = self._positions.add()
            self._deliveries.add(EventDelivery(REPORT_PRIORITY, position, position=position, event=event))

    def notices(self) -> list[str]:
        """Return the warnings for the log since the last call: at most one a minute for each reason."""
        return self._losses.notices.take()

    # The end

    def hurry(self, seconds: float) -> None:
        """Prepare for the exit: all may use the reserve, and pauses end that the server did not ask for.

        Args:
            seconds: how much time is left. What cannot be sent one by one in that time folds.
        """
        self._scarcity.exit_within(seconds)
        self._budget.closing = True
        self._budget.retry_now()
        self._deliveries.retry_now()

    def release(self) -> None:
        """Let nothing that came in before now wait for a place of its kind, see `KindMemory`."""
        self._read_examined(self._backlog.admit())
        self._backlog.release()

    def carry_on(self) -> None:
        """Go on as before `hurry`: the process did not end."""
        self._budget.closing = False

    def give_up(self, reason: str) -> Undelivered:
        """Drop all that waits and all that comes in later.

        Args:
            reason: what it is counted under.

        Returns:
            What waited, and why it could not be delivered.
        """
        lost = Undelivered(self.pending, self._identifies.without_records, self._why_undelivered())
        self._losses.dropped[reason] += lost.records
        self._losses.identifies += lost.identifies
        self._backlog.clear()
        self._deliveries.clear()
        self.closed = True
        return lost

    def _why_undelivered(self) -> str:
        """Return why what waits could not be delivered, or an empty string."""
        if self._outage.reason:
            return self._outage.reason
        if self._deliveries.is_waiting_for_answer:
            return "the server does not answer"
        return "the rate limit is used up" if self._budget.is_spent(alert=True) else ""

    # What waits

    @property
    def newest(self) -> int:
        """The position of what came in last. Positions grow by one."""
        return self._positions.newest

    def is_settled(self, position: int) -> bool:
        """Whether nothing that came in up to `position` still waits."""
        return self._backlog.is_after(position) and all(
            delivery.first_position > position for delivery in self._deliveries
        )

    @property
    def is_scarce(self) -> bool:
        """Whether what comes in now has to wait for the budget, or folds."""
        return self._scarcity.is_scarce or self._budget.is_spent(alert=False)

    @property
    def capacity(self) -> float:
        """How many requests a whole window has for records that are no new alerts."""
        return self._budget.capacity(alert=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not len(self._backlog) and not any(True for _ in self._deliveries)

    @property
    def pending(self) -> int:
        """Log records that wait."""
        return len(self._backlog) + sum(delivery.records for delivery in self._deliveries)

    @property
    def held(self) -> int:
        """How much is held in memory: records and events, and each digest as one."""
        return self._backlog.held + self._deliveries.events

    def stats(self) -> Stats:
        """Return the counts of this moment."""
        pending, counts = self.pending, self._deliveries.counts
        dropped = {reason: count for reason, count in self._losses.dropped.items() if count}
        return Stats(
            accepted=counts.delivered + pending + sum(dropped.values()),
            delivered=counts.delivered,
            pending=pending,
            dropped=dropped,
            events=counts.events,
            identifies=counts.identifies,
            requests=counts.requests,
            retries=counts.retries,
            identifies_lost=self._losses.identifies,
            kinds=len(self._kinds),
            storming=self._kinds.storming(),
        )
