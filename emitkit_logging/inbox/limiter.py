"""Whether a request fits the rate limit: two shapes of it, pure, with the clock passed in as seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Verdict:
    """What a limiter says of one request.

    `remaining` requests are left after it, and the limit starts afresh at `reset_at`, in whole seconds of the
    limiter's clock: both as the server claims them. `reset_in` seconds are left until then.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_at: int
    reset_in: float


class Limiter(Protocol):
    """Counts the requests of one API key."""

    def admit(self, now: float) -> Verdict:
        """Count a request at `now` (seconds of any one clock) and say whether it is let through."""
        ...


class FixedWindow:
    """At most `limit` requests in each window of `window` seconds, as the current service counts them.

    A window opens with the first request after the one before has ended. Refused requests are not counted.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._opened: float | None = None
        self._count = 0

    def admit(self, now: float) -> Verdict:
        """Count a request at `now` and say whether it is let through."""
        # A clock that was set back would otherwise keep a window open for as long as it was set back.
        if self._opened is None or not 0 <= now - self._opened < self._window:
            self._opened = now
            self._count = 0
        allowed = self._count < self._limit
        self._count += allowed
        ends = self._opened + self._window
        return Verdict(allowed, self._limit, self._limit - self._count, math.ceil(ends), ends - now)


class SilenceWindow:
    """At most `limit` requests until over `window` seconds pass without one: the open-source server's way.

    So a steady trickle runs into it too. Being refused does not extend the block. What it claims to remain is
    always the limit, and the reset always a window away.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._last: float | None = None
        self._count = 0

    def admit(self, now: float) -> Verdict:
        """Count a request at `now` and say whether it is let through."""
        if self._last is None or now - self._last > self._window:
            self._count = 0
        allowed = self._count < self._limit
        if allowed:
            self._count += 1
            self._last = now
        return Verdict(allowed, self._limit, self._limit, math.floor(now + self._window), self._window)
