"""Pace: when the next request may start.

Pure, with the clock passed in. One request is under way at a time, so each answer is known before the next start. The
rules are the design's *Delivery*, *Answers* and *Budget*; the three servers are those of the API contract.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from emitkit_logging._api.responses import ApiResponse, Quota, Verdict

DEFAULT_LIMIT = 100
"""Requests a minute that EmitKit allows one key (API contract)."""

WINDOW = 61.0
"""Seconds: the servers' 60, and one for what happens between our clock and theirs."""

REFUSED_PAUSE = 60.0
"""Seconds between two tries with a key or an address that was refused."""

WRONG_KEY_PAUSE = 600.0
"""Seconds between two tries once a 401 without `code` has outlasted three silences."""

_LEARNED = (
    "_limit",
    "_quota_ends",
    "_full_answers",
    "_since_silence",
    "_last_start",
    "_paused_until",
    "_pause_is_ours",
) + ("_is_limited", "_failures", "_disguised", "_limited", "_succeeded")
_PATIENCE = 3
_TOLERANCE = 0.1
_SHORTEST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0


def backoff(tries: int, longest: float = _LONGEST_BACKOFF) -> float:
    """Return seconds to wait after the given number of failures: doubling from half a second, with jitter."""
    exact: float = min(_SHORTEST_BACKOFF * 2.0 ** min(tries - 1, 30), longest)
    return exact * random.uniform(0.75, 1.0)  # noqa: S311 - it only has to differ between processes


class RateBudget:
    """Counts requests against the server's limit, and waits where the server asked for it.

    Args:
        rate_limit: requests a minute; `None`: learned from the server; 0: no limit.
        alert_reserve: share of each window that only alerts may use.
        clock: returns seconds on a monotonic clock.
    """

    def __init__(self, *, rate_limit: float | None, alert_reserve: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._fixed = rate_limit
        self._reserve_share = alert_reserve
        self._limit = int(rate_limit) if rate_limit else DEFAULT_LIMIT
        self._starts: deque[float] = deque()
        self._quota: Quota | None = None
        self._quota_ends = 0.0
        self._full_answers = 0
        self._since_silence = 0
        self._last_start = -math.inf
        self._paused_until = -math.inf
        self._pause_is_ours = False
        self._is_limited = False
        self._failures = 0
        self._disguised = 0
        self._limited = 0
        self._succeeded = False
        self.closing = False

    def wait(self, *, alert: bool, spread: bool = False) -> float:
        """Return the seconds until a request may start; 0 means now.

        Args:
            alert: whether it may use the reserve; at exit anything may.
            spread: whether lesser requests are to be spread over the window, so that alerts find room at any time.
        """
        now = self._clock()
        waits = [0.0, self._paused_until - now]
        if self._fixed != 0:
            is_alert = alert or self.closing
            waits.append(self._window_wait(now, reserve_too=is_alert))
            if spread and not is_alert:
                waits.append(self._spacing(now))
        return max(waits)

    def is_spent(self, *, alert: bool) -> bool:
        """Tell whether the budget, and not a failure, is what has to be waited for."""
        now = self._clock()
        is_refused = self._is_limited and now < self._paused_until
        return is_refused or (self._fixed != 0 and self._window_wait(now, reserve_too=alert or self.closing) > 0)

    def capacity(self, *, alert: bool) -> float:
        """Return how many requests a whole window has for alerts, or for what is less."""
        return math.inf if self._fixed == 0 else self._limit - self._kept(self._limit, reserve_too=alert)

    def room(self, *, alert: bool) -> float:
        """Return how many requests may start before anything has to be waited for."""
        now = self._clock()
        if now < self._paused_until:
            return 0
        return math.inf if self._fixed == 0 else self._room(now, reserve_too=alert or self.closing)

    def _room(self, now: float, *, reserve_too: bool) -> float:
        rooms = []
        if self._quota is not None:
            if now < self._quota_ends:
                rooms.append(self._quota.remaining - self._kept(self._quota.limit, reserve_too=reserve_too))
            if self._fixed is None:
                return rooms[0] if rooms else self._limit - self._kept(self._limit, reserve_too=reserve_too)
        room = self._limit - self._kept(self._limit, reserve_too=reserve_too)
        if self._headers_unreliable and not self._is_silent(now):
            rooms.append(room - self._since_silence)
        while self._starts and now - self._starts[0] >= WINDOW:
            self._starts.popleft()
        rooms.append(room - len(self._starts))
        return min(rooms)

    def _window_wait(self, now: float, *, reserve_too: bool) -> float:
        if self._room(now, reserve_too=reserve_too) >= 1:
            return 0.0
        waits = [0.0]
        if self._quota is not None and now < self._quota_ends:
            if self._quota.remaining - self._kept(self._quota.limit, reserve_too=reserve_too) < 1:
                waits.append(self._quota_ends - now)
            if self._fixed is None:
                return waits[-1]
        room = self._limit - self._kept(self._limit, reserve_too=reserve_too)
        if self._headers_unreliable and self._since_silence >= room:
            waits.append(self._last_start + WINDOW - now)
        excess = len(self._starts) + 1 - room
        if excess > 0:
            waits.append(self._starts[min(excess, len(self._starts)) - 1] + WINDOW - now if self._starts else 0.0)
        return max(waits)

    def _is_silent(self, now: float) -> bool:
        # a little less than what `wait` asks for, since seconds do not add up exactly
        return now - self._last_start > WINDOW - _TOLERANCE

    def _spacing(self, now: float) -> float:
        if self._headers_unreliable:
            return 0.0  # only silence ends that server's block: it is reached the sooner the faster the window is used
        length, room = WINDOW, self.capacity(alert=False)
        if self._quota is not None and self._fixed is None:
            if now >= self._quota_ends:
                return 0.0
            length, room = self._quota_ends - now, self._room(now, reserve_too=False)
        return self._last_start + length / (max(room, 0) + 1) - now  # one more: the last is within

    def _kept(self, limit: int, *, reserve_too: bool) -> int:
        if reserve_too:
            return 0
        return min(math.ceil(limit * self._reserve_share), limit - 1)

    @property
    def _headers_unreliable(self) -> bool:
        # the open-source server always says that the whole window remains (API contract)
        return self._full_answers >= 2

    def started(self) -> None:
        """Count a request that starts now."""
        now = self._clock()
        if self._is_silent(now):
            self._since_silence = 0
        self._since_silence += 1
        self._last_start = now
        self._starts.append(now)
        if len(self._starts) > max(self._limit, DEFAULT_LIMIT):
            self._starts.popleft()
        if self._quota is not None:
            remaining = self._quota.limit if now >= self._quota_ends else self._quota.remaining
            self._quota_ends = max(self._quota_ends, now)
            self._quota = Quota(self._quota.limit, max(0, remaining - 1), 0.0)

    def answered(self, answer: ApiResponse) -> None:
        """Learn from an answer how much may be sent, and from when on."""
        now = self._clock()
        if answer.quota is not None:
            self._update_quota(answer.quota, now)
        elif answer.verdict is Verdict.ACCEPTED:
            self._quota = None
        self._paused_until = -math.inf
        self._pause_is_ours = False
        verdict = answer.verdict
        self._failures = self._failures + 1 if verdict is Verdict.FAILED else 0
        self._disguised = self._disguised + 1 if verdict is Verdict.AMBIGUOUS_401 else 0
        self._limited = self._limited + 1 if verdict is Verdict.LIMITED else 0
        self._is_limited = verdict in (Verdict.LIMITED, Verdict.AMBIGUOUS_401)
        if verdict is Verdict.ACCEPTED:
            self._succeeded = True
        elif verdict is Verdict.FAILED:
            # one failure may be the request's own fault: another one tells, at once
            pause = backoff(self._failures - 1) if self._failures > 1 else 0.0
            self._pause_is_ours = answer.retry_after is None
            self._paused_until = now + max(pause, answer.retry_after or 0.0)
        elif verdict is Verdict.LIMITED:
            self._paused_until = now + self._limited_pause(answer)
        elif verdict is Verdict.AMBIGUOUS_401:
            self._paused_until = now + (WINDOW if self._disguised <= _PATIENCE else WRONG_KEY_PAUSE)
            self._pause_is_ours = not self._succeeded or self._disguised > _PATIENCE
        elif verdict is Verdict.REFUSED:
            self._paused_until = now + REFUSED_PAUSE
            self._pause_is_ours = True

    def _limited_pause(self, answer: ApiResponse) -> float:
        asked = answer.retry_after
        if asked is None and answer.quota is not None:
            asked = answer.quota.reset_in
        # whole seconds of a server's clock may be up to one short; what it said twice, it did not mean
        grace = backoff(self._limited)
        return grace if asked is None else asked + (grace if self._limited > 1 or asked == 0 else 0.0)

    def _update_quota(self, quota: Quota, now: float) -> None:
        self._full_answers = self._full_answers + 1 if quota.remaining >= quota.limit else 0
        if self._fixed is None:
            self._limit = quota.limit
        if self._headers_unreliable:
            self._quota = None
        elif quota.remaining < quota.limit or self._full_answers == 1:
            self._quota = quota
            self._quota_ends = now + quota.reset_in

    def retry_now(self) -> None:
        """Lift a pause that was our own guess, for the one try that `close` is entitled to.

        What the server asked for stays.
        """
        if self._pause_is_ours:
            self._paused_until = -math.inf
            self._pause_is_ours = False

    def state(self) -> dict[str, Any]:
        """Return what was learned and counted, as JSON values, for another process of this machine to `resume`."""
        learned = {name: getattr(self, name) for name in _LEARNED}
        if self._fixed is not None:
            del learned["_limit"]  # this process's own option, not what the server said
        quota = None if self._quota is None else [self._quota.limit, self._quota.remaining, self._quota.reset_in]
        return {**learned, "_starts": list(self._starts), "_quota": quota}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where another process stopped; times are those of the machine's monotonic clock.

        What is of before the machine's last start is forgotten.
        """
        if not state or state["_last_start"] > self._clock():
            return
        for name in _LEARNED:
            setattr(self, name, state.get(name, getattr(self, name)))
        self._starts = deque(state["_starts"])
        self._quota = None if state["_quota"] is None else Quota(*state["_quota"])
        if self._fixed:
            self._limit = int(self._fixed)

    @property
    def is_key_in_doubt(self) -> bool:
        """Whether the last answer was a 401 without `code` that is more likely a wrong key than a full window."""
        return self._disguised > 0 and (not self._succeeded or self._disguised > _PATIENCE)
