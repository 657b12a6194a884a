"""The requests that were started or are about to be, and what their answers change.

Pure: the clock is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._outbox.budget import REFUSED_PAUSE, RateBudget
from emitkit_logging._outbox.delivery import Delivery, EventDelivery, IdentifyDelivery, Outcome
from emitkit_logging._outbox.identifies import IdentifyQueue
from emitkit_logging._outbox.losses import Losses
from emitkit_logging._outbox.observer import BacklogObserver
from emitkit_logging._outbox.outage import Outage

_SMOOTHING = 0.2
"""Weight of the last request in the moving average of how long one takes."""


@dataclass(slots=True)
class Counts:
    """What became of records and requests.

    Attributes:
        delivered: log records that the server has.
        events: events that the server accepted.
        identifies: identify requests that the server accepted.
        requests: requests started.
        retries: those of them that were not the first try.
    """

    delivered: int = 0
    events: int = 0
    identifies: int = 0
    requests: int = 0
    retries: int = 0


class Deliveries:
    """Events that left the backlog and are not accepted yet, the request under way, and what an answer means for them.

    Args:
        budget: learns from answers.
        identifies: the identify requests that wait.
        losses: counts what is dropped.
        outage: learns from answers whether anything can be delivered.
        observer: receives the reports of where each record is.
        clock: returns seconds of a monotonic clock.

    Attributes:
        counts: what became of records and requests.
        seconds_each: moving average of how long a request takes; 0 before the first answer.
    """

    def __init__(
        self,
        *,
        budget: RateBudget,
        identifies: IdentifyQueue,
        losses: Losses,
        outage: Outage,
        observer: BacklogObserver,
        clock: Callable[[], float],
    ) -> None:
        self._budget = budget
        self._identifies = identifies
        self._losses = losses
        self._outage = outage
        self._observer = observer
        self._clock = clock
        self._events: list[EventDelivery] = []
        self._under_way: Delivery | None = None
        self.counts = Counts()
        self.seconds_each = 0.0

    def __iter__(self) -> Iterator[Delivery]:
        """Yield all deliveries: of events, and identify requests."""
        yield from self._events
        yield from self._identifies

    @property
    def is_waiting_for_answer(self) -> bool:
        """Whether a request is under way."""
        return self._under_way is not None

    @property
    def events(self) -> int:
        """How many events wait here."""
        return len(self._events)

    def add(self, delivery: EventDelivery) -> None:
        """Add an event."""
        self._events.append(delivery)

    def add_report(self, position: int, first: int) -> None:
        """Count a later report of an exception whose first report left the backlog.

        It is delivered or dropped together with the event that has the first report. Where the server has that already,
        it has been told of the exception: the later report is delivered.

        Args:
            position: where the later report came in.
            first: where the first one waited.
        """
        for delivery in self._events:
            if delivery.position == first:
                delivery.records += 1
                self._observer.joined(position, first)
                self._observer.attempted(delivery)
                return
        self.counts.delivered += 1
        self._observer.ended(position)

    def first_event(self, now: float) -> EventDelivery | None:
        """Return the event that goes first, or `None` when none may be sent at `now`."""
        ready = (delivery for delivery in self._events if delivery.not_before <= now)
        return min(ready, key=lambda delivery: delivery.rank, default=None)

    def next_retry(self, now: float) -> float:
        """Return the first time after `now` when one may be sent that may not be now; infinite: there is none."""
        times = [*(delivery.not_before for delivery in self._events), *self._identifies.retry_times()]
        return min((time for time in times if time > now), default=math.inf)

    def retry_now(self) -> None:
        """Let each be sent at once."""
        self._identifies.retry_now()
        for delivery in self._events:
            delivery.not_before = -math.inf

    def clear(self) -> None:
        """Forget all, the request under way included."""
        self._events.clear()
        self._identifies.clear()
        self._under_way = None

    def start(self, delivery: Delivery, now: float) -> ApiRequest:
        """Return the request of a delivery, which is under way until `settle` is called."""
        self.counts.requests += 1
        self.counts.retries += delivery.tries > 0
        self._under_way = delivery
        if isinstance(delivery, IdentifyDelivery):
            self._identifies.started(delivery)
        self._budget.started()
        request = delivery.start(now)
        self._observer.attempted(delivery)
        return request

    # What an answer means

    def settle(self, answer: ApiResponse) -> None:
        """Take the answer to the request under way."""
        delivery, self._under_way = self._under_way, None
        if delivery is None:
            return  # it was given up in the meantime, and counted then
        now = self._clock()
        self._measure(now - delivery.started_at)
        if isinstance(delivery, IdentifyDelivery) and answer.verdict is Verdict.REFUSED:
            self._settle_refused_identify(delivery, answer, now)
            return
        self._budget.answered(answer)
        outcome = delivery.settle(answer, now, self.counts.events + self.counts.identifies)
        if outcome is Outcome.DONE:
            self._settle_accepted(delivery, answer)
        elif outcome is Outcome.REJECTED:
            self._settle_rejected(delivery, answer)
        else:
            self._settle_retry(delivery, answer)
        self._outage.answered(answer, delivery.started_at, self._budget.wait(alert=True))

    def _measure(self, seconds: float) -> None:
        weight = _SMOOTHING if self.seconds_each else 1.0
        self.seconds_each += (seconds - self.seconds_each) * weight

    def _settle_refused_identify(self, delivery: IdentifyDelivery, answer: ApiResponse, now: float) -> None:
        # a key without the scope, or a server without the endpoint: events may be accepted all the same
        self._identifies.retry(delivery, now + REFUSED_PAUSE)
        text = f"users cannot be identified: {answer.detail}; next try in {REFUSED_PAUSE:.0f} seconds"
        self._losses.notices.add("identify", text)

    def _settle_accepted(self, delivery: Delivery, answer: ApiResponse) -> None:
        self.counts.delivered += delivery.records
        self._losses.sent()
        self._remove(delivery)
        self._observer.ended(delivery.position)
        if not isinstance(delivery, IdentifyDelivery):
            self.counts.events += 1
            return
        self.counts.identifies += 1
        self._identifies.users.succeeded(delivery.facts, answer.failed_aliases)
        if answer.failed_aliases:
            text = f"the server could not register {len(answer.failed_aliases)} of a user's aliases"
            self._losses.notices.add("aliases", text)

    def _settle_rejected(self, delivery: Delivery, answer: ApiResponse) -> None:
        self._remove(delivery)
        self._observer.ended(delivery.position, "rejected", answer.detail)
        cause = f"{delivery.label} was rejected: {answer.detail}"
        self._losses.add("rejected", {delivery.priority: delivery.records}, cause)

    def _settle_retry(self, delivery: Delivery, answer: ApiResponse) -> None:
        if isinstance(delivery, IdentifyDelivery):
            self._identifies.retry(delivery)
        if answer.verdict is Verdict.REFUSED:
            text = f"nothing can be sent, the API key or the address is wrong: {answer.detail}; trying once a minute"
            self._outage.stopped(text)
        elif answer.verdict is Verdict.AMBIGUOUS_401 and self._budget.is_key_in_doubt:
            text = f"nothing can be sent, the API key is wrong or its rate limit is used up: {answer.detail}"
            self._outage.stopped(text)

    def _remove(self, delivery: Delivery) -> None:
        if isinstance(delivery, EventDelivery):
            self._events.remove(delivery)
        elif isinstance(delivery, IdentifyDelivery):
            self._identifies.remove(delivery)
