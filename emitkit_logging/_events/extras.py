"""Keys: what is read from a record's extras, and of which type each must be to be read.

The table is the design's (*What a record becomes*). A value of another type is ordinary metadata, because legacy code
has such keys too. Types are judged by `type(value)`: asking a lazy object for its `__class__` would evaluate it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PRIVATE = "__emitkit_"
"""How the keys begin that are for this library alone and never stand in the metadata."""

OVERRIDES = ("__emitkit_channel", "__emitkit_notify")
"""The seed document's names for routing one event; every other key that starts like them is ours."""


def is_text(value: object) -> bool:
    """Tell whether `value` is a string."""
    return issubclass(type(value), str)


def is_flag(value: object) -> bool:
    """Tell whether `value` is a boolean."""
    return type(value) is bool


def is_number(value: object) -> bool:
    """Tell whether `value` is an integer, which a boolean is not (design, *Keys*)."""
    return issubclass(type(value), int) and type(value) is not bool


def is_id(value: object) -> bool:
    """Tell whether `value` is of a type that can name a user."""
    return is_text(value) or is_number(value)


def is_dict(value: object) -> bool:
    """Tell whether `value` is a dict."""
    return issubclass(type(value), dict)


def is_list(value: object) -> bool:
    """Tell whether `value` is a list."""
    return issubclass(type(value), list)


def is_texts(value: object) -> bool:
    """Tell whether `value` is a list, tuple or set of strings."""
    return issubclass(type(value), list | tuple | set | frozenset) and all(map(is_text, value))  # type: ignore[call-overload]


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
    "actions": is_list,
    "fields": is_list,
    "expires_in": is_number,
    "callback_url": is_text,
    "resume": is_text,
}


def get(found: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key of the table when it has the right type and is no empty string, else `None`."""
    value = found.get(key)
    if value is None or not _TYPES[key](value) or (is_text(value) and not str.__len__(value)):
        return None
    return value


def is_misused(key: str, value: object) -> bool:
    """Tell whether a value stands under a key of the table without being of its type, so that it is metadata."""
    return key in _TYPES and not _TYPES[key](value)


def event_name(found: Mapping[str, Any]) -> str | None:
    """Return the name that a record's extras give its event, or `None`; `emitkit_event` beats `event`."""
    name = get(found, "emitkit_event") or get(found, "event")
    return None if name is None else str.__str__(name)


def is_private(key: str) -> bool:
    """Tell whether a key is ours, and neither read nor sent."""
    return key.startswith(PRIVATE) and key not in OVERRIDES


def nested(found: dict[str, Any], inner: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `found` with what a dict inside it says besides; where both have a key, `found` wins."""
    outer = {key: value for key, value in found.items() if not _is_absent(key, value)}
    return {**{key: value for key, value in _named(inner) if not is_private(key)}, **outer}


def _named(values: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    return [(key if type(key) is str else str(key), value) for key, value in list(values.items())]


def _is_absent(key: str, value: object) -> bool:
    return key in _TYPES and is_text(value) and not str.__len__(value)  # type: ignore[arg-type]


class Extras:
    """The extras of one record, from which each key is taken once; what is left becomes metadata.

    Args:
        found: the extras; the dict is consumed.

    Attributes:
        rest: what has not been taken.
    """

    __slots__ = ("rest",)

    def __init__(self, found: dict[str, Any]) -> None:
        self.rest = found
        for key in [key for key, value in found.items() if _is_absent(key, value)]:
            del found[key]  # empty strings count as absent (design, *Keys*)

    def get(self, key: str) -> Any:
        """Return the value of a key of the right type, without taking it, else `None`."""
        return get(self.rest, key) if key in self.rest else None

    def take(self, key: str) -> Any:
        """Return and remove the value of a key of the right type, else `None`."""
        if key not in self.rest:
            return None
        value = get(self.rest, key)
        if value is not None:
            del self.rest[key]
        return value
