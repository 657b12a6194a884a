"""Carries a spool of version 1 over to the tables and the format of today."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._spool import codec, codec_v1

_converter = JsonConverter(Redactor())  # what version 1 wrote is JSON already
_COLUMNS = "kind, level, age, since, channel, records, data, body"

# A process of version 1 that still runs looks at this table before each request. It finds that it is not the sender any
# more, and it cannot become the sender again, which needs columns that are missing. So it never sends beside a process
# of today. What it logs goes on to its journal, which is read; what it asks for its own counts is still there.
TABLES = ("sender",)
"""The tables of version 1 that a spool of today may still have."""

_FOR_RUNNING_PROCESSES = (
    "CREATE TABLE sender (one INTEGER PRIMARY KEY, owner TEXT, newest INTEGER NOT NULL)",
    "INSERT INTO sender VALUES (1, NULL, 4611686018427387904)",
)


def carry_over(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Carry the tables over, inside the caller's transaction.

    Args:
        connection: the database.
        tables: the statements that make the tables of today.
    """
    for name in ("waiting", "rejected", "users", "sender"):
        connection.execute(f"ALTER TABLE {name} RENAME TO {name}_1")
    for statement in (*tables, *_FOR_RUNNING_PROCESSES):
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO waiting (kind, priority, age, since, channel, records, data, body, place, shares, path, success,"
        " key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _rows(connection, f"SELECT {_COLUMNS}, place, shares, path, success, key FROM waiting_1"),  # noqa: S608
    )
    connection.executemany(
        "INSERT INTO rejected (kind, priority, age, since, channel, records, data, body, at, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _rows(connection, f"SELECT {_COLUMNS}, at, answer FROM rejected_1 ORDER BY place"),  # noqa: S608
    )
    for user_id, at, facts in connection.execute("SELECT user_id, at, facts FROM users_1").fetchall():
        connection.execute("INSERT INTO users VALUES (?, ?, ?)", (user_id, at, _facts(facts)))
    newest, pace = connection.execute("SELECT newest, pace FROM sender_1").fetchone()
    budget = codec.write_state(codec_v1.budget(pace), _converter)
    connection.execute("UPDATE progress SET newest = ?, budget = ?", (newest, budget))
    for name in ("waiting", "rejected", "users", "sender"):
        connection.execute(f"DROP TABLE {name}_1")


def _rows(connection: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    for kind, level, age, since, channel, records, data, *more in connection.execute(select):
        yield kind, codec_v1.priority(level), age, since, channel, records, _data(kind, data), *more


def _data(kind: str, data: bytes) -> bytes:
    try:
        entry = codec_v1.entry(kind, data)
        if isinstance(entry, CapturedRecord):
            return codec.write_record(entry, _converter)
        if isinstance(entry, IdentifyCall):
            return codec.write_identify(entry, _converter)
        return codec.write_entry(kind, entry, _converter)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return data  # it is rejected, and kept, when it is read


def _facts(text: str) -> str:
    try:
        properties, aliases = json.loads(text)
    except (ValueError, TypeError):
        properties, aliases = {}, []
    return codec.write_state({"properties": properties, "aliases": aliases}, _converter)
