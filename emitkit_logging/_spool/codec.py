"""How records, users and states are written to disk, and read back.

Everything is one line of strict JSON in UTF-8, so that any tool can read a spool and nothing in it can run. This is
version 2 of the format.

A record, as a line of a journal and as `data` in a row of the database, is an array, which costs a logging call less
than an object:

=  ===========================================================================================================
0  the version: 2
1  what logging gives a record: an array in the order of `ATTRIBUTES`, or an object by name where an attribute
   is missing
2  what the application added, an object by name
3  the other fields, an object; left out where all have their default:
   ``context``, the event context at the time of the call (default: none);
   ``exception``, with ``type``, ``message`` and ``stacktrace`` (default: none);
   ``report``, which names the occurrence of that exception (default: empty);
   ``text``, the message with its arguments (default: ``msg`` is the whole message);
   ``unused_args``, the arguments that did not fit into the message (default: none);
   ``is_trusted``, false for a record of a browser (default: true)
=  ===========================================================================================================

All else is an object with the version as ``v`` and one of these:

============  ================================================================================================
``identity``  what one record says about a user (journals): ``user_id``, ``properties``, ``aliases``, ``created``
``flush``     true: the process waits for what stands before it (journals), see `Flush`
``identify``  an identify call (rows): ``user_id``, ``properties``, ``aliases``, ``claimed`` (names of
              properties that only browsers have set; default: none)
``fold``      the state of a fold (rows), as `Fold.state` documents it
``digest``    the state of a digest (rows), as `Digest.state` documents it
============  ================================================================================================

A Python value without an equivalent in JSON is an object with one key: ``$tuple``, ``$set``, ``$frozenset`` (an array),
``$dict`` (pairs of key and value: keys that are no text, or one key that begins with ``$``), ``$float`` (``nan``,
``inf``, ``-inf``), ``$converted`` (the JSON value of an object of any other type) and ``$record`` (a record as above,
in a fold's samples).

Reading ignores unknown fields, and gives missing ones their default. A record must have ``levelno`` and ``created``.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import Converted, JsonConverter
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._spool import codec_v1

FORMAT = 2
"""The version of the format that is written; version 1 is read, too."""

ATTRIBUTES = (
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
"""The names of a record's values that stand in an array, in their order. New ones are added at the end."""

_BEGINNING = b"[2,"
_DERIVED: dict[str, Any] = {"args": (), "exc_info": None, "msecs": 0.0, "relativeCreated": 0.0}
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(ATTRIBUTES),
    "name": "root",
    "msg": "",
    "pathname": "",
    "lineno": 0,
    "module": "",
    "filename": "",
    **_DERIVED,
}
_KNOWN = frozenset(_DEFAULTS)
_SCALARS = frozenset((str, int, float, bool, type(None)))
_TEXT = frozenset((str,))
_MOST_BITS = 10_000  # the interpreter may refuse to write the digits of a larger integer
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)
_attributes_of = itemgetter(*ATTRIBUTES)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_ascii_encoder = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Flush:
    """A line of a journal after which the sender lets no fold wait for a place of its kind: its process waits."""


# Writing


def write_record(captured: CapturedRecord, converter: JsonConverter) -> bytes:
    """Return a captured record as one line, without the line's end.

    This runs in the logging call: a record of plain values is encoded in one step.

    Args:
        captured: the record.
        converter: converts values of types that this format does not have.
    """
    attributes = captured.attributes
    try:
        extra = {key: attributes[key] for key in attributes if key not in _KNOWN}
        if captured.is_scalar:
            return _encoder.encode((FORMAT, _attributes_of(attributes), extra)).encode()
        if type(attributes["msg"]) is str:
            fields = _fields(captured, converter)
            record = (FORMAT, _attributes_of(attributes), _object(extra, converter))
            return _encoder.encode((*record, fields) if fields else record).encode()
    except (KeyError, TypeError, ValueError, RecursionError):
        pass  # an attribute is missing, or is not of the type that logging gives it
    return _encoded(_record(captured, converter))


def write_identity(identity: Identity, converter: JsonConverter) -> bytes:
    """Return what a record says about a user as one line, without the line's end."""
    facts = {**_facts(identity), "created": identity.created}
    return _encoded({"v": FORMAT, "identity": _object(facts, converter)})


def write_flush() -> bytes:
    """Return what asks the sender not to hold back what stands before it, as one line without the line's end."""
    return _encoded({"v": FORMAT, "flush": True})


def write_identify(call: IdentifyCall, converter: JsonConverter) -> bytes:
    """Return an identify call as `data` of a row."""
    return _encoded({"v": FORMAT, "identify": _object(_facts(call), converter)})


def write_entry(kind: str, state: Mapping[str, Any], converter: JsonConverter) -> bytes:
    """Return the state of a fold or a digest as `data` of a row.

    Args:
        kind: `fold` or `digest`.
        state: its fields by name.
        converter: converts values of types that this format does not have.
    """
    return _encoded({"v": FORMAT, kind: _object(state, converter)})


def write_state(state: Mapping[str, Any], converter: JsonConverter) -> str:
    """Return named values as a JSON object, for a column of a table."""
    return _encoded(_object(state, converter)).decode()


def write_call(call: IdentifyCall, converter: JsonConverter) -> str:
    """Return what the server knows of a user as a JSON object, without the id, for a column of a table."""
    facts = _facts(call)
    del facts["user_id"]
    return write_state(facts, converter)


def _facts(user: Identity | IdentifyCall) -> dict[str, Any]:
    facts = {"user_id": user.user_id, "properties": dict(user.properties), "aliases": list(user.aliases)}
    if isinstance(user, IdentifyCall) and user.claimed:
        facts["claimed"] = sorted(user.claimed)
    return facts


def _record(captured: CapturedRecord, converter: JsonConverter) -> list[Any]:
    attributes = captured.attributes
    given = {name: _attribute(name, attributes[name], converter) for name in ATTRIBUTES if name in attributes}
    extra = {key: item for key, item in attributes.items() if key not in _KNOWN}
    fields = _fields(captured, converter)
    first = list(given.values()) if len(given) == len(ATTRIBUTES) else given
    return [FORMAT, first, _object(extra, converter), *([fields] if fields else [])]


def _fields(captured: CapturedRecord, converter: JsonConverter) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if captured.context is not None:
        fields["context"] = _object(captured.context, converter)
    if (exception := captured.exception) is not None:
        stacktrace = exception.stacktrace
        fields["exception"] = {"type": exception.type, "message": exception.message, "stacktrace": stacktrace}
    if captured.text is not None:
        fields["text"] = captured.text
    if captured.unused_args is not None:
        fields["unused_args"] = _value(captured.unused_args.value, converter)
    if captured.report:
        fields["report"] = captured.report
    if not captured.is_trusted:
        fields["is_trusted"] = False
    return fields


def _attribute(name: str, value: Any, converter: JsonConverter) -> Any:
    # a message may be a dict, whose values were copied at the call; nothing else of logging's own is a container
    is_plain = name == "msg" or type(value) in _SCALARS
    return _value(value, converter) if is_plain else _converted(value, converter)


def _object(values: Mapping[Any, Any], converter: JsonConverter) -> dict[str, Any]:
    if set(map(type, values)) <= _TEXT:
        return {key: item if type(item) is str else _value(item, converter) for key, item in values.items()}
    return {str(converter.value(key)): _value(item, converter) for key, item in values.items()}


def _value(value: Any, converter: JsonConverter) -> Any:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is int:
        return value if value.bit_length() <= _MOST_BITS else _converted(value, converter)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_value(item, converter) for item in value]
    if kind is dict:
        if set(map(type, value)) <= _TEXT and not _is_tagged(value):
            return {key: _value(item, converter) for key, item in value.items()}
        return {"$dict": [[_value(key, converter), _value(item, converter)] for key, item in value.items()]}
    if kind is tuple or kind is set or kind is frozenset:
        return {f"${kind.__name__}": [_value(item, converter) for item in value]}
    if kind is CapturedRecord:
        return {"$record": _record(value, converter)}
    return _converted(value, converter)


def _is_tagged(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _converted(value: object, converter: JsonConverter) -> dict[str, Any]:
    return {"$converted": _value(converter.value(value), converter)}


def _encoded(value: object) -> bytes:
    try:
        return _encoder.encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 does not have
        return _ascii_encoder.encode(value).encode()


# Reading


def is_current(line: bytes) -> bool:
    """Whether a line that could be read is of the format that is written."""
    return line.startswith(_BEGINNING)


def read_record(line: bytes) -> CapturedRecord:
    """Return what `write_record` wrote.

    Raises:
        ValueError: for anything else.
    """
    value = read_line(line)
    if not isinstance(value, CapturedRecord):
        raise ValueError("it is no record")  # noqa: TRY004 - a file has wrong values, not wrong types
    return value


def read_line(line: bytes) -> CapturedRecord | Identity | Flush:
    """Return what a line of a journal holds, of this version or of version 1.

    Raises:
        ValueError: if it cannot be read; the text says why.
    """
    value = _parsed(line)
    try:
        if type(value) is list and value and value[0] == FORMAT:
            return _captured(value)
        if codec_v1.is_line(value):
            read = codec_v1.line(value)
            return _checked(read) if isinstance(read, CapturedRecord) else read
        _check_version(value)
        return Flush() if "flush" in value else _identity(value["identity"])
    except _UNREADABLE as error:
        raise ValueError(_reason(error)) from error


def read_entry(kind: str, data: bytes) -> Any:
    """Return what `data` of a row holds: a record, an `IdentifyCall`, or the state of a fold or a digest.

    Args:
        kind: `record`, `fold`, `digest` or `identify`.
        data: the bytes.

    Raises:
        ValueError: if it cannot be read; the text says why.
    """
    if kind == "record":
        return read_record(data)
    value = _parsed(data)
    try:
        _check_version(value)
        state = _read_each(value[kind])
        return read_call(state) if kind == "identify" else state
    except _UNREADABLE as error:
        raise ValueError(_reason(error)) from error


def read_state(text: str) -> dict[str, Any]:
    """Return what `write_state` wrote; nothing where it cannot be read."""
    try:
        return _read_each(json.loads(text))
    except _UNREADABLE:
        return {}


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _check_version(value: Any) -> None:
    if not isinstance(value, dict) or value.get("v") != FORMAT:
        raise ValueError("it is of no known format")


def _checked(captured: CapturedRecord) -> CapturedRecord:
    level, created = captured.attributes.get("levelno"), captured.attributes.get("created")
    if type(level) is not int or type(created) not in (float, int) or not math.isfinite(created):  # type: ignore[arg-type]
        raise ValueError("it has no level, or no time")
    return captured


def _captured(value: list[Any]) -> CapturedRecord:
    if value[0] != FORMAT:
        raise ValueError("it is of no known format")
    attributes = _attributes(value[1])
    extra = value[2] if len(value) > 2 else {}
    if not _KNOWN.isdisjoint(extra):
        extra = {key: item for key, item in extra.items() if key not in _KNOWN}
    attributes.update(extra if _SCALARS.issuperset(map(type, extra.values())) else _read_each(extra))
    captured = CapturedRecord(attributes)
    captured.is_scalar = False
    if len(value) > 3:
        _set_fields(captured, value[3])
    return _checked(captured)


def _attributes(given: Any) -> dict[str, Any]:
    if type(given) is list:
        given = dict(zip(ATTRIBUTES, given))  # noqa: B905 - another version's may be shorter or longer
    else:
        given = {name: given[name] for name in ATTRIBUTES if name in given}
    attributes = {**_DEFAULTS, **given}
    if not _SCALARS.issuperset(map(type, given.values())):
        attributes.update(_read_each(given))
    if type(attributes["levelname"]) is not str:
        attributes["levelname"] = logging.getLevelName(attributes["levelno"])
    return attributes


def _set_fields(captured: CapturedRecord, fields: dict[str, Any]) -> None:
    if (context := fields.get("context")) is not None:
        captured.context = _read_each(context)
    if (exception := fields.get("exception")) is not None:
        parts = (_text(exception.get(name, "")) for name in ("type", "message", "stacktrace"))
        captured.exception = CapturedException(*parts)
    if (text := fields.get("text")) is not None:
        captured.text = _text(text)
    if "unused_args" in fields:
        captured.unused_args = Converted(_read(fields["unused_args"]))
    if (report := fields.get("report")) is not None:
        captured.report = _text(report)
    captured.is_trusted = fields.get("is_trusted", True) is True


def _read_each(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _read(item) for key, item in values.items()}


def _identity(value: dict[str, Any]) -> Identity:
    call = read_call(_read_each(value))
    created = float(value.get("created", 0.0))
    return Identity(call.user_id, call.properties, call.aliases, created if math.isfinite(created) else 0.0)


def read_call(state: Mapping[str, Any]) -> IdentifyCall:
    """Return the identify call of a JSON object.

    Raises:
        ValueError: if it is none.
    """
    try:
        properties = dict(state.get("properties", {}))
        aliases, claimed = (map(_text, state.get(name, ())) for name in ("aliases", "claimed"))
        return IdentifyCall(_text(state["user_id"]), properties, tuple(aliases), frozenset(claimed))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(_reason(error)) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, not {type(value).__name__}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"an array is expected, not {type(value).__name__}")
    return [_read(item) for item in value]


def _read(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_read(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        if key in _TAGS:
            return _TAGS[key](content)
    return {key: _read(item) for key, item in value.items()}


_TAGS: dict[str, Callable[[Any], object]] = {
    "$tuple": lambda content: tuple(_list(content)),
    "$set": lambda content: set(_list(content)),
    "$frozenset": lambda content: frozenset(_list(content)),
    "$dict": lambda content: dict(_list(content)),
    "$float": lambda content: _NUMBERS[content],
    "$converted": lambda content: Converted(_read(content)),
    "$record": _captured,
}
