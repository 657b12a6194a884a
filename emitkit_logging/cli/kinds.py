"""`emitkit-logging kinds`: show what kinds of records a log has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from array import array
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from emitkit_logging._events.captured import CapturedException
from emitkit_logging._events.templates import Templates
from emitkit_logging.cli.log_lines import LoggedRecord, lines_of, records_of
from emitkit_logging.cli.masking import Mask

_MOST_TEMPLATES = 100_000
_LONGEST_SHOWN = 300
_LONGEST_MASKED = 4_000
_MASK = Mask()


@dataclass(slots=True)
class _Kind:
    """A kind of records.

    Attributes:
        count: how many records are of it.
        into: the number of the kind that it became part of, or its own.
    """

    level: str
    logger: str
    site: Hashable
    template: str
    exception: tuple[str, str]
    example: str
    into: int
    count: int = 0

    @property
    def key(self) -> tuple[str, str, str, tuple[str, str]]:
        """What records of this kind have in common."""
        return (self.level, self.logger, self.template, self.exception)

    @property
    def id(self) -> str:
        """The same in every run."""
        return hashlib.sha256(repr(self.key).encode("utf-8", "replace")).hexdigest()[:12]


class LogKinds:
    """The kinds of the records of a log.

    Args:
        keeps_lines: whether `lines` will be asked for. It costs eight bytes a line.
    """

    def __init__(self, *, keeps_lines: bool = False) -> None:
        self.line_count = 0
        self._templates = Templates(_MOST_TEMPLATES)
        self._kinds: list[_Kind] = []
        self._numbers: dict[tuple[Hashable, ...], int] = {}
        self._by_template: dict[tuple[Hashable, str], list[int]] = {}
        self._lines: array[int] | None = array("Q") if keeps_lines else None

    def add(self, record: LoggedRecord) -> None:
        """Count a record.

        Args:
            record: the record.
        """
        site = (record.logger, *record.place)
        template = self._templates.of(site, record.message)
        for merged in self._templates.pop_merged():
            self._merge(merged.site, merged.before, merged.after)
        number = self._number(site, template, record)
        self._kinds[number].count += 1
        self.line_count += record.lines
        if self._lines is not None:
            self._lines.extend([number] * record.lines)

    def _number(self, site: Hashable, template: str, record: LoggedRecord) -> int:
        exception = _exception(record)
        key = (record.level, site, template, exception)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._kinds)
            kind = _Kind(record.level, record.logger, site, template, exception, record.message, number)
            self._kinds.append(kind)
            self._by_template.setdefault((site, template), []).append(number)
        return number

    def _merge(self, site: Hashable, before: str, after: str) -> None:
        """Give the kinds with a template the more general one that it became part of."""
        for number in self._by_template.pop((site, before), ()):
            kind = self._kinds[number]
            del self._numbers[kind.level, site, before, kind.exception]
            kind.template = after
            key = (kind.level, site, after, kind.exception)
            general = self._numbers.setdefault(key, number)
            kind.into = general
            if general == number:
                self._by_template.setdefault((site, after), []).append(number)

    def kinds(self) -> list[_Kind]:
        """Return the kinds with their counts, the most frequent first."""
        found: dict[Hashable, _Kind] = {}
        for number, each in enumerate(self._kinds):
            kind = self._latest(number)
            general = found.setdefault(kind.key, kind)
            if general is not each:
                general.count += each.count
                each.count = 0
        return sorted(found.values(), key=lambda kind: -kind.count)

    def lines(self) -> Iterator[tuple[int, _Kind]]:
        """Yield the number of each line, from 1, and its kind by what is known now."""
        for line, number in enumerate(self._lines or (), 1):
            yield line, self._latest(number)

    def _latest(self, number: int) -> _Kind:
        kind = self._kinds[number]
        while kind.into != number:
            number = kind.into
            kind = self._kinds[number]
        return kind


def _exception(record: LoggedRecord) -> tuple[str, str]:
    """Return the type of a record's exception and where it was raised."""
    if not record.trace:
        return ("", "")
    last = next((line for line in reversed(record.trace) if line[:1].strip()), "")
    exception = CapturedException(last.partition(":")[0], "", "\n".join(record.trace))
    return (exception.type, exception.raised_at)


def kinds(files: Iterable[str], *, as_json: bool) -> int:
    """Print the kinds of logs, or the kind of each line.

    Args:
        files: their paths; `-` is standard input.
        as_json: print one JSON object for each line.

    Returns:
        The exit status: 0.

    Raises:
        OSError: when a file cannot be read.
    """
    found = LogKinds(keeps_lines=as_json)
    for path in files:
        with _open(path) as file:
            for record in records_of(lines_of(file)):
                found.add(record)
    print_lines(found) if as_json else print_kinds(found)
    return 0


def _open(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb")


def print_lines(found: LogKinds) -> None:
    """Print the kind of each line as JSON."""
    for line, kind in found.lines():
        print(json.dumps({"line": line, "kind": kind.id, "template": _MASK(kind.template)}))


def print_kinds(found: LogKinds) -> None:
    """Print count, template and an example of each kind, the most frequent first."""
    listed = found.kinds()
    print(f"{_count(found.line_count, 'line')}, {_count(len(listed), 'kind')}")
    for kind in listed:
        print(f"{kind.count:>9,}  {_shown(_heading(kind))}")
        if kind.example.strip() != kind.template:
            print(f"{'':9}  {_shown(kind.example)}")


def _heading(kind: _Kind) -> str:
    source = " ".join(filter(None, (kind.level, kind.logger)))
    exception = " in ".join(filter(None, kind.exception))
    heading = f"{source}: {kind.template}" if source else kind.template
    return f"{heading} [{exception}]" if exception else heading


def _shown(text: str) -> str:
    """Return the beginning of a text as one line, without secrets and characters that control a terminal."""
    line = _MASK(text.strip()[:_LONGEST_MASKED])
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
