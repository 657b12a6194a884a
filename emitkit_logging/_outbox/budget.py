"""When the next request may start.

Pure: the clock is passed in. One request is under way at a time, so each answer is known before the next start. The
rules are those of the design's *Delivery*, *Answers* and *Budget*. The three servers are those of the API contract: one
with true rate-limit headers, one without headers, and the open-source server, whose headers always say that the whole
window remains.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from emitkit_logging._api.responses import ApiResponse, Quota, Verdict

DEFAULT_LIMIT = 100
"""Requests a minute that EmitKit allows one key (API contract)."""

WINDOW = 61.0
"""Seconds of a rate-limit window: the servers' 60, and one for the difference between two clocks."""

REFUSED_PAUSE = 60.0
"""Seconds between two tries with a key or an address that was refused."""

WRONG_KEY_PAUSE = 600.0
"""Seconds between two tries after more than three answers 401 without `code` in a row."""

_MOST_AMBIGUOUS_401S = 3
_CLOCK_TOLERANCE = 0.1
_SHORTEST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0

_Value = TypeVar("_Value")


def backoff(tries: int, longest: float = _LONGEST_BACKOFF) -> float:
    """Return how many seconds to wait after a number of failures: doubled from half a second on, with jitter.

    Args:
        tries: the number of failures.
        longest: seconds to wait at most.
    """
    exact: float = min(_SHORTEST_BACKOFF * 2.0 ** min(tries - 1, 30), longest)
    return exact * random.uniform(0.75, 1.0)  # noqa: S311 - it only has to differ between processes


class RateBudget:
    """Decides when a request may start: the rate limit lasts, and the server did not ask to wait.

    Args:
        rate_limit: requests a minute; `None`: learned from the server; 0: no limit.
        alert_reserve: share of each window that only alerts of a new kind may use.
        clock: returns seconds of a monotonic clock, the same one in all processes of the machine.

    Attributes:
        closing: whether the process ends, so that the reserve is for all requests.
    """

    def __init__(self, *, rate_limit: float | None, alert_reserve: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._is_limited = rate_limit != 0
        self._window = _Window(rate_limit, alert_reserve)
        self._pause = _Pause()
        self.closing = False

    def wait(self, *, alert: bool, spread: bool = False, kept: int = 0) -> float:
        """Return the seconds until a request may start; 0 means now.

        Args:
            alert: whether it is an alert of a new kind, which may use the reserve.
            spread: whether requests that are no alerts are spread over the window, so that an alert finds a request
                left at any time.
            kept: requests of the window that it leaves to others.
        """
        now = self._clock()
        waits = [0.0, self._pause.until - now]
        if self._is_limited:
            with_reserve = alert or self.closing
            waits.append(self._window.wait(now, with_reserve=with_reserve, kept=kept))
            if spread and not with_reserve:
                waits.append(self._window.spacing(now))
        return max(waits)

    def is_spent(self, *, alert: bool, kept: int = 0) -> bool:
        """Whether a request must wait for the budget, not because of a failure; the arguments are those of `wait`."""
        now = self._clock()
        is_refused = self._pause.is_for_limit and now < self._pause.until
        with_reserve = alert or self.closing
        return is_refused or (self._is_limited and self._window.wait(now, with_reserve=with_reserve, kept=kept) > 0)

    @property
    def is_unlimited(self) -> bool:
        """Whether requests are not counted."""
        return not self._is_limited

    def capacity(self, *, alert: bool) -> float:
        """Return how many requests a whole window has for alerts, or for other requests."""
        return self._window.capacity(with_reserve=alert) if self._is_limited else math.inf

    def available(self, *, alert: bool) -> float:
        """Return how many requests may start before one has to wait."""
        now = self._clock()
        if now < self._pause.until:
            return 0
        return self._window.available(now, with_reserve=alert or self.closing) if self._is_limited else math.inf

    def started(self) -> None:
        """Count a request that starts now."""
        self._window.started(self._clock())

    def answered(self, answer: ApiResponse) -> None:
        """Learn from an answer how many requests may start, and when."""
        now = self._clock()
        if not answer.reached_server:
            self._window.not_reached()
        if answer.quota is not None:
            self._window.update_quota(answer.quota, now)
        elif answer.verdict is Verdict.ACCEPTED:
            self._window.quota = None
        self._pause.answered(answer, now)

    def retry_now(self) -> None:
        """End a pause that the server did not ask for, so that `close` can try once."""
        if self._pause.is_guess:
            self._pause.end()

    @property
    def is_key_in_doubt(self) -> bool:
        """Whether the last answer was a 401 without `code` that means a wrong key rather than a used-up window."""
        return self._pause.is_key_in_doubt

    def state(self) -> dict[str, Any]:
        """Return what was learned and counted as JSON values, for `resume`.

        Times are seconds of the machine's monotonic clock. Infinite times are left out.
        """
        return self._window.state() | self._pause.state()

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over what another process of this machine learned and counted.

        Unknown fields are ignored; a field that is missing or of a wrong type has its default. A state from before the
        machine's last start is ignored: the monotonic clock began anew.

        Args:
            state: what `state` returned.
        """
        if not state or _read(state, "last_start", -math.inf) > self._clock():
            return
        self._window.resume(state)
        self._pause.resume(state)


class _BeforeStart(NamedTuple):
    """The counts of a window before a request started, for one that does not reach the server.

    Attributes:
        dropped: the oldest start, which was forgotten for it, or `None`.
        last_start: as in `_Window`, like the others.
    """

    dropped: float | None
    last_start: float
    starts_since_silence: int
    quota: Quota | None
    quota_ends_at: float


class _Window:
    """Counts requests against the limit of the window.

    Where the headers are true, they are the count. Else it is our own: requests within the last `WINDOW` seconds, and
    with the open-source server, whose block ends only after a silence, also those since the last silence.

    Args:
        rate_limit: see `RateBudget`.
        alert_reserve: see `RateBudget`.

    Attributes:
        quota: the last true headers, less the requests started since, or `None`.
    """

    def __init__(self, rate_limit: float | None, alert_reserve: float) -> None:
        self._fixed = rate_limit
        self._reserve_share = alert_reserve
        self._limit = int(rate_limit) if rate_limit else DEFAULT_LIMIT
        self._starts: deque[float] = deque()
        self._last_start = -math.inf
        self._starts_since_silence = 0
        self._full_answers = 0
        self._quota_ends_at = 0.0
        self._before_start: _BeforeStart | None = None
        self.quota: Quota | None = None

    def capacity(self, *, with_reserve: bool) -> int:
        """Return how many requests a whole window has."""
        return self._limit - self._reserved(self._limit, with_reserve=with_reserve)

    def available(self, now: float, *, with_reserve: bool) -> float:
        """Return how many requests may start now."""
        counts: list[float] = []
        if self.quota is not None and now < self._quota_ends_at:
            counts.append(self._quota_left(self.quota, with_reserve=with_reserve))
        capacity = self.capacity(with_reserve=with_reserve)
        if self.quota is not None and self._fixed is None:
            return counts[0] if counts else capacity
        if self._headers_unreliable and not self._is_silent(now):
            counts.append(capacity - self._starts_since_silence)
        while self._starts and now - self._starts[0] >= WINDOW:
            self._starts.popleft()
        counts.append(capacity - len(self._starts))
        return min(counts)

    def wait(self, now: float, *, with_reserve: bool, kept: int = 0) -> float:
        """Return the seconds until a request may start that leaves `kept` requests."""
        if self.available(now, with_reserve=with_reserve) >= 1 + kept:
            return 0.0
        waits = [0.0]
        if self.quota is not None and now < self._quota_ends_at:
            if self._quota_left(self.quota, with_reserve=with_reserve) < 1 + kept:
                waits.append(self._quota_ends_at - now)
            if self._fixed is None:
                return waits[-1]
        capacity = self.capacity(with_reserve=with_reserve)
        if self._headers_unreliable and self._starts_since_silence + kept >= capacity:
            waits.append(self._last_start + WINDOW - now)
        excess = len(self._starts) + 1 + kept - capacity
        if excess > 0:
            waits.append(self._starts[min(excess, len(self._starts)) - 1] + WINDOW - now if self._starts else 0.0)
        return max(waits)

    def spacing(self, now: float) -> float:
        """Return the seconds until the next request where requests are spread over the window."""
        if self._headers_unreliable:
            return 0.0  # that server's block ends only after a silence, which begins the earlier the faster we send
        length: float = WINDOW
        count: float = self.capacity(with_reserve=False)
        if self.quota is not None and self._fixed is None:
            if now >= self._quota_ends_at:
                return 0.0
            length, count = self._quota_ends_at - now, self.available(now, with_reserve=False)
        return self._last_start + length / (max(count, 0) + 1) - now  # one more, so that the last one is within it

    def started(self, now: float) -> None:
        """Count a request that starts now."""
        full = len(self._starts) >= max(self._limit, DEFAULT_LIMIT)
        first = self._starts[0] if full else None
        self._before_start = _BeforeStart(
            first, self._last_start, self._starts_since_silence, self.quota, self._quota_ends_at
        )
        if self._is_silent(now):
            self._starts_since_silence = 0
        self._starts_since_silence += 1
        self._last_start = now
        self._starts.append(now)
        if len(self._starts) > max(self._limit, DEFAULT_LIMIT):
            self._starts.popleft()
        if self.quota is not None:
            remaining = self.quota.limit if now >= self._quota_ends_at else self.quota.remaining
            self._quota_ends_at = max(self._quota_ends_at, now)
            self.quota = Quota(self.quota.limit, max(0, remaining - 1), 0.0)

    def not_reached(self) -> None:
        """Count the last request no more: the server has not seen it."""
        before, self._before_start = self._before_start, None
        if before is None or not self._starts:
            return
        self._starts.pop()
        if before.dropped is not None:
            self._starts.appendleft(before.dropped)
        self._last_start, self._starts_since_silence = before.last_start, before.starts_since_silence
        self.quota, self._quota_ends_at = before.quota, before.quota_ends_at

    def update_quota(self, quota: Quota, now: float) -> None:
        """Take rate-limit headers into account, if they are true."""
        self._full_answers = self._full_answers + 1 if quota.remaining >= quota.limit else 0
        if self._fixed is None:
            self._limit = quota.limit
        if self._headers_unreliable:
            self.quota = None
        elif quota.remaining < quota.limit or self._full_answers == 1:
            self.quota = quota
            self._quota_ends_at = now + quota.reset_in

    def _quota_left(self, quota: Quota, *, with_reserve: bool) -> int:
        return quota.remaining - self._reserved(quota.limit, with_reserve=with_reserve)

    def _reserved(self, limit: int, *, with_reserve: bool) -> int:
        return 0 if with_reserve else min(math.ceil(limit * self._reserve_share), limit - 1)

    @property
    def _headers_unreliable(self) -> bool:
        return self._full_answers >= 2  # a request uses the window: it cannot be whole after two of them

    def _is_silent(self, now: float) -> bool:
        # a little less than what `wait` asks for: floating-point seconds do not add up exactly
        return now - self._last_start > WINDOW - _CLOCK_TOLERANCE

    def state(self) -> dict[str, Any]:
        """See `RateBudget.state`."""
        state: dict[str, Any] = {
            "starts": list(self._starts),
            "starts_since_silence": self._starts_since_silence,
            "full_answers": self._full_answers,
        }
        if self._fixed is None:
            state["limit"] = self._limit  # a limit of our own is an option of this process
        if self._last_start > -math.inf:
            state["last_start"] = self._last_start
        if self.quota is not None:
            state["quota"] = {
                "limit": self.quota.limit,
                "remaining": self.quota.remaining,
                "ends_at": self._quota_ends_at,
            }
        return state

    def resume(self, state: Mapping[str, Any]) -> None:
        """See `RateBudget.resume`."""
        limit = _read(state, "limit", 0)
        if self._fixed is None and limit > 0:
            self._limit = limit
        starts: list[Any] = _read(state, "starts", [])
        self._starts = deque(start for start in starts if isinstance(start, int | float))
        self._starts_since_silence = _read(state, "starts_since_silence", 0)
        self._full_answers = _read(state, "full_answers", 0)
        self._last_start = _read(state, "last_start", -math.inf)
        quota: dict[str, Any] = _read(state, "quota", {})
        quota_limit = _read(quota, "limit", 0)
        self.quota = Quota(quota_limit, _read(quota, "remaining", 0), 0.0) if quota_limit > 0 else None
        self._quota_ends_at = _read(quota, "ends_at", 0.0)


class _Pause:
    """The time until which no request may start, because of the last answers.

    Attributes:
        until: its end, in seconds of the monotonic clock.
        is_guess: whether the server did not ask for it.
        is_for_limit: whether the rate limit is the cause, and not a failure.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self.is_guess = False
        self.is_for_limit = False
        self._failures = 0
        self._ambiguous_401s = 0
        self._limit_answers = 0
        self._has_succeeded = False

    def end(self) -> None:
        """Let requests start."""
        self.until = -math.inf
        self.is_guess = False

    def answered(self, answer: ApiResponse, now: float) -> None:
        """Begin or end the pause, as an answer requires."""
        verdict = answer.verdict
        self.end()
        self._failures = self._failures + 1 if verdict is Verdict.FAILED else 0
        self._ambiguous_401s = self._ambiguous_401s + 1 if verdict is Verdict.AMBIGUOUS_401 else 0
        self._limit_answers = self._limit_answers + 1 if verdict is Verdict.LIMITED else 0
        self.is_for_limit = verdict in (Verdict.LIMITED, Verdict.AMBIGUOUS_401)
        if verdict is Verdict.ACCEPTED:
            self._has_succeeded = True
        elif verdict is Verdict.FAILED:
            self._begin(now + self._after_failure(answer), is_guess=answer.retry_after is None)
        elif verdict is Verdict.LIMITED:
            self._begin(now + self._after_limit(answer), is_guess=False)
        elif verdict is Verdict.AMBIGUOUS_401:
            # the rate limit of the open-source server or a wrong key: the limit's window first, then longer
            pause = WINDOW if self._ambiguous_401s <= _MOST_AMBIGUOUS_401S else WRONG_KEY_PAUSE
            self._begin(now + pause, is_guess=self.is_key_in_doubt)
        elif verdict is Verdict.REFUSED:
            self._begin(now + REFUSED_PAUSE, is_guess=True)

    def _begin(self, until: float, *, is_guess: bool) -> None:
        self.until = until
        self.is_guess = is_guess

    def _after_failure(self, answer: ApiResponse) -> float:
        # the first failure may be caused by the request itself: the next request shows it, without a pause
        pause = backoff(self._failures - 1) if self._failures > 1 else 0.0
        return max(pause, answer.retry_after or 0.0)

    def _after_limit(self, answer: ApiResponse) -> float:
        asked = answer.retry_after
        if asked is None and answer.quota is not None:
            asked = answer.quota.reset_in
        extra = backoff(self._limit_answers)
        if asked is None:
            return extra
        # a server that counts whole seconds may ask for up to one too few; the second time more than asked is needed
        return asked + (extra if self._limit_answers > 1 or asked == 0 else 0.0)

    @property
    def is_key_in_doubt(self) -> bool:
        """See `RateBudget.is_key_in_doubt`."""
        return self._ambiguous_401s > 0 and (not self._has_succeeded or self._ambiguous_401s > _MOST_AMBIGUOUS_401S)

    def state(self) -> dict[str, Any]:
        """See `RateBudget.state`."""
        state: dict[str, Any] = {
            "pause_is_guess": self.is_guess,
            "pause_is_for_limit": self.is_for_limit,
            "failures": self._failures,
            "ambiguous_401s": self._ambiguous_401s,
            "limit_answers": self._limit_answers,
            "has_succeeded": self._has_succeeded,
        }
        if self.until > -math.inf:
            state["paused_until"] = self.until
        return state

    def resume(self, state: Mapping[str, Any]) -> None:
        """See `RateBudget.resume`."""
        self.until = _read(state, "paused_until", -math.inf)
        self.is_guess = _read(state, "pause_is_guess", False)  # noqa: FBT003 - a default
        self.is_for_limit = _read(state, "pause_is_for_limit", False)  # noqa: FBT003 - a default
        self._failures = _read(state, "failures", 0)
        self._ambiguous_401s = _read(state, "ambiguous_401s", 0)
        self._limit_answers = _read(state, "limit_answers", 0)
        self._has_succeeded = _read(state, "has_succeeded", False)  # noqa: FBT003 - a default


def _read(state: Mapping[str, Any], name: str, default: _Value) -> _Value:
    """Return a field; the default where it is missing, of another type, or a number that is not finite."""
    value = state.get(name, default)
    if type(default) is float and type(value) is int:
        value = float(value)
    is_usable = type(value) is type(default) and not (isinstance(value, float) and not math.isfinite(value))
    result: _Value = value if is_usable else default
    return result
