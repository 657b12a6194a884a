"""Records that repeat the last one of a fold join it when they come in, with the same result as later."""

from __future__ import annotations

import itertools
import json
import logging
from collections import deque
from itertools import starmap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter, event_context
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._assembly import Formatting
from emitkit_logging._context.capture import capture, capture_brief
from emitkit_logging._events.captured import UNTRUSTED_KEY, Marker
from emitkit_logging._events.series import Series
from emitkit_logging._outbox.backlog import Backlog
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._worker.store import MemoryStore
from tests.outbox.support import ACCEPTED, Harness, pop

MESSAGES = ("order_placed", "the order was placed", "amount=7 currency=EUR", '{"event": "other", "title": "T"}')
EXTRAS = st.fixed_dictionaries(
    {"event": st.sampled_from(["order_placed", "order_placed", "user_signed_up"])},
    optional={
        "category": st.sampled_from(["conversion", "user", 7]),
        "user_id": st.sampled_from(["u-1", "u-2", 7, True]),
        "title": st.sampled_from(["T", "U"]),
        "description": st.sampled_from(["D"]),
        "amount": st.sampled_from([1, 2.5, "3"]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "channel": st.sampled_from(["c", 7]),
        "properties": st.just({"amount": 1}),
        "number": st.integers(0, 9),
    },
)
RECORDS = st.lists(st.tuples(st.sampled_from(MESSAGES), st.sampled_from([20, 30]), EXTRAS), max_size=60)


def backlog(formatter: EmitKitFormatter) -> tuple[Backlog, Changes]:
    changes = Changes()
    kinds = KindMemory(notify_interval=300.0, clock=lambda: 0.0)
    return Backlog(Formatting(formatter), kinds, changes, clock=lambda: 0.0), changes


def logged(number: int, record: tuple[str, int, dict]) -> logging.LogRecord:
    message, level, extra = record
    made = logging.LogRecord("shop", level, "shop.py", 7, message, (), None, "buy")
    made.__dict__.update(extra)
    made.created = 1_000.0 + number / 1_000
    return made


def made(number: int, record: tuple[str, int, dict], formatter: EmitKitFormatter):
    return capture(logged(number, record), formatter.json_converter)


def states(waiting: Backlog) -> list[dict]:
    """Return all that waits, as far as it is folded, without the samples.

    A record that differs from those before it joins later than the repeats behind it, so that samples may differ.
    """
    waiting.fold()
    found = []
    while waiting.rank() is not None:
        popped = pop(waiting)
        assert popped.event is not None
        body = popped.event.body()
        body["metadata"].pop("samples", None)
        found.append((popped.position, popped.records, popped.key, body))
    return found


@example(
    [("order_placed", 20, {"event": "order_placed"})] * 5,
    [("the order was placed", 20, {"event": "order_placed"}), ("order_placed", 20, {"event": "order_placed"})],
)
@given(RECORDS, RECORDS)
def test_same_result(first, second):
    """Whether records join a fold when they come in or later, it says the same, and each is accounted for."""
    formatter = EmitKitFormatter()
    early, early_changes = backlog(formatter)
    late, _ = backlog(formatter)
    ours = list(starmap(lambda n, record: made(n, record, formatter), enumerate(first + second * 2)))
    theirs = list(starmap(lambda n, record: made(n, record, formatter), enumerate(first + second * 2)))
    early.take(deque(ours[: len(first)]), len(first), 0)
    early.fold()
    early.join_series(is_wanted=True)
    early.take(deque(ours[len(first) :]), len(second) * 2, len(first))
    assert len(early) == len(ours)
    late.take(deque(theirs), len(theirs), 0)
    assert states(early) == states(late)
    positions = {position for position, _ in early_changes.joins} | set(early_changes.entries)
    assert positions <= set(range(1, len(ours) + 1))


def test_is_used():
    """In a storm of one event the records that come in wait nowhere by themselves."""
    formatter = EmitKitFormatter()
    waiting, _ = backlog(formatter)
    records = [made(n, (MESSAGES[0], 20, {"event": "order_placed", "number": n}), formatter) for n in range(110)]
    waiting.take(deque(records[:10]), 10, 0)
    waiting.fold()
    waiting.join_series(is_wanted=True)
    waiting.take(deque(records[10:]), 100, 10)
    assert (waiting.singles(), len(waiting)) == (0, 110)
    waiting.join_series(is_wanted=False)
    waiting.take(deque(records[:1]), 1, 110)
    assert (waiting.singles(), len(waiting)) == (1, 111)


@settings(max_examples=40)
@given(RECORDS, RECORDS)
def test_brief_records(first, second):
    """Whether records of a series are captured whole or not, the fold says the same of them, except for samples."""
    formatter = EmitKitFormatter()
    converter = formatter.json_converter
    brief, _ = backlog(formatter)
    whole, _ = backlog(formatter)
    records = list(starmap(logged, enumerate(first + second * 3)))
    for waiting in (brief, whole):
        waiting.take(deque(capture(each, converter) for each in records[: len(first)]), len(first), 0)
        waiting.fold()
        waiting.join_series(is_wanted=True)
    position = len(first)
    for each in records[len(first) :]:
        series = brief.series.get(each.event)
        short = None if series is None else capture_brief(each, series)
        brief.take(deque([capture(each, converter) if short is None else short]), 1, position)
        whole.take(deque([capture(each, converter)]), 1, position)
        position += 1
        brief.join_series(is_wanted=True)
        whole.join_series(is_wanted=True)
    assert len(brief) == len(whole) == len(records)
    assert states(brief) == states(whole)


EVENT = ("order_placed", 20, {"event": "order_placed", "user_id": "u-1", "number": 7})


def in_a_series(count: int = 10, **more: object) -> tuple[Backlog, Series]:
    """A backlog in which a fold of `count` records is a series; all have the extras `more`, too."""
    formatter = EmitKitFormatter()
    waiting, _ = backlog(formatter)
    records = [logged(number, (EVENT[0], EVENT[1], EVENT[2] | more)) for number in range(count)]
    records = [capture(each, formatter.json_converter) for each in records]
    waiting.take(deque(records), count, 0)
    waiting.fold()
    waiting.join_series(is_wanted=True)
    return waiting, waiting.series["order_placed"]


def test_latest_sample():
    """Of a series at least one record each ten milliseconds is captured whole, to be the latest sample."""
    _, series = in_a_series()
    records = [logged(number, EVENT) for number in range(10, 50)]
    whole = [record.created for record in records if capture_brief(record, series) is None]
    latest = [series.sample.created, *whole, records[-1].created]
    assert len(whole) in (3, 4)
    assert all(after - before < 0.012 for before, after in itertools.pairwise(latest))


def test_latest_sample_behind_an_odd_record():
    """A record that waited for the next look, because it says more, is not the latest sample of those behind it."""
    waiting, series = in_a_series()
    title = (EVENT[0], EVENT[1], {**EVENT[2], "title": "T"})
    converter = EmitKitFormatter().json_converter
    waiting.take(deque(capture(logged(*each), converter) for each in ((11, title), (2_000, EVENT))), 2, 10)
    waiting.fold()
    assert [series.fold.samples[-1].created, series.fold.count] == [pytest.approx(1_002.0), 12]
    waiting.join_series(is_wanted=True)
    assert waiting.series["order_placed"].copied_at == pytest.approx(1_002.0)


@pytest.mark.parametrize(
    "extra",
    [
        {"title": "T"},
        {"description": "D"},
        {"amount": 1},
        {"user_id": 7},
        {"user_id": "u" * 256},
        {"category": "other"},
        {"fingerprint": "f"},
        {"args": (1,)},
        {"exc_info": (None, None, None)},
        {"exc_text": "trace"},
        {"levelno": 30},
        {"msg": "other"},
        {"created": "now"},
        {"created": float("nan")},
        {"created": 999.0},
        {UNTRUSTED_KEY: Marker.UNTRUSTED},
    ],
)
def test_what_is_in_no_series(extra):
    """A record that says more than time and user, or of which something is odd, is captured whole."""
    _, series = in_a_series()
    record = logged(10, EVENT)
    assert capture_brief(record, series) is not None
    record.__dict__.update(extra)
    assert capture_brief(record, series) is None


@pytest.mark.parametrize("created", [1e18, -1e18, float("inf")])
def test_unusable_time(created):
    """Records with a time that no calendar has are captured whole, where the present time replaces it."""
    _, series = in_a_series()
    for number in range(3):
        record = logged(number, EVENT)
        record.created = created
        assert capture_brief(record, series) is None
    assert capture_brief(logged(12, EVENT), series) is not None


def test_record_without_a_time():
    """A record that has no time at all is captured whole, too."""
    _, series = in_a_series()
    record = logged(12, EVENT)
    del record.created
    assert capture_brief(record, series) is None


def test_context_is_in_no_series():
    """Inside an event context, which has facts of its own, a record is captured whole."""
    _, series = in_a_series()
    with event_context(tenant="t"):
        assert capture_brief(logged(10, EVENT), series) is None


@pytest.mark.parametrize("gone", ["sent", "digested", "given up"])
def test_record_behind_its_fold(gone):
    """A brief record that comes when its fold waits no more is an event of its own, with what is known of it."""
    waiting, series = in_a_series()
    late = capture_brief(logged(12, EVENT), series)
    if gone == "sent":
        assert pop(waiting).records == 10
    elif gone == "digested":
        waiting._folds.digest(series.fold)
        assert pop(waiting).records == 10
    else:
        waiting.clear()
    waiting.take(deque([late]), 1, 100)
    popped = pop(waiting)
    assert (popped.records, popped.event.metadata["event"], popped.event.user_id) == (1, "order_placed", "u-1")
    assert popped.event.created == pytest.approx(1_000.012)
    assert "number" not in popped.event.metadata


def test_push_behind_its_fold():
    """A brief record whose fold waits no more does not push where the records of the fold do not."""
    waiting, series = in_a_series(notify=False)
    late = [capture_brief(logged(number, (*EVENT[:2], EVENT[2] | {"notify": False})), series) for number in (11, 12)]
    assert pop(waiting).records == 10
    waiting.take(deque(late), 2, 100)
    waiting.fold()
    popped = pop(waiting)
    assert (popped.records, popped.event.notify) == (2, False)


def test_fold_is_sent_after_its_series():
    """Before the event of a fold is made, its series ends, and what came in for it is taken."""
    formatter = EmitKitFormatter()
    harness = Harness(size=1_000, rate_limit=10, factory=Formatting(formatter))
    store = MemoryStore(harness.outbox)
    for number in range(40):
        store.append(capture(logged(number, EVENT), formatter.json_converter))
    store.take()
    while isinstance(store.next(), ApiRequest):
        store.settle(ACCEPTED)
    waited = store.stats().pending
    brief = capture_brief(logged(41, EVENT), store.series["order_placed"])
    for _ in range(500):
        store.append(brief)
    harness.clock.now += 61
    request = store.next()
    assert not store.series
    assert not store.queue
    assert isinstance(request, ApiRequest)
    assert json.loads(request.body)["metadata"]["occurrences"] == waited + 500
    store.settle(ACCEPTED)
    assert store.stats().pending == 0
