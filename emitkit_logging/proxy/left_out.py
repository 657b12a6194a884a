"""Report the events of browsers that were too many to be logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

REPORT_EVERY = 60.0
"""Seconds between two reports."""

_log = logging.getLogger("emitkit_logging")


class LeftOut:
    """Counts events that were accepted and not logged, and reports their number; safe for use in several threads.

    Args:
        clock: returns seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._reported: float | None = None

    def add(self, events: int) -> None:
        """Count events, and log how many there were since the last report, at most once in `REPORT_EVERY`."""
        with self._lock:
            self._count += events
            now = self._clock()
            is_due = self._reported is None or now - self._reported >= REPORT_EVERY
            if not self._count or not is_due:
                return
            count, self._count, self._reported = self._count, 0, now
        _log.warning("at least %d events of browsers were left out: they were more than the endpoint takes", count)
