"""The metadata of an event: the application's values, and what this library adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.encoding import Json
from emitkit_logging._events import extras, tracebacks
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.redaction import REDACTED

GENERATED = frozenset(
    ("category", "event", "timestamp", "log", "exception")
    + ("occurrences", "first_seen", "last_seen", "samples", "digest")
)
"""Metadata that this library writes; a user's value of the same name stands in `metadata.extra`."""


def circumstances(captured: CapturedRecord, converter: JsonConverter) -> dict[str, Json]:
    """Return where a record was logged, with its exception, stack, and arguments that did not fit the message."""
    attributes, text = captured.attributes, converter.text
    metadata: dict[str, Json] = {
        "log": {
            "level": text(str(attributes["levelname"])),
            "logger": text(str(attributes["name"])),
            "file": text(str(attributes["pathname"])),
            "line": converter.value(attributes["lineno"]),
            "function": text(str(attributes["funcName"])),
        }
    }
    exception, stack = captured.exception, attributes["stack_info"]
    if exception is not None:
        metadata["exception"] = {
            "type": text(exception.type),
            "message": text(exception.message),
            "stacktrace": converter.ending(exception.stacktrace, tracebacks.LONGEST),
        }
    if isinstance(stack, str) and stack:
        metadata["stack"] = converter.ending(stack, tracebacks.LONGEST)
    if captured.unused_args is not None:
        metadata["args"] = captured.unused_args.value
    return metadata


def merged(
    own: Mapping[Any, Any], withheld: list[str], generated: Mapping[str, Json], converter: JsonConverter
) -> dict[str, Json]:
    """Return an event's metadata.

    Args:
        own: the application's values.
        withheld: names of values that are secret.
        generated: what this library adds; a value of the application's with such a name goes to `extra`.
        converter: converts the application's values.
    """
    metadata = converter.items({key: value for key, value in own.items() if not str(key).startswith(extras.PRIVATE)})
    metadata.update(dict.fromkeys(withheld, REDACTED))
    displaced = {key: metadata.pop(key) for key in list(metadata) if key in GENERATED or key in generated}
    if displaced:
        extra = metadata.get("extra")
        if not isinstance(extra, dict):
            extra = {} if extra is None else {"extra": extra}
        metadata["extra"] = {**extra, **displaced}
    metadata.update(generated)
    return metadata
