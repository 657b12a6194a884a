"""One request, and what its answers mean for it.

Pure: the time is passed in. A request that was started keeps its idempotency key and its bytes until the server accepts
it or it is dropped. What an answer means for the requests after it is decided in `budget.py`.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import math
import secrets

from emitkit_logging._api.encoding import dump
from emitkit_logging._api.requests import EVENTS_PATH, IDENTIFY_PATH, ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.event import SHRUNK_BYTES, Event
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.budget import backoff
from emitkit_logging._outbox.folding import Rank

MOST_FAULTS = 5
"""Times that one request may be answered with 500 while others succeed (design, *Delivery*)."""

CONFLICT_SECONDS = 10.0
"""Seconds for which a request that gets a 409 is tried again: the first one with its key may still be running."""

MOST_CONFLICTS = 6
"""Times that a request must get a 409 before it is dropped, in addition to `CONFLICT_SECONDS`."""

_LONGEST_CONFLICT_BACKOFF = 4.0
# An identify request is never an alert: it must not use what is reserved for alerts.
_HIGHEST_IDENTIFY = logging.ERROR - 1
# A failed identify request waits behind all events of the application.
_FAILED_IDENTIFY = -1


class Outcome(enum.Enum):
    """What an answer means for the request it belongs to."""

    DONE = "done"
    """The server accepted it."""
    RETRY = "retry"
    """The same request is sent again later."""
    REJECTED = "rejected"
    """It is dropped."""


class Delivery:
    """A request that waits to be sent, or is sent. An event or an identify request, see the subclasses.

    Args:
        priority: of the most important record that it stands for.
        first_position: where its oldest record came in. An identify request goes before its event, so it can be a
            fraction less.
        position: where it waits.
        records: how many log records it stands for.

    Attributes:
        request: the request once it was made, or `None`.
        not_before: time before which it is not tried again, in seconds of the monotonic clock.
        started_at: when the last try started, in seconds of the monotonic clock.
        tries: how often it was started.
        is_new: whether it has the first record of a kind of alerts: it goes before all else.
        facts: the content of an identify request; `None` for an event.
    """

    __slots__ = (
        "_conflicts",
        "_faults",
        "_first_conflict_at",
        "_successes_at_fault",
        "first_position",
        "is_new",
        "not_before",
        "position",
        "priority",
        "records",
        "request",
        "started_at",
        "tries",
    )
    facts: IdentifyCall | None = None

    def __init__(self, priority: int, first_position: float, position: int, records: int) -> None:
        self.priority = priority
        self.first_position = first_position
        self.position = position
        self.records = records
        self.request: ApiRequest | None = None
        self.not_before = -math.inf
        self.started_at = -math.inf
        self.tries = 0
        self.is_new = False
        self._faults = 0
        self._successes_at_fault = -1
        self._conflicts = 0
        self._first_conflict_at = 0.0

    @property
    def rank(self) -> Rank:
        """Its position in the order of sending: the smallest rank goes first."""
        return (not self.is_new, -self.priority, self.first_position)

    @property
    def label(self) -> str:
        """A name for it in messages."""
        raise NotImplementedError

    def prepare(self) -> ApiRequest:
        """Return the request, the same at every call.

        Raises:
            Exception: what encoding raises for values that are not JSON.
        """
        if self.request is None:
            self.request = self._make_request()
        return self.request

    def start(self, now: float) -> ApiRequest:
        """Return the request, and count a try that starts at `now` (seconds of the monotonic clock)."""
        request = self.prepare()
        self.tries += 1
        self.started_at = now
        return request

    def settle(self, answer: ApiResponse, now: float, successes: int) -> Outcome:
        """Return what an answer means, and set `not_before` where the request is to be sent again.

        Args:
            answer: the server's answer.
            now: seconds of the monotonic clock.
            successes: how many requests succeeded so far. Only a request that fails while others succeed is at fault.
        """
        verdict = answer.verdict
        if verdict is Verdict.ACCEPTED:
            return Outcome.DONE
        if verdict is Verdict.INVALID:
            return Outcome.REJECTED
        if verdict is Verdict.TOO_LARGE:
            return self._shrink()
        if verdict is Verdict.CONFLICT:
            return self._settle_conflict(answer, now)
        if verdict is Verdict.FAILED:
            return self._settle_failure(answer, now, successes)
        return Outcome.RETRY

    def _make_request(self) -> ApiRequest:
        raise NotImplementedError

    def _shrink(self) -> Outcome:
        return Outcome.REJECTED

    def _settle_conflict(self, answer: ApiResponse, now: float) -> Outcome:
        if not self._conflicts:
            self._first_conflict_at = now
        self._conflicts += 1
        if self._conflicts >= MOST_CONFLICTS and now - self._first_conflict_at >= CONFLICT_SECONDS:
            return Outcome.REJECTED
        self.not_before = now + max(backoff(self._conflicts, _LONGEST_CONFLICT_BACKOFF), answer.retry_after or 0.0)
        return Outcome.RETRY

    def _settle_failure(self, answer: ApiResponse, now: float, successes: int) -> Outcome:
        if answer.is_event_at_fault and self._count_fault(successes) >= MOST_FAULTS:
            return Outcome.REJECTED
        self.not_before = now + backoff(self.tries)
        return Outcome.RETRY

    def _count_fault(self, successes: int) -> int:
        if self._faults == 0 or successes > self._successes_at_fault:
            self._faults += 1
        self._successes_at_fault = successes
        return self._faults


class EventDelivery(Delivery):
    """The request of one event.

    Args:
        priority: of the most important record that it stands for.
        first_position: where its oldest record came in.
        position: where it waits.
        event: what is sent; `None` only where a request that was made earlier is taken over.
        records: how many log records it stands for.
    """

    __slots__ = ("_is_shrunk", "event")

    def __init__(
        self, priority: int, first_position: float, *, position: int, event: Event | None, records: int = 0
    ) -> None:
        super().__init__(priority, first_position, position, records)
        self.event = event
        self._is_shrunk = False

    @property
    def label(self) -> str:
        """The event's title."""
        return "an event" if self.event is None else f"the event {self.event.title!r}"

    def _make_request(self) -> ApiRequest:
        assert self.event is not None  # noqa: S101 - only a delivery that has its request has no event
        key = self.event.idempotency_key
        if not self._is_shrunk:
            return ApiRequest(EVENTS_PATH, 201, self.event.encode(), key or secrets.token_hex(16))
        # another body is another request. A key of the application's is derived from, so that it still finds repeats
        shrunk_key = hashlib.sha256(f"{key} shrunk".encode()).hexdigest() if key else secrets.token_hex(16)
        return ApiRequest(EVENTS_PATH, 201, self.event.encode(SHRUNK_BYTES), shrunk_key)

    def _shrink(self) -> Outcome:
        if self._is_shrunk or self.event is None:
            return Outcome.REJECTED
        self._is_shrunk = True
        self.request = None
        return Outcome.RETRY


class IdentifyDelivery(Delivery):
    """An identify request.

    Args:
        priority: of the most important record that names the user.
        first_position: where that record came in.
        position: where it waits.
        facts: what is sent.
        records: how many log records it stands for: those that only identify.
    """

    __slots__ = ("facts",)
    facts: IdentifyCall

    def __init__(
        self, priority: int, first_position: float, *, position: int, facts: IdentifyCall, records: int = 0
    ) -> None:
        super().__init__(min(priority, _HIGHEST_IDENTIFY), first_position, position, records)
        self.facts = facts

    @property
    def label(self) -> str:
        """Its kind; a user's id is not written to the log."""
        return "an identify request"

    def renew(self, facts: IdentifyCall, priority: int) -> None:
        """Replace the facts by newer ones of the same user.

        Args:
            facts: what is sent now.
            priority: of the record that they come from. The delivery keeps the higher priority.
        """
        self.facts = facts
        self.request = None
        self.priority = max(self.priority, min(priority, _HIGHEST_IDENTIFY))

    def _make_request(self) -> ApiRequest:
        return ApiRequest(IDENTIFY_PATH, 200, dump(self.facts.body()), None)

    def _settle_failure(self, answer: ApiResponse, now: float, successes: int) -> Outcome:
        outcome = super()._settle_failure(answer, now, successes)
        if outcome is Outcome.RETRY:
            # it had its turn before its event; one that times out must not delay the events a second time
            self.priority = _FAILED_IDENTIFY
        return outcome
