"""Records that repeat the last one of a fold join it when they come in, with the same result as later."""

from __future__ import annotations

import logging
from collections import deque
from itertools import starmap

from hypothesis import example, given
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter
from emitkit_logging._assembly import Formatting
from emitkit_logging._context.capture import capture
from emitkit_logging._outbox.backlog import Backlog
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import Changes

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


def made(number: int, record: tuple[str, int, dict], formatter: EmitKitFormatter):
    message, level, extra = record
    logged = logging.LogRecord("shop", level, "shop.py", 7, message, (), None, "buy")
    logged.__dict__.update(extra)
    logged.created = 1_000.0 + number
    return capture(logged, formatter.json_converter)


def states(waiting: Backlog) -> list[dict]:
    """Return all that waits, as far as it is folded, without the samples.

    A record that differs from those before it joins later than the repeats behind it, so that samples may differ.
    """
    waiting.fold()
    found = []
    while waiting.rank() is not None:
        popped = waiting.pop()
        assert popped.event is not None
        body = popped.event.body()
        body["metadata"].pop("samples", None)
        found.append((popped.place, popped.records, popped.key, body))
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
    early.join_repeated(is_wanted=True)
    early.take(deque(ours[len(first) :]), len(second) * 2, len(first))
    assert len(early) == len(ours)
    late.take(deque(theirs), len(theirs), 0)
    assert states(early) == states(late)
    places = {place for place, _ in early_changes.joins} | set(early_changes.entries)
    assert places <= set(range(1, len(ours) + 1))


def test_is_used():
    """In a storm of one event the records that come in wait nowhere by themselves."""
    formatter = EmitKitFormatter()
    waiting, _ = backlog(formatter)
    records = [made(n, (MESSAGES[0], 20, {"event": "order_placed", "number": n}), formatter) for n in range(110)]
    waiting.take(deque(records[:10]), 10, 0)
    waiting.fold()
    waiting.join_repeated(is_wanted=True)
    waiting.take(deque(records[10:]), 100, 10)
    assert (waiting.singles(), len(waiting)) == (0, 110)
    waiting.join_repeated(is_wanted=False)
    waiting.take(deque(records[:1]), 1, 110)
    assert (waiting.singles(), len(waiting)) == (1, 111)
