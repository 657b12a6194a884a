"""Read the text of a Python traceback: which exception it is of, and what stands around it.

The text is that of `traceback.format_exc()`, with its chains and exception groups, or that of loguru, which has blank
lines between the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "Traceback (most recent call last):"
LONGEST = 60_000
"""Characters kept of the text of a traceback, from its end."""

LONGEST_READ = 200_000
"""Characters of a text that are searched for a traceback."""

_GROUP = "  + Exception Group "
_STACK = "Stack (most recent call last):"
_NAME = re.compile(r"[^\W\d][\w.]*(?:\.<locals>\.[\w.]+)*")
_IN_GROUP = "  | "
_GROUP_END = "  +-"
_UNNAMED = "Exception"


@dataclass(frozen=True, slots=True)
class ParsedTraceback:
    """What the text of a traceback says.

    Attributes:
        type: the name of the last exception's class.
        message: its text, with its notes.
        text: the whole traceback.
        rest: the text around it.
    """

    type: str
    message: str
    text: str
    rest: str


def parse(text: str) -> ParsedTraceback:
    """Return what the text of a traceback says, of which every line belongs to it (`LogRecord.exc_text`)."""
    start = _start(text)
    block = _lines(text if start < 0 else text[start:])
    name, message = _split(_exception_lines(block))
    return ParsedTraceback(name, message, text, "")


def find(text: str) -> ParsedTraceback | None:
    """Return the traceback inside a message, or `None`. A blank line after the exception's own lines ends it."""
    start = _start(text)
    if start < 0:
        return None
    lines = _lines(text[start:])
    own = _exception_lines(lines)
    if not own:
        return None
    ended = _end(own)
    after = own[ended:]
    if any(line.startswith(_STACK) for line in after[:1]):
        after = []  # what `QueueHandler.prepare` adds of `stack_info`
    name, message = _split(own[:ended])
    whole = "\n".join(lines[: len(lines) - len(after)])
    rest = "\n".join(part for part in (text[:start].rstrip(), "\n".join(after).strip()) if part.strip())
    return ParsedTraceback(name, message, whole, rest)


def _start(text: str) -> int:
    start = text.find(HEADER)
    if start >= len(_GROUP) and text.startswith(_GROUP, start - len(_GROUP)):
        return start - len(_GROUP)
    return start


def _lines(text: str) -> list[str]:
    return text.rstrip().split("\n")


def _exception_lines(lines: list[str]) -> list[str]:
    """Return the lines after the frames of the last exception in a chain."""
    last = max((number for number, line in enumerate(lines) if _is_header(line)), default=-1)
    own = lines[last + 1 :]
    if last >= 0 and lines[last].startswith(_GROUP):
        own = _group_lines(own)
    frames = 0
    if last >= 0:
        while frames < len(own) and (not own[frames].strip() or own[frames].startswith(("  ", "> "))):
            frames += 1
    return own[frames:]


def _is_header(line: str) -> bool:
    return line.startswith((HEADER, _GROUP + HEADER))


def _group_lines(lines: list[str]) -> list[str]:
    end = next((number for number, line in enumerate(lines) if line.startswith(_GROUP_END)), len(lines))
    return [line.removeprefix(_IN_GROUP) for line in lines[:end]]


def _end(lines: list[str]) -> int:
    for number, line in enumerate(lines):
        if not line.strip() or line.startswith(_STACK):
            return number
    return len(lines)


def _split(lines: list[str]) -> tuple[str, str]:
    """Return the name and the message of an exception from its own lines."""
    if not lines:
        return _UNNAMED, ""
    name, colon, message = lines[0].partition(": ")
    name = name.strip() if colon else name.strip().removesuffix(":")
    if _NAME.fullmatch(name) is None:
        return _UNNAMED, "\n".join(lines).strip()
    return name, "\n".join((message, *lines[1:])).strip()
