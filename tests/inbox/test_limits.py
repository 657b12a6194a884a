"""The rate limits and the idempotency keys, by a clock that stands still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._api.contract import Conflict
from emitkit_logging.inbox.idempotency import LIFETIME, IdempotencyKeys
from emitkit_logging.inbox.limiter import FixedWindow, SilenceWindow


def test_a_fixed_window_counts_down_and_opens_again():
    """So many requests a window, whatever was refused in it."""
    limiter = FixedWindow(2, 60.0)
    seen = [limiter.admit(now) for now in (1000.5, 1010.0, 1020.0, 1060.4, 1060.5)]
    assert [(each.allowed, each.remaining) for each in seen] == [
        (True, 1),
        (True, 0),
        (False, 0),
        (False, 0),
        (True, 1),
    ]
    assert [each.reset_at for each in seen] == [1061, 1061, 1061, 1061, 1121]
    assert seen[2].reset_in == 40.5


def test_a_fixed_window_survives_a_clock_that_is_set_back():
    """A limit is never longer than its window."""
    limiter = FixedWindow(1, 60.0)
    assert [limiter.admit(now).allowed for now in (5000.0, 1000.0, 1001.0)] == [True, True, False]


@given(st.lists(st.floats(0, 30), max_size=60))
def test_a_fixed_window_admits_its_limit_and_no_more(pauses):
    """Whatever the rhythm, each window lets its limit through and refuses the rest."""
    limiter, now = FixedWindow(3, 60.0), 0.0
    windows: dict[int, list[bool]] = {}
    for pause in pauses:
        now += pause
        verdict = limiter.admit(now)
        windows.setdefault(verdict.reset_at, []).append(verdict.allowed)
    for admitted in windows.values():
        assert admitted == [True] * min(3, len(admitted)) + [False] * (len(admitted) - 3)


def test_a_steady_trickle_runs_into_the_silence_window():
    """The open-source server forgets only after more than a window of silence."""
    limiter = SilenceWindow(100, 60.0)
    verdicts = [limiter.admit(30.0 * number) for number in range(101)]
    assert [each.allowed for each in verdicts] == [True] * 100 + [False]
    assert {(each.limit, each.remaining) for each in verdicts} == {(100, 100)}
    assert verdicts[3].reset_at == 90 + 60


def test_being_refused_does_not_extend_the_block():
    """It ends a window after the last request that was accepted."""
    limiter = SilenceWindow(1, 60.0)
    assert [limiter.admit(now).allowed for now in (0.0, 30.0, 59.0, 60.0, 60.1)] == [True, False, False, False, True]


def test_a_key_replays_its_first_answer_for_a_day():
    """The same request gets the first answer, until the key is forgotten."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    assert keys.begin("api", "key", b"request", 0.0) is None
    keys.finish("api", "key", "answer")
    assert keys.begin("api", "key", b"request", LIFETIME - 1) == "answer"
    assert keys.begin("api", "key", b"request", LIFETIME) is None


def test_a_key_conflicts_while_it_runs_and_with_another_request():
    """Both are the same conflict."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    keys.begin("api", "key", b"request", 0.0)
    with pytest.raises(Conflict):
        keys.begin("api", "key", b"request", 1.0)
    keys.finish("api", "key", "answer")
    with pytest.raises(Conflict):
        keys.begin("api", "key", b"another", 2.0)


def test_a_key_is_scoped_and_free_again_when_abandoned():
    """Another API key knows nothing of it, and what created nothing holds no key."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    assert keys.begin("one", "key", b"request", 0.0) is None
    assert keys.begin("other", "key", b"different", 0.0) is None
    keys.abandon("one", "key")
    assert keys.begin("one", "key", b"different", 0.0) is None


def test_keys_are_bounded():
    """The oldest are forgotten first, even one whose request still runs."""
    keys: IdempotencyKeys[str] = IdempotencyKeys(keep=2)
    for name in "abc":
        keys.begin("api", name, b"request", 0.0)
    keys.finish("api", "a", "late")
    keys.finish("api", "c", "answer")
    assert keys.begin("api", "c", b"request", 0.0) == "answer"
