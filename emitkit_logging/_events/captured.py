"""A log record as it was at the time of the call."""

from __future__ import annotations

import decimal
import enum
import logging
import math
import re
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emitkit_logging._api.text import clean
from emitkit_logging._events import extras, tracebacks
from emitkit_logging._events.asking import asking, is_asked
from emitkit_logging._events.converter import Converted, qualified_name

_EARLIEST = -62_135_596_800.0  # see `is_time`
_LATEST = 253_402_300_800.0
_HIGHEST_LEVEL = 999_999  # in absolute value: well within 64 bits, and above `UNTRUSTED_PRIORITY`

UNTRUSTED_PRIORITY = -1_000_000
"""The priority of records that an untrusted source sent: below every level that an application uses."""

UNTRUSTED_KEY = f"{extras.PRIVATE}untrusted"
"""The attribute that marks a record of an untrusted source; only the value `Marker.UNTRUSTED` counts."""

_FRAME = re.compile(r'^ {2,}File "([^"\n]{1,1000})", line \d+, in (.{1,300})$', re.MULTILINE)
_LONGEST_TAIL = 20_000
_LONGEST_READ = 1_000_000
"""Characters of a text that are looked at; far more than are kept."""

_LONGEST_CLEANED = 20_000
"""Characters of a text that is cleaned here; a longer one is cleaned when it has been cut."""

_MOST_NOTES = 20
_LONGEST_NOTE = 1_000
_MOST_ARGUMENTS = 1_000
"""Arguments of a message among which exceptions are looked for."""

_MOST_CAUSES = 100
"""Causes of an exception that are kept, and causes of those."""

UNCAUGHT_KEY = f"{extras.PRIVATE}uncaught"
"""The attribute that marks the record of an exception that nobody caught: it is sent whatever `plain_level` says."""


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
        if isinstance(self.trace, str):
            return self.trace
        try:
            return "".join(line[-_LONGEST_READ:] for line in self.trace.format())
        except Exception:  # an odd SyntaxError, or a module whose loader refuses to give its source
            return self._bare_stacktrace(self.trace)

    def _bare_stacktrace(self, trace: traceback.TracebackException) -> str:
        frames = [f'  File "{each.filename}", line {each.lineno}, in {each.name}\n' for each in trace.stack]
        return f"{tracebacks.HEADER}\n{''.join(frames)}{self.summary}\n"

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
        report: names the occurrence of the exception that an alert reports: records of several loggers that report the
            same exception object have the same; empty: none, or unknown.
        is_scalar: whether `attributes` has JSON scalars only and no other field is set.
        is_trusted: whether the application itself logged it, and not, for example, a browser.
        origin: set and read by the store that the record comes from, and by nothing else.
    """

    context: Mapping[str, Any] | None = None
    exception: CapturedException | None = None
    text: str | None = None
    unused_args: Converted | None = None
    report = ""
    is_scalar = True
    is_trusted = True
    origin: object = None

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    @property
    def level(self) -> int:
        """The level's number; a record made of a dict may have anything as its level."""
        level = self.attributes.get("levelno")
        if type(level) is not int or not -_HIGHEST_LEVEL <= level <= _HIGHEST_LEVEL:
            level = self.attributes["levelno"] = level_of(level)
        return level

    @property
    def created(self) -> float:
        """When it was logged, in epoch seconds; the present time if the record has no usable time."""
        created = self.attributes.get("created")
        if type(created) is not float or not is_time(created):
            created = self.attributes["created"] = created_of(created)
        return created

    def make_usable(self) -> None:
        """Replace a level or a time that is not usable."""
        self.attributes["levelno"], self.attributes["created"] = self.level, self.created

    @property
    def priority(self) -> int:
        """The number by which it waits, greater first: its level, or less than any level if it is not trusted."""
        return self.level if self.is_trusted else UNTRUSTED_PRIORITY

    @property
    def message(self) -> str:
        """The message, arguments included. A dict as the message (structlog) has it under `event`."""
        return _text_of(self.attributes["msg"]) if self.text is None else self.text

    @property
    def user_id(self) -> str | int | None:
        """The id of the user that the record names, or else its context, or `None`."""
        user = self.attributes.get("user_id")
        if user is None and self.context:
            user = self.context.get("user_id")
        if user is None or type(user) is str or type(user) is int:
            return user
        return extras.id_text(user) if extras.is_id(user) else None


def level_of(value: object) -> int:
    """Return a level's number from what a record has as one: `NOTSET` if it is no number."""
    try:
        # all digits of a Decimal such as 1E+999999 would take half a minute
        number = int(float(value) if issubclass(type(value), decimal.Decimal) else value)  # type: ignore[arg-type, call-overload]
    except Exception:  # text, NaN, or an object that raises
        return logging.NOTSET
    return max(-_HIGHEST_LEVEL, min(int(number), _HIGHEST_LEVEL))


def created_of(value: object) -> float:
    """Return epoch seconds from what a record has as its time: the present time if that is not usable."""
    try:
        created = float(value) if issubclass(type(value), int | float) else math.nan  # type: ignore[arg-type]
    except Exception:  # an integer beyond every float, or an object that raises
        created = math.nan
    return created if is_time(created) else time.time()


def is_time(seconds: float) -> bool:
    """Whether epoch seconds are within the years 1 to 9999, which `datetime` can express."""
    return _EARLIEST <= seconds < _LATEST


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
    message = record.msg
    if extras.is_dict(message):
        return _text_of(message), None
    try:
        with asking([message, *(record.args[:_MOST_ARGUMENTS] if type(record.args) is tuple else ())]):
            text = record.getMessage()
    except Exception:  # `%` raises whatever the arguments raise
        return text_of_object(message), record.args
    text = text_of_object(text)
    if not text.strip() and issubclass(type(message), BaseException):
        return qualified_name(type(message)), None
    is_short = type(record.args) is tuple and len(record.args) <= _MOST_ARGUMENTS
    named = _with_named_exceptions(record.args) if is_short else None  # type: ignore[arg-type]
    if named is not None and type(message) is str and text_of_object(message % record.args) == text:
        return text_of_object(message % named), None
    return text, None


class _NamedException:
    """An exception without a text, as an argument of a message: its text is the name of its type."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        return qualified_name(type(self._error))

    def __repr__(self) -> str:
        return repr(self._error)


def _with_named_exceptions(args: tuple[object, ...]) -> tuple[object, ...] | None:
    """Return the arguments of a message with exceptions named that have no text; `None` if there are none."""
    is_unnamed = [issubclass(type(each), BaseException) and not text_of_object(each).strip() for each in args]
    if not any(is_unnamed):
        return None
    pairs = zip(args, is_unnamed, strict=True)
    return tuple(_NamedException(each) if unnamed else each for each, unnamed in pairs)  # type: ignore[arg-type]


def exception_of(record: logging.LogRecord) -> CapturedException | None:
    """Return the exception that a record carries, or `None`.

    It stands in `exc_info`, in the dict that is the message (structlog), or it is the message itself. A record that
    came through a queue or a socket has only the text of its traceback.
    """
    error, trace = raised_by(record)
    if error is not None:
        return _captured_exception(error, trace)
    message = record.msg
    nested = message if extras.is_dict(message) else {}
    for text in (record.exc_text, dict.get(nested, "exception")):
        if extras.is_text(text) and str.strip(text):
            parsed = tracebacks.parse(str.__str__(text)[-tracebacks.LONGEST_READ :])
            return CapturedException(parsed.type, parsed.message, parsed.text)
    return None


def raised_by(record: logging.LogRecord) -> tuple[BaseException | None, Any]:
    """Return the exception object that a record has, and its traceback; `None` where it has none."""
    message = record.msg
    nested = message if extras.is_dict(message) else {}
    for given in (record.exc_info, dict.get(nested, "exc_info"), message):
        error, trace = _raised(given)
        if error is not None:
            return error, trace
    return None, None


def handled_by(record: logging.LogRecord) -> BaseException | None:
    """Return the exception that is being handled now, if a record has its traceback as text alone; else `None`.

    structlog's processors, and `traceback.format_exc()`, leave the text alone.
    """
    error = sys.exc_info()[1]
    if error is None:
        return None
    message = record.msg
    texts = (record.exc_text, dict.get(message, "exception") if extras.is_dict(message) else message)
    name = type(error).__name__
    is_reported = any(type(text) is str and tracebacks.HEADER in text and name in text for text in texts)
    return error if is_reported else None


def _raised(given: Any) -> tuple[BaseException | None, Any]:
    """Return the exception and its traceback that `exc_info` names, in all the forms that logging calls accept."""
    if given is True:
        given = sys.exc_info()
    kind = type(given)
    if issubclass(kind, BaseException):
        return given, given.__traceback__
    if issubclass(kind, tuple) and tuple.__len__(given) == 3 and issubclass(type(given[1]), BaseException):
        return given[1], given[2]
    return None, None


_RAISES = "<exception str() failed>"
"""What `traceback` says of an exception whose text raises."""


def _captured_exception(error: BaseException, trace: Any) -> CapturedException:
    name = qualified_name(type(error))
    if is_asked(error):
        return CapturedException(name, "", "")
    with asking([error]):
        try:
            found = traceback.TracebackException(type(error), error, trace, lookup_lines=False)
            _shorten(found)
            text = _cleaned(str(found))
            return CapturedException(name, f"<{name}>" if text == _RAISES else text, found)
        except Exception:  # an exception whose own parts raise still has its name
            return CapturedException(name, text_of_object(error), "")


def _shorten(trace: traceback.TracebackException) -> None:
    """Forget what would make the text of an exception too long: far causes, and the ends of many or long notes."""
    for _ in range(_MOST_CAUSES):
        notes = getattr(trace, "__notes__", None)
        if type(notes) is list:
            trace.__notes__ = [note[:_LONGEST_NOTE] if type(note) is str else note for note in notes[:_MOST_NOTES]]  # type: ignore[attr-defined]
        following = trace.__cause__ or trace.__context__
        if following is None:
            return
        trace = following
    trace.__cause__ = trace.__context__ = None


def _text_of(message: object) -> str:
    if extras.is_dict(message):
        message = dict.get(message, "event", dict.get(message, "message", ""))
    return message if type(message) is str else text_of_object(message)


def text_of_object(value: object) -> str:
    """Return the text of any object; one whose text raises is named by its type instead."""
    try:
        with asking([value]):
            return _cleaned(str.__str__(str(value)))
    except Exception:
        return f"<{qualified_name(type(value))}>"


def _cleaned(text: str) -> str:
    return text[:_LONGEST_READ] if len(text) > _LONGEST_CLEANED else clean(text)
