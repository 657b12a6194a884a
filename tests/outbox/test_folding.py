"""Several records as one event: folds and digests."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from emitkit_logging import EmitKitFormatter
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.folding import MOST_NAMES, MOST_SAMPLES, Digest, Fold
from tests.outbox.support import Factory, record

FACTORY = Factory()


def fold(name: str = "a", count: int = 1, position: int = 1, priority: int = logging.INFO, user: object = "u") -> Fold:
    made = Fold(FoldKey("c", priority, (name,)), position)
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


def plain(text: str, error: CapturedException | None = None, **more) -> CapturedRecord:
    captured = record(text, logging.ERROR, text=text, msg="order %s failed", **more)
    captured.text = text
    captured.exception = error
    return captured


def plain_fold(*records: CapturedRecord) -> Fold:
    made = Fold(FoldKey("alerts", logging.ERROR, ("app", "order %s failed", "", "")[:3]), 1)
    for each in records:
        made.add(each, None)
    return made


def test_title_of_records_that_differ():
    """Records whose texts are equal keep their title; else the title is the template."""
    assert plain_fold(*(plain("order 1 failed") for _ in range(9))).event(FACTORY).title == "order 1 failed (×9)"
    event = plain_fold(*(plain(f"order {n} failed") for n in range(461))).event(FACTORY)
    assert event.title == "order … failed (×461)"
    last = plain_fold(*(plain("order 1 failed") for _ in range(99)), plain("order 2 failed"))
    assert last.event(FACTORY).title == "order … failed (×100)"


def test_titles_that_records_give():
    """The titles that records themselves give are compared, too."""
    made = Fold(FoldKey("c", logging.INFO, ("a",)), 1)
    for title in ("t", "t", "u"):
        made.add(record(title), None)
    assert made.event(FACTORY).title == "a (×3)"


def test_samples_differ():
    """Samples are the first four that differ, and the latest, whatever comes in between."""
    texts = ["a"] * 50 + ["b"] * 50 + ["a", "c", "b", "d", "e", "a"] + ["f"]
    made = plain_fold(*(plain(text) for text in texts))
    assert [each.text for each in made.samples] == ["a", "b", "c", "d", "f"]
    assert made.count == len(texts)


def test_samples_differ_by_exception():
    """The same text with another exception is another sample."""
    errors = [CapturedException("E", text, "") for text in ["x"] * 9 + ["y"] + ["x"] * 9]
    made = plain_fold(*(plain("a", error) for error in errors))
    assert {each.exception.message for each in made.samples} == {"x", "y"}


def test_fold_names_users():
    """A fold of product events over several users names them, at most fifty."""
    made = fold(count=0)
    for number in range(70):
        made.add(record("a", created=1.0), number % 60)
    assert made.event(FACTORY).metadata["users"] == [str(number) for number in range(50)]
    assert "users" not in fold(count=3).event(FACTORY).metadata


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ([(49.9, "EUR"), (0.1, "EUR"), (Decimal("10.05"), "EUR"), (None, None)], (60.05, "EUR")),
        ([(1, "EUR"), (2, "EUR")], (3, "EUR")),
        ([(1, "EUR"), (2, "USD")], None),
        ([(1, None), ("2", "EUR"), (True, "EUR"), (float("nan"), "EUR")], None),
    ],
)
def test_revenue(amounts, expected):
    """The amounts of a fold add up exactly where all have one currency, so that revenue is what it is without folds."""
    made = fold(count=0)
    for amount, currency in amounts:
        more = {} if amount is None else {"amount": amount, "currency": currency}
        made.add(record("a", created=1.0, **more), None)
    metadata = Fold.of(made.state()).event(FACTORY).metadata
    assert (expected is None and "amount" not in metadata) or (metadata["amount"], metadata["currency"]) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [([None, None], (True, False)), ([False, None], (False, False)), ([None, True], (True, True))]
    + [([False, False], (False, True))],
)
def test_what_records_say_of_pushes(given, expected):
    """A fold pushes if one of its records asks for it, and not if all forbid it; else the rule for its kind decides."""
    made = fold(count=0)
    for notify in given:
        made.add(record("a", **({} if notify is None else {"notify": notify})), None)
    event = made.event(FACTORY)
    assert (event.notify, event.is_notify_given) == expected


def test_no_event():
    """A fold none of whose samples can be made an event has none; one that has some goes on with these."""
    made = fold(count=0)
    made.add(record("a", raises=True), None)
    safe = SafeEventFactory(FACTORY)
    assert made.event(safe) is None
    made.add(record("a"), None)
    assert made.event(safe).title == "a (×2)"


def test_digest():
    """A digest counts each name, the most frequent first, and has the highest priority and the first position."""
    digest = Digest("c", 5)
    digest.add(fold("a", 2, position=5))
    digest.add(fold("b", 3, position=7, priority=logging.WARNING))
    digest.add(fold("a", 2, position=4))
    event = digest.event(FACTORY)
    assert (event.title, event.level, event.channel) == (
        "7 more events of 2 kinds",
        logging.WARNING,
        "c",
    )
    assert list(event.metadata["digest"].items()) == [("a", 4), ("b", 3)]
    assert event.metadata["occurrences"] == 7
    assert event.description == "a ×4, b ×3"
    assert digest.rank == (True, -logging.WARNING, 4)


def alert_digest(*counts: int) -> Digest:
    digest = Digest("alerts", 1)
    for number, count in enumerate(counts):
        digest.add(fold(f"kind {number}", count, priority=logging.ERROR))
    return digest


def test_digest_for_people():
    """A digest of alerts says what it stands for: how much of how many kinds, level, five names, samples."""
    event = alert_digest(3, 4_000, 7, 1, 600, 5, 2, 9).event(FACTORY)
    assert event.title == "4,627 more errors of 8 kinds"
    assert event.description == "kind 1 ×4,000, kind 4 ×600, kind 7 ×9, kind 2 ×7, kind 5 ×5 and 3 others"
    assert event.metadata["log"] == {"level": "ERROR"}
    assert sum(event.metadata["digest"].values()) == 4_627
    assert [sample["title"] for sample in event.metadata["samples"]][:3] == ["kind 3", "kind 6", "kind 0"]


@pytest.mark.parametrize(
    ("levels", "what"), [((40, 50), "errors"), ((30, 40), "warnings"), ((20, 50), "events"), ((10, 20), "events")]
)
def test_what_a_digest_is(levels, what):
    """The title names what all of it are at least."""
    digest = Digest("c", 1)
    for level in levels:
        digest.add(fold(f"at {level}", priority=level))
    event = digest.event(FACTORY)
    assert event.title == f"2 more {what} of 2 kinds"
    assert event.metadata["log"]["level"] == logging.getLevelName(max(levels))


def test_digest_of_one_name():
    """A digest with a single name reads like a fold."""
    assert alert_digest(7).event(FACTORY).title == "kind 0 (×7)"


def test_digest_of_many_kinds():
    """A storm of thousands of kinds is one readable event within the limits."""
    digest = Digest("alerts", 1)
    trace = 'File "a.py", line 1, in f\n' + "x" * 5_000 + '\n  File "b.py", line 7, in g\n'
    for number in range(5_000):
        made = Fold(FoldKey("alerts", logging.ERROR, ("app", f"kind {number} " + "é" * 200, "E")), number)
        exception = {"type": "E", "message": "no", "stacktrace": trace}
        made.add(record(f"t{number} " + "ü" * 500, logging.ERROR, metadata={"exception": exception}), None)
        digest.add(made)
    event = digest.event(FACTORY)
    assert event.title == "5,000 more errors of more than 100 kinds"
    assert event.description.endswith(" and more than 95 others")
    assert len(event.description) < 700
    body = json.loads(event.encode())
    assert sum(body["metadata"]["digest"].values()) == 5_000
    assert body["metadata"]["samples"]
    for sample in body["metadata"]["samples"]:
        assert sample["exception"] == {"type": "E", "message": "no", "frame": 'File "b.py", line 7, in g'}


def test_digest_samples_survive_a_store():
    """What a store keeps of a digest makes the same event again."""
    digest = alert_digest(2, 3)
    digest.is_push_due = True
    again, event = Digest.of(digest.state()).event(FACTORY), digest.event(FACTORY)
    assert (again.title, again.metadata, again.notify) == (event.title, event.metadata, True)


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


def paid(name: str, *amounts: float, currency: str = "EUR") -> Fold:
    made = Fold(FoldKey("c", 20, (name,)), 1)
    for amount in amounts:
        made.add(record(name, properties={"amount": amount, "currency": currency}), None)
    return made


def test_revenue_of_a_digest():
    """A digest has the sum of its folds where all have one currency, also after a store has kept it."""
    digest = Digest("c", 1)
    digest.add(paid("ordered", 10.5, 20))
    digest.add(paid("upgraded", 0.5))
    digest.add(fold("a", 3))
    metadata = Digest.of(json.loads(json.dumps(digest.state()))).event(FACTORY).metadata
    assert (metadata["amount"], metadata["currency"]) == (31, "EUR")
    digest.add(paid("ordered", 1, currency="USD"))
    assert "amount" not in digest.event(FACTORY).metadata


def test_revenue_that_is_secret():
    """No sum is sent of amounts that are withheld."""
    factory = Factory()
    factory.shows_revenue = False
    made = paid("ordered", 1, 2)
    digest = Digest("c", 1)
    digest.add(made)
    assert "amount" not in made.event(factory).metadata
    assert "amount" not in digest.event(factory).metadata
    assert EmitKitFormatter().shows_revenue
    assert not EmitKitFormatter(redact=["amount"]).shows_revenue


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
    """A fold without key or position is a `ValueError`, which costs its row alone."""
    state = fold().state()
    del state[missing]
    with pytest.raises(ValueError, match="needs"):
        Fold.of(state)
    with pytest.raises(ValueError, match="needs"):
        Fold.of({**state, missing: None})


def test_digest_state():
    """The state of a digest has field names of its own, is JSON, and makes the same digest again."""
    digest = Digest("c", 5)
    digest.add(fold("a", 2, position=4))
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
    """Unknown fields are ignored, missing ones have their default; without channel or position it is a `ValueError`."""
    digest = Digest.of({"channel": "c", "place": 3, "names": {"a": 2}, "new": 1})
    assert (digest.first_position, digest.count, digest.priority) == (3, 2, 0)
    for state in ({"channel": "c"}, {"place": 3}):
        with pytest.raises(ValueError, match="needs"):
            Digest.of(state)
