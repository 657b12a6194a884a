"""Outages: when the log says that nothing can be delivered, and when it says that delivery works again.

Pure: the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._outbox.losses import Notices

_TRIES = 4
"""Failures in a row after which an outage is in the log: with the pauses between them, two seconds or more."""

_LONGEST_SILENCE = 20.0
"""Seconds from the first failure: if the next try would be later, the outage is in the log before it."""

_LIMITED = (Verdict.LIMITED, Verdict.AMBIGUOUS_401)
_UNDELIVERABLE = (Verdict.FAILED, Verdict.REFUSED)


class Outage:
    """Follows the answers, and adds one warning for each outage and one line when it is over.

    Args:
        notices: receives the warnings.
        pending: returns how many log records wait.
        clock: returns seconds of a monotonic clock.

    Attributes:
        reason: why the last request did not succeed, for people; empty where it did.
    """

    def __init__(self, notices: Notices, pending: Callable[[], int], clock: Callable[[], float]) -> None:
        self._notices = notices
        self._pending = pending
        self._clock = clock
        self._failures = 0
        self._began_at = 0.0
        self._is_in_log = False
        self.reason = ""

    def answered(self, answer: ApiResponse, started_at: float, pause: float) -> None:
        """Take the answer to a request.

        Args:
            answer: what the server answered, or that it did not.
            started_at: when the request started, in seconds of the clock.
            pause: seconds until the next request may start.
        """
        verdict = answer.verdict
        if verdict in _UNDELIVERABLE:
            self.reason = answer.detail or "the server failed"
        elif verdict in _LIMITED:
            self.reason = f"the rate limit is used up: {answer.detail or verdict.value}"
        else:
            self.reason = ""
        if verdict is Verdict.FAILED:
            self._failed(started_at, pause)
        else:
            self._failures = 0
        if verdict is Verdict.ACCEPTED:
            self._ended()

    def stopped(self, text: str) -> None:
        """Add the warning that the server refuses everything, once in an outage."""
        if not self._is_in_log:
            self._is_in_log = True
            self._began_at = self._clock()
            self._notices.add_now(text)

    def _failed(self, started_at: float, pause: float) -> None:
        if not self._failures and not self._is_in_log:
            self._began_at = started_at
        self._failures += 1
        lasted = self._clock() - self._began_at
        if not self._is_in_log and (self._failures >= _TRIES or lasted + pause > _LONGEST_SILENCE):
            self._is_in_log = True
            self._notices.add_now(f"nothing can be delivered: {self.reason}; {self._pending():,} log records wait")

    def _ended(self) -> None:
        if self._is_in_log:
            self._is_in_log = False
            lasted = self._clock() - self._began_at
            text = f"events are delivered again, after {lasted:.0f} seconds; {self._pending():,} log records wait"
            self._notices.add_now(text)
