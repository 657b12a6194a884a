"""Which exceptions the alerts of late have reported.

Pure. Several loggers may report one exception object: the first report is an alert, the others are added to it (design,
*What frameworks add*). What is one occurrence is decided in `_context/reports.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.kinds import FINGERPRINT, FoldKey, RenamedKinds

MOST_REPORTS = 1_000
"""Reports that are remembered; the oldest are forgotten."""

GRACE = 0.03
"""Seconds for which the first report waits for others of the same exception, so that its event counts them."""

LONGEST = 60.0
"""Seconds between the first report of an exception and another of the same occurrence."""


class Report(NamedTuple):
    """The first report of an exception.

    Attributes:
        key: what its record folds by.
        position: where its record waits, or waited.
        created: when it was logged, in epoch seconds.
    """

    key: FoldKey
    position: int
    created: float


class Reports:
    """Remembers the first report of each exception.

    Args:
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._firsts: dict[str, Report] = {}
        self._ready_at: dict[int, float] = {}

    def find(self, captured: CapturedRecord, key: FoldKey) -> Report | None:
        """Return the first report of the exception that an alert reports, or `None` if it is the first.

        An event, an alert with a fingerprint, and one that goes to another channel say more than the exception: they
        are alerts of their own.

        Args:
            captured: the alert's record.
            key: what it folds by.
        """
        if not captured.report or len(key.kind) == 1 or key.kind[0] == FINGERPRINT:
            return None
        first = self._firsts.get(captured.report)
        if first is None or first.key.channel != key.channel or abs(captured.created - first.created) > LONGEST:
            return None
        return first

    def add(self, captured: CapturedRecord, key: FoldKey, position: int, *, waits: bool) -> None:
        """Remember an alert that is no later report of an exception.

        Args:
            captured: its record.
            key: what it folds by.
            position: where it waits.
            waits: whether it waits for more reports. Not so in a fold, which others would hold back again and again.
        """
        if not captured.report or captured.report in self._firsts:
            return
        while len(self._firsts) >= MOST_REPORTS:
            del self._firsts[next(iter(self._firsts))]
        self._firsts[captured.report] = Report(key, position, captured.created)
        if not waits:
            return
        now = self._clock()
        while self._ready_at and next(iter(self._ready_at.values())) <= now:
            del self._ready_at[next(iter(self._ready_at))]
        self._ready_at[position] = now + GRACE

    def rename(self, renamed: RenamedKinds) -> None:
        """Remember what kinds are called now."""
        for name, first in self._firsts.items():
            self._firsts[name] = Report(renamed.of(first.key), first.position, first.created)

    def wait(self, position: int) -> float:
        """Return the seconds for which what waits at a position waits for more reports."""
        ready_at = self._ready_at.get(position)
        return 0.0 if ready_at is None else max(0.0, ready_at - self._clock())

    def release(self) -> None:
        """Let nothing wait for more reports."""
        self._ready_at.clear()

    def clear(self) -> None:
        """Forget all."""
        self._firsts.clear()
        self._ready_at.clear()
