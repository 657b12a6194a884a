"""Take what a log record says at the time of the call.

This runs in the application's thread. It copies the record's attributes and replaces each value that could still change
by its value of that moment. Everything else is done later, in the background thread.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

from emitkit_logging._api.limits import LONGEST_ID
from emitkit_logging._api.text import MORE
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
    is_time,
    message_of,
    raised_by,
    text_of_object,
)
from emitkit_logging._events.converter import (
    LONGEST_KEY,
    LONGEST_TEXT,
    Bounds,
    Converted,
    JsonConverter,
)
from emitkit_logging._events.entries import first_entries, untaken
from emitkit_logging._events.minimal import minimal, readable
from emitkit_logging._events.redaction import REDACTED
from emitkit_logging._events.series import EXCLUDING_KEYS, OLDEST_SAMPLE, BriefRecord, Series

_new = CapturedRecord.__new__
_LogRecord = logging.LogRecord
_STANDARD_COUNT = extras.STANDARD_COUNT
_SMALL = frozenset((int, float, bool, type(None)))

MOST_ENTRIES = 1_000
"""Entries of a record, and of a dict that is its message, that are looked at, besides those whose keys are read."""

_MOST_CHARACTERS = 16_000
"""Characters kept of all values together whose keys are read. All others together have the bound of one value."""


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
        and len(attributes) <= MOST_ENTRIES
        and (size := len(message)) <= LONGEST_TEXT
        and tracebacks.HEADER not in message
    ):
        for value in islice(attributes.values(), _STANDARD_COUNT, None):
            kind = type(value)
            if kind is str:
                size += len(value)
                if size > LONGEST_TEXT:
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
    captured.attributes = _bounded(attributes)
    return _capture_closely(captured, record, converter)


def capture_brief(record: logging.LogRecord, series: Series) -> BriefRecord | None:
    """Return what is kept of a record of a series, or `None` if the record must be captured whole.

    That is so if it is not in the series, or if it is to be the latest sample.

    Args:
        record: the record; it is not changed.
        series: the series of the record's event.
    """
    attributes = record.__dict__
    created, user_id = attributes.get("created"), attributes.get("user_id")
    if not (
        attributes["msg"] is series.message
        and attributes["levelno"] is series.level
        and attributes.get("category") is series.category
        and type(record) is _LogRecord
        and not (attributes["args"] or attributes["exc_info"] or attributes["exc_text"])
        and type(created) is float
        and (user_id is None or (type(user_id) is str and len(user_id) <= LONGEST_ID))
        and is_in_context() is None
        and EXCLUDING_KEYS.isdisjoint(attributes)
    ):
        return None
    if 0 <= created - series.copied_at < OLDEST_SAMPLE:
        return series, created, user_id
    if is_time(created):
        series.copied_at = created
    return None


def capture_minimal(record: logging.LogRecord, error: BaseException) -> CapturedRecord:
    """Return what can be read of a record that `capture` cannot take.

    Args:
        record: the record; it is not changed.
        error: what was raised.
    """
    attributes = readable(record.__dict__)
    try:
        message, _ = message_of(record)
    except (Exception, type(error)):  # a record without a message, or whose attributes raise when they are looked up
        message = text_of_object(attributes.get("msg", ""))
    return minimal(attributes, message, error)


def _capture_closely(captured: CapturedRecord, record: logging.LogRecord, converter: JsonConverter) -> CapturedRecord:
    if isinstance(record, RestoredRecord):
        return record.captured
    attributes = captured.attributes
    captured.is_scalar = False
    captured.is_trusted = attributes.pop(UNTRUSTED_KEY, None) is not Marker.UNTRUSTED
    is_secret = converter.redactor.is_secret
    bounds = _RecordBounds()
    for key, value in list(attributes.items()):
        if type(key) is str and key in extras.STANDARD:
            continue
        name = _name(key, converter)
        within = bounds.of(name)
        if name is not key or within is None:
            del attributes[key]
        if within is not None and (name is key or name not in attributes):
            attributes[name] = Converted(REDACTED) if is_secret(name) else converter.snapshot(value, within)
    bounds.mark(attributes)
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


def _bounded(entries: Any) -> dict[Any, Any]:
    """Return a dict's first entries, and of the others those whose keys are read: structlog has these last."""
    if dict.__len__(entries) <= MOST_ENTRIES:
        return dict.copy(entries)
    some = dict(first_entries(dict.items(entries), MOST_ENTRIES))
    return some | {key: dict.__getitem__(entries, key) for key in extras.KNOWN if dict.__contains__(entries, key)}


def _captured_dict(message: Any, converter: JsonConverter) -> dict[str, object]:
    bounds, result = _RecordBounds(), dict[str, object]()
    # an exception in it is captured as such; its frames are not worth a conversion
    for key, value in _bounded(message).items():
        name = _name(key, converter)
        if not extras.is_exc_info(name, value) and (within := bounds.of(name)) is not None:
            result[name] = converter.snapshot(value, within)
    bounds.mark(result)
    return result


def _name(key: object, converter: JsonConverter) -> str:
    if type(key) is str and len(key) <= LONGEST_KEY:
        return key
    text = extras.key_text(key)
    return text if len(text) <= LONGEST_KEY else converter.key(text)


class _RecordBounds:
    """The bounds of all entries of one record together; entries whose keys are read have bounds of their own."""

    def __init__(self) -> None:
        self._known = Bounds(characters=_MOST_CHARACTERS)
        self._others = Bounds(entries=MOST_ENTRIES)
        self._left_out = 0

    def of(self, key: str) -> Bounds | None:
        """Return the bounds of the next value, or `None` if it is left out."""
        if key in extras.KNOWN:
            return self._known
        if self._others.characters <= 0 or self._others.entries <= 0:
            self._left_out += 1
            return None
        self._others.characters -= len(key)
        self._others.entries -= 1
        return self._others

    def mark(self, entries: dict[str, Any]) -> None:
        """Add an entry that says how many were left out, if any."""
        if self._left_out:
            entries[untaken(MORE, entries)] = f"{self._left_out} more"


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
    """Take a traceback out of a message that is too long to be kept; of the traceback, the end matters most."""
    if len(text) > tracebacks.LONGEST_READ:
        text = text[: LONGEST_TEXT * 2] + text[LONGEST_TEXT * 2 - tracebacks.LONGEST_READ :]
    found = tracebacks.find(text)
    if found is None:
        return text
    if captured.exception is None:
        captured.exception = CapturedException(found.type, found.message, found.text[-tracebacks.LONGEST :])
    return found.rest
