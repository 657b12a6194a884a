"""The format of what waits in Redis."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.revenue import revenue_of
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._relay import wire
from emitkit_logging._relay.shaping import ShapedFactory

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
IDENTITIES = st.builds(
    Identity, TEXTS, st.dictionaries(TEXTS, VALUES, max_size=2), st.tuples(TEXTS), st.floats(0, 2e9, width=32)
)
EVENTS = st.builds(
    Event,
    channel=TEXTS,
    title=TEXTS,
    description=st.none() | TEXTS,
    icon=st.none() | TEXTS,
    tags=st.lists(TEXTS, max_size=2),
    metadata=st.dictionaries(TEXTS, VALUES, max_size=3),
    user_id=st.none() | TEXTS,
    notify=st.booleans(),
    display_as=st.sampled_from(["notification", "message"]),
    source=TEXTS,
    questions=st.dictionaries(TEXTS, VALUES, max_size=1),
    level=st.sampled_from([10, 20, 30, 40, 50, UNTRUSTED_PRIORITY]),
    created=st.floats(0, 2e9),
    idempotency_key=st.none() | TEXTS,
    identities=st.lists(IDENTITIES, max_size=2).map(tuple),
    kind=st.lists(TEXTS, min_size=1, max_size=4).map(tuple),
    is_notify_given=st.booleans(),
    only_identifies=st.booleans(),
)
EMPTY = CapturedRecord({"msg": ""})


def shaped(title: str = "t", level: int = 20, **more) -> wire.ShapedRecord:
    event = Event("c", title, level=level, created=1.0, kind=(title,), **more)
    return wire.ShapedRecord(wire.write_record(event, EMPTY))


@given(EVENTS)
def test_record(event):
    """Any event comes back as it was, whatever its texts contain; its line has no separator of the format."""
    line = wire.write_record(event, EMPTY)
    assert not {b"\n", b"\x1e"} & {line[i : i + 1] for i in range(len(line))}
    assert line.count(b"\t") == 1
    record = wire.read_part(b"r" + line)
    assert isinstance(record, wire.ShapedRecord)
    assert record.event() == event
    assert record.priority == event.level
    if record.key is not None:
        assert record.key == event.fold_key


@pytest.mark.parametrize("more", [0, 1, 1_000])
def test_fold(more):
    """A fold comes back with its counts, users, amounts and samples."""
    events = [Event("c", f"title\n{number}", kind=("kind",), user_id=f"u{number}") for number in range(3)]
    fold = Fold(FoldKey("c", 20, ("kind",)), 7)
    for event in events:
        fold.add(wire.ShapedRecord(wire.write_record(event, EMPTY)), event.user_id)
    fold.count += more
    fold.amounts["EUR"] = Decimal("1.50")
    read = wire.read_entry(wire.write_entry(fold), 9)
    assert read.position == 9
    assert (read.count, read.key, read.amounts) == (fold.count, fold.key, fold.amounts)
    assert [each.line for each in read.samples] == [each.line for each in fold.samples]
    assert wire.records_of(wire.write_entry(fold)) == fold.count


def test_digest_and_users():
    """Digests, identities and identify calls come back."""
    digest = Digest("c", 3)
    fold = Fold(FoldKey("c", 40, ("boom",)), 3)
    fold.add(shaped("boom", 40), None)
    digest.add(fold)
    read = wire.read_entry(wire.write_entry(digest), 3)
    assert (read.names, read.count, list(read.samples)) == ({"boom": 1}, 1, ["boom"])
    call = IdentifyCall("u", {"a": 1}, ("u", "b"))
    assert wire.read_entry(wire.write_entry(call), 1) == call
    identity = Identity("u", {"a": 1}, ("b",), 2.0)
    assert wire.read_part(wire.write_identity(identity)) == identity


@given(st.binary(max_size=60))
def test_garbage(data):
    """What cannot be read is a `ValueError` and nothing else."""
    for part in (data, b"r" + data, b"f" + data, b"d" + data, b"i" + data, b"c" + data):
        try:
            entry = wire.read_entry(part, 1)
        except ValueError:
            assert wire.records_of(part) >= 0
        else:
            assert entry is not None


@pytest.mark.parametrize("amount", [5, 1.5, Decimal("0.10")])
def test_amounts(amount):
    """An amount keeps its exact value for the sum of a fold, and is left out where the event hides it."""
    captured = CapturedRecord({"msg": "", "amount": amount, "currency": "EUR"})
    event = Event("c", "t", metadata={"amount": float(amount), "currency": "EUR"}, kind=("t",))
    record = wire.ShapedRecord(wire.write_record(event, captured))
    assert revenue_of(record) == ("EUR", Decimal(str(amount)))
    hidden = Event("c", "t", metadata={"amount": "[redacted]", "currency": "EUR"}, kind=("t",))
    assert revenue_of(wire.ShapedRecord(wire.write_record(hidden, captured))) is None


def test_fold_of_folds_is_an_event():
    """Folds of several processes merge into one event with all counts, and the template where titles differ."""
    factory = ShapedFactory(EmitKitFormatter())
    first, second = (Fold(FoldKey("c", 40, ("app", "order … failed", "", "")), position) for position in (1, 2))
    for fold, title in ((first, "order 1 failed"), (second, "order 2 failed")):
        for _ in range(3):
            fold.add(shaped(title, 40, user_id=title), title)
    first.absorb(second)
    event = first.event(factory)
    assert event is not None
    assert event.title == "order … failed (×6)"
    assert event.metadata["occurrences"] == 6
    assert event.user_id is None
    assert json.loads(event.encode())["metadata"]["samples"]


def test_report():
    """What names the occurrence of an exception crosses, also where the record has the text of its traceback alone."""
    captured = CapturedRecord(dict(EMPTY.attributes))
    captured.report = "0123456789abcdef"
    event = EmitKitFormatter().summary("alerts", 40, "failed", "", {})
    assert wire.ShapedRecord(wire.write_record(event, captured)).report == captured.report
    assert wire.ShapedRecord(wire.write_record(event, EMPTY)).report == ""
