"""The format on disk: what is read back is what was written."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import logging
import math
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import Converted, JsonConverter
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._spool import codec
from tests.records import make

CONVERTER = JsonConverter(Redactor())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
HASHABLE = SCALARS | st.tuples(SCALARS)
KEYS = st.text() | st.sampled_from(["$tuple", "$dict", "$x", "v", "__emitkit_context"])
VALUES = st.recursive(
    SCALARS | st.builds(Converted, SCALARS),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.sets(HASHABLE)
        | st.frozensets(HASHABLE)
        | st.dictionaries(HASHABLE | KEYS, values)
    ),
    max_leaves=6,
)


def same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Converted):
        return one.value == other.value
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def strict(line: bytes) -> object:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def captured(msg="x", *args, **extra) -> CapturedRecord:
    return capture(make(msg, *args, **extra), CONVERTER)


def added(record: CapturedRecord) -> dict:
    return {key: value for key, value in record.attributes.items() if key not in vars(make())}


@settings(max_examples=100)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_values_keep_their_types(values):
    """What an application added is read back with the same values of the same types, from one line of strict JSON."""
    record = captured()
    values = {key: value for key, value in values.items() if key not in record.attributes}
    record.attributes.update(values)
    record.is_scalar = False
    line = codec.write_record(record, CONVERTER)
    assert b"\n" not in line
    strict(line)
    assert same(added(codec.read_record(line)), values)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, SCALARS, max_size=4))
def test_plain_records_keep_their_values(values):
    """The quick form for records of plain values is read back like any other."""
    record = captured()
    record.attributes.update({key: value for key, value in values.items() if key not in record.attributes})
    assert record.is_scalar
    line = codec.write_record(record, CONVERTER)
    strict(line)
    back = codec.read_record(line)
    assert same(added(back), added(record))
    assert codec.write_record(back, CONVERTER) == line


def test_fields_are_kept():
    """The fields of a captured record are read back: context, exception, text, unused arguments, trust."""
    record = captured("%s and %s", 1, event="x")
    record.context = {"page": {"path": "/"}, "odd": {"$set": [1]}}
    record.exception = CapturedException("E", "m", "trace")
    record.is_trusted = False
    back = codec.read_record(codec.write_record(record, CONVERTER))
    assert back.context == record.context
    assert (back.exception, back.text, back.is_trusted) == (record.exception, "%s and %s", False)
    assert back.unused_args.value == record.unused_args.value == [1]
    assert back.priority == record.priority


def test_extra_reaches_no_field():
    """An application's own keys stay in what it added, whatever their names are."""
    extra = {"__emitkit_context": 5, "__emitkit_guest": True, "is_trusted": False, "text": "t", "$record": [2]}
    back = codec.read_record(codec.write_record(captured(**extra), CONVERTER))
    assert (back.context, back.exception, back.text, back.is_trusted) == (None, None, None, True)
    assert added(back) == extra


@pytest.mark.parametrize("extra", [{}, {"items": [1]}])
def test_only_known_fields_are_set(extra):
    """Reading sets the documented fields of a captured record and nothing else."""
    line = json.loads(codec.write_record(captured(**extra), CONVERTER))
    line[3:] = [{"origin": "o", "is_scalar": True, "attributes": {}, "level": 7, "text": "t"}]
    back = codec.read_record(json.dumps(line).encode())
    assert (back.origin, back.is_scalar, back.level, back.text) == (None, False, logging.INFO, "t")


def test_other_types_are_converted():
    """A value of a type that the format does not have becomes what it would be in an event."""
    back = codec.read_record(codec.write_record(captured(at=datetime.date(2026, 1, 2), id=uuid.UUID(int=1)), CONVERTER))
    assert (back.attributes["at"].value, back.attributes["id"].value) == ("2026-01-02", str(uuid.UUID(int=1)))


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 2**70, 10**5_000, "\ud800", 1e300, -0.0], ids=itertools.count()
)
def test_odd_scalars(value):
    """Numbers that JSON does not have, very large ones and lone surrogates cost nothing but a longer line."""
    line = codec.write_record(captured(value=value), CONVERTER)
    strict(line)
    back = codec.read_record(line).attributes["value"]
    if isinstance(back, Converted):
        assert "bits" in back.value
    else:
        assert back == value or (back != back and value != value)


@pytest.mark.parametrize(
    "attributes", [{"lineno": {1}}, {"msg": {"event": "asked", "at": (1,)}}, {"process": object}, {"name": None}]
)
def test_odd_attributes(attributes):
    """A record made by hand can be written and read, whatever its attributes are."""
    record = capture(logging.makeLogRecord({"levelno": logging.INFO, **attributes}), CONVERTER)
    back = codec.read_record(codec.write_record(record, CONVERTER))
    (name,) = attributes
    value = back.attributes[name]
    expected = record.attributes[name]
    assert value == expected or value.value == CONVERTER.value(expected)


def test_missing_attributes():
    """A record without one of logging's own attributes is written by name, and read with a default."""
    record = captured()
    del record.attributes["processName"]
    line = codec.write_record(record, CONVERTER)
    assert json.loads(line)[1]["name"] == "app"
    assert codec.read_record(line).attributes["processName"] is None


def test_tolerant_reading():
    """An unknown field is ignored, a missing one has its default."""
    line = codec.write_record(captured(number=1), CONVERTER)
    value = json.loads(line)
    shorter = json.dumps([2, value[1][:8]]).encode()
    longer = json.dumps([2, [*value[1], "new"], {**value[2], "args": 5}, {"new": 1}, "new"]).encode()
    back = codec.read_record(shorter)
    assert (back.message, back.attributes["stack_info"], added(back)) == ("x", None, {})
    back = codec.read_record(longer)
    assert (back.message, back.attributes["args"], added(back)) == ("x", (), {"number": 1})


NO_LEVEL = b'[2,["app","x","INFO",null,"",1,"f",1.0],{}]'
NO_TIME = b'[2,["app","x","INFO",20,"",1,"f"],{}]'
NAN_TIME = b'[2,["app","x","INFO",20,"",1,"f",{"$float":"nan"}],{}]'


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"[2]", b"[3,[],{}]", b"{", b"5", b"null", b"\xff", b"[" * 99_999, b"[2,5,{}]", b'[2,["a"],[1]]']
    + [NO_LEVEL, NO_TIME, NAN_TIME, NO_TIME.replace(b'"f"', b'"f",1.0').replace(b"{}", b'{},{"text":5}')]
    + [b'{"v":3,"identity":{"user_id":"u"}}', b'{"v":2,"identity":{"user_id":5}}', b'{"v":2,"identity":5}', b'{"v":2}']
    + [NO_TIME.replace(b'"f"', b'"f",1.0').replace(b"{}", b'{"x":{"$set":[[]]}}')]
    + [NO_TIME.replace(b'"f"', b'"f",1.0').replace(b"{}", b'{},{"context":5}')]
    + [b'{"__emitkit_kind": "os.system", "of": 1}', b'[["a"],{"x":{"__emitkit_kind":"os.system","of":1}}]'],
)
def test_unreadable_lines(line):
    """A line that is not of the format is an error of one kind, with a reason."""
    with pytest.raises(ValueError, match=r"\w"):
        codec.read_line(line)


def test_identities():
    """What a record says about a user is read back."""
    identity = Identity("ada", {"plan": "pro", "odd": {"$tuple": [1]}}, ("a@example.com",), 12.5)
    assert codec.read_line(codec.write_identity(identity, CONVERTER)) == identity


def test_flush():
    """The line that asks the sender to hold nothing back comes back as one."""
    assert codec.read_line(codec.write_flush()) == codec.Flush()


def test_identify_calls():
    """An identify call is read back; one without a user cannot be read."""
    call = IdentifyCall("ada", {"plan": "pro"}, ("ada", "a@example.com"))
    assert codec.read_entry("identify", codec.write_identify(call, CONVERTER)) == call
    with pytest.raises(ValueError, match="user_id"):
        codec.read_entry("identify", b'{"v":2,"identify":{}}')


def test_states():
    """The state of a fold is read back with its records; that of the budget with its infinite times."""
    state = {
        "count": 3,
        "samples": [captured(number=1), captured("%s", "y")],
        "user_id": Converted("u"),
        "kind": ("k",),
    }
    back = codec.read_entry("fold", codec.write_entry("fold", state, CONVERTER))
    assert [sample.message for sample in back["samples"]] == ["x", "y"]
    assert (back["count"], back["user_id"].value, back["kind"]) == (3, "u", ("k",))
    budget = {"paused_until": -math.inf, "starts": [1.5], "limit": 100}
    text = codec.write_state(budget, CONVERTER)
    strict(text.encode())
    assert codec.read_state(text) == budget


@pytest.mark.parametrize("text", ["", "[]", "5", "{", "[" * 99_999])
def test_unreadable_states(text):
    """A state that cannot be read is an empty one."""
    assert codec.read_state(text) == {}


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:0129.$veratxfold_id-tuse', max_size=60).map(str.encode))
def test_any_bytes(line):
    """Reading raises nothing but ValueError."""
    for read in (codec.read_line, lambda line: codec.read_entry("fold", line)):
        with contextlib.suppress(ValueError):
            read(line)
