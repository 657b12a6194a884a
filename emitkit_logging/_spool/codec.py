"""Notation: how what was captured of a record is written to disk, and read back.

JSON, so that a spool can be read with any tool and nothing in it can run. What JSON has no word for stands in an object
with one reserved key that names its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import Converted, JsonConverter

_KIND = "__emitkit_kind"
_OF = "of"
_SCALARS = frozenset((str, int, float, bool, type(None)))
_BUILT: dict[str, Callable[[Any], object]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "frozen": Converted,
    "raised": lambda parts: CapturedException(*parts),
    "record": lambda parts: _record(*parts),
}
_FIELDS = ("context", "exception", "text", "unused_args", "is_trusted")
_GIVEN = (
    "name",
    "msg",
    "levelname",
    "levelno",
    "pathname",
    "lineno",
    "funcName",
    "created",
    "exc_text",
    "stack_info",
) + ("thread", "threadName", "process", "processName", "module", "filename")
_DERIVED = {"args": (), "exc_info": None, "msecs": 0.0, "relativeCreated": 0.0}
_KNOWN = frozenset((*_GIVEN, *_DERIVED))
_given = itemgetter(*_GIVEN)
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def write(value: dict[str, Any], converter: JsonConverter) -> bytes:
    """Return a dict as one line of UTF-8 JSON, without the line's end.

    Args:
        value: with texts as keys.
        plain: converts what has no notation of its own, such as a date.
    """
    if _KIND in value:  # nothing of ours, and no key of theirs: ours begin so, and never stand in an event
        value = {key: item for key, item in value.items() if key != _KIND}
    return _encoded({key: _noted(item, converter) for key, item in value.items()})


def write_record(captured: CapturedRecord, converter: JsonConverter) -> bytes:
    """Return what was captured of a record as `write` would, in half the time and room.

    What logging itself gives a record stands first, without names; what follows from that is left out.
    """
    try:
        attributes = captured.attributes
        given = _given(attributes)
        added = {key: attributes[key] for key in attributes if key not in _KNOWN}
        if captured.is_scalar and _KIND not in added:
            return _encoded((given, added))
        added = {key: _noted(item, converter) for key, item in added.items() if key != _KIND}
        return _encoded((given, added, _noted(_fields(captured), converter)))
    except (KeyError, TypeError):  # a record of another making, or a message that is no text
        return write({"record": captured}, converter)


def read_record(line: bytes) -> CapturedRecord:
    """Return what `write_record` wrote.

    Raises:
        ValueError: for anything else.
    """
    return record_in(read(line))


def record_in(value: dict[str, Any]) -> CapturedRecord:
    """Return the record that `read` returned.

    Raises:
        ValueError: if it is none.
    """
    record = value.get("record")
    if not isinstance(record, CapturedRecord):
        raise ValueError("no record")  # noqa: TRY004 - as of `read`
    return record


def _fields(captured: CapturedRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(captured).items() if name in _FIELDS}


def _record(attributes: dict[str, Any], fields: dict[str, Any]) -> CapturedRecord:
    captured = CapturedRecord(attributes)
    captured.is_scalar = False
    for name in _FIELDS:
        if name in fields:
            setattr(captured, name, fields[name])
    return captured


def read(line: bytes) -> dict[str, Any]:
    """Return what `write` or `write_record` wrote.

    Raises:
        ValueError: for anything else.
    """
    try:
        value = json.loads(line.decode("utf-8", "surrogatepass"), object_hook=_built)
        if isinstance(value, list):
            given, added, *fields = value
            attributes = {**dict(zip(_GIVEN, given, strict=True)), **_DERIVED, **added}
            value = {"record": _record(attributes, fields[0] if fields else {})}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("no notation of ours") from error
    if not isinstance(value, dict):
        raise ValueError("no notation of ours")  # noqa: TRY004 - what is on a disk has a wrong value, never a wrong type
    return value


def _encoded(value: object) -> bytes:
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def _noted(value: Any, converter: JsonConverter) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_noted(item, converter) for item in value]
    if kind is dict:
        if _KIND not in value and all(type(key) is str for key in value):
            return {key: _noted(item, converter) for key, item in value.items()}
        return {_KIND: "dict", _OF: [[_noted(key, converter), _noted(item, converter)] for key, item in value.items()]}
    if kind is tuple or kind is set or kind is frozenset:
        return {_KIND: kind.__name__, _OF: [_noted(item, converter) for item in value]}
    if kind is CapturedRecord:
        attributes = {key: _noted(item, converter) for key, item in value.attributes.items()}
        return {_KIND: "record", _OF: [attributes, _noted(_fields(value), converter)]}
    if kind is CapturedException:
        return {_KIND: "raised", _OF: [value.type, value.message, value.stacktrace]}
    return {_KIND: "frozen", _OF: converter.value(value)}


def _built(noted: dict[str, Any]) -> Any:
    kind = noted.get(_KIND)
    return noted if kind is None else _BUILT[kind](noted[_OF])
