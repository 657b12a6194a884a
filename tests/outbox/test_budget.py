"""When the next request may start, under a clock of the tests' own."""

from __future__ import annotations

import json

import pytest

from emitkit_logging._api.responses import ApiResponse, Quota, Verdict
from emitkit_logging._outbox.budget import REFUSED_PAUSE, WINDOW, WRONG_KEY_PAUSE, RateBudget, backoff
from tests.outbox.support import Clock

OK = ApiResponse(Verdict.ACCEPTED)
AMBIGUOUS_401 = ApiResponse(Verdict.AMBIGUOUS_401)
FAILED = ApiResponse(Verdict.FAILED)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, rate_limit: int | None = None, alert_reserve: float = 0.1) -> RateBudget:
    return RateBudget(rate_limit=rate_limit, alert_reserve=alert_reserve, clock=clock)


def send(budget: RateBudget, answer: ApiResponse = OK) -> None:
    budget.started()
    budget.answered(answer)


def burst(budget: RateBudget, alert: bool, answer: ApiResponse = OK) -> int:
    sent = 0
    while budget.wait(alert=alert) <= 0 and sent < 1_000:
        send(budget, answer)
        sent += 1
    return sent


def test_own_count(clock):
    """Without headers 100 requests fit into any window, a tenth of them for alerts only."""
    budget = make(clock)
    assert burst(budget, alert=False) == 90
    assert burst(budget, alert=True) == 10
    assert budget.wait(alert=True) == pytest.approx(WINDOW)
    clock.now += WINDOW
    assert burst(budget, alert=False) == 90


@pytest.mark.parametrize("reached", [True, False])
def test_connections_that_are_not_made(clock, reached):
    """A request that did not reach the server uses nothing of the window; one that may have reached it does."""
    budget = make(clock, rate_limit=10, alert_reserve=0.0)
    for _ in range(15):
        send(budget, ApiResponse(Verdict.FAILED, reached_server=reached))
        clock.now += 1.0
        budget.retry_now()
    assert burst(budget, alert=False) == (10 if not reached else 0)


@pytest.mark.parametrize("limit", [None, 100])
def test_connections_that_are_not_made_with_headers(clock, limit):
    """The count of the headers is as before, too, and a full count of our own."""
    budget = make(clock, limit)
    for left in range(99, 94, -1):
        send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(100, left, 30.0)))
    before = budget.available(alert=True)
    budget.started()
    budget.answered(ApiResponse(Verdict.FAILED, reached_server=False))
    assert budget.available(alert=True) == before == 95


@pytest.mark.parametrize(
    ("limit", "share", "lesser"), [(10, 0.1, 9), (10, 0.0, 10), (5, 0.1, 4), (1, 0.1, 1), (10, 1.0, 1)]
)
def test_reserve(clock, limit, share, lesser):
    """The reserve is rounded up, and never takes all."""
    assert burst(make(clock, limit, share), alert=False) == lesser


def test_no_limit(clock):
    """A limit of 0 is none."""
    assert burst(make(clock, 0), alert=False) == 1_000


def test_closing(clock):
    """At exit anything may use the reserve."""
    budget = make(clock)
    budget.closing = True
    assert burst(budget, alert=False) == 100


def test_true_headers(clock):
    """The server's headers are the budget, be it more or less than 100."""
    for limit in (10, 500):
        budget, left = make(clock), limit
        send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(limit, left := left - 1, 30.0)))
        sent = 1
        while budget.wait(alert=False) <= 0:
            left -= 1
            send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(limit, left, 30.0)))
            sent += 1
        assert sent == limit - -(-limit // 10)
        assert budget.wait(alert=True) <= 0
        assert budget.wait(alert=False) == pytest.approx(30.0)
        clock.now += 31
        assert budget.wait(alert=False) <= 0


def test_others_share_the_key(clock):
    """What another process used is seen in the headers."""
    budget = make(clock)
    send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 5, 30.0)))
    assert budget.wait(alert=False) == pytest.approx(30.0)


def test_unreliable_headers(clock):
    """Where the window always remains whole we count: 100, then silence for more than a minute."""
    budget = make(clock)
    full = ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 100, 60.0))
    assert burst(budget, alert=True, answer=full) == 100
    assert budget.wait(alert=True) == pytest.approx(WINDOW)
    clock.now += budget.wait(alert=True)
    assert burst(budget, alert=True, answer=full) == 100


def test_unreliable_headers_slowly(clock):
    """On such a server a slow trickle uses the limit up too: only silence renews it."""
    budget = make(clock)
    full = ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 100, 60.0))
    for _ in range(100):
        assert budget.wait(alert=True) <= 0
        send(budget, full)
        clock.now += 30
    assert budget.wait(alert=True) == pytest.approx(WINDOW - 30)


def test_limited(clock):
    """429: as long as it asks, else until the reset, else a growing pause."""
    budget = make(clock)
    send(budget, ApiResponse(Verdict.LIMITED, retry_after=7.0))
    assert budget.wait(alert=True) == pytest.approx(7.0)
    budget = make(clock)
    send(budget, ApiResponse(Verdict.LIMITED, quota=Quota(100, 0, 9.0)))
    assert budget.wait(alert=True) == pytest.approx(9.0)
    budget, waits = make(clock), []
    for _ in range(4):
        send(budget, ApiResponse(Verdict.LIMITED))
        waits.append(budget.wait(alert=True))
    assert waits == sorted(waits)
    assert waits[0] >= 0.3


def test_ambiguous_401(clock):
    """A 401 without a code: a minute of silence, three times, then a try in ten minutes."""
    budget = make(clock)
    send(budget)
    for _ in range(3):
        send(budget, AMBIGUOUS_401)
        assert budget.wait(alert=True) == pytest.approx(WINDOW)
        assert not budget.is_key_in_doubt
    send(budget, AMBIGUOUS_401)
    assert budget.wait(alert=True) == pytest.approx(WRONG_KEY_PAUSE)
    assert budget.is_key_in_doubt
    clock.now += WRONG_KEY_PAUSE
    send(budget)
    send(budget, AMBIGUOUS_401)
    assert budget.wait(alert=True) == pytest.approx(WINDOW)


def test_ambiguous_401_before_any_success(clock):
    """Before any success the key is in doubt at once."""
    budget = make(clock)
    send(budget, AMBIGUOUS_401)
    assert budget.is_key_in_doubt
    assert budget.wait(alert=True) == pytest.approx(WINDOW)


def test_refused(clock):
    """A wrong key: a try a minute, and one at the exit."""
    budget = make(clock)
    send(budget, ApiResponse(Verdict.REFUSED))
    assert budget.wait(alert=True) == pytest.approx(REFUSED_PAUSE)
    budget.retry_now()
    assert budget.wait(alert=True) <= 0


def test_failed(clock):
    """The first failure may be the request's own; then pauses grow to a minute, or to what the server asks."""
    budget = make(clock, 0)
    send(budget, FAILED)
    assert budget.wait(alert=True) <= 0
    waits = []
    for _ in range(12):
        send(budget, FAILED)
        waits.append(budget.wait(alert=True))
    assert 0.3 <= waits[0] <= 0.5
    assert 45 <= waits[-1] <= 60
    send(budget, ApiResponse(Verdict.FAILED, retry_after=120.0))
    assert budget.wait(alert=True) == pytest.approx(120.0)
    budget.retry_now()
    assert budget.wait(alert=True) == pytest.approx(120.0)
    send(budget)
    assert budget.wait(alert=True) <= 0


def test_available(clock):
    """How much may start now, what a whole window holds, and whether it is the budget that is lacking."""
    budget = make(clock, 10)
    assert (budget.capacity(alert=False), budget.capacity(alert=True)) == (9, 10)
    assert (budget.available(alert=False), budget.available(alert=True)) == (9, 10)
    burst(budget, alert=False)
    assert (budget.available(alert=False), budget.available(alert=True)) == (0, 1)
    assert (budget.is_spent(alert=False), budget.is_spent(alert=True)) == (True, False)
    send(budget, ApiResponse(Verdict.LIMITED, retry_after=5.0))
    assert budget.is_spent(alert=True)
    assert budget.available(alert=True) == 0
    clock.now += WINDOW
    send(budget, FAILED)
    send(budget, FAILED)
    assert not budget.is_spent(alert=True)
    assert make(clock, 0).capacity(alert=False) == make(clock, 0).available(alert=False) == float("inf")


def test_spread(clock):
    """What is less than an alert is spread over what is left of the window, and uses it up."""
    budget, left = make(clock), 10
    send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, left := left - 1, 2.0)))
    ends, sent = clock.now + 2.0, 0
    while (wait := budget.wait(alert=False, spread=True)) < ends - clock.now:
        assert budget.wait(alert=True, spread=True) == 0
        clock.now += wait
        send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, left := left - 1, ends - clock.now)))
        sent += 1
    assert sent == 8
    budget = make(clock, 10)
    send(budget)
    assert budget.wait(alert=False, spread=True) == pytest.approx(WINDOW / 10)
    budget.closing = True
    assert budget.wait(alert=False, spread=True) == 0


def test_spread_over_nothing(clock):
    """Where others have used the reserve, too, there is nothing to spread."""
    budget = make(clock)
    send(budget, ApiResponse(Verdict.ACCEPTED, quota=Quota(10, 0, 2.0)))
    assert budget.wait(alert=False, spread=True) == pytest.approx(2.0)


def test_backoff():
    """Pauses double from half a second to the longest, and differ between processes."""
    pauses = [backoff(tries) for tries in range(1, 12)]
    assert 0.3 < pauses[0] <= 0.5
    assert 45 <= pauses[-1] <= 60
    assert max(backoff(50, 4.0) for _ in range(20)) <= 4.0
    assert len({backoff(3) for _ in range(20)}) > 1


# What another process takes over


def resumed(budget: RateBudget, clock: Clock, **options) -> RateBudget:
    """Another budget that takes over the state of `budget`, as it is after it was on disk."""
    other = make(clock, **options)
    other.resume(json.loads(json.dumps(budget.state(), allow_nan=False)))
    return other


def test_state_of_a_new_budget(clock):
    """The state has field names of its own, and leaves out what is infinite."""
    assert make(clock).state() == {
        "limit": 100,
        "starts": [],
        "starts_since_silence": 0,
        "full_answers": 0,
        "pause_is_guess": False,
        "pause_is_for_limit": False,
        "failures": 0,
        "ambiguous_401s": 0,
        "limit_answers": 0,
        "has_succeeded": False,
    }


@pytest.mark.parametrize(
    "answers",
    [
        [OK] * 30,
        [ApiResponse(Verdict.ACCEPTED, quota=Quota(50, 7, 30.0))],
        [ApiResponse(Verdict.ACCEPTED, quota=Quota(100, 100, 60.0))] * 95,
        [ApiResponse(Verdict.LIMITED, retry_after=7.0)],
        [OK, *[AMBIGUOUS_401] * 4],
        [AMBIGUOUS_401],
        [ApiResponse(Verdict.FAILED, retry_after=40.0)] * 3,
        [ApiResponse(Verdict.REFUSED)],
    ],
)
def test_resume(clock, answers):
    """Another process goes on with the same count, the same pause and the same doubt."""
    budget = make(clock)
    for answer in answers:
        send(budget, answer)
    clock.now += 5.0
    other = resumed(budget, clock)
    assert other.state() == budget.state()
    for alert in (True, False):
        assert other.wait(alert=alert) == budget.wait(alert=alert)
        assert other.wait(alert=alert, spread=True) == budget.wait(alert=alert, spread=True)
        assert other.available(alert=alert) == budget.available(alert=alert)
        assert other.is_spent(alert=alert) == budget.is_spent(alert=alert)
    assert other.is_key_in_doubt == budget.is_key_in_doubt
    other.retry_now()
    budget.retry_now()
    assert other.wait(alert=True) == budget.wait(alert=True)


def test_resume_with_another_limit(clock):
    """A limit that is an option of a process is not handed over; a limit from the server is, but the option wins."""
    mine = make(clock, 10)
    assert "limit" not in mine.state()
    learned = make(clock)
    send(learned, ApiResponse(Verdict.ACCEPTED, quota=Quota(500, 400, 30.0)))
    assert resumed(learned, clock).capacity(alert=True) == 500
    assert resumed(learned, clock, rate_limit=10).capacity(alert=True) == 10
    assert resumed(mine, clock).capacity(alert=True) == 100


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"new": 1},
        {"limit": "x", "starts": None, "quota": [], "failures": None, "last_start": "x", "paused_until": float("inf")},
        {"limit": 0, "quota": {}, "starts": ["x"]},
    ],
)
def test_resume_is_tolerant(clock, state):
    """Unknown fields are ignored; what is missing or unusable has its default, and nothing raises."""
    budget = make(clock)
    budget.resume(state)
    assert burst(budget, alert=True) == 100


def test_missing_fields_have_their_default(clock):
    """A state without some fields, the last start among them, keeps the others."""
    budget = make(clock)
    budget.resume({"paused_until": clock.now + 7, "starts": [clock.now] * 5})
    assert budget.wait(alert=True) == pytest.approx(7.0)
    clock.now += 8
    assert budget.available(alert=True) == 95


def test_state_from_before_the_last_start_of_the_machine(clock):
    """The monotonic clock begins anew with the machine: a later start than now is of another time."""
    budget = make(clock)
    burst(budget, alert=True)
    earlier = Clock()
    earlier.now = 10.0
    assert resumed(budget, earlier).available(alert=True) == 100
