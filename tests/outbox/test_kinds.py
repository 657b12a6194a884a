"""What is remembered of the kinds of alerts."""

from __future__ import annotations

import json
import logging
import math

import pytest

from emitkit_logging._events.kinds import FoldKey, MergedTemplate, RenamedKinds
from emitkit_logging._outbox.kinds import MOST_PLACES, MOST_STORMING, PLACE_INTERVAL, KindMemory
from tests.outbox.support import Clock


def key(name: str = "a", level: int = logging.ERROR) -> FoldKey:
    return FoldKey("alerts", level, (name,))


def memory(clock: Clock, notify_interval: float = 300.0, size: int = 100) -> KindMemory:
    return KindMemory(notify_interval=notify_interval, clock=clock, size=size)


def test_places():
    """A kind has five places, and gets one back each minute, up to five."""
    kinds = memory(clock := Clock())
    assert [kinds.take_place(key()) for _ in range(7)] == [True] * MOST_PLACES + [False] * 2
    assert kinds.place_at(key()) == clock.now + PLACE_INTERVAL
    assert kinds.take_place(key("b"))
    clock.now += PLACE_INTERVAL + 1
    assert [kinds.take_place(key()) for _ in range(2)] == [True, False]
    assert kinds.place_at(key()) == clock.now - 1 + PLACE_INTERVAL
    clock.now += 100 * PLACE_INTERVAL
    assert sum(kinds.take_place(key()) for _ in range(7)) == MOST_PLACES


def test_returned_place():
    """A place that was not used can be used again; there are never more than five."""
    kinds = memory(Clock())
    kinds.return_place(key())
    assert sum(kinds.take_place(key()) for _ in range(7)) == MOST_PLACES
    kinds.return_place(key())
    assert [kinds.take_place(key()) for _ in range(2)] == [True, False]


def test_known():
    """A kind is known once a request for it has started; a kind is of one channel and level."""
    kinds = memory(Clock())
    kinds.take_place(key())
    assert not kinds.is_known(key())
    kinds.started(key())
    assert kinds.is_known(key())
    assert not kinds.is_known(key(level=logging.CRITICAL))
    assert len(kinds) == 1


def test_least_recently_seen_are_forgotten():
    """The memory is bounded: what was not seen for longest is new again."""
    kinds = memory(Clock(), size=3)
    for name in "abc":
        kinds.started(key(name))
    kinds.count(key("a"), 1)
    kinds.started(key("d"))
    assert [kinds.is_known(key(name)) for name in "abcd"] == [True, False, True, True]


@pytest.mark.parametrize(("interval", "pushes"), [(300.0, [True, False, True]), (0.0, [True, True, True])])
def test_pushes(interval, pushes):
    """A kind pushes once in an interval; with an interval of 0 each event does."""
    kinds = memory(clock := Clock(), interval)
    seen = [kinds.push(key())]
    clock.now += 299.0
    seen.append(kinds.push(key()))
    clock.now += 1.0
    seen.append(kinds.push(key()))
    assert seen == pushes


def test_asked_for_push():
    """A push that a record asks for counts as one of its kind."""
    kinds = memory(Clock())
    kinds.pushed(key())
    assert not kinds.push(key())


def test_storming():
    """The kinds without a place are named with their records, the largest five; a calm one is not."""
    kinds = memory(clock := Clock())
    for number in range(8):
        for _ in range(5):
            kinds.take_place(key(f"k{number}"))
        kinds.count(key(f"k{number}"), number)
    kinds.count(key("calm"), 1_000)
    assert kinds.storming() == {"k7": 7, "k6": 6, "k5": 5, "k4": 4, "k3": 3}
    assert len(kinds.storming()) == MOST_STORMING
    clock.now += 61.0
    assert kinds.storming() == {}


def test_state():
    """The state is JSON of a bounded size, and another memory goes on with it."""
    kinds = memory(clock := Clock())
    long = key("x" * 1_000_000)
    for each in (long, key("b")):
        kinds.started(each)
        for _ in range(3):
            kinds.take_place(each)
        kinds.count(each, 4)
    kinds.push(long)
    text = json.dumps(kinds.pop_learned(), allow_nan=False)
    assert len(text) < 400
    assert kinds.pop_learned() == {}
    clock.now += 10.0
    again = memory(clock)
    again.load(json.loads(text))
    assert again.is_known(long)
    assert not again.push(long)
    assert again.push(key("b"))
    assert sum(again.take_place(long) for _ in range(5)) == 2
    assert again.place_at(long) == clock.now - 10.0 + PLACE_INTERVAL
    assert list(again.storming().values()) == [4]


def test_changes_of_the_state():
    """Only what changed is reported, and what was forgotten; all, where all is asked for."""
    kinds = memory(Clock(), size=2)
    for name in "ab":
        kinds.started(key(name))
    first = kinds.pop_learned()
    kinds.started(key("c"))
    changed = kinds.pop_learned()
    assert [name for name, values in changed.items() if values is None] == list(first)[:1]
    assert len(changed) == 2
    kinds.learn_again()
    assert len(kinds.pop_learned()) == 2


@pytest.mark.parametrize("values", [None, {}, [1], [1, "x", math.nan], [None, 1e9, 1e9], [5, 0, None, "x", 3]])
def test_state_is_read_tolerantly(values):
    """What cannot be read, or is of before the machine's last start, is ignored."""
    kinds = memory(Clock())
    kinds.load({"a": values})
    assert kinds.push(key())
    assert kinds.take_place(key())
    assert kinds.storming() == {}


PLAIN = FoldKey("alerts", logging.ERROR, ("app", "user ada cannot log in", "", ""))


def plain(template: str, **more) -> FoldKey:
    return PLAIN._replace(kind=("app", template, "", ""), **more)


def test_generalised():
    """A kind that others became a part of is known, has used their places, and does not push again."""
    kinds = memory(clock := Clock())
    names = ["ada", "bob"]
    for name in names:
        kinds.started(plain(f"user {name} failed"))
        kinds.take_place(plain(f"user {name} failed"))
        kinds.count(plain(f"user {name} failed"), 3)
    kinds.push(plain("user bob failed"))
    kinds.started(plain("user ada failed", level=logging.CRITICAL))
    renamed = RenamedKinds([MergedTemplate("app", f"user {name} failed", "user … failed") for name in names])
    kinds.rename(renamed)
    general = renamed.of(plain("user ada failed"))
    assert general == plain("user … failed")
    assert kinds.is_known(general)
    assert not kinds.push(general)
    assert sum(kinds.take_place(general) for _ in range(5)) == 3
    assert kinds.place_at(general) == clock.now + PLACE_INTERVAL
    assert kinds.is_known(plain("user … failed", level=logging.CRITICAL))
    assert not any(kinds.is_known(plain(f"user {name} failed")) for name in names)
    assert len(kinds) == 2
    kinds.count(general, 1)
    assert kinds.storming() == {"user … failed": 7}


def test_generalised_twice():
    """What became part of a template that is itself part of another now goes on as of that one; all else stays."""
    merged = [MergedTemplate("app", "a b", "… b"), MergedTemplate("app", "… b", "… …")]
    renamed = RenamedKinds(merged)
    assert renamed.of(plain("a b")) == plain("… …")
    assert renamed.of(plain("x")) == plain("x")
    assert renamed.of(key("a b")) == key("a b")
    other = PLAIN._replace(kind=("shop", "a b", "", ""))
    assert renamed.of(other) == other


@pytest.mark.parametrize("now", [1_000.1, 0.1, 123_456.789, 7.3])
def test_place_is_there_when_it_is_said_to_be(now):
    """A kind has a place at `place_at`, however the sum of two floats is rounded."""
    clock = Clock()
    clock.now = now
    kinds = memory(clock)
    for _ in range(3):
        while kinds.take_place(key()):
            pass
        clock.now += kinds.place_at(key()) - clock.now
        clock.now = max(clock.now, kinds.place_at(key()))
        assert kinds.take_place(key())
