"""The rate limits, by a clock that stands still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.emulation.limiter import FixedWindow, SilenceWindow


def test_a_fixed_window_counts_down_and_opens_again():
    """Each window admits its limit; refused requests are not counted."""
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
    """However the requests are spaced, each window admits its limit and refuses the rest."""
    limiter, now = FixedWindow(3, 60.0), 0.0
    windows: dict[int, list[bool]] = {}
    for pause in pauses:
        now += pause
        admission = limiter.admit(now)
        windows.setdefault(admission.reset_at, []).append(admission.allowed)
    for admitted in windows.values():
        assert admitted == [True] * min(3, len(admitted)) + [False] * (len(admitted) - 3)


def test_slow_but_regular_requests_reach_the_silence_window():
    """The open-source server resets its count only after more than a window without a request."""
    limiter = SilenceWindow(100, 60.0)
    admissions = [limiter.admit(30.0 * number) for number in range(101)]
    assert [each.allowed for each in admissions] == [True] * 100 + [False]
    assert {(each.limit, each.remaining) for each in admissions} == {(100, 100)}
    assert admissions[3].reset_at == 90 + 60


def test_being_refused_does_not_extend_the_block():
    """The block ends one window after the last accepted request."""
    limiter = SilenceWindow(1, 60.0)
    assert [limiter.admit(now).allowed for now in (0.0, 30.0, 59.0, 60.0, 60.1)] == [True, False, False, False, True]
