"""When the next request may start, under a clock of our own."""

from __future__ import annotations

import pytest

from emitkit_logging._api.responses import ApiResponse, Quota, Verdict
from emitkit_logging._outbox.budget import REFUSED_PAUSE, WINDOW, WRONG_KEY_PAUSE, RateBudget

OK = ApiResponse(Verdict.ACCEPTED)
AMBIGUOUS_401 = ApiResponse(Verdict.AMBIGUOUS_401)
FAILED = ApiResponse(Verdict.FAILED)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(clock: Clock, rate_limit: int | None = None, alert_reserve: float = 0.1) -> RateBudget:
    return RateBudget(rate_limit=rate_limit, alert_reserve=alert_reserve, clock=clock)


def send(paced: RateBudget, answer: ApiResponse = OK) -> None:
    paced.started()
    paced.answered(answer)


def burst(paced: RateBudget, alert: bool, answer: ApiResponse = OK) -> int:
    sent = 0
    while paced.wait(alert=alert) <= 0 and sent < 1_000:
        send(paced, answer)
        sent += 1
    return sent


def test_own_count(clock):
    """Without headers 100 requests fit into any window, a tenth of them for alerts only."""
    paced = pace(clock)
    assert burst(paced, alert=False) == 90
    assert burst(paced, alert=True) == 10
    assert paced.wait(alert=True) == pytest.approx(WINDOW)
    clock.now += WINDOW
    assert burst(paced, alert=False) == 90


@pytest.mark.parametrize(
    ("limit", "share", "lesser"), [(10, 0.1, 9), (10, 0.0, 10), (5, 0.1, 4), (1, 0.1, 1), (10, 1.0, 1)]
)
def test_reserve(clock, limit, share, lesser):
    """The reserve is rounded up, and never takes all."""
    assert burst(pace(clock, limit, share), alert=False) == lesser


def test_no_limit(clock):
    """A limit of 0 is none."""
    assert burst(pace(clock, 0), alert=False) == 1_000


def test_closing(clock):
    """At exit anything may use the reserve."""
    paced = pace(clock)
    paced.closing = True
    assert burst(paced, alert=False) == 100


def test_true_headers(clock):
    """The server's headers are the budget, be it more or less than 100."""
    for limit in (10, 500):
        paced, left = pace(clock), limit
        send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(limit, left := left - 1, 30.0)))
        sent = 1
        while paced.wait(alert=False) <= 0:
            left -= 1
            send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(limit, left, 30.0)))
            sent += 1
        assert sent == limit - -(-limit // 10)
        assert paced.wait(alert=True) <= 0
        assert paced.wait(alert=False) == pytest.approx(30.0)
        clock.now += 31
        assert paced.wait(alert=False) <= 0


def test_others_share_the_key(clock):
    """What another process used is seen in the headers."""
    paced = pace(clock)
    send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 5, 30.0)))
    assert paced.wait(alert=False) == pytest.approx(30.0)


def test_lying_headers(clock):
    """Where the window always remains whole we count: 100, then silence for more than a minute."""
    paced = pace(clock)
    full = ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 100, 60.0))
    assert burst(paced, alert=True, answer=full) == 100
    assert paced.wait(alert=True) == pytest.approx(WINDOW)
    clock.now += paced.wait(alert=True)
    assert burst(paced, alert=True, answer=full) == 100


def test_lying_headers_slowly(clock):
    """On such a server a slow trickle uses the limit up too: only silence renews it."""
    paced = pace(clock)
    full = ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 100, 60.0))
    for _ in range(100):
        assert paced.wait(alert=True) <= 0
        send(paced, full)
        clock.now += 30
    assert paced.wait(alert=True) == pytest.approx(WINDOW - 30)


def test_limited(clock):
    """429: as long as it asks, else until the reset, else a growing pause."""
    paced = pace(clock)
    send(paced, ApiResponse(Verdict.LIMITED, retry_after=7.0))
    assert paced.wait(alert=True) == pytest.approx(7.0)
    paced = pace(clock)
    send(paced, ApiResponse(Verdict.LIMITED, quota=Quota(100, 0, 9.0)))
    assert paced.wait(alert=True) == pytest.approx(9.0)
    paced, waits = pace(clock), []
    for _ in range(4):
        send(paced, ApiResponse(Verdict.LIMITED))
        waits.append(paced.wait(alert=True))
    assert waits == sorted(waits)
    assert waits[0] >= 0.3


def test_disguised(clock):
    """A 401 without a code: a minute of silence, three times, then a try in ten minutes."""
    paced = pace(clock)
    send(paced)
    for _ in range(3):
        send(paced, AMBIGUOUS_401)
        assert paced.wait(alert=True) == pytest.approx(WINDOW)
        assert not paced.is_key_in_doubt
    send(paced, AMBIGUOUS_401)
    assert paced.wait(alert=True) == pytest.approx(WRONG_KEY_PAUSE)
    assert paced.is_key_in_doubt
    clock.now += WRONG_KEY_PAUSE
    send(paced)
    send(paced, AMBIGUOUS_401)
    assert paced.wait(alert=True) == pytest.approx(WINDOW)


def test_disguised_before_any_success(clock):
    """Before any success the key is in doubt at once."""
    paced = pace(clock)
    send(paced, AMBIGUOUS_401)
    assert paced.is_key_in_doubt
    assert paced.wait(alert=True) == pytest.approx(WINDOW)


def test_refused(clock):
    """A wrong key: a try a minute, and one at the exit."""
    paced = pace(clock)
    send(paced, ApiResponse(Verdict.REFUSED))
    assert paced.wait(alert=True) == pytest.approx(REFUSED_PAUSE)
    paced.retry_now()
    assert paced.wait(alert=True) <= 0


def test_failed(clock):
    """The first failure may be the request's own; then pauses grow to a minute, or to what the server asks."""
    paced = pace(clock, 0)
    send(paced, FAILED)
    assert paced.wait(alert=True) <= 0
    waits = []
    for _ in range(12):
        send(paced, FAILED)
        waits.append(paced.wait(alert=True))
    assert 0.3 <= waits[0] <= 0.5
    assert 45 <= waits[-1] <= 60
    send(paced, ApiResponse(Verdict.FAILED, retry_after=120.0))
    assert paced.wait(alert=True) == pytest.approx(120.0)
    paced.retry_now()
    assert paced.wait(alert=True) == pytest.approx(120.0)
    send(paced)
    assert paced.wait(alert=True) <= 0


def test_room(clock):
    """How much may start now, what a whole window holds, and whether it is the budget that is lacking."""
    paced = pace(clock, 10)
    assert (paced.capacity(alert=False), paced.capacity(alert=True)) == (9, 10)
    assert (paced.available(alert=False), paced.available(alert=True)) == (9, 10)
    burst(paced, alert=False)
    assert (paced.available(alert=False), paced.available(alert=True)) == (0, 1)
    assert (paced.is_spent(alert=False), paced.is_spent(alert=True)) == (True, False)
    send(paced, ApiResponse(Verdict.LIMITED, retry_after=5.0))
    assert paced.is_spent(alert=True)
    assert paced.available(alert=True) == 0
    clock.now += WINDOW
    send(paced, FAILED)
    send(paced, FAILED)
    assert not paced.is_spent(alert=True)
    assert pace(clock, 0).capacity(alert=False) == pace(clock, 0).available(alert=False) == float("inf")


def test_spread(clock):
    """What is less than an alert is spread over what is left of the window, and uses it up."""
    paced, left = pace(clock), 10
    send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, left := left - 1, 2.0)))
    ends, sent = clock.now + 2.0, 0
    while (wait := paced.wait(alert=False, spread=True)) < ends - clock.now:
        assert paced.wait(alert=True, spread=True) == 0
        clock.now += wait
        send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, left := left - 1, ends - clock.now)))
        sent += 1
    assert sent == 8
    paced = pace(clock, 10)
    send(paced)
    assert paced.wait(alert=False, spread=True) == pytest.approx(WINDOW / 10)
    paced.closing = True
    assert paced.wait(alert=False, spread=True) == 0


def test_spread_over_nothing(clock):
    """Where others have used the reserve, too, there is nothing to spread."""
    paced = pace(clock)
    send(paced, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, 0, 2.0)))
    assert paced.wait(alert=False, spread=True) == pytest.approx(2.0)
