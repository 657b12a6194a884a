"""Take what a log record says at the time of the call.

This runs in the application's thread. It copies the record's attributes and replaces each value that could still change
by its value of that moment. Everything else is done later, in the background thread.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

from emitkit_logging._context.reports import report_of
from emitkit_logging._context.scopes import current, is_in_context, of_record
from emitkit_logging._events import extras, tracebacks
from emitkit_logging._events.captured import (
    UNTRUSTED_KEY,
    CapturedException,
    CapturedRecord,
    Marker,
    RestoredRecord,
    exception_of,
    handled_by,
    message_of,
    raised_by,
    text_of_object,
)
from emitkit_logging._events.converter import LONGEST_TEXT, Converted, JsonConverter, first_entries
from emitkit_logging._events.minimal import minimal, readable
from emitkit_logging._events.redaction import REDACTED

_new = CapturedRecord.__new__
_LogRecord = logging.LogRecord
_STANDARD_COUNT = extras.STANDARD_COUNT
_SMALL = frozenset((int, float, bool, type(None)))

MOST_ENTRIES = 1_000
"""Entries of a dict that is the message, or of `extra`, that are looked at."""


def capture(record: logging.LogRecord, converter: JsonConverter) -> CapturedRecord:
    """Return what a record says now.

    Args:
        record: the record; it is not changed.
        converter: converts values that could change after the call.
    """
    attributes = record.__dict__
    if (
        type(record) is _LogRecord
        and not (attributes["args"] or attributes["exc_info"] or attributes["exc_text"])
        and type(message := attributes["msg"]) is str
        and len(message) <= LONGEST_TEXT
        and tracebacks.HEADER not in message
    ):
        for value in islice(attributes.values(), _STANDARD_COUNT, None):
            kind = type(value)
            if kind is str:
                if len(value) > LONGEST_TEXT:
                    break
            elif kind not in _SMALL:
                break
        else:
            # made without a call of its constructor, which would take longer than all else here
            captured = _new(CapturedRecord)
            captured.attributes = attributes.copy()
            if is_in_context() is not None and (now := current()) is not None:
                captured.context = now
                captured.is_scalar = False
            return captured
    captured = _new(CapturedRecord)
    captured.attributes = attributes.copy()
    return _capture_closely(captured, record, converter)


def capture_minimal(record: logging.LogRecord, error: Exception) -> CapturedRecord:
    """Return what can be read of a record that `capture` cannot take.

    Args:
        record: the record; it is not changed.
        error: what was raised.
    """
    attributes = readable(record.__dict__)
    try:
        message, _ = message_of(record)
    except Exception:  # a record without a message, or whose attributes raise when they are looked up
        message = text_of_object(attributes.get("msg", ""))
    return minimal(attributes, message, error)


def _capture_closely(captured: CapturedRecord, record: logging.LogRecord, converter: JsonConverter) -> CapturedRecord:
    if isinstance(record, RestoredRecord):
        return record.captured
    attributes = captured.attributes
    captured.is_scalar = False
    captured.is_trusted = attributes.pop(UNTRUSTED_KEY, None) is not Marker.UNTRUSTED
    is_secret = converter.redactor.is_secret
    for key, value in list(attributes.items()):
        if type(key) is not str:
            del attributes[key]
            name = extras.key_text(key)
            attributes.setdefault(name, Converted(REDACTED) if is_secret(name) else _snapshot(value, converter))
        elif key not in extras.STANDARD:
            attributes[key] = Converted(REDACTED) if is_secret(key) else _snapshot(value, converter)
    captured.context = of_record(record)
    captured.exception = exception_of(record)
    if captured.level >= logging.ERROR:
        error = raised_by(record)[0] or handled_by(record)
        if error is not None:
            captured.report = report_of(error, record.name, converter)
    attributes["exc_info"] = None
    if extras.is_dict(record.msg):
        attributes["msg"] = _captured_dict(record.msg, converter)
        attributes["args"] = ()
    elif not _is_whole(record):
        _capture_message(captured, record, converter)
    return captured


def _captured_dict(message: Any, converter: JsonConverter) -> dict[str, object]:
    some = dict(first_entries(dict.items(message), MOST_ENTRIES))
    # whatever is left out, the message is not, and structlog puts it at the end
    some |= {key: dict.__getitem__(message, key) for key in ("event", "message") if dict.__contains__(message, key)}
    # an exception in it is captured as such; its frames are not worth a conversion
    entries = [(extras.key_text(key), value) for key, value in some.items()]
    return {key: converter.snapshot(value) for key, value in entries if not extras.is_exc_info(key, value)}


def _snapshot(value: object, converter: JsonConverter) -> object:
    return converter.text(value) if type(value) is str and len(value) > LONGEST_TEXT else converter.snapshot(value)


def _is_whole(record: logging.LogRecord) -> bool:
    return (
        type(record) is logging.LogRecord
        and type(record.msg) is str
        and not record.args
        and len(record.msg) <= LONGEST_TEXT
    )


def _capture_message(captured: CapturedRecord, record: logging.LogRecord, converter: JsonConverter) -> None:
    text, unused = message_of(record)
    if len(text) > LONGEST_TEXT:
        text = _without_traceback(captured, text)
    captured.text = converter.text(text) if len(text) > LONGEST_TEXT else text
    captured.unused_args = None if unused is None else Converted(converter.value(unused))
    is_template = extras.is_text(record.msg) and record.args
    captured.attributes["msg"] = converter.text(record.msg) if is_template else captured.text
    captured.attributes["args"] = ()


def _without_traceback(captured: CapturedRecord, text: str) -> str:
    """Take a traceback out of a message that is too long to be kept: its end says most."""
    found = tracebacks.find(text)
    if found is None:
        return text
    if captured.exception is None:
        captured.exception = CapturedException(found.type, found.message, found.text[-tracebacks.LONGEST :])
    return found.rest
