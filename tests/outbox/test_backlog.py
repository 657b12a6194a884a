"""The records that wait: their order, folding, digesting and dropping."""

from __future__ import annotations

import logging
from collections import deque

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.backlog import Backlog
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import Changes, Ended
from emitkit_logging._outbox.queues import Positions
from tests.outbox.support import Clock, Factory, identity, pop, record


def backlog(*records: CapturedRecord) -> tuple[Backlog, Changes]:
    """A backlog in which records wait at the positions 1, 2, …, and what it reported since."""
    changes = Changes()
    made = Backlog(
        SafeEventFactory(Factory()), KindMemory(notify_interval=300.0, clock=Clock()), changes, clock=Clock()
    )
    made.take(deque(records), len(records), 0)
    assert list(changes.came_at) == list(range(1, len(records) + 1))
    changes.came_at.clear()
    return made, changes


def pop_all(waiting: Backlog) -> list[str | None]:
    popped = []
    while (rank := waiting.rank()) is not None:
        event = waiting.pop(rank).event
        popped.append(event and event.title)
    return popped


def test_places():
    """Each position has a greater number than the one before."""
    positions = Positions()
    assert [positions.add(), positions.add(), positions.newest] == [1, 2, 2]


def test_order():
    """The highest priority goes first, within a priority the oldest."""
    waiting, _ = backlog(record("a"), record("b", 40), record("c"), record("d", UNTRUSTED_PRIORITY))
    assert waiting.rank() == (True, -20, 1)
    waiting.admit()
    assert waiting.rank() == (False, -40, 2)
    assert pop_all(waiting) == ["b", "a", "c", "d"]
    assert (waiting.rank(), len(waiting)) == (None, 0)


def test_popped():
    """What is popped says where it waited and for how many records it stands; no event where none could be made."""
    waiting, _ = backlog(record("a"), record("a"), record("x", 40, raises=True))
    assert waiting.admit() == [(40, 3, None, None)]
    waiting.fold()
    popped = pop(waiting)
    assert (popped.priority, popped.first_position, popped.position, popped.records) == (20, 1, 1, 2)


def test_counts():
    """Log records, what is held in memory, and the events that would be sent are counted apart."""
    waiting, _ = backlog(*(record("a") for _ in range(9)), record("k", key="1"), record("e", 40))
    waiting.admit()
    assert (len(waiting), waiting.held, waiting.events(), waiting.singles(below=40)) == (11, 11, 11, 10)
    waiting.fold(below=40)
    assert (len(waiting), waiting.held, waiting.events(), waiting.events(below=40)) == (11, 7, 3, 2)
    waiting.digest(0, below=40)
    assert (len(waiting), waiting.held, waiting.events()) == (11, 7, 3)
    waiting.take(deque([record("b")]), 1, 11)
    waiting.fold(below=40)
    waiting.digest(0, below=40)
    assert (len(waiting), waiting.held, waiting.events()) == (12, 3, 3)


def test_is_after():
    """Whether all that waits came in after a position: also what folded since, by its oldest record."""
    waiting, _ = backlog(record("a"), record("b", key="1"), record("a"))
    assert waiting.is_after(0)
    assert not waiting.is_after(1)
    waiting.fold()
    assert waiting.is_after(0)
    assert not waiting.is_after(1)
    pop(waiting)
    assert waiting.is_after(1)
    assert not waiting.is_after(2)


def test_fold_reports():
    """Each record that folds is reported to have joined its fold, and the fold to have changed."""
    waiting, changes = backlog(record("a"), record("b"), record("a"))
    assert waiting.fold() == []
    assert changes.joins == [(3, 1)]
    assert {position: entry.count for position, entry in changes.entries.items()} == {1: 2, 2: 1}


def test_fold_at_most():
    """A caller that may not wait long folds a few records: the least important, of them the oldest."""
    waiting, changes = backlog(record("w", 30), record("a"), record("b"), record("c"))
    waiting.fold(most=2)
    assert sorted(changes.entries) == [2, 3]
    assert waiting.singles() == 2


def test_fold_returns_what_names_users():
    """Records that name users are returned when they fold; those that only identify, or have no event, do not wait."""
    waiting, changes = backlog(
        record("a", identities=(identity(),)),
        record("i", identities=(identity(),), only_identifies=True),
        record("x", raises=True),
        record("k", identities=(identity(),), key="1"),
    )
    examined = waiting.fold()
    assert [(each.position, each.event and each.event.title) for each in examined] == [
        (1, "a"),
        (2, "i"),
        (3, None),
        (4, "k"),
    ]
    assert all(each.event.identities for each in examined if each.event is not None)
    assert list(changes.entries) == [1]
    assert pop_all(waiting) == ["a", "k"]


def test_digest_reports():
    """The least important folds are digested, the youngest first, until few enough events are left."""
    waiting, changes = backlog(*(record(name) for name in "abcd"), record("w", 30))
    waiting.fold()
    waiting.digest(3)
    assert changes.joins == [(3, 4), (2, 4)]
    digest = changes.entries[4]
    assert isinstance(digest, Digest)
    assert digest.names == {"d": 1, "c": 1, "b": 1}
    assert pop_all(waiting) == ["w", "a", "3 more events of 3 kinds"]


def test_digest_of_each_channel():
    """Each channel has a digest, and within it untrusted records have their own; one fold by itself stays a fold."""
    waiting, _ = backlog(
        *(record(name) for name in "ab"),
        *(record(name, channel="d") for name in "ab"),
        *(record(name, UNTRUSTED_PRIORITY) for name in "ab"),
        record("a", channel="e"),
    )
    waiting.fold()
    waiting.digest(0)
    assert waiting.events() == 4
    assert sorted(filter(None, pop_all(waiting))) == ["2 more events of 2 kinds"] * 3 + ["a"]


def test_shrink():
    """What is too much for the memory folds, then it is digested, then the least important is dropped."""
    waiting, changes = backlog(*(record("a") for _ in range(9)), record("k", 10, key="1"), record("l", 30, key="2"))
    assert waiting.shrink(7) == ([], {})
    assert (waiting.held, len(waiting)) == (7, 11)
    assert waiting.shrink(3) == ([], {})
    assert (waiting.held, len(waiting)) == (3, 11)
    assert waiting.shrink(1) == ([], {10: 1, 20: 9})
    assert changes.ends == [Ended(10, "overflow", ""), Ended(1, "overflow", "")]
    assert pop_all(waiting) == ["l"]


def test_shrink_does_nothing_in_time():
    """What fits stays as it is."""
    waiting, changes = backlog(record("a"), record("a"))
    waiting.shrink(2)
    assert changes.is_empty
    assert waiting.singles() == 2


def test_expire():
    """What was logged too early is dropped, whichever form it has by now."""
    waiting, changes = backlog(
        record("a", created=1.0), record("a", created=1.0), record("b", created=1.0), record("b", created=9.0)
    )
    waiting.fold()
    waiting.take(deque([record("k", created=1.0, key="1"), record("l", created=9.0)]), 2, 4)
    assert waiting.expire(5.0) == {logging.INFO: 3}
    assert {(end.position, end.reason) for end in changes.ends} == {(1, "expired"), (5, "expired")}
    assert pop_all(waiting) == ["b (×2)", "l"]


def test_resume():
    """What waited in another outbox waits again, and goes on folding with what comes in."""
    waiting, changes = backlog()
    fold = Fold(FoldKey("c", 20, ("a",)), 1)
    fold.add(record("a"), None)
    digest = Digest("c", 2)
    other = Fold(FoldKey("c", 20, ("z",)), 2)
    other.add(record("z"), None)
    digest.add(other)
    waiting.resume(1, fold)
    waiting.resume(2, digest)
    waiting.resume(3, record("a"))
    assert changes.is_empty
    assert (len(waiting), waiting.held) == (3, 3)
    waiting.fold()
    assert changes.joins == [(3, 1)]
    assert pop_all(waiting) == ["a (×2)", "z"]


def test_clear():
    """Nothing waits after all is forgotten."""
    waiting, _ = backlog(record("a"), record("a"), record("k", key="1"))
    waiting.fold()
    waiting.clear()
    assert (len(waiting), waiting.held, waiting.rank()) == (0, 0, None)
