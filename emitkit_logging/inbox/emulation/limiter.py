"""Rate limits of one API key, as the two servers count them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Admission:
    """Whether a request is within the rate limit, and what the server claims of the limit.

    Attributes:
        allowed: whether the request is let through.
        limit: requests in a window.
        remaining: requests left after this one, as the server claims.
        reset_at: when the limit starts again, as the server claims: whole seconds of the limiter's clock.
        reset_in: seconds until then.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_at: int
    reset_in: float


class Limiter(Protocol):
    """Counts the requests of one API key."""

    def admit(self, now: float) -> Admission:
        """Count a request, and return whether it is let through.

        Args:
            now: seconds of any one clock.
        """
        ...


class FixedWindow:
    """At most `limit` requests in each window of `window` seconds, as the current service counts them.

    A window opens with the first request after the previous one has ended. Refused requests are not counted.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._opened: float | None = None
        self._count = 0

    def admit(self, now: float) -> Admission:
        """Count a request at `now` (seconds), and return whether it is let through."""
        # A clock that was set back would otherwise keep a window open for as long as it was set back.
        if self._opened is None or not 0 <= now - self._opened < self._window:
            self._opened = now
            self._count = 0
        allowed = self._count < self._limit
        self._count += allowed
        ends = self._opened + self._window
        return Admission(allowed, self._limit, self._limit - self._count, math.ceil(ends), ends - now)


class SilenceWindow:
    """At most `limit` requests until more than `window` seconds pass without one, as the open-source server counts.

    Regular requests reach this limit too, however slow they are. A refused request does not extend the block. The
    server always claims that the whole limit remains, and that the reset is one window away.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._last: float | None = None
        self._count = 0

    def admit(self, now: float) -> Admission:
        """Count a request at `now` (seconds), and return whether it is let through."""
        if self._last is None or now - self._last > self._window:
            self._count = 0
        allowed = self._count < self._limit
        if allowed:
            self._count += 1
            self._last = now
        return Admission(allowed, self._limit, self._limit, math.floor(now + self._window), self._window)
