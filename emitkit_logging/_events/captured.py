"""Record: what a log record says, and how much of it is taken at the time of the call.

`capture` runs in the application's thread. It copies the record's dict and, where a value could still change, replaces
it by what it is now; everything that can wait is left to whoever reads the copy later.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from emitkit_logging import context
from emitkit_logging._api.text import clean
from emitkit_logging._events import extras as keys
from emitkit_logging._events.converter import LONGEST_TEXT, Converted, JsonConverter, qualified_name

_BARE_RECORD = logging.makeLogRecord({})
STANDARD = frozenset((*vars(_BARE_RECORD), "message", "asctime", "taskName"))
"""The attributes that logging itself gives a record."""

_STRUCTLOG_OWN = ("_logger", "_name")
_MESSAGE = f"{keys.PRIVATE}message"
_MISFITS = f"{keys.PRIVATE}misfits"
_RAISED = f"{keys.PRIVATE}raised"
GUEST = f"{keys.PRIVATE}guest"
"""Marks a record that somebody outside said, such as a browser; its value is `GUEST_MARK`."""

GUEST_MARK = ("guest",)
"""No scalar, so that `capture` looks at the record more closely."""

GUEST_LEVEL = 1
"""The level by which a guest's record waits: behind all that the server itself says."""

_FIRST_EXTRAS = len(vars(_BARE_RECORD))
_SMALL = frozenset((int, float, bool, type(None)))


@dataclass(frozen=True, slots=True)
class CapturedException:
    """An exception as it was when it was logged: nothing here keeps its frames alive."""

    type: str
    message: str
    trace: traceback.TracebackException | str

    @property
    def stacktrace(self) -> str:
        """The traceback as Python prints it; source lines are read from disk here, not at the call."""
        return self.trace if isinstance(self.trace, str) else "".join(self.trace.format())

    @property
    def summary(self) -> str:
        """`Type: message`."""
        return f"{self.type}: {self.message}" if self.message else self.type


def capture(record: logging.LogRecord, converter: JsonConverter) -> dict[str, Any]:
    """Take what a record says now.

    Args:
        record: the record; it is not changed.
        plain: converts what could change after the call.

    Returns:
        The attributes for a record of its own, see `restore`.
    """
    taken = record.__dict__.copy()
    if (
        record.args
        or record.exc_info
        or type(record.msg) is not str
        or len(record.msg) > LONGEST_TEXT
        or type(record) is not logging.LogRecord
    ):
        return _frozen(taken, record, converter)
    for value in islice(taken.values(), _FIRST_EXTRAS, None):
        kind = type(value)
        if kind is str:
            if len(value) > LONGEST_TEXT:
                return _frozen(taken, record, converter)
        elif kind not in _SMALL:
            return _frozen(taken, record, converter)
    said = context.current()
    if said is not None:
        taken[context.KEY] = said
    return taken


def _frozen(taken: dict[str, Any], record: logging.LogRecord, converter: JsonConverter) -> dict[str, Any]:
    for key, value in taken.items():
        if key not in STANDARD:
            taken[key] = (
                converter.text(value) if type(value) is str and len(value) > LONGEST_TEXT else converter.snapshot(value)
            )
    said = context.of_record(record)
    if said is not None:
        taken[context.KEY] = said
    if GUEST in taken:
        taken["levelno"] = GUEST_LEVEL
    taken[_RAISED] = raised(record)
    taken["exc_info"] = None
    if isinstance(record.msg, dict):
        taken["msg"] = {key: converter.snapshot(value) for key, value in list(record.msg.items())}
        taken["args"] = ()
    elif type(record.msg) is not str or record.args or len(record.msg) > LONGEST_TEXT:
        text, misfits = message(record)
        taken[_MESSAGE] = converter.text(text) if len(text) > LONGEST_TEXT else text
        taken[_MISFITS] = None if misfits is None else Converted(converter.value(misfits))
        taken["msg"] = converter.text(record.msg) if isinstance(record.msg, str) else taken[_MESSAGE]
        taken["args"] = ()
    return taken


def is_simple(taken: Mapping[str, Any]) -> bool:
    """Tell whether all of what was captured are scalars that JSON has."""
    return _RAISED not in taken and context.KEY not in taken


def user_of(taken: Mapping[str, Any]) -> object:
    """Return the user's id that what was captured names, or else its context, or `None`."""
    user = taken.get("user_id")
    if user is None and context.KEY in taken:
        user = taken[context.KEY].get("user_id")
    return user


def restore(taken: dict[str, Any]) -> logging.LogRecord:
    """Make a record of what `capture` took."""
    record = logging.LogRecord.__new__(logging.LogRecord)
    record.__dict__ = taken
    return record


def message(record: logging.LogRecord) -> tuple[str, object]:
    """Return a record's message, and its arguments when they do not fit into it, else `None`.

    A dict as the message (structlog) says its message under `event`.
    """
    attributes = record.__dict__
    ready = attributes.get(_MESSAGE)
    if ready is not None:
        return ready, attributes.get(_MISFITS)
    if isinstance(record.msg, dict):
        said = record.msg.get("event", record.msg.get("message", ""))
        return (said if isinstance(said, str) else _text(said)), None
    try:
        return record.getMessage(), None
    except Exception:  # `%` raises whatever the arguments raise
        return _text(record.msg), record.args


def plain_kind(captured: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return logger, message template and exception type of what was captured; `None` where only the record tells."""
    said = captured["msg"]
    if type(said) is not str or captured["exc_text"] is not None:
        return None
    error = captured.get(_RAISED)
    return str(captured["name"]), said, "" if error is None else error.type


def template(record: logging.LogRecord) -> str:
    """Return the message before its arguments were put in: what records of one place in the code share."""
    return record.msg if isinstance(record.msg, str) else message(record)[0]


def raised(record: logging.LogRecord) -> CapturedException | None:
    """Return the exception that a record carries, or `None`.

    A record that came through a queue or a socket has only its text left.
    """
    ready = record.__dict__.get(_RAISED)
    if isinstance(ready, CapturedException):
        return ready
    info = record.exc_info
    if isinstance(info, tuple) and len(info) == 3 and info[1] is not None:
        kind, error, trace = info
        name = qualified_name(kind or type(error))
        try:
            return CapturedException(
                name, _text(error), traceback.TracebackException(type(error), error, trace, lookup_lines=False)
            )
        except Exception:  # an exception whose own parts raise is named all the same
            return CapturedException(name, _text(error), "")
    if isinstance(record.exc_text, str) and record.exc_text:
        last = record.exc_text.rstrip().rpartition("\n")[2]
        name, _, said = last.partition(": ")
        return CapturedException(name, said, record.exc_text)
    return None


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the application added to a record, by key.

    A dict named `extra` (loguru) and a dict as the message (structlog) are read one level down; the record itself
    wins over the first, and that over the second.
    """
    own = {key: value for key, value in record.__dict__.items() if key not in STANDARD and not keys.is_private(key)}
    if keys.is_dict(own.get("extra")):
        own = keys.nested(own, own.pop("extra"))
    if isinstance(record.msg, dict):
        for key in _STRUCTLOG_OWN:
            own.pop(key, None)
        own = keys.nested(own, {key: value for key, value in record.msg.items() if key != "event"})
    return own


def _text(value: object) -> str:
    try:
        return clean(str(value))
    except Exception:  # objects whose text raises are named instead
        return f"<{qualified_name(type(value))}>"
