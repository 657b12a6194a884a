"""What an application adds to a record: which keys are read, and of which type each must be to be read.

The table is the design's (*What a record becomes*). A value of another type is ordinary metadata, because legacy code
has such keys too. Types are compared by `type(value)`: asking a lazy object for its `__class__` would evaluate it.
"""

from __future__ import annotations

import datetime
import logging
import numbers
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.numeric import MOST_BITS

_BARE_RECORD = vars(logging.LogRecord("", logging.NOTSET, "", 0, "", (), None))

STANDARD_COUNT = len(_BARE_RECORD)
"""How many attributes logging itself gives a record; those that the application adds come after them."""

STANDARD = frozenset((*_BARE_RECORD, "message", "asctime", "taskName"))
"""The attributes that logging itself gives a record. Not asked of the application's record factory, which adds more."""

_STRUCTLOG_OWN = ("_logger", "_name")

PRIVATE = "__emitkit_"
"""The beginning of keys that only this library uses; they never stand in the metadata."""

OVERRIDES = ("__emitkit_channel", "__emitkit_notify")
"""The private keys that an application may set, as the seed document names them."""


def is_text(value: object) -> TypeGuard[str]:
    """Whether `value` is a string."""
    return issubclass(type(value), str)


def is_flag(value: object) -> bool:
    """Whether `value` is a boolean."""
    return type(value) is bool


def is_number(value: object) -> bool:
    """Whether `value` is an integer, which a boolean is not (design, *Keys*); numpy's are integers too."""
    return issubclass(type(value), numbers.Integral) and type(value) is not bool


def is_id(value: object) -> bool:
    """Whether `value` is of a type that can name a user."""
    return is_text(value) or is_number(value) or issubclass(type(value), uuid.UUID)


def id_text(value: object) -> str:
    """Return the text of an id, see `is_id`. One that cannot be written in digits is written in hexadecimal."""
    if is_text(value):
        return str.__str__(value)
    if is_number(value):
        number = int(value)  # type: ignore[call-overload]
        return str(number) if number.bit_length() <= MOST_BITS else hex(number)
    return str(value)


def is_moment(value: object) -> bool:
    """Whether `value` is a point in time: a datetime with a zone, or epoch seconds, within the years 1 to 9999."""
    return seconds_of(value) is not None


def seconds_of(value: object) -> float | None:
    """Return the epoch seconds of a point in time, or `None` for anything else."""
    kind = type(value)
    try:
        if issubclass(kind, datetime.datetime):
            return value.timestamp() if value.utcoffset() is not None else None  # type: ignore[attr-defined]
        if kind is not bool and issubclass(kind, int | float):
            datetime.datetime.fromtimestamp(value, tz=datetime.timezone.utc)  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
    except BaseException as error:  # out of range, NaN, or a zone that raises
        if not is_fault(error):
            raise
        return None
    return None


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether `value` is a dict."""
    return issubclass(type(value), dict)


def is_list(value: object) -> bool:
    """Whether `value` is a list."""
    return issubclass(type(value), list)


def is_texts(value: object) -> bool:
    """Whether `value` is a list, tuple or set of strings."""
    return issubclass(type(value), list | tuple | set | frozenset) and all(map(is_text, value))  # type: ignore[call-overload]


def is_fingerprint(value: object) -> bool:
    """Whether `value` is a string, or a list or tuple of at least one string."""
    if issubclass(type(value), list | tuple):
        return bool(value) and all(map(is_text, value))  # type: ignore[call-overload]
    return is_text(value)


def _is_user(value: object) -> bool:
    return is_dict(value) or is_text(value)


_TYPES: Mapping[str, Callable[[object], bool]] = {
    "emitkit_event": is_text,
    "event": is_text,
    "category": is_text,
    "title": is_text,
    "description": is_text,
    "icon": is_text,
    "tags": is_texts,
    "channel": is_text,
    "__emitkit_channel": is_text,
    "notify": is_flag,
    "__emitkit_notify": is_flag,
    "display_as": is_text,
    "user_id": is_id,
    "user": _is_user,
    "identify": is_dict,
    "session_id": is_text,
    "page": is_dict,
    "device": is_dict,
    "utm": is_dict,
    "server": is_dict,
    "context": is_dict,
    "properties": is_dict,
    "idempotency_key": is_text,
    "fingerprint": is_fingerprint,
    "actions": is_list,
    "fields": is_list,
    "expires_in": is_number,
    "callback_url": is_text,
    "resume": is_text,
    "occurred_at": is_moment,
}

KNOWN = frozenset((*STANDARD, *_TYPES, "extra"))
"""The keys that are read, of logging itself and of the table."""


def get(found: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key of the table when it has the right type and is no empty string, else `None`."""
    value = found.get(key)
    if value is None or not _TYPES[key](value) or (is_text(value) and not str.__len__(value)):
        return None
    return value


def is_misused(key: str, value: object) -> bool:
    """Whether a key is in the table and its value is not of its type, so that the value is metadata."""
    return key in _TYPES and not _TYPES[key](value)


def event_name(found: Mapping[str, Any]) -> str | None:
    """Return the name that a record's extras give its event, or `None`; `emitkit_event` beats `event`."""
    name = get(found, "emitkit_event") or get(found, "event")
    return None if name is None else str.__str__(name)


def is_private(key: str) -> bool:
    """Whether a key is private to this library, so that it is neither read nor sent."""
    return key.startswith(PRIVATE) and key not in OVERRIDES


def of_record(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the application added to a record, by key.

    A dict named `extra` (loguru) and a dict as the message (structlog) are read one level down. The record's own
    attributes win over `extra`, and both win over the message.

    Args:
        attributes: the record's `__dict__`, or a copy of it.
    """
    added = {key: value for key, value in list(attributes.items()) if type(key) is not str or key not in STANDARD}
    found = {key: value for key, value in _with_text_keys(added) if key not in STANDARD and not is_private(key)}
    if is_dict(found.get("extra")):
        found = with_nested(found, found.pop("extra"))
    message = attributes.get("msg")
    if is_dict(message):
        for key in _STRUCTLOG_OWN:
            found.pop(key, None)
        found = with_nested(found, _without_exception(message))
    return found


def is_exc_info(key: str, value: object) -> bool:
    """Whether an item of a dict as the message is what structlog passes on as `exc_info`."""
    return key == "exc_info" and (value is None or issubclass(type(value), bool | int | tuple | BaseException))


def _without_exception(message: Any) -> dict[Any, Any]:
    """Return what a dict as the message says besides its text and its exception, see `captured.exception_of`."""
    values = {key: value for key, value in _with_text_keys(message) if key != "event" and not is_exc_info(key, value)}
    if is_text(values.get("exception")):
        del values["exception"]
    return values


def with_nested(found: dict[str, Any], inner: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `found` and the items of a dict inside it; where both have a key, `found` wins."""
    outer = {key: value for key, value in found.items() if not _is_absent(key, value)}
    return {**{key: value for key, value in _with_text_keys(inner) if not is_private(key)}, **outer}


def _with_text_keys(values: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    return [(key if type(key) is str else key_text(key), value) for key, value in list(values.items())]


def key_text(key: object) -> str:
    """Return the text of any key; one whose text raises is named by its type."""
    try:
        return str.__str__(str(key))
    except Exception:
        return f"<{type.__getattribute__(type(key), '__name__')}>"


def _is_absent(key: str, value: object) -> bool:
    return key in _TYPES and is_text(value) and not str.__len__(value)


class Extras:
    """The extras of one record, from which each key is taken once; what remains becomes metadata.

    Args:
        found: the extras; the dict is changed.

    Attributes:
        remaining: what has not been taken.
    """

    __slots__ = ("remaining",)

    def __init__(self, found: dict[str, Any]) -> None:
        self.remaining = found
        for key in [key for key, value in found.items() if _is_absent(key, value)]:
            del found[key]  # empty strings count as absent (design, *Keys*)

    def get(self, key: str) -> Any:
        """Return the value of a key of the table when it has the right type, else `None`; it is not taken."""
        return get(self.remaining, key) if key in self.remaining else None

    def take(self, key: str) -> Any:
        """Return the value of a key of the table when it has the right type, and remove it; else `None`."""
        if key not in self.remaining:  # nearly always
            return None
        value = get(self.remaining, key)
        if value is not None:
            del self.remaining[key]
        return value
