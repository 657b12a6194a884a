"""What threads that wait for a worker look at."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from emitkit_logging._worker import native

STALL = 0.25
"""Seconds without a step after which a worker may be waiting for a lock that its caller holds."""


class Progress:
    """What threads that wait for a worker look at; changed under the worker's lock.

    Attributes:
        steps: a number that grows with all that the worker does.
        next_at: when the worker does something next, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.next_at = 0.0
        self._watchers: dict[native.Wakeup, Callable[[], bool]] = {}

    @contextlib.contextmanager
    def watched(self, is_over: Callable[[], bool]) -> Iterator[native.Wakeup]:
        """A context whose wakeup is set when `is_over` may have become true, or the worker pauses."""
        wakeup = native.Wakeup()
        self._watchers[wakeup] = is_over
        try:
            yield wakeup
        finally:
            del self._watchers[wakeup]

    def step(self, *, is_pause: bool = False) -> None:
        """Count a step, and wake those who wait for it: not at each request, which would cost a switch of threads."""
        self.steps += 1
        for wakeup, is_over in list(self._watchers.items()):
            if is_pause or is_over():
                wakeup.set()

    def notify(self) -> None:
        """Wake all who wait."""
        for wakeup in list(self._watchers):
            wakeup.set()


class Stall:
    """Notices that a worker has done nothing for a while."""

    def __init__(self) -> None:
        self._steps = -1
        self._since = 0.0

    def lasts(self, steps: int, now: float) -> bool:
        """Whether `steps` has been the same for `STALL` seconds."""
        if steps != self._steps:
            self._steps, self._since = steps, now
        return now - self._since >= STALL


def holds_logging_lock() -> bool:
    """Whether the calling thread holds logging's module lock, as `dictConfig` does while it closes old handlers.

    To wait then for a thread that logs may be to wait for ever; logging has no public way to ask.
    """
    is_owned = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return bool(is_owned is not None and is_owned())
