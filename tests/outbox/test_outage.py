"""What the log says of an outage: one warning, and one line when it is over."""

from __future__ import annotations

import pytest

from emitkit_logging._api.responses import ApiResponse, Verdict, unanswered
from tests.outbox.support import ACCEPTED, INVALID, Harness

DOWN = unanswered("ConnectionError: refused", reached_server=False)


def fail(harness: Harness, answer: ApiResponse, seconds: float, took: float = 0.0) -> list[str]:
    """Let every request of the next `seconds` fail after `took` seconds, and return what the log says."""
    ends, notices = harness.clock.now + seconds, []
    while harness.clock.now < ends:
        step = harness.outbox.next()
        if isinstance(step, float | int):
            harness.clock.now += step
        else:
            harness.clock.now += took
            harness.outbox.settle(answer)
        notices += harness.outbox.notices()
    return notices


@pytest.mark.parametrize("took", [0.0, 5.0, 31.0])
@pytest.mark.parametrize("answer", [DOWN, ApiResponse(Verdict.FAILED, "HTTP 503", retry_after=300.0)])
def test_one_warning(answer, took):
    """Whatever a try takes, the log says within 30 seconds and one try what hinders, and what waits, once."""
    harness = Harness()
    harness.put("a", "b")
    (warning,) = fail(harness, answer, max(30.0, took), took)
    assert answer.detail in warning
    assert "2 log records wait" in warning
    assert fail(harness, answer, 1_000.0, took) == []
    harness.clock.now += 400.0
    harness.send()
    (over,) = harness.outbox.notices()
    assert "again" in over
    assert "1 log records wait" in over


def test_each_outage():
    """A second outage has a warning of its own."""
    harness = Harness()
    for _ in range(2):
        harness.put("a")
        assert len(fail(harness, DOWN, 30.0)) == 1
        harness.clock.now += 100.0
        harness.send()
        assert len(harness.outbox.notices()) == 1


def test_short_trouble():
    """A failure or two that pass by themselves are not mentioned, neither is an event that is rejected."""
    harness = Harness()
    harness.put("a", "b")
    harness.send(DOWN)
    harness.clock.now += 10.0
    harness.send(DOWN)
    harness.clock.now += 10.0
    harness.send()
    assert harness.outbox.notices() == []


def test_refused_key_works_again():
    """After the warning that the key is refused one line says that events are delivered again."""
    harness = Harness()
    harness.put("a")
    harness.send(ApiResponse(Verdict.REFUSED, "HTTP 403"))
    assert "HTTP 403" in harness.outbox.notices()[0]
    harness.clock.now += 61.0
    harness.send()
    assert "again, after 61 seconds" in harness.outbox.notices()[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DOWN, "ConnectionError: refused"),
        (ApiResponse(Verdict.LIMITED, "HTTP 429"), "the rate limit is used up: HTTP 429"),
        (ACCEPTED, ""),
        (INVALID, ""),
    ],
)
def test_reason_at_exit(answer, reason):
    """What is lost at exit has the reason of the last request that did not succeed."""
    harness = Harness()
    harness.put("a", "b")
    harness.send(answer)
    assert harness.outbox.give_up("shutdown").reason == reason


def test_reason_of_a_hanging_server():
    """A request that was never answered is a reason, and so is a used-up window."""
    harness = Harness()
    harness.put("a")
    harness.start()
    assert harness.outbox.give_up("shutdown").reason == "the server does not answer"
    harness = Harness(rate_limit=1)
    harness.put("a", "b")
    harness.send()
    assert harness.outbox.give_up("shutdown").reason == "the rate limit is used up"
