"""What a spool holds, for people."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import Knowledge
from emitkit_logging._spool import codec, journal, schema, tables
from emitkit_logging._spool.rows import Entry, read_entry
from emitkit_logging._worker.clock import monotonic


@dataclass(frozen=True)
class Row:
    """What waits at one position of a spool, or was rejected.

    Attributes:
        kind: `record`, `fold`, `digest`, `identify`, or `line` for a line of a journal that could not be read.
        level: the priority of the most important record.
        since: when the latest record was logged, in epoch seconds.
        channel: where its event goes; empty where only the options of the sender say so.
        records: log records that it stands for.
        entry: what waits, or `None` where it cannot be read.
        data: what is written of it.
        body: of the request that was started, or `None`.
        answer: why it was rejected, or an empty text.
    """

    kind: str
    level: int
    since: float
    channel: str
    records: int
    entry: Entry | None
    data: bytes
    body: bytes | None = None
    answer: str = ""


def rows(path: Path) -> Iterator[Row]:
    """Return what waits in a spool, rows and what is still in the journals, and then what was rejected.

    Args:
        path: path of the database; one of version 1 is carried over first.

    Raises:
        OSError, sqlite3.Error: where there is no spool that can be read.
    """
    columns = "kind, priority, since, channel, records, CAST(data AS BLOB), body"
    waiting = f"SELECT {columns}, '' FROM waiting ORDER BY priority DESC, age"  # noqa: S608
    rejected = f"SELECT {columns}, answer FROM rejected ORDER BY at, number"  # noqa: S608
    with contextlib.closing(schema.connect(path, is_new_allowed=False)) as connection:
        yield from _rows(connection, waiting)
        yield from _unread(path, tables.offsets(connection))
        yield from _rows(connection, rejected)


def known_kinds(path: Path) -> KindMemory:
    """Return what is remembered of kinds of alerts.

    Args:
        path: as of `rows`.

    Raises:
        OSError, sqlite3.Error: as `rows`.
    """
    kinds = KindMemory(notify_interval=0.0, clock=monotonic)
    with contextlib.closing(schema.connect(path, is_new_allowed=False)) as connection:
        kinds.load(tables.known(connection, Knowledge.KIND))
    return kinds


def _rows(connection: sqlite3.Connection, select: str) -> Iterator[Row]:
    for kind, level, since, channel, records, data, body, answer in connection.execute(select).fetchall():
        entry = None
        with contextlib.suppress(ValueError):
            entry = read_entry(kind, data)
        yield Row(kind, level, since, channel, records, entry, data, body, answer)


def _unread(path: Path, offsets: Mapping[str, int]) -> Iterator[Row]:
    for each in journal.paths(path):
        try:
            source = journal.Source(each, offsets.get(journal.name_of(each), 0))
        except OSError:  # it was read and deleted, or it cannot be opened
            continue
        with contextlib.closing(source):
            while lines := source.read(journal.CHUNK):
                yield from filter(None, map(_row, lines))


def _row(line: bytes) -> Row | None:
    try:
        value = codec.read_line(line)
    except ValueError:
        return Row("line", 0, 0.0, "", 1, None, line) if line else None
    if not isinstance(value, CapturedRecord):
        return None  # whether an identity is to be sent depends on what the server knows
    return Row("record", value.priority, value.created, "", 1, value, line)
