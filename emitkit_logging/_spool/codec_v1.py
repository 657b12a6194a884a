"""Reads what version 1 wrote: lines of journals, and `data` in rows of the database.

A line was an array of a record's values and of the rest by name, or an object of all of it by name. The fields of a
captured record stood among what the application had added, under names of this library's own. A Python value without
an equivalent in JSON was an object with the keys ``__emitkit_kind`` and ``of``.
"""

from __future__ import annotations

import json
import math
from typing import Any

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedException, CapturedRecord
from emitkit_logging._events.converter import Converted
from emitkit_logging._events.identity import IdentifyCall, Identity

_TYPE, _CONTENT = "__emitkit_kind", "of"
_IDENTITY = "__emitkit_person"
_CONTEXT = "__emitkit_context"
_EXCEPTION = "__emitkit_raised"
_TEXT = "__emitkit_message"
_UNUSED_ARGS = "__emitkit_misfits"
_UNTRUSTED = "__emitkit_guest"
_UNTRUSTED_LEVEL = 1
_ATTRIBUTES = (
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
_BUDGET_NAMES = {
    "_limit": "limit",
    "_starts": "starts",
    "_last_start": "last_start",
    "_since_silence": "starts_since_silence",
    "_full_answers": "full_answers",
    "_paused_until": "paused_until",
    "_pause_is_ours": "pause_is_guess",
    "_is_limited": "pause_is_for_limit",
    "_failures": "failures",
    "_disguised": "ambiguous_401s",
    "_limited": "limit_answers",
    "_succeeded": "has_succeeded",
}
_CONTAINERS = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}


def is_line(value: Any) -> bool:
    """Whether a JSON value is a line of version 1: objects of later versions have none of its names."""
    return isinstance(value, list) or (isinstance(value, dict) and ("levelno" in value or _IDENTITY in value))


def line(value: Any) -> CapturedRecord | Identity:
    """Return what a line held.

    Args:
        value: the line, parsed as JSON.

    Raises:
        ValueError, TypeError, KeyError: if it cannot be read.
    """
    if isinstance(value, list):
        given, added = value
        return _record({**dict(zip(_ATTRIBUTES, given, strict=True)), **_DERIVED, **added})
    if _IDENTITY in value:
        user_id, properties, aliases, created = _read(value[_IDENTITY])
        return Identity(user_id, properties, tuple(aliases), created)
    return _record(value)


def entry(kind: str, data: bytes) -> Any:
    """Return what `data` of a row held: a record, an `IdentifyCall`, or the state of a fold or a digest as of today.

    Raises:
        ValueError, TypeError, KeyError: if it cannot be read.
    """
    value = json.loads(data.decode("utf-8", "surrogatepass"))
    if kind == "record":
        return line(value)
    if kind == "identify":
        user_id, properties, aliases = _read(value["facts"])
        return IdentifyCall(user_id, properties, tuple(aliases))
    return _fold(value) if kind == "fold" else _digest(value)


def priority(level: int) -> int:
    """Return the priority of records that had `level`: records of browsers had a level of their own."""
    return UNTRUSTED_PRIORITY if level == _UNTRUSTED_LEVEL else level


def budget(text: str) -> dict[str, Any]:
    """Return the state of the rate budget with the names of today; nothing where it cannot be read."""
    try:
        state = json.loads(text)
        renamed = {name: state[old] for old, name in _BUDGET_NAMES.items() if old in state}
        if state.get("_quota"):
            limit, remaining, _ = state["_quota"]
            renamed["quota"] = {"limit": limit, "remaining": remaining, "ends_at": state.get("_quota_ends", 0.0)}
    except (ValueError, TypeError, AttributeError):
        return {}
    # an infinite time is left out today
    return {name: value for name, value in renamed.items() if not isinstance(value, float) or math.isfinite(value)}


def _fold(value: dict[str, Any]) -> dict[str, Any]:
    channel, level, kind = value["key"]
    return {
        "channel": channel,
        "priority": priority(level),
        "kind": list(kind),
        "place": value["age"],
        "count": value["count"],
        "first_seen": value["first_seen"],
        "last_seen": value["last_seen"],
        "samples": [_record(sample) for sample in value["kept"]],
        "user_id": _read(value["user"]),
        "has_one_user": value["is_of_one_user"],
    }


def _digest(value: dict[str, Any]) -> dict[str, Any]:
    names = ("channel", "place", "age", "count", "first_seen", "last_seen")
    return {
        **{name: value[name] for name in names},
        "priority": priority(value["level"]),
        "names": _read(value["names"]),
    }


def _record(value: dict[str, Any]) -> CapturedRecord:
    attributes = {key: _read(item) for key, item in value.items()}
    context, exception = attributes.pop(_CONTEXT, None), attributes.pop(_EXCEPTION, None)
    text, unused_args = attributes.pop(_TEXT, None), attributes.pop(_UNUSED_ARGS, None)
    is_trusted = _UNTRUSTED not in attributes
    attributes.pop(_UNTRUSTED, None)
    captured = CapturedRecord(attributes)
    captured.is_scalar = False
    captured.is_trusted = is_trusted
    # an application's own keys of these names have other types
    captured.context = context if isinstance(context, dict) else None
    captured.exception = exception if isinstance(exception, CapturedException) else None
    captured.text = text if isinstance(text, str) else None
    captured.unused_args = unused_args if isinstance(unused_args, Converted) else None
    return captured


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TYPE)
    if kind is None:
        return {key: _read(item) for key, item in value.items()}
    content = _read(value[_CONTENT])
    if kind == "frozen":
        return Converted(content)
    if kind == "raised":
        return CapturedException(*content)
    return _CONTAINERS[kind](content)
