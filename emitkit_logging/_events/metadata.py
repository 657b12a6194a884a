"""The metadata of an event: the application's values, and what this library adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.encoding import Json
from emitkit_logging._events import extras, tracebacks
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import LONGEST_TRACE, JsonConverter
from emitkit_logging._events.redaction import REDACTED

GENERATED = frozenset(
    ("category", "event", "timestamp", "log", "exception")
    + ("occurrences", "first_seen", "last_seen", "samples", "digest")
)
"""Metadata that this library writes; a user's value of the same name stands in `metadata.extra`."""

_COMPARED = 500
"""Characters of a traceback by which another, which may be shortened, is known to be the same."""


def circumstances(captured: CapturedRecord, converter: JsonConverter) -> dict[str, Json]:
    """Return where a record was logged, with its exception, stack, and arguments that did not fit the message."""
    attributes, text, name = captured.attributes, converter.text, converter.name
    metadata: dict[str, Json] = {
        "log": {
            "level": name(str(attributes["levelname"])),
            "logger": name(str(attributes["name"])),
            "file": name(str(attributes["pathname"])),
            "line": converter.value(attributes["lineno"]),
            "function": name(str(attributes["funcName"])),
        }
    }
    exception, stack = captured.exception, attributes["stack_info"]
    if exception is not None:
        metadata["exception"] = {
            "type": text(exception.type),
            "message": text(exception.message),
            "stacktrace": converter.ending(exception.stacktrace, LONGEST_TRACE),
        }
    if isinstance(stack, str) and stack:
        metadata["stack"] = converter.ending(stack, LONGEST_TRACE)
    if captured.unused_args is not None:
        metadata["args"] = captured.unused_args.value
    return metadata


def without_traceback(values: dict[str, Json], exception: CapturedException, depth: int = 2) -> dict[str, Json]:
    """Return values without texts of the traceback that `exception` already has, as Celery adds one under `data`.

    Args:
        values: values as JSON.
        exception: the exception of the record.
        depth: in how many dicts inside one another it is looked for.
    """
    kept: dict[str, Json] = {}
    for key, value in values.items():
        if isinstance(value, dict) and depth > 1:
            kept[key] = without_traceback(value, exception, depth - 1)
        elif not (isinstance(value, str) and _is_of(value, exception)):
            kept[key] = value
    return kept


def _is_of(text: str, exception: CapturedException) -> bool:
    found = tracebacks.find(text) if tracebacks.HEADER in text else None
    if found is None or found.rest:
        return False
    is_shortened = exception.stacktrace.startswith(found.text[:_COMPARED])
    return is_shortened or found.type.rpartition(".")[2] == exception.type.rpartition(".")[2]


def merged(
    own: Mapping[Any, Any],
    withheld: list[str],
    generated: Mapping[str, Json],
    converter: JsonConverter,
    exception: CapturedException | None = None,
) -> dict[str, Json]:
    """Return an event's metadata.

    Args:
        own: the application's values.
        withheld: names of values that are secret.
        generated: what this library adds; a value of the application's with such a name goes to `extra`.
        converter: converts the application's values.
        exception: the exception of the record, or `None`; its traceback is not repeated.
    """
    metadata = converter.items({key: value for key, value in own.items() if not str(key).startswith(extras.PRIVATE)})
    if exception is not None:
        metadata = without_traceback(metadata, exception)
    metadata.update(dict.fromkeys(map(converter.text, withheld), REDACTED))
    displaced = {key: metadata.pop(key) for key in list(metadata) if key in GENERATED or key in generated}
    if displaced:
        extra = metadata.get("extra")
        if not isinstance(extra, dict):
            extra = {} if extra is None else {"extra": extra}
        metadata["extra"] = {**extra, **displaced}
    metadata.update(generated)
    return metadata
