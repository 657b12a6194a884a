"""Anything at all becomes bounded JSON."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import pathlib
import time
import uuid
from urllib.parse import urlparse, urlsplit

import numpy
import pytest
from hypothesis import given, strategies

from emitkit_logging._api.text import clean, shorten, units
from emitkit_logging._context.redacted import redacted
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import LONGEST_TEXT, MOST_ITEMS, Bounds, Converted, JsonConverter
from emitkit_logging._events.event import MOST_BYTES, Event
from emitkit_logging._events.redaction import Redactor

converter = JsonConverter(Redactor())


class Colour(enum.Enum):
    RED = "red"


class Raising:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class Lazy:
    """Like a queryset: it must not be evaluated."""

    def __iter__(self):
        raise AssertionError("evaluated")

    __len__ = __bool__ = __str__ = __repr__ = __iter__


def cycle():
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (2**53, 2**53),
        (2**53 + 1, str(2**53 + 1)),
        (True, True),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(seconds=5), "0:00:05"),
        (decimal.Decimal("1.10"), 1.1),
        (decimal.Decimal("49.90"), 49.9),
        (decimal.Decimal(49), 49),
        (decimal.Decimal("-0.125"), -0.125),
        (decimal.Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (decimal.Decimal(9007199254740993), "9007199254740993"),
        (decimal.Decimal("1E+400"), "1E+400"),
        (decimal.Decimal("1E-400"), "1E-400"),
        (decimal.Decimal("NaN"), "NaN"),
        (decimal.Decimal("sNaN"), "sNaN"),
        (decimal.Decimal("-Infinity"), "-Infinity"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Colour.RED, "red"),
        (b"text", "text"),
        (b"\xff", "/w=="),
        ({3, 1, 2}, [1, 2, 3]),
        ((1, "a"), [1, "a"]),
        (ValueError("x"), "ValueError: x"),
        (ValueError, "<ValueError>"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (range(3), [0, 1, 2]),
        (numpy.float64(1.5), 1.5),
        (numpy.int32(3), 3),
        (numpy.bool_(True), True),
        (numpy.array([1, 2]), "<numpy.ndarray>"),
        (iter([1]), "<list_iterator>"),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.deque([1]), [1]),
        ({1: "a", "1": "b"}, {"1": "a", "1_2": "b"}),
        ({(1, 2): "a", None: "b"}, {"(1, 2)": "a", "None": "b"}),
        ("a\x00\ud800", "a\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        (Converted([1]), [1]),
        (cycle(), ["<cycle>"]),
    ],
)
def test_value(value, expected):
    """Each type has one way to be written."""
    assert converter.value(value) == expected
    assert converter.value(converter.value(value)) == expected


@pytest.mark.parametrize("hostile", [Raising(), Lazy()], ids=["raising", "lazy"])
def test_hostile(hostile):
    """Objects that raise or that would be evaluated are named by their type."""
    assert converter.value([hostile, 1]) == [f"<{__name__}.{type(hostile).__name__}>", 1]


def test_generator_is_not_consumed():
    """What the application still wants to iterate over stays whole."""
    generator = (number for number in range(3))
    assert converter.value(generator) == "<generator>"
    assert list(generator) == [0, 1, 2]


def test_bounds():
    """Whatever is too long says how much there was."""
    text = converter.value("x" * 1_000_000)
    assert len(text) == LONGEST_TEXT
    assert text.endswith("… [1000000 characters]")
    items = converter.value(list(range(1_000)))
    assert (len(items), items[-1]) == (MOST_ITEMS, f"… {1_000 - MOST_ITEMS + 1} more")
    pairs = converter.value({str(n): n for n in range(1_000)})
    assert (len(pairs), pairs["…"]) == (MOST_ITEMS, f"{1_000 - MOST_ITEMS + 1} more")
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    assert "… [list]" in json.dumps(converter.value(deep), ensure_ascii=False)
    assert len(json.dumps(converter.value([[[0] * 99] * 99] * 99))) < 100_000


def test_snapshot():
    """Builtin containers are copied and keep their types; what is foreign is converted and marked."""
    value = {"a": [1, (2,)], "b": {3}}
    copy = converter.snapshot(value)
    assert copy == value
    assert copy is not value
    assert copy["a"] is not value["a"]
    assert isinstance(converter.snapshot({"a": Raising()})["a"], Converted)
    assert converter.snapshot([0] * 1_000) == converter.value([0] * 1_000)
    assert converter.snapshot({(1,): [2]}) == {"(1,)": [2]}


class Text(str):
    """A text of its own kind, as template engines have."""

    __slots__ = ()

    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Text("a"), str),
        (numpy.float64(1), float),
        (enum.IntEnum("Size", "SMALL").SMALL, int),
        (collections.defaultdict(list, a=[1]), dict),
        (time.gmtime(0), tuple),
        (frozenset({1}), frozenset),
    ],
)
def test_snapshot_of_derived(value, kind):
    """What derives from a builtin type becomes one, so that a key that wants a dict finds a dict."""
    copy = converter.snapshot(value)
    assert type(copy) is kind
    assert converter.value(copy) == converter.value(value)


def test_snapshot_of_cycle():
    """A cycle ends where it begins."""
    assert converter.snapshot({"a": cycle()}) == {"a": ["<cycle>"]}


def test_lazy_object_is_not_asked():
    """Types are judged without evaluating what is lazy."""

    class Proxy:
        @property
        def __class__(self):
            raise AssertionError

    assert converter.value(Proxy()).startswith("<")
    assert isinstance(converter.snapshot(Proxy()), Converted)


LEAVES = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text()
    | strategies.binary()
    | strategies.datetimes()
    | strategies.builds(Raising)
)
VALUES = strategies.recursive(
    LEAVES,
    lambda inner: (
        strategies.lists(inner, max_size=8)
        | strategies.lists(inner, max_size=8).map(tuple)
        | strategies.dictionaries(strategies.text(max_size=4) | strategies.integers(), inner, max_size=8)
        | strategies.frozensets(strategies.integers(), max_size=8)
    ),
)


@given(VALUES)
def test_snapshot_changes_nothing(value):
    """What was taken at the call says the same as the value itself; converting twice says it again."""
    converted = converter.value(value)
    assert converter.value(converter.snapshot(value)) == converted
    assert converter.value(converted) == converted
    json.dumps(converted, allow_nan=False).encode()


@pytest.mark.parametrize(("text", "limit", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("😀😀", 3, "😀…")])
def test_shorten(text, limit, expected):
    """Length counts as JavaScript counts it, and a pair is never split."""
    assert shorten(text, limit) == expected
    assert units(shorten(text, limit)) <= limit


def test_clean_keeps_text():
    """Ordinary text is not touched."""
    assert clean("žluťoučký 😀") == "žluťoučký 😀"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "é" * 8_000, "b": "é" * 8_000},
        {f"k{n}": list(range(90)) for n in range(90)},
        {"exception": {"stacktrace": "File x\n" * 9_000 + "the end"}},
        {f"key{'x' * 200}{n}": "y" * 300 for n in range(99)},
    ],
)
@pytest.mark.parametrize("limit", [MOST_BYTES, 4_096, 2_048])
def test_encode(metadata, limit):
    """An event is shortened until it fits; of a traceback the end stays."""
    event = Event("c", "t", description="ж" * 5_000, metadata={"event": "e", **metadata})
    encoded = event.encode(limit)
    assert len(encoded) <= limit
    body = json.loads(encoded)
    assert body["metadata"]["event"] == "e"
    assert "…" in encoded.decode()
    if "exception" in body["metadata"]:
        assert body["metadata"]["exception"]["stacktrace"].endswith("the end")


class SecretText:
    """As Starlette's `Secret`, which `str` shows."""

    def __str__(self) -> str:
        return "hunter2"


@pytest.mark.parametrize(
    "value",
    [
        ["mysql", "--password", "hunter2", "db"],
        ("--api-key", "hunter2"),
        {"command": ["x", ["--token", "hunter2"]]},
        SecretText(),
        [SecretText()],
        urlsplit(b"https://u:hunter2@h/"),
        urlparse("https://h/?token=hunter2"),
    ],
    ids=range(7),
)
def test_secrets_without_a_key(value):
    """Secret options of a command, objects that are secrets by their type, and parts of addresses are masked."""
    assert "hunter2" not in json.dumps(converter.value(value))
    captured = CapturedRecord({"value": converter.snapshot(value)})
    kept = redacted(captured, converter).attributes["value"]
    assert "hunter2" not in repr(kept.value if type(kept) is Converted else kept)


def test_options_that_are_no_secrets():
    """Other words of a command stay."""
    command = ["pg_dump", "--verbose", "--password", "--file", "a.sql", "--token-type", "--jobs", "4"]
    assert converter.value(command) == command


def test_bounds_are_shared():
    """Values that share bounds are together no longer than one, and one that is read afterwards is marked."""
    bounds = Bounds()
    for _ in range(20):
        kept = converter.snapshot({"a": ["x" * 7_000]}, bounds)
    assert kept == {"a": ["… [7000 characters]"]}
    assert converter.snapshot("short", bounds) == "short"
