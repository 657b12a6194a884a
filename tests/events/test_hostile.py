"""No record is lost, and none uncounted, whatever Python object it holds anywhere."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import logging
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter, EmitKitHandler

from ..conftest import KEY
from ..server import Server

METHODS = [
    "__str__",
    "__repr__",
    "__eq__",
    "__hash__",
    "__bool__",
    "__len__",
    "__iter__",
    "__getattr__",
    "__getattribute__",
    "__format__",
    "__int__",
    "__float__",
    "__index__",
    "__getitem__",
    "__contains__",
    "__lt__",
    "__call__",
    "__dir__",
    "__sizeof__",
    "__reduce_ex__",
    "__instancecheck__",
    "__enter__",
    "__next__",
    "__fspath__",
    "__bytes__",
    "__mod__",
    "__class_getitem__",
    "__length_hint__",
    "__reversed__",
    "item",
    "items",
    "keys",
    "values",
    "isoformat",
    "startswith",
    "strip",
    "getMessage",
]
BASES = (
    object, str, int, float, dict, list, tuple, set, frozenset, bytes, bytearray, complex, Exception, BaseException,
    decimal.Decimal, datetime.datetime, datetime.date, datetime.timedelta, datetime.tzinfo, uuid.UUID, enum.Enum,
    collections.OrderedDict, collections.deque, collections.UserDict, collections.UserList, collections.UserString,
    collections.Counter, KeyError, SyntaxError, UnicodeDecodeError, logging.LogRecord, type,
)  # fmt: skip
ARGUMENTS: dict[type, tuple[Any, ...]] = {
    datetime.datetime: (2026, 1, 1),
    datetime.date: (2026, 1, 1),
    uuid.UUID: ("12345678-1234-5678-1234-567812345678",),
    UnicodeDecodeError: ("utf-8", b"x", 0, 1, "x"),
    logging.LogRecord: ("x", 20, "x", 1, "x", (), None),
    collections.UserString: ("x",),
    type: ("Hostile", (), {}),
}
STANDARD = [
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
]
KEYS = [
    "event",
    "emitkit_event",
    "category",
    "title",
    "description",
    "icon",
    "tags",
    "channel",
    "notify",
    "display_as",
    "user_id",
    "user",
    "identify",
    "session_id",
    "page",
    "device",
    "utm",
    "server",
    "context",
    "properties",
    "idempotency_key",
    "actions",
    "fields",
    "expires_in",
    "callback_url",
    "resume",
    "occurred_at",
    "fingerprint",
    "extra",
    "plan",
    "__emitkit_channel",
    "__emitkit_notify",
    "__emitkit_untrusted",
]


def _raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hostile")


def _hostile(base: type, methods: tuple[str, ...]) -> Any:
    namespace = dict.fromkeys(methods, _raises)
    try:
        kind = type("Hostile", (base,), namespace) if base is not enum.Enum else None
        if kind is None:
            return enum.Enum("Hostile", {"A": object()}).A
        return kind(*ARGUMENTS.get(base, ()))
    except Exception:  # such a class, or an object of it, cannot be made
        return object()


def _cycle(kind: type) -> Any:
    value: Any = kind()
    if kind is dict:
        value["a"] = value
    else:
        value.append(value)
    return value


def _deep(kind: str) -> Any:
    value: Any = 1
    for _ in range(5_000):
        value = [value] if kind == "list" else {"a": value}
    return value


class Meta(type):
    """A class whose class raises."""

    __getattribute__ = __bool__ = __eq__ = __instancecheck__ = __repr__ = _raises  # type: ignore[assignment]
    __hash__ = type.__hash__


class OfMeta(metaclass=Meta):
    pass


class Subclass(str):  # noqa: SLOT000
    """A text that gives back itself, and raises at each method of a text."""

    def __str__(self) -> Any:
        return self

    isascii = strip = partition = startswith = replace = encode = lower = _raises  # type: ignore[assignment]


class Property:
    """An object whose class and dict raise."""

    __class__ = __dict__ = property(_raises)  # type: ignore[assignment]


EXTREMES: list[Any] = [
    10**5_000, -(10**5_000), 2**63, float("nan"), float("inf"), -float("inf"), 1e308, -0.0, "", "\x00", "\ud800",
    "\u202e",
    "\x1b[31m", "x" * 100_000, b"\xff" * 10_000, decimal.Decimal("sNaN"), decimal.Decimal("1E+999999"),
    complex(1, 2), ...,
    NotImplemented, None, True, False, (), [], {}, set(), frozenset(), range(10**30), range(3),
    slice(1), memoryview(b"x"),
    iter([]), (each for each in ()), print, object, object(), OfMeta(), OfMeta, Meta, Subclass("x"), Property(),
    _cycle(dict),
    _cycle(list), _deep("list"), _deep("dict"), {1: 2}, {(1, 2): 3, None: 4}, {OfMeta(): 1}, {"a": {1, "x", None}},
    [OfMeta()] * 200, datetime.date.max, datetime.date.min, datetime.timedelta.max, datetime.timezone.utc,
    datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=23))), uuid.UUID(int=1),
    ValueError(), ValueError(OfMeta()), SyntaxError("x", ("f", 1, 5, b"x")), KeyError(Subclass("x")), (1, 2, 3),
    (ValueError, ValueError("x"), None), (ValueError, "x", 5), ("%s", "%d"), "%s %d %(x)s", "{",
    '{"event": 1}', "{" * 5_000,
    '{"event": "x", "user": {"id": 1}}', "event=" + "=" * 100, "Traceback (most recent call last):",
    "Traceback (most recent call last):\n" * 50, '{"a":' * 3_000, "9" * 5_000, "emitkit_0123456789abcdefKEY",
]  # fmt: skip

BELOW_EVERY_LEVEL = [
    number for number, value in enumerate(EXTREMES) if (type(value) is int or type(value) is float) and value < 0
]
ODD_KEYS: list[Any] = [1, None, (1, 2), 1.5, OfMeta(), b"x", Subclass("x"), "\ud800", ""]

# What hypothesis draws are descriptions, since it looks at what it draws.
hostile = st.one_of(
    st.tuples(st.just("extreme"), st.integers(0, len(EXTREMES) - 1)),
    st.tuples(st.just("object"), st.integers(0, len(BASES) - 1), st.lists(st.sampled_from(METHODS)).map(tuple)),
    st.tuples(st.just("object"), st.integers(0, len(BASES) - 1), st.just(tuple(METHODS))),
)
values = st.one_of(
    hostile,
    st.tuples(st.just("list"), st.lists(hostile, max_size=2)),
    st.tuples(st.just("dict"), st.dictionaries(st.sampled_from(KEYS), hostile, max_size=3)),
)
keys = st.one_of(st.sampled_from(KEYS), st.integers(0, len(ODD_KEYS) - 1))
records = st.fixed_dictionaries(
    {
        "standard": st.dictionaries(st.sampled_from(STANDARD), values, max_size=3),
        "extra": st.dictionaries(keys, values, max_size=4),
    }
)


def built(description: tuple[Any, ...]) -> Any:
    kind, *parts = description
    if kind == "extreme":
        return EXTREMES[parts[0]]
    if kind == "object":
        return _hostile(BASES[parts[0]], parts[1])
    if kind == "list":
        return [built(each) for each in parts[0]]
    return {key: built(each) for key, each in parts[0].items()}


def made(fields: dict[str, Any]) -> logging.LogRecord:
    record = logging.LogRecord("app", logging.ERROR, "/srv/app.py", 7, "hello", (), None, "work")
    for key, value in fields["extra"].items():
        record.__dict__[ODD_KEYS[key] if type(key) is int else key] = built(value)
    record.__dict__.update((key, built(value)) for key, value in fields["standard"].items())
    return record


class Raising(EmitKitFormatter):
    """An application's own formatter, which raises, or returns what is no event."""

    result: Any = RuntimeError("own formatter")

    def event(self, record):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture(scope="module")
def sending():
    """Return a server and a handler of this module, which sends without a limit."""
    with Server() as server:
        handler = EmitKitHandler(KEY, base_url=server.url, rate_limit=0, plain_level="NOTSET", shutdown_timeout=5)
        logging.getLogger("emitkit_logging").addHandler(null := logging.NullHandler())
        yield server, handler
        handler.close()
        logging.getLogger("emitkit_logging").removeHandler(null)


def account(handler: EmitKitHandler) -> tuple[int, int, dict[str, int]]:
    stats = handler.stats
    assert stats.accepted == stats.delivered + stats.pending + sum(stats.dropped.values())
    return stats.accepted, stats.delivered, stats.dropped


@given(records)
@settings(suppress_health_check=list(HealthCheck), max_examples=150)
def test_any_record(sending, fields):
    """Whatever a record holds, it is accepted, delivered and counted, and nothing reaches the caller."""
    _, handler = sending
    before = account(handler)
    handler.handle(made(fields))
    assert handler.flush(10)
    accepted, delivered, dropped = account(handler)
    kind, *parts = fields["standard"].get("levelno", ("none",))
    is_ignored = kind == "extreme" and parts[0] in BELOW_EVERY_LEVEL and "event" not in fields["extra"]
    if not is_ignored:
        assert (accepted - before[0], delivered - before[1], dropped) == (1, 1, {})


@pytest.mark.parametrize("position", [*STANDARD, "event", "user_id", "tags", "extra", "plan", "occurred_at"])
def test_extremes(position, sending):
    """Each extreme value in each place is accepted, delivered and counted."""
    _, handler = sending
    before = account(handler)
    for number, value in enumerate(EXTREMES):
        if position != "levelno" or number not in BELOW_EVERY_LEVEL:
            handler.handle(with_value(position, value))
        else:
            before = (before[0] - 1, before[1] - 1, before[2])
    assert handler.flush(60)
    accepted, delivered, dropped = account(handler)
    assert (accepted - before[0], delivered - before[1], dropped) == (len(EXTREMES), len(EXTREMES), {})


def with_value(key: str, value: Any) -> logging.LogRecord:
    record = logging.LogRecord("app", logging.ERROR, "/srv/app.py", 7, "hello", (), None, "work")
    record.__dict__[key] = value
    return record


@pytest.mark.parametrize("key", ["user_id", "created", "event", "name", "funcName"])
def test_folds(key, server):
    """Records that differ in such a value wait, fold and are delivered, and each is counted."""
    logging.getLogger("emitkit_logging").addHandler(null := logging.NullHandler())
    handler = EmitKitHandler(KEY, base_url=server.url, rate_limit=2, plain_level="NOTSET", shutdown_timeout=10)
    try:
        for value in EXTREMES:
            for each in (value, 5, value):
                handler.handle(with_value(key, each))
    finally:
        handler.close()
        logging.getLogger("emitkit_logging").removeHandler(null)
    accepted, delivered, dropped = account(handler)
    count = 3 * len(EXTREMES)
    assert (accepted, delivered + dropped.get("shutdown", 0)) == (count, count)
    assert set(dropped) <= {"shutdown"}


@pytest.mark.parametrize(
    "result", [RuntimeError("own formatter"), None, "event", {}, object()], ids=lambda value: type(value).__name__
)
def test_own_formatter(result, handler, server):
    """A formatter of the application's that fails costs the shape of the event, not the event."""
    own = Raising()
    own.result = result
    made_handler = handler()
    made_handler.setFormatter(own)
    record = logging.LogRecord("shop", logging.ERROR, "/srv/app.py", 7, "payment %s", ("down",), None, "work")
    made_handler.handle(record)
    (seen,) = server.wait_for(1)
    assert (seen.body["title"], seen.body["channelName"]) == ("payment down", "alerts")
    assert (seen.body["metadata"]["log"]["level"], seen.body["metadata"]["log"]["logger"]) == ("ERROR", "shop")
    assert seen.body["metadata"]["error"].startswith(("RuntimeError: own formatter", "AttributeError", "TypeError"))


def test_minimal_event(handler, server):
    """A record that cannot be captured says what went wrong, in the channel of its level."""

    class Odd(logging.LogRecord):
        @property
        def exc_info(self):
            raise OSError("gone")

        @exc_info.setter
        def exc_info(self, value):
            pass

    handler().handle(Odd("shop", logging.CRITICAL, "/srv/app.py", 7, "disk %s", ("full",), None, "work"))
    (seen,) = server.wait_for(1)
    body = seen.body
    assert (body["title"], body["channelName"], body["metadata"]["error"]) == ("disk full", "alerts", "OSError: gone")
    assert body["metadata"]["log"] == {
        "level": "CRITICAL", "logger": "shop", "file": "/srv/app.py", "line": 7, "function": "work"
    }  # fmt: skip
    json.dumps(body, allow_nan=False)
