"""Read log records from text or JSON lines in the usual layouts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

LONGEST_LINE = 1_000_000
"""Bytes of a line that are read; what follows is skipped."""

_MESSAGE_KEYS = ("message", "msg", "event")
_LEVEL_KEYS = ("level", "levelname", "severity", "log.level")
_LOGGER_KEYS = ("logger", "name", "logger_name", "log.logger")
_FILE_KEYS = ("file", "filename", "pathname")
_LINE_KEYS = ("line", "lineno")
_TRACE_KEYS = ("exc_info", "exception", "traceback", "exc_text", "stack_trace")

_LEVELS = r"(?:TRACE|DEBUG|INFO|NOTICE|SUCCESS|WARN|WARNING|ERR|ERROR|SEVERE|CRIT|CRITICAL|ALERT|EMERG|FATAL|PANIC)"
_LETTERS = {"V": "DEBUG", "D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
_CLOCK = r"\d{2}:\d{2}:\d{2}(?:[.,:]\d{1,9})?"
_ZONE = r"(?:Z| ?[+-]\d{2}:?\d{2}| UTC| GMT)?"
_DAY = r"(?:\d{4}[-/.]\d{2}[-/.]\d{2}|\d{2}[-/.]\d{2}[-/.]\d{2,4}|\d{2}/[A-Z][a-z]{2}/\d{4}|\d{2}-\d{2})"
_TIME = re.compile(
    # grep puts the name of a file before each line
    rf"(?:[\w./-]{{1,100}}\.log[\w.:-]{{0,40}}[: ])?\s{{0,8}}(?:\[?(?:{_DAY}[T :]{_CLOCK}{_ZONE}|{_CLOCK}{_ZONE}"
    rf"|(?:[A-Z][a-z]{{2}} )?[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}(?: \d{{4}})?)(?:\]|(?=[\s:|])|$))"
)
_SYSLOG = re.compile(
    rf"[A-Z][a-z]{{2}} [ \d]\d {_CLOCK} [\w.:-]{{1,100}} (?P<program>[\w./()-]{{1,100}})(?:\[\d{{1,9}}\])?: "
)
_FIELD = re.compile(
    rf"""[\s|:-]{{0,12}}(?:
    (?P<level>{_LEVELS}(?![\w.])|[\[(]\s?(?:{_LEVELS}|(?i:{_LEVELS}))\s{{0,8}}[\])])(?:/\w{{1,40}})?\]?
    |[\[(]\d{{1,9}}[\])]                                                  # a process or thread
    |\[(?:-|req-[^\]]{{0,300}})\]                                         # a request, as oslo.log has it
    |(?P<number>\d{{1,9}})(?=\s)
    |(?P<letter>[VDIWEF])(?=\s[\w./]{{1,100}}\s{{0,20}}:)                                          # Android
    |\[(?P<bracketed>[A-Za-z_][\w.-]{{0,100}})\](?=[\s:])
    |(?P<logger>[A-Za-z_<][\w.$<>-]{{0,100}})(?P<place>:[\w<>.]{{1,80}}:\d{{1,7}}|:\d{{1,7}})?(?:\s?:(?=\S|\s|$)|\s+[-|]\s|(?=\s\[))
    )""",
    re.VERBOSE,
)
_REST = re.compile(r"[\s|:-]{0,12}")
_MOST_FIELDS = 5

_TRACEBACK = re.compile(r"\s{0,16}(?:\+ Exception Group )?Traceback \(most recent call last\):")
_CHAINED = re.compile(r"(?:During handling of the above exception|The above exception was the direct cause)")
_FRAMES = re.compile(r"\s{1,16}(?:at |\.\.\. \d{1,9} more)|Caused by: ")
_MOST_OF_TRACE = 400


@dataclass(slots=True)
class LoggedRecord:
    """A record as a line of a log has it.

    Attributes:
        message: its message.
        level: the level's name, or an empty string.
        logger: the logger's name, or an empty string.
        place: file and line of the logging call, as far as the log says.
        trace: the last lines of its traceback.
        lines: how many lines of the log it takes.
    """

    message: str
    level: str = ""
    logger: str = ""
    place: tuple[str, ...] = ()
    trace: list[str] = field(default_factory=list)
    lines: int = 1


def lines_of(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file without their ends, each of at most `LONGEST_LINE` bytes."""
    while line := file.readline(LONGEST_LINE):
        rest = line
        while not rest.endswith(b"\n") and len(rest) == LONGEST_LINE:
            rest = file.readline(LONGEST_LINE)
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def records_of(lines: Iterable[str]) -> Iterator[LoggedRecord]:
    """Yield the records of a log.

    A traceback belongs to the record before it, and so does an empty line.

    Args:
        lines: the lines of the log.
    """
    pending: LoggedRecord | None = None
    trace = _TraceState()
    for line in lines:
        if pending is not None and trace.continues(line):
            pending.lines += 1
            if line.strip():
                pending.trace.append(line)
                del pending.trace[:-_MOST_OF_TRACE]
            continue
        if pending is not None:
            yield pending
        trace = _TraceState()
        pending = parse(line)
        if trace.continues(pending.message):
            pending.trace.append(pending.message)
    if pending is not None:
        yield pending


class _TraceState:
    """Follows the lines of a traceback, so that its end is found."""

    def __init__(self) -> None:
        self._is_open = False
        self._was_open = False

    def continues(self, line: str) -> bool:
        """Whether a line belongs to the record before it."""
        if _TRACEBACK.match(line):
            self._is_open = self._was_open = True
            return True
        if not line.strip() or _FRAMES.match(line):
            return True
        if self._is_open:
            # the first line that is not indented is the exception itself
            self._is_open = line[:1].isspace()
            return self._is_open or _TIME.match(line) is None
        return self._was_open and _CHAINED.match(line) is not None


def parse(line: str) -> LoggedRecord:
    """Return the record of one line."""
    if line[:1] == "{":
        record = _parse_json(line)
        if record is not None:
            return record
    return _parse_text(line)


def _parse_json(line: str) -> LoggedRecord | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    message = _first(found, _MESSAGE_KEYS) if isinstance(found, dict) else ""
    if not message:
        return None
    place = tuple(filter(None, (_first(found, _FILE_KEYS), _first(found, _LINE_KEYS))))
    trace = _first(found, _TRACE_KEYS).splitlines()[-_MOST_OF_TRACE:]
    level = _first(found, _LEVEL_KEYS).upper()
    return LoggedRecord(message, level, _first(found, _LOGGER_KEYS), place, trace)


def _first(found: dict[str, Any], keys: Iterable[str]) -> str:
    """Return the first value of `keys` that is a string or a number, as a string."""
    values = (found.get(key) for key in keys)
    return next((str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)), "")


def _parse_text(line: str) -> LoggedRecord:
    """Take time, level, logger and process off the beginning of a line; a logger only beside a level."""
    syslog = _SYSLOG.match(line)
    if syslog is not None:
        return LoggedRecord(line[syslog.end() :], logger=syslog["program"])
    time = _TIME.match(line)
    position = time.end() if time else 0
    record = LoggedRecord("")
    taken: tuple[str, str, int] | None = None
    for _ in range(_MOST_FIELDS):
        found = _FIELD.match(line, position)
        if found is None:
            break
        name = found["bracketed"] or found["logger"]
        if (found["number"] or found["letter"]) and (not time or record.level):
            break
        if found["level"]:
            if record.level:
                break
            record.level = found["level"].strip("[]() ").upper()
        elif found["letter"]:
            record.level = _LETTERS[found["letter"]]
        elif name:
            if taken is not None or not _may_be_logger(name):
                break
            taken = (name, found["place"] or "", position)
        elif not time:
            break
        position = found.end()
    if taken is not None and record.level:
        record.logger, record.place = taken[0], (taken[1],) if taken[1] else ()
    elif taken is not None:
        position = taken[2]
    if time or record.level:
        rest = _REST.match(line, position)
        position = rest.end() if rest else position
    record.message = line[position:]
    return record


def _may_be_logger(name: str) -> bool:
    """Whether a word before a separator can be a logger's name: one with digits and no dot is rather an id."""
    return "." in name.strip(".") or not any(character.isdigit() for character in name)
