"""The clock of all deadlines."""

from __future__ import annotations

import time

_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", None)


class Clock:
    """Returns seconds on the machine's monotonic clock.

    Tests of applications freeze or move `time.monotonic` (freezegun). A deadline on such a clock would never come, so
    the operating system is asked directly where that is possible. The function is kept in a class, where no such tool
    looks for it.
    """

    _read = staticmethod(time.monotonic if _MONOTONIC is None else time.clock_gettime)

    def __call__(self) -> float:
        """Return seconds; only differences between two of them mean anything."""
        return self._read() if _MONOTONIC is None else self._read(_MONOTONIC)


monotonic = Clock()
