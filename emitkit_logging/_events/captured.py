"""A log record as it was at the time of the call."""

from __future__ import annotations

import enum
import logging
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emitkit_logging._api.text import clean
from emitkit_logging._events import extras
from emitkit_logging._events.converter import Converted, qualified_name

UNTRUSTED_PRIORITY = -1_000_000
"""The priority of records that an untrusted source sent: below every level that an application uses."""

UNTRUSTED_KEY = f"{extras.PRIVATE}untrusted"
"""The attribute that marks a record of an untrusted source; only the value `Marker.UNTRUSTED` counts."""

_FRAME = re.compile(r'^ {2,}File "([^"\n]{1,1000})", line \d+, in (.{1,300})$', re.MULTILINE)
_LONGEST_TAIL = 20_000


class Marker(enum.Enum):
    """Values that no application's data can be equal to, since they are compared by identity."""

    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True)
class CapturedException:
    """An exception as it was when it was logged; it keeps no frame alive.

    Attributes:
        type: the qualified name of its class.
        message: its text.
        trace: the traceback, or the text of one.
    """

    type: str
    message: str
    trace: traceback.TracebackException | str

    @property
    def stacktrace(self) -> str:
        """The traceback as Python prints it. The source lines are read from disk here, not at the call."""
        return self.trace if isinstance(self.trace, str) else "".join(self.trace.format())

    @property
    def raised_at(self) -> str:
        """File and function of the innermost frame, as `package/module.py:function`; empty if there is no frame.

        Of the file's path only its last two parts count: where an application is installed differs between releases.
        """
        if isinstance(self.trace, str):
            frames = _FRAME.findall(self.trace[-_LONGEST_TAIL:])
            file, function = frames[-1] if frames else ("", "")
        else:
            file, function = (
                (self.trace.stack[-1].filename, self.trace.stack[-1].name) if self.trace.stack else ("", "")
            )
        return f"{'/'.join(file.replace(chr(92), '/').split('/')[-2:])}:{function}" if file else ""

    @property
    def summary(self) -> str:
        """`Type: message`."""
        return f"{self.type}: {self.message}" if self.message else self.type


class CapturedRecord:
    """A log record as it was at the time of the call.

    The fields besides `attributes` have no way in from a record's own attributes. Most records have none of them, so
    they are attributes of the class until `capture` sets them: that makes a record of plain values cheap.

    Args:
        attributes: a copy of the record's `__dict__`, in which no value can change any more.

    Attributes:
        attributes: as above; `args` is empty and `exc_info` is `None`.
        context: the event context at the time of the call, or `None`.
        exception: the record's exception, or `None`.
        text: the message with its arguments, or `None` where `attributes["msg"]` is the whole message.
        unused_args: the arguments that did not fit into the message, or `None`.
        is_scalar: whether `attributes` has JSON scalars only and no other field is set.
        is_trusted: whether the application itself logged it, and not, for example, a browser.
        origin: set and read by the store that the record comes from, and by nothing else.
    """

    context: Mapping[str, Any] | None = None
    exception: CapturedException | None = None
    text: str | None = None
    unused_args: Converted | None = None
    is_scalar = True
    is_trusted = True
    origin: object = None

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    @property
    def level(self) -> int:
        """The level's number."""
        level: int = self.attributes["levelno"]
        return level

    @property
    def created(self) -> float:
        """When it was logged, in epoch seconds."""
        created: float = self.attributes["created"]
        return created

    @property
    def priority(self) -> int:
        """The number by which it waits, greater first: its level, or less than any level if it is not trusted."""
        level: int = self.attributes["levelno"]
        return level if self.is_trusted else UNTRUSTED_PRIORITY

    @property
    def message(self) -> str:
        """The message, arguments included. A dict as the message (structlog) has it under `event`."""
        return _text_of(self.attributes["msg"]) if self.text is None else self.text

    @property
    def user_id(self) -> object:
        """The id of the user that the record names, or else its context, or `None`."""
        user = self.attributes.get("user_id")
        return self.context.get("user_id") if user is None and self.context else user


class RestoredRecord(logging.LogRecord):
    """A record made of a captured one, for a formatter of the application's own."""

    __slots__ = ("captured",)
    captured: CapturedRecord


def restore(captured: CapturedRecord) -> logging.LogRecord:
    """Return a record made of `captured`, which `capture` gives back unchanged."""
    record = RestoredRecord.__new__(RestoredRecord)
    record.__dict__ = captured.attributes
    record.captured = captured
    return record


def message_of(record: logging.LogRecord) -> tuple[str, object]:
    """Return a record's message, and its arguments if they do not fit into it, else `None`."""
    if isinstance(record.msg, dict):
        return _text_of(record.msg), None
    try:
        return record.getMessage(), None
    except Exception:  # `%` raises whatever the arguments raise
        return _text(record.msg), record.args


def exception_of(record: logging.LogRecord) -> CapturedException | None:
    """Return the exception that a record carries, or `None`.

    A record that came through a queue or a socket has only the text of its traceback.
    """
    info = record.exc_info
    if isinstance(info, tuple) and len(info) == 3 and info[1] is not None:
        kind, error, trace = info
        name = qualified_name(kind or type(error))
        try:
            captured = traceback.TracebackException(type(error), error, trace, lookup_lines=False)
        except Exception:  # an exception whose own parts raise still has its name
            return CapturedException(name, _text(error), "")
        return CapturedException(name, _text(error), captured)
    if isinstance(record.exc_text, str) and record.exc_text:
        last = record.exc_text.rstrip().rpartition("\n")[2]
        name, _, message = last.partition(": ")
        return CapturedException(name, message, record.exc_text)
    return None


def _text_of(message: object) -> str:
    if isinstance(message, dict):
        message = message.get("event", message.get("message", ""))
    return message if isinstance(message, str) else _text(message)


def _text(value: object) -> str:
    try:
        return clean(str(value))
    except Exception:  # an object whose text raises is named instead
        return f"<{qualified_name(type(value))}>"
