"""Check the values of event contexts.

The functions here are pure. Where the values are kept is in `emitkit_logging._context.scopes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emitkit_logging._events import extras
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.merging import Values, merge
from emitkit_logging._events.redaction import Redactor

_SINGLE_RECORD = ("event", "emitkit_event", "category", "idempotency_key", "identify")
_converter = JsonConverter(Redactor())


def checked(values: Mapping[str, Any]) -> Values:
    """Return values as a context keeps them: converted to JSON values, with the nested `context` dict unpacked.

    Args:
        values: as the application gave them; not changed.

    Raises:
        TypeError: for a key that can only belong to a single record.
    """
    for key in _SINGLE_RECORD:
        if key in values:
            raise TypeError(f"{key}: belongs to one record and cannot be set for a context")
    return _converter.items({key: value for key, value in _unpacked(values).items() if not extras.is_private(key)})


def _unpacked(values: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = values.get("context")
    if not isinstance(nested, Mapping):
        return values
    outer = {key: value for key, value in values.items() if key != "context"}
    return {**{str(key): value for key, value in nested.items()}, **outer}


def received(values: Mapping[str, Any]) -> Values:
    """Return the context values of a message from another process, without keys that belong to a single record."""
    return checked({key: value for key, value in values.items() if key not in _SINGLE_RECORD})


def static(values: Mapping[str, Any], host: str) -> Values:
    """Return the outermost context of a handler: its own values, and the name of the machine as `server.host`.

    Args:
        values: as the application gave them; not changed.
        host: the name of the machine.

    Raises:
        TypeError: for a key that can only belong to a single record.
    """
    return merge({"server": {"host": host}}, without_none(checked(values)))


def without_none(values: Values) -> Values:
    """Return the values that are not `None`. A context uses `None` to remove a key."""
    return {key: value for key, value in values.items() if value is not None}
