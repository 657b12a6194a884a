"""Several records as one event: folds and digests."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.folding import MOST_NAMES, MOST_SAMPLES, Digest, Fold
from tests.outbox.support import Factory, record

FACTORY = Factory()


def fold(name: str = "a", count: int = 1, place: int = 1, priority: int = logging.INFO, user: object = "u") -> Fold:
    made = Fold(FoldKey("c", priority, (name,)), place)
    for number in range(count):
        more = {"metadata": {"number": number}}
        made.add(record(name, priority, 100.0 + number, user_id=user, **more), user)
    return made


def test_fold():
    """The event of a fold has the count in its title, the times in milliseconds, and samples: first and latest."""
    event = fold(count=37).event(FACTORY)
    assert event.title == "a (×37)"
    assert event.user_id == "u"
    metadata = event.metadata
    assert (metadata["occurrences"], metadata["event"]) == (37, "a")
    assert (metadata["first_seen"], metadata["last_seen"]) == (100_000, 136_000)
    assert [sample["number"] for sample in metadata["samples"]] == [0, 1, 2, 3, 36]
    assert "number" not in metadata


def test_fold_of_one():
    """A fold of one record is that record's event."""
    event = fold().event(FACTORY)
    assert (event.title, event.metadata) == ("a", {"event": "a", "number": 0})


def test_samples_are_bounded():
    """`add` returns by how many the samples grew, so that the memory in use can be counted."""
    made = fold(count=0)
    assert sum(made.add(record("a", created=float(n)), None) for n in range(20)) == MOST_SAMPLES == len(made.samples)


def test_records_out_of_order():
    """The times are those of the oldest and the latest record, in whichever order they come."""
    made = fold(count=0)
    for created in (5.0, 9.0, 2.0):
        made.add(record("a", created=created), None)
    assert (made.first_seen, made.last_seen) == (2.0, 9.0)


def test_users():
    """A fold over several users has no user, its samples have theirs."""
    made = fold(count=2, user="u")
    made.add(record("a", created=1.0, user_id="v"), "v")
    event = made.event(FACTORY)
    assert event.user_id is None
    assert [sample["userId"] for sample in event.metadata["samples"]] == ["u", "u", "v"]


def test_no_event():
    """A fold none of whose samples can be made an event has none; one that has some goes on with these."""
    made = fold(count=0)
    made.add(record("a", raises=True), None)
    safe = SafeEventFactory(FACTORY)
    assert made.event(safe) is None
    made.add(record("a"), None)
    assert made.event(safe).title == "a (×2)"


def test_digest():
    """A digest counts each name, the most frequent first, and has the highest priority and the lowest age."""
    digest = Digest("c", 5)
    digest.add(fold("a", 2, place=5))
    digest.add(fold("b", 3, place=7, priority=logging.WARNING))
    digest.add(fold("a", 2, place=4))
    event = digest.event(FACTORY)
    assert (event.title, event.level, event.channel) == ("7 events", logging.WARNING, "c")
    assert list(event.metadata["digest"].items()) == [("a", 4), ("b", 3)]
    assert event.metadata["occurrences"] == 7
    assert event.description == "a ×4, b ×3"
    assert digest.rank == (True, -logging.WARNING, 4)


def test_digest_of_untrusted_records():
    """The priority of a digest can be less than 0: that of its folds."""
    digest = Digest("c", 5)
    digest.add(fold("a", priority=-1_000_000))
    assert digest.priority == -1_000_000


def test_names_of_a_digest_are_bounded():
    """A digest names a hundred, and counts the others together."""
    digest = Digest("c", 1)
    for number in range(300):
        digest.add(fold(f"n{number}"))
    assert len(digest.names) == MOST_NAMES + 1
    assert sum(digest.names.values()) == digest.count == 300


# What a store keeps


def test_fold_state():
    """The state of a fold has field names of its own, and makes the same fold again."""
    made = fold(count=7)
    state = made.state()
    assert {key: value for key, value in state.items() if key != "samples"} == {
        "channel": "c",
        "priority": 20,
        "kind": ["a"],
        "place": 1,
        "count": 7,
        "first_seen": 100.0,
        "last_seen": 106.0,
        "user_id": "u",
        "has_one_user": True,
    }
    again = Fold.of(state)
    assert again.state() == state
    assert again.key == made.key
    assert again.event(FACTORY) == made.event(FACTORY)


def test_fold_state_is_read_tolerantly():
    """Unknown fields are ignored, missing ones have their default."""
    made = Fold.of({"channel": "c", "priority": 20, "kind": ["a"], "place": 3, "new": 1, "samples": [record("a")]})
    assert (made.count, made.first_seen, made.user_id, made.has_one_user) == (1, 0.0, None, True)
    assert Fold.of({"channel": "c", "priority": 20, "kind": ["a"], "place": 3}).event(FACTORY) is None


@pytest.mark.parametrize("missing", ["channel", "priority", "kind", "place"])
def test_fold_without_key(missing):
    """A fold without key or place is a `ValueError`, which costs its row alone."""
    state = fold().state()
    del state[missing]
    with pytest.raises(ValueError, match="needs"):
        Fold.of(state)
    with pytest.raises(ValueError, match="needs"):
        Fold.of({**state, missing: None})


def test_digest_state():
    """The state of a digest has field names of its own, is JSON, and makes the same digest again."""
    digest = Digest("c", 5)
    digest.add(fold("a", 2, place=4))
    assert digest.state() == {
        "channel": "c",
        "priority": 20,
        "place": 5,
        "age": 4,
        "count": 2,
        "names": {"a": 2},
        "first_seen": 100.0,
        "last_seen": 101.0,
    }
    assert Digest.of(digest.state()).state() == digest.state()


def test_digest_state_is_read_tolerantly():
    """Unknown fields are ignored, missing ones have their default; without channel or place it is a `ValueError`."""
    digest = Digest.of({"channel": "c", "place": 3, "names": {"a": 2}, "new": 1})
    assert (digest.age, digest.count, digest.priority) == (3, 2, 0)
    for state in ({"channel": "c"}, {"place": 3}):
        with pytest.raises(ValueError, match="needs"):
            Digest.of(state)
