"""What is dropped: the counts by reason, the warnings for the log, and the event that reports it.

Pure: the clock is passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._events.event import Event
from emitkit_logging._outbox.backlog import ALERT
from emitkit_logging._outbox.factory import SafeEventFactory

NOTICE_PAUSE = 60.0
"""Seconds between two warnings for the same reason, and between two events that report drops."""

REPORT_DELAY = 2.0
"""Seconds from a drop to the event that reports it: more drops may follow."""

REPORT_PRIORITY = ALERT - 1
"""Of the event that reports drops: it must not use what is reserved for alerts."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What could not be delivered before the process ended.

    Attributes:
        records: log records.
        identifies: identify requests that stand for no log record of their own.
        reason: why, for people; empty where nothing hindered the delivery.
    """

    records: int = 0
    identifies: int = 0
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.records or self.identifies)

    def __add__(self, other: Undelivered) -> Undelivered:
        reasons = dict.fromkeys(filter(None, (self.reason, other.reason)))
        return Undelivered(self.records + other.records, self.identifies + other.identifies, "; ".join(reasons))

    def __str__(self) -> str:
        counts = [f"{self.records:,} log records"] if self.records or not self.identifies else []
        counts += [f"{self.identifies:,} identifies"] if self.identifies else []
        return (
            " and ".join(counts)
            + " could not be delivered before the exit"
            + (f" ({self.reason})" if self.reason else "")
        )


class Notices:
    """Warnings for the log: for each reason at most one a minute.

    Args:
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._texts: list[str] = []
        self._added_at: dict[str, float] = {}

    def add(self, reason: str, text: str) -> None:
        """Add a warning, unless one for the same reason was added less than a minute ago."""
        now = self._clock()
        if now - self._added_at.get(reason, -math.inf) >= NOTICE_PAUSE:
            self._added_at[reason] = now
            self._texts.append(text)

    def add_now(self, text: str) -> None:
        """Add a line that its reason itself limits."""
        self._texts.append(text)

    def take(self) -> list[str]:
        """Return the warnings since the last call."""
        texts, self._texts = self._texts, []
        return texts


class Losses:
    """Counts dropped log records, and decides when an event reports them.

    The event is sent after the server accepts something again, at most once a minute. Drops of untrusted records are
    counted and not reported: nobody is to be alerted by what a browser sends.

    Args:
        clock: returns seconds of a monotonic clock.

    Attributes:
        dropped: dropped log records by reason: `rejected`, `shutdown`, `overflow`, `expired`.
        identifies: identify requests that were dropped and stood for no log record of their own.
        notices: receives a warning for each drop.
        report_at: when the next report is due, in seconds of the clock; infinite: not before another success.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.dropped: Counter[str] = Counter()
        self.identifies = 0
        self.notices = Notices(clock)
        self.report_at = math.inf
        self._unreported: Counter[str] = Counter()
        self._first_unreported_at = 0.0
        self._reported_at = -math.inf

    def add(self, reason: str, lost: Mapping[int, int], cause: str) -> None:
        """Count dropped records, and add a warning.

        Args:
            reason: one of the reasons in `dropped`.
            lost: how many records of each priority.
            cause: why the last of them was dropped, for people.
        """
        self.dropped[reason] += sum(lost.values())
        trusted = sum(records for priority, records in lost.items() if priority > UNTRUSTED_PRIORITY)
        if trusted:
            if not self._unreported:
                self._first_unreported_at = self._clock()
            self._unreported[reason] += trusted
        self.notices.add(reason, f"{self.dropped[reason]} log records dropped so far ({reason}); the last one: {cause}")

    def sent(self) -> None:
        """Remember that the server accepted a request: what was dropped can be reported."""
        if self._unreported and self.report_at == math.inf:
            now = self._clock()
            self.report_at = max(self._first_unreported_at + REPORT_DELAY, self._reported_at + NOTICE_PAUSE, now)

    def report(self, factory: SafeEventFactory) -> Event | None:
        """Return the event that reports what was dropped since the last one, or `None` when it is not due."""
        now = self._clock()
        if now < self.report_at:
            return None
        lost, self._unreported = self._unreported, Counter()
        self.report_at, self._reported_at = math.inf, now
        metadata: dict[str, Json] = {"occurrences": 0, "dropped": dict(lost)}
        reasons = ", ".join(f"{reason} {count}" for reason, count in lost.items())
        return factory.summary(None, ALERT, f"{lost.total()} log records were dropped", reasons, metadata)
