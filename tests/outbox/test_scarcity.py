"""When records fold, and when folds become digests, because the budget does not last."""

from __future__ import annotations

import itertools
import json
import logging
import math

import pytest

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._outbox.observer import Changes
from tests.outbox.support import ACCEPTED, Clock, Harness, identity, name_of, spent, titles


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


def test_repeats_fold():
    """Five alerts of one kind go by themselves, all others of it fold, though the budget lasts."""
    harness = Harness()
    harness.put(*["alert"] * 30, priority=logging.ERROR)
    assert titles(harness.send_all()) == ["alert"] * 5 + ["alert (×25)"]


def test_failure_that_goes_on():
    """A failure at ten a second costs five requests and then one a minute."""
    harness = Harness()
    starts = []
    for _ in range(36_000):
        harness.put("alert", priority=logging.ERROR)
        while isinstance(harness.outbox.next(), ApiRequest):
            starts.append(harness.clock.now)
            harness.outbox.settle(ACCEPTED)
        harness.clock.now += 0.1
    assert len(starts) <= 5 + 60
    assert harness.outbox.stats().kinds == 1
    assert harness.outbox.stats().storming == {"alert": 36_000}


@pytest.mark.parametrize("end", ["flush", "exit"])
def test_nothing_waits_for_a_place(end):
    """At a flush and at exit repeats wait for no place; what comes in after the flush does."""
    harness = Harness()
    harness.put(*["alert"] * 30, priority=logging.ERROR)
    for _ in range(5):
        harness.send()
    assert harness.wait() == pytest.approx(60.0)
    if end == "flush":
        harness.outbox.release()
    else:
        harness.outbox.hurry(5.0)
    assert harness.send() == "alert (×25)"
    harness.outbox.carry_on()
    harness.put("alert", priority=logging.ERROR)
    assert 59 < harness.wait() < 61


def test_new_kind_in_a_storm():
    """Whatever storms rage, the alerts of as many new kinds as the reserve has go out at once."""
    harness = Harness(rate_limit=100, size=1_000)
    for second in range(200):
        for kind in range(30):
            harness.put(f"storm {kind}", priority=logging.ERROR)
            harness.put(f"storm {kind}", priority=logging.CRITICAL)
        harness.put(*(f"n{number}" for number in range(20)))
        while isinstance(harness.outbox.next(), ApiRequest):
            harness.outbox.settle(ACCEPTED)
        if second > 100 and second % 7 == 0:
            harness.put(f"new {second}", priority=logging.ERROR)
            assert harness.send() == f"new {second}"
        harness.clock.now += 1.0


@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("priority", [logging.INFO, logging.ERROR])
def test_single_name_is_never_digested(size, priority):
    """However little may be held, the records of one name are a fold, which counts all of them."""
    harness = Harness(rate_limit=10, size=size)
    for _ in range(60):
        harness.put("a", priority=priority)
    bodies = harness.send_all()
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 60
    assert not any("digest" in body["metadata"] for body in bodies)
    assert not harness.outbox.stats().dropped


def test_folds_give_up_samples_before_names():
    """Where more would be held than may be, folds of several names keep one sample each."""
    harness = spent(size=10)
    for name in "abcde":
        harness.put(*[name] * 20)
    bodies = harness.send_all()[-5:]
    assert sorted(titles(bodies)) == [f"{name} (×20)" for name in "abcde"]


def test_repeats_leave_the_reserve():
    """Repeats of alerts use nothing of the reserve, also when nothing else waits."""
    harness = Harness(rate_limit=10)
    for kind in "abcdef":
        harness.put(kind, priority=logging.ERROR)
        harness.send()
    for kind in "abc":
        harness.put(kind, priority=logging.ERROR)
    for _ in range(3):
        harness.send()
    assert harness.wait() > 50
    harness.put("new", priority=logging.ERROR)
    assert harness.send() == "new"


def test_more_new_kinds_than_a_window_takes():
    """Of more new kinds than a window takes, the youngest are digested when it is used up."""
    harness = Harness(rate_limit=10, size=1_000)
    harness.put(*(f"n{number}" for number in range(40)), priority=logging.ERROR)
    bodies = harness.send_all()
    assert len(bodies) == 9 + 10
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 40


def test_end_in_a_used_up_window():
    """A process that ends after more alerts than a window takes delivers all, the most important by themselves."""
    harness = Harness(rate_limit=100, size=10_000)
    harness.put(*(f"n{number}" for number in range(300)), priority=logging.ERROR)
    bodies = []
    while isinstance(request := harness.outbox.next(), ApiRequest):
        bodies.append(json.loads(request.body))
        harness.outbox.settle(ACCEPTED)
    assert len(bodies) == 98
    harness.put("last", priority=logging.CRITICAL)
    harness.outbox.hurry(5.0)
    began = harness.clock.now
    bodies += harness.send_all()
    assert harness.clock.now == began
    assert len(bodies) == 100
    assert bodies[98]["title"] == "last"
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 301


def test_events_before_identifies():
    """What waited for the budget goes before the identify requests, when the next window begins."""
    harness = spent()
    for number in range(3):
        harness.put(f"n{number}", identities=(identity(str(number)),))
    names = []
    while not harness.outbox.is_empty:
        step = harness.outbox.next()
        if isinstance(step, ApiRequest):
            names.append(name_of(step))
            harness.outbox.settle(ACCEPTED)
        else:
            harness.clock.now += step
    assert names == ["n0", "n1", "n2", "identify 0", "identify 1", "identify 2"]


# Pushes


def test_pushes():
    """Of the alerts of one kind the first pushes, and the next after five minutes; other levels and kinds push."""
    harness = Harness()
    pushes = []
    for _ in range(130):
        harness.put("a", priority=logging.ERROR)
        while isinstance(request := harness.outbox.next(), ApiRequest):
            if json.loads(request.body)["notify"]:
                pushes.append(harness.clock.now)
            harness.outbox.settle(ACCEPTED)
        harness.clock.now += 10.0
    assert [push - pushes[0] for push in pushes] == pytest.approx([0, 300, 600, 900, 1200], abs=60)
    assert all(second - first >= 300 for first, second in itertools.pairwise(pushes))
    harness.put("b", priority=logging.ERROR)
    harness.put("a", priority=logging.CRITICAL)
    harness.put("i", "i")
    bodies = [body for body in harness.send_all() if "(×" not in body["title"]]
    assert [body["notify"] for body in bodies] == [True] * 4


def test_what_a_record_says_of_pushes():
    """What a record says goes before the rule, in a fold, too; a push that it asks for is one of its kind."""
    harness = Harness()
    harness.put("a", priority=logging.ERROR, notify=False)
    harness.put("a", priority=logging.ERROR)
    harness.put("a", priority=logging.ERROR, notify=True)
    harness.put("b", priority=logging.ERROR, notify=True)
    harness.put("b", priority=logging.ERROR)
    assert [body["notify"] for body in harness.send_all()] == [False, True, True, True, False]


def test_restart_in_a_storm():
    """Another outbox that goes on knows the kinds: nothing is new again, and nothing pushes again."""
    first = Harness(observer=(changes := Changes()))
    first.put(*["a"] * 9, priority=logging.ERROR)
    first.send_all()
    kinds = {name: json.loads(json.dumps(values)) for (_, name), values in changes.knowledge.items()}
    second = Harness(clock=first.clock)
    second.outbox.know_kinds(kinds)
    second.put("a", priority=logging.ERROR)
    second.put("b", priority=logging.ERROR)
    assert [(body["title"], body["notify"]) for body in second.send_all()] == [("b", True), ("a", False)]


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


# Untrusted sources


def test_untrusted_share():
    """Browsers' events use half of a window, fold beyond that, and do not push unless they are to."""
    harness = Harness(rate_limit=20, size=1_000)
    harness.put(*(f"b{number}" for number in range(200)), priority=UNTRUSTED_PRIORITY)
    harness.put("asked", priority=UNTRUSTED_PRIORITY, notify=True)
    pushes = []
    while isinstance(request := harness.outbox.next(), ApiRequest):
        pushes.append(json.loads(request.body)["notify"])
        harness.outbox.settle(ACCEPTED)
    assert len(pushes) <= 9
    assert not any(pushes)
    harness.put("own")
    assert harness.send() == "own"
    bodies = harness.send_all()
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 201 - len(pushes)


def test_untrusted_push():
    """An event that its endpoint lets push pushes; another of a browser does not."""
    harness = Harness()
    harness.put("a", priority=UNTRUSTED_PRIORITY, notify=True)
    harness.put("b", priority=UNTRUSTED_PRIORITY)
    assert [body["notify"] for body in harness.send_all()] == [True, False]


def test_untrusted_share_is_handed_on():
    """Another outbox that goes on with the budget goes on with the share; damaged states are no share."""
    clock = Clock()
    first = Harness(rate_limit=20, clock=clock)
    first.put(*(f"b{number}" for number in range(50)), priority=UNTRUSTED_PRIORITY)
    first.send_all()
    state = json.loads(json.dumps(first.outbox.budget()))
    assert len(state["untrusted_starts"]) == 9
    second = Harness(rate_limit=20, clock=clock)
    second.outbox.begin_at(0, state)
    second.put("b", priority=UNTRUSTED_PRIORITY)
    assert second.wait() > 50
    second.put("own")
    assert second.send() == "own"
    for damaged in (5, ["x"], [None], [math.inf], [clock.now + 1e6], {}):
        other = Harness(rate_limit=20, clock=clock)
        other.outbox.begin_at(0, {"untrusted_starts": damaged})
        other.put("b", priority=UNTRUSTED_PRIORITY)
        assert other.send() == "b"


def test_untrusted_share_without_a_limit():
    """Where there is no limit, nothing is handed on that would grow."""
    harness = Harness(rate_limit=0, size=1_000)
    harness.put(*(f"b{number}" for number in range(200)), priority=UNTRUSTED_PRIORITY)
    harness.send_all()
    assert "untrusted_starts" not in harness.outbox.budget()


def test_untrusted_leave_the_last_requests():
    """Of what a window has left at its end untrusted events take nothing."""
    harness = Harness(rate_limit=10)
    harness.put(*(f"n{number}" for number in range(7)))
    for _ in range(7):
        harness.send()
    harness.put("b", priority=UNTRUSTED_PRIORITY)
    assert harness.wait() > 50
    harness.put("own")
    assert harness.send() == "own"


NAMES = ["ada", "bob", "eve", "ida", "leo", "max", "mia", "noa", "tom", "zoe"]


def test_generalised_in_one_burst():
    """Names in f-strings make five kinds, then one; it is not new again, its events push once, and all are counted."""
    harness = Harness()
    harness.put_texts(*(f"user {NAMES[number % 10]} cannot log in" for number in range(500)))
    bodies = harness.send_all()
    assert [body["notify"] for body in bodies] == [True] + [False] * (len(bodies) - 1)
    assert len(bodies) <= 7
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 500
    assert bodies[-1]["title"] == "user … cannot log in (×495)"


def test_generalised_after_it_was_sent():
    """What became part of a more general kind has pushed, and its places are used, whenever the sixth value comes."""
    harness = Harness()
    for name in NAMES[:5]:
        harness.put_texts(f"user {name} cannot log in")
        harness.clock.now += 1.0
        harness.send_all()
    harness.put_texts("user kim cannot log in", "disk is full")
    bodies = harness.send_all()
    assert [(body["title"], body["notify"]) for body in bodies] == [
        ("disk is full", True),
        ("user kim cannot log in", False),
    ]
    assert harness.outbox.stats().kinds == 2


@pytest.mark.parametrize("priority", [logging.INFO, logging.ERROR])
def test_folds_of_what_was_generalised_are_one(priority):
    """Folds that wait become one as soon as their kinds are one: sums, samples and times are those of all."""
    harness = spent()
    for number in range(60):
        harness.clock.now += 0.01
        harness.put_texts(f"user {NAMES[number % 5]} cannot log in", priority=priority, user_id=f"u{number % 3}")
        harness.wait() if priority < logging.ERROR else None
    began = harness.clock.now
    harness.put_texts("user zoe cannot log in", priority=priority)
    bodies = harness.send_all()
    (fold,) = [body for body in bodies if "samples" in body["metadata"]]
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 61
    assert fold["title"].startswith("user … cannot log in (×")
    assert len(fold["metadata"]["samples"]) == 5
    assert "userId" not in fold
    assert fold["metadata"]["first_seen"] <= fold["metadata"]["last_seen"] == int(began * 1000)


def flooded() -> Harness:
    """A harness whose flood, of more than a hundred windows could take, has been sent."""
    harness = Harness(size=10_000, rate_limit=10)
    harness.put(*["flood"] * 1_000)
    assert harness.send() == "flood (×1000)"
    return harness


def test_end_of_a_flood():
    """In the second behind a flood records fold; later each is sent by itself, whether or not one was looked at."""
    harness = flooded()
    assert 0 < harness.wait() <= 1.0
    harness.put(*["tail"] * 5)
    assert titles(harness.send_all()) == ["tail (×5)"]
    harness = flooded()
    harness.wait()
    harness.clock.now += 3_600
    harness.put(*["later"] * 5)
    assert titles(harness.send_all()) == ["later"] * 5


def test_many_records_behind_a_flood():
    """Many records that come in at once are not folded on account of a flood that is over."""
    harness = flooded()
    harness.wait()
    harness.clock.now += 3_600
    harness.put(*["later"] * 100)
    assert harness.outbox.held == 100


def test_wakes_behind_a_flood():
    """As soon as a flood is over, a record need not wait for its request to be spread."""
    harness = flooded()
    harness.clock.now += harness.wait()
    assert harness.wait() == math.inf
    assert harness.outbox.wake_level() == logging.NOTSET
