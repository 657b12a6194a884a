"""The event of a record whose own event cannot be built (design, *No record is lost because of us*).

It has the message, or what can be read of it, as its title, level and logger, the channel of its level, and the name of
what went wrong under `metadata.error`. Its record is a captured one like any other, of plain texts and numbers alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.text import clean
from emitkit_logging._events import extras
from emitkit_logging._events.captured import CapturedRecord, created_of, level_of, text_of_object
from emitkit_logging._events.converter import LONGEST_TEXT, qualified_name

_BARE = vars(logging.LogRecord("", logging.NOTSET, "", 0, "", (), None))
_TEXTS = ("name", "pathname", "funcName")
_LONGEST = 1_000


def minimal(attributes: Mapping[str, Any], message: str, error: BaseException) -> CapturedRecord:
    """Return a captured record that has a minimal event.

    Args:
        attributes: those of the record, or a copy of them.
        message: what can be read of its message.
        error: what was raised.
    """
    attributes = readable(attributes)
    level = level_of(attributes.get("levelno"))
    line = attributes.get("lineno")
    return CapturedRecord(
        {
            **_BARE,
            **{key: _text(attributes.get(key)) for key in _TEXTS},
            "msg": clean(str.__str__(message)[:LONGEST_TEXT]),
            "levelno": level,
            "levelname": _text(attributes.get("levelname")) or logging.getLevelName(level),
            "lineno": line if type(line) is int and 0 <= line < 2**31 else 0,
            "created": created_of(attributes.get("created")),
            "error": _named(error),
        }
    )


def minimal_of(captured: CapturedRecord, error: BaseException) -> CapturedRecord:
    """Return what has a minimal event in place of a captured record, as `minimal` does."""
    result = minimal(captured.attributes, captured.message, error)
    result.is_trusted = captured.is_trusted
    return result


def readable(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attributes under plain texts: other keys may raise when they are compared."""
    return {key: value for key, value in list(attributes.items()) if type(key) is str}


def names_event(attributes: Mapping[Any, Any]) -> bool:
    """Whether a record says itself that it is an event, as far as that can be read."""
    found = readable(attributes)
    return extras.event_name(found) is not None or extras.get(found, "category") is not None


def _text(value: object) -> str:
    return "" if value is None else text_of_object(value)[:_LONGEST]


def _named(error: BaseException) -> str:
    name, text = qualified_name(type(error)), text_of_object(error)
    return f"{name}: {text}"[:_LONGEST] if text else name
