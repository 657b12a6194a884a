"""When records fold, and when folds become digests, because the budget does not last."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from tests.outbox.support import ACCEPTED, Harness, spent, titles


def test_nothing_folds_while_the_budget_lasts():
    """As many records as a window takes are as many events, also if they are of one kind."""
    harness = Harness(rate_limit=20)
    harness.put(*["same"] * 18)
    assert titles(harness.send_all()) == ["same"] * 18


def test_fold():
    """Records that wait when the budget is used up become one event for each channel, priority and kind."""
    harness = spent()
    harness.put(*["a"] * 37)
    harness.put("b")
    harness.put("a", channel="other")
    harness.put("a", priority=logging.WARNING)
    bodies = harness.send_all()
    assert titles(bodies) == ["a", "a (×37)", "b", "a"]
    assert bodies[-1]["channelName"] == "other"


@pytest.mark.parametrize("users", [["u", "v"], ["u", None], [None, "u"]])
def test_fold_over_users(users):
    """A fold over several users has no user; its samples have theirs."""
    harness = spent()
    for user in users:
        harness.put("a", user_id=user)
    (body,) = harness.send_all()
    assert "userId" not in body
    assert [sample.get("userId") for sample in body["metadata"]["samples"]] == users


def test_never_folds():
    """An event with an idempotency key of its own goes by itself."""
    harness = spent()
    harness.put("a", key="1")
    harness.put("a", key="2")
    harness.put("a", "a")
    assert titles(harness.send_all()) == ["a", "a", "a (×2)"]


def test_digest():
    """What is more than a window takes, even folded, becomes one event for each channel."""
    harness = spent()
    for number in range(30):
        harness.put(*[f"n{number}"] * 2, channel="even" if number % 2 == 0 else "odd")
    harness.put("important", "important", priority=logging.WARNING)
    bodies = harness.send_all()
    assert len(bodies) == 9
    assert titles(bodies[:7]) == ["important (×2)", *(f"n{number} (×2)" for number in range(6))]
    even, odd = sorted(bodies[7:], key=lambda body: body["channelName"])
    assert (even["channelName"], odd["channelName"]) == ("even", "odd")
    assert even["metadata"]["digest"] == {f"n{number}": 2 for number in range(28, 4, -2)}
    assert even["metadata"]["occurrences"] == 24
    assert "24" in even["title"]


def test_untrusted_records_have_digests_of_their_own():
    """The names of browsers' events do not use up the names of the digest of trusted records."""
    harness = spent()
    harness.put(*(f"browser{number}" for number in range(300)), priority=UNTRUSTED_PRIORITY)
    harness.put(*(f"n{number}" for number in range(20)))
    digests = [list(body["metadata"]["digest"]) for body in harness.send_all() if "digest" in body["metadata"]]
    trusted, untrusted = sorted(digests, key=len)
    assert all(name.startswith("n") for name in trusted)
    assert all(name.startswith("browser") or name == "…" for name in untrusted)


def test_requests_are_spread_once_the_budget_is_scarce():
    """After a window was used up, requests that are no alerts are spread over the next, and alerts find some left."""
    harness = spent()
    harness.put(*(f"n{number}" for number in range(8)))
    harness.clock.now += harness.wait()
    assert harness.send() == "n0"
    assert 0 < harness.wait() < 20
    for number in range(3):
        harness.put(f"alert {number}", priority=logging.ERROR)
        assert harness.send() == f"alert {number}"


def test_large_backlog_folds_at_once():
    """What would take more than a hundred windows does not wait until the first one is used up."""
    harness = Harness(rate_limit=10, size=10_000)
    harness.put(*["a"] * 2_000)
    assert harness.send() == "a (×2000)"


def test_alerts_fold():
    """Alerts fold when the reserve is used up, too."""
    harness = Harness(rate_limit=10)
    harness.put(*["alert"] * 30, priority=logging.ERROR)
    assert titles(harness.send_all()) == ["alert"] * 10 + ["alert (×20)"]


def test_exit_folds():
    """At exit what the window does not take folds, the reserve is for all, and nothing waits for another window."""
    harness = Harness(rate_limit=10)
    for number in range(8):
        harness.put(*[f"n{number}"] * 5)
    harness.outbox.hurry(5.0)
    began = harness.clock.now
    bodies = harness.send_all()
    assert harness.clock.now == began
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 40
    assert len(bodies) == 8


def test_exit_with_a_slow_server():
    """A server that needs a second for each request gets no more requests than there are seconds."""
    harness = Harness()
    harness.put("a")
    harness.start()
    harness.clock.now += 1.0
    harness.outbox.settle(ACCEPTED)
    harness.put(*["b"] * 50, *["c"] * 50)
    harness.outbox.hurry(5.0)
    assert titles(harness.send_all()) == ["b (×50)", "c (×50)"]
