"""The statements that read and write the tables of a spool.

Each function takes the connection; those that write are called inside a transaction.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any, TypeAlias

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.text import clean
from emitkit_logging._outbox.observer import Ended, Knowledge
from emitkit_logging._spool.unit import UnreadableLine

Values: TypeAlias = "tuple[Any, ...]"

SELECT_WAITING = (
    "SELECT place, kind, priority, age, since, records, shares, CAST(data AS BLOB), path, success, key, body"
    " FROM waiting ORDER BY place"
)

_INSERT_WAITING = (
    "INSERT OR REPLACE INTO waiting (place, kind, priority, age, since, channel, records, shares, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_REQUEST = "UPDATE waiting SET path = ?, success = ?, key = ?, body = ?, records = ? WHERE place = ?"
_KEEP_REJECTED = (
    "INSERT INTO rejected (kind, priority, age, since, channel, records, data, body, at, answer)"
    " SELECT kind, priority, age, since, channel, records, data, body, ?, ? FROM waiting"
    " WHERE place = ? AND (records > 0 OR ?)"
)
_KEEP_LINE = (
    "INSERT INTO rejected (kind, priority, age, since, channel, records, data, body, at, answer)"
    " VALUES ('line', 0, 0, ?, '', 1, ?, NULL, ?, ?)"
)
_ADD_COUNT = (
    "INSERT INTO counts VALUES (?, ?, ?)"
    " ON CONFLICT (origin, reason) DO UPDATE SET records = records + excluded.records"
)
_REQUEUED = "kind, priority, age, since, channel, records, data"
_LIMIT_REJECTED = (
    "DELETE FROM rejected WHERE number <= (SELECT max(number) FROM (SELECT number,"
    " sum(length(data) + coalesce(length(body), 0)) OVER (ORDER BY number DESC) AS size FROM rejected) WHERE size > ?)"
)
_LIMIT_USERS = (
    "DELETE FROM users WHERE user_id IN (SELECT user_id FROM (SELECT user_id,"
    " sum(length(user_id) + length(facts) + 20) OVER (ORDER BY at DESC, user_id) AS size FROM users) WHERE size > ?)"
)
_LIMIT_KNOWN = (
    "DELETE FROM known WHERE number <= (SELECT max(number) FROM (SELECT number,"
    " sum(length(name) + length(value) + 20) OVER (ORDER BY number DESC) AS size FROM known) WHERE size > ?)"
)
_LONGEST_KEPT = 64 * 1024
"""Bytes that are kept of a line that cannot be read."""


def write_waiting(connection: sqlite3.Connection, rows: Iterable[Values], requests: Iterable[Values]) -> None:
    """Write rows that are new or changed, and then the requests that are about to start."""
    connection.executemany(_INSERT_WAITING, rows)
    connection.executemany(_UPDATE_REQUEST, requests)


def delete_waiting(connection: sqlite3.Connection, positions: Iterable[int]) -> None:
    """Delete the rows of `positions`."""
    connection.executemany("DELETE FROM waiting WHERE place = ?", [(position,) for position in positions])


def keep_rejected(connection: sqlite3.Connection, ends: Iterable[Ended], unreadable: Container[int]) -> None:
    """Copy rows to those that are kept for people.

    Args:
        connection: the database.
        ends: where the rows are, and why they were rejected.
        unreadable: positions of rows that are kept in any case; others are where they stand for a log record.
    """
    now = time.time()
    values = [(now, clean(end.detail), end.position, end.position in unreadable) for end in ends]
    connection.executemany(_KEEP_REJECTED, values)


def keep_lines(connection: sqlite3.Connection, lines: Iterable[UnreadableLine]) -> None:
    """Keep lines that could not be read."""
    now = time.time()
    connection.executemany(_KEEP_LINE, [(now, line.data[:_LONGEST_KEPT], now, line.reason) for line in lines])


def add_counts(connection: sqlite3.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add records to the counts, by origin and reason."""
    connection.executemany(_ADD_COUNT, [(*key, records) for key, records in counts.items()])


def put_users(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Write what the server has just taken over, a JSON object for each user."""
    now = time.time()
    values = [(user_id, now, each) for user_id, each in facts.items()]
    connection.executemany("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", values)


def put_known(connection: sqlite3.Connection, known: Mapping[tuple[Knowledge, str], Json]) -> int:
    """Write what is known of kinds and templates, as JSON; `None`: nothing any more.

    Args:
        connection: the database.
        known: the values by name.

    Returns:
        How many characters were written.
    """
    names = [(of.value, name) for of, name in known]
    connection.executemany("DELETE FROM known WHERE about = ? AND name = ?", names)
    values = [(of.value, name, json.dumps(value)) for (of, name), value in known.items() if value is not None]
    connection.executemany("INSERT INTO known (about, name, value) VALUES (?, ?, ?)", values)
    return sum(len(name) + len(value) for _, name, value in values)


def limit_known(connection: sqlite3.Connection, size: int) -> None:
    """Delete what was written first of what is known, so that the rest has about `size` bytes at most."""
    connection.execute(_LIMIT_KNOWN, (size,))


def known(connection: sqlite3.Connection, of: Knowledge) -> dict[str, Json]:
    """Return what is known by name, what was written last at the end; values that cannot be read are left out."""
    found: dict[str, Json] = {}
    for name, value in connection.execute("SELECT name, value FROM known WHERE about = ? ORDER BY number", (of.value,)):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            found[str(name)] = json.loads(value)
    return found


def put_progress(
    connection: sqlite3.Connection, positions: Iterable[tuple[str, int]], newest: int, budget: str
) -> None:
    """Write how far the journals were read, the newest position, and the state of the budget as JSON."""
    values = [(name, offset, newest) for name, offset in positions]
    connection.executemany("INSERT OR REPLACE INTO journals VALUES (?, ?, ?)", values)
    connection.execute("UPDATE progress SET newest = ?, budget = ?", (newest, budget))


def delete_old(
    connection: sqlite3.Connection, oldest: float, *, names: Collection[str], origins: Collection[str]
) -> None:
    """Delete what is no longer needed.

    Args:
        connection: the database.
        oldest: epoch seconds: what was rejected, and users of whom nothing was sent since, are deleted.
        names: the files of journals that are still there.
        origins: their origins.
    """
    for table, column, kept in (("journals", "name", names), ("counts", "origin", origins)):
        found = connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()  # noqa: S608
        gone = [(value,) for (value,) in found if value not in kept]
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", gone)  # noqa: S608
    connection.execute("DELETE FROM rejected WHERE at < ?", (oldest,))
    connection.execute("DELETE FROM users WHERE at < ?", (oldest,))


def limit_rejected(connection: sqlite3.Connection, size: int) -> None:
    """Delete the oldest of what was rejected, so that the rest has at most `size` bytes."""
    connection.execute(_LIMIT_REJECTED, (size,))


def limit_users(connection: sqlite3.Connection, size: int) -> None:
    """Forget the users of whom nothing was sent for longest, so that the rest has at most about `size` bytes."""
    connection.execute(_LIMIT_USERS, (size,))


def requeue(connection: sqlite3.Connection) -> int:
    """Let rejected rows wait again, but no unreadable lines; return how many."""
    (newest,) = connection.execute("SELECT newest FROM progress").fetchone()
    select = f"SELECT {_REQUEUED} FROM rejected WHERE kind != 'line' ORDER BY number"  # noqa: S608
    rejected = connection.execute(select).fetchall()
    connection.executemany(
        f"INSERT INTO waiting (place, {_REQUEUED}, shares) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{{}}')",  # noqa: S608
        [(newest + number, *row) for number, row in enumerate(rejected, 1)],
    )
    connection.execute("UPDATE progress SET newest = ?", (newest + len(rejected),))
    connection.execute("DELETE FROM rejected WHERE kind != 'line'")
    return len(rejected)


def offsets(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many bytes of each file of a journal were read."""
    return dict(connection.execute("SELECT name, offset FROM journals").fetchall())


def counts_of(connection: sqlite3.Connection, origin: str) -> dict[str, int]:
    """Return the records of an origin, by reason."""
    return dict(connection.execute("SELECT reason, records FROM counts WHERE origin = ?", (origin,)).fetchall())


def has_counts(connection: sqlite3.Connection) -> bool:
    """Whether anything was counted since the database was made."""
    return connection.execute("SELECT 1 FROM counts LIMIT 1").fetchone() is not None


def newest(connection: sqlite3.Connection) -> int:
    """Return the newest position."""
    position: int = connection.execute("SELECT newest FROM progress").fetchone()[0]
    return position


def read_until(connection: sqlite3.Connection, name: str) -> tuple[int, int] | None:
    """Return how many bytes of a journal's file were read, and the newest position then; `None` if none were."""
    row: tuple[int, int] | None = connection.execute(
        "SELECT offset, place FROM journals WHERE name = ?", (name,)
    ).fetchone()
    return row


def has_waiting(connection: sqlite3.Connection) -> bool:
    """Whether there is a row that waits."""
    return connection.execute("SELECT 1 FROM waiting LIMIT 1").fetchone() is not None


def has_waiting_of(connection: sqlite3.Connection, origin: str, position: int) -> bool:
    """Whether a row waits that came in up to `position` and holds records of `origin`."""
    select = "SELECT 1 FROM waiting WHERE age <= ? AND instr(shares, ?) LIMIT 1"
    return connection.execute(select, (position, origin)).fetchone() is not None
