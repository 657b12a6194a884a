"""Whether the relay asks applications to fold. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SCARCE = "scarce"
AMPLE = "ample"

SIGNAL_SECONDS = 30
"""Seconds after which Redis forgets what a relay has said, unless it says it again."""

_LOOK_BACK = 10.0
_MOST_WAITING = 1_000


class ScarcitySignal:
    """Decides what the relay says to applications.

    They are to fold while the budget is used up, while more log records came in within the last seconds than a whole
    window of the budget takes, and while many wait.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrived: deque[tuple[float, int]] = deque()
        self._sum = 0

    def arrived(self, records: int) -> None:
        """Remember log records that came in."""
        if records:
            self._arrived.append((self._clock(), records))
            self._sum += records

    def value(self, *, is_spent: bool, capacity: float, waiting: int) -> str:
        """Return `SCARCE` or `AMPLE`.

        Args:
            is_spent: whether what comes in now has to wait for the budget.
            capacity: requests in a whole window of the budget.
            waiting: log records that wait.
        """
        oldest = self._clock() - _LOOK_BACK
        while self._arrived and self._arrived[0][0] < oldest:
            self._sum -= self._arrived.popleft()[1]
        is_scarce = is_spent or self._sum > capacity or waiting > _MOST_WAITING
        return SCARCE if is_scarce else AMPLE
