"""The SQLite database of the inbox: its tables, and how it is opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

VERSION = 1

_TABLES = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL, level INTEGER NOT NULL,
    at REAL NOT NULL, until REAL, size INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX events_of_a_channel ON events (channel, seq);
CREATE INDEX events_that_wait ON events (until) WHERE until IS NOT NULL;
CREATE TABLE channels (name TEXT PRIMARY KEY, data TEXT NOT NULL, read INTEGER NOT NULL);
CREATE TABLE identities (user_id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE replies (api_key TEXT, key TEXT, at REAL NOT NULL, data TEXT NOT NULL, PRIMARY KEY (api_key, key));
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_LATER_TABLES = "CREATE TABLE IF NOT EXISTS opened (seq INTEGER PRIMARY KEY);"
"""Makes what earlier files of this version do not have: the numbers of the events that were read one by one."""


def open_database(path: Path | None) -> sqlite3.Connection:
    """Open the database, with its tables and for this process alone.

    Args:
        path: of its file, which is made if there is none; without one it is in memory.

    Raises:
        OSError: when the file cannot be opened.
        sqlite3.Error: when it is another kind of file, has another version, or is in use.
    """
    if path is None:
        database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    else:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # the file holds the API key
        database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise sqlite3.NotSupportedError(f"it has version {version}, this inbox reads version {VERSION}")
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "locking_mode = EXCLUSIVE"):
        database.execute(f"PRAGMA {pragma}")
    if version == 0:
        database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT")
    else:
        # a write takes the lock of the file, or finds that another process has it
        with contextlib.closing(database.execute("BEGIN IMMEDIATE")):
            database.execute("COMMIT")
    database.executescript(_LATER_TABLES)
