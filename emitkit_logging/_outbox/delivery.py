"""Attempt: one request, and what its answers mean for it.

Pure: the time is passed in. A request that was started keeps its idempotency key and its bytes until the server took it
or it is given up; what one answer means for those that come after is the room `pace`.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import math
import uuid

from emitkit_logging._api.encoding import dump
from emitkit_logging._api.requests import EVENTS_PATH, IDENTIFY_PATH, ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.event import SHRUNK_BYTES, Event
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.budget import backoff

MOST_STRIKES = 5
"""Times that one event may be answered with 500 while others pass."""

CONFLICT_PATIENCE = 10.0
"""Seconds for which a 409 must be survived: the first request with that key may still be running."""

MOST_CONFLICTS = 6

# An identify is never an alert: it must not use the room that is kept for them.
_HIGHEST_IDENTIFY = logging.ERROR - 1
_YIELDING = -1


class Outcome(enum.Enum):
    """What an answer means for the request that it was given to."""

    DONE = "done"
    AGAIN = "again"
    REJECTED = "rejected"


class Delivery:
    """An event or an identify on its way.

    Args:
        level: of the most important record that it stands for.
        age: when that came in, as a number that grows.
        event: what is sent, or
        facts: who is identified.
        records: how many log records it stands for.
        place: where they waited.
    """

    __slots__ = (
        "age",
        "conflicts",
        "event",
        "facts",
        "first_conflict",
        "level",
        "place",
        "records",
        "request",
        "rests_until",
        "shrunk",
        "strikes",
        "successes",
        "tries",
    )

    def __init__(
        self,
        level: int,
        age: float,
        *,
        place: int,
        event: Event | None = None,
        facts: IdentifyCall | None = None,
        records: int = 0,
    ) -> None:
        self.level = level if facts is None else min(level, _HIGHEST_IDENTIFY)
        self.age = age
        self.place = place
        self.event = event
        self.facts = facts
        self.records = records
        self.request: ApiRequest | None = None
        self.rests_until = -math.inf
        self.tries = 0
        self.strikes = 0
        self.successes = -1
        self.conflicts = 0
        self.first_conflict = 0.0
        self.shrunk = False

    @property
    def rank(self) -> tuple[int, float]:
        """When its turn is: less is earlier."""
        return (-self.level, self.age)

    def prepare(self) -> ApiRequest:
        """Return the request, the same at every call; raise what encoding raises for values that are no JSON."""
        if self.request is None:
            self.request = self._made()
        return self.request

    def renew(self, facts: IdentifyCall, level: int) -> None:
        """Take newer facts of the same user, told by a record of `level`; a more important one goes earlier."""
        self.facts = facts
        self.request = None
        self.level = max(self.level, min(level, _HIGHEST_IDENTIFY))

    def start(self) -> ApiRequest:
        """Return the request, and count a try."""
        self.tries += 1
        return self.prepare()

    def _made(self) -> ApiRequest:
        if self.facts is not None:
            return ApiRequest(IDENTIFY_PATH, 200, dump(self.facts.body()), None)
        assert self.event is not None  # noqa: S101 - an attempt is one or the other
        key = self.event.idempotency_key
        if not self.shrunk:
            return ApiRequest(EVENTS_PATH, 201, self.event.encode(), key or uuid.uuid4().hex)
        # another body is another request: a given key is derived from, so that it still tells doubles
        shrunk_key = hashlib.sha256(f"{key} shrunk".encode()).hexdigest() if key else uuid.uuid4().hex
        return ApiRequest(EVENTS_PATH, 201, self.event.encode(SHRUNK_BYTES), shrunk_key)

    def settle(self, answer: ApiResponse, now: float, successes: int) -> Outcome:
        """Take an answer.

        Args:
            answer: what came back.
            now: seconds on the monotonic clock.
            successes: requests of any kind that succeeded so far: a fault that stays while others pass is its own.
        """
        verdict = answer.verdict
        if verdict is Verdict.ACCEPTED:
            return Outcome.DONE
        if verdict is Verdict.INVALID:
            return Outcome.REJECTED
        if verdict is Verdict.TOO_LARGE:
            return self._too_large()
        if verdict is Verdict.CONFLICT:
            return self._conflicted(answer, now)
        if verdict is Verdict.FAILED:
            return self._failed(answer, now, successes)
        return Outcome.AGAIN

    def _too_large(self) -> Outcome:
        if self.shrunk or self.event is None:
            return Outcome.REJECTED
        self.shrunk = True
        self.request = None
        return Outcome.AGAIN

    def _conflicted(self, answer: ApiResponse, now: float) -> Outcome:
        self.first_conflict = self.first_conflict if self.conflicts else now
        self.conflicts += 1
        if self.conflicts >= MOST_CONFLICTS and now - self.first_conflict >= CONFLICT_PATIENCE:
            return Outcome.REJECTED
        self.rests_until = now + max(backoff(self.conflicts, 4.0), answer.retry_after or 0.0)
        return Outcome.AGAIN

    def _failed(self, answer: ApiResponse, now: float, successes: int) -> Outcome:
        if answer.is_event_at_fault:
            if self.strikes == 0 or successes > self.successes:
                self.strikes += 1
            self.successes = successes
            if self.strikes >= MOST_STRIKES:
                return Outcome.REJECTED
        self.rests_until = now + backoff(self.tries)
        if self.facts is not None:
            self.level = _YIELDING  # it has had its turn before its event; one that hangs must not cost a second one
        return Outcome.AGAIN
