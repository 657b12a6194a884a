"""The database of a spool: its tables, their version, and how they are opened.

The database is an SQLite file with the `application_id` `EMKT` and, as `user_version`, the version of these tables (2):

============  ==========================================================================================
``waiting``   what waits, one row for each event or identify call to come
``rejected``  what was rejected or could not be read, kept for people
``counts``    records delivered (no reason) or dropped, for each origin, which is the journal of one process
``journals``  how far each file of a journal was read (``offset`` in bytes) and the newest position then
``users``     what the server knows of each user
``known``     what is known of kinds of alerts and of templates (``about``: `kind`, `template`), as JSON
``lease``     which process may send, until when, and the number of changes of it
``progress``  the newest position, and the state of the rate budget
============  ==========================================================================================

Columns of ``waiting`` and ``rejected``:

============  ==========================================================================================
``place``     the position where it waits: greater is later (``rejected`` has its own ``number``)
``kind``      ``record``, ``fold``, ``digest`` or ``identify``; ``line`` for a line that could not be read
``priority``  of the most important record
``age``       the position of the first record
``since``     when the latest record was logged, in epoch seconds
``channel``   where the event goes; empty where only the options of the sender say so
``records``   log records that it stands for
``shares``    records of each origin, a JSON object
``data``      the content, see `emitkit_logging._spool.codec`
``path``      of the request that was started; ``success`` (status), ``key`` and ``body`` with it
``at``        when it was rejected, in epoch seconds
``answer``    why it was rejected
============  ==========================================================================================

``users.facts`` is a JSON object with ``properties`` and ``aliases``; ``lease.until`` is in seconds of the machine's
monotonic clock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from emitkit_logging._spool import files, migration
from emitkit_logging._worker import descriptors, native

VERSION = 2
"""The version of the tables; a spool of a later one is left alone."""

BUSY = 1.0
"""Seconds to wait for another process's lock."""

BUSY_AGAIN = 0.05
"""Seconds to wait for it once that was in vain."""

_APPLICATION = 0x454D4B54  # EMKT
_PAUSE = 0.01
_PAGE = 4096
_LONGEST_LOG = 4 * 1024 * 1024
_LARGE = 16 * _LONGEST_LOG
_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Of the files that SQLite may read; the last one only where the database is not of ours."""

_PRAGMAS = (
    # a power cut may cost what was written last, never what was there before
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
)
TABLES = (
    """CREATE TABLE waiting (
    place INTEGER PRIMARY KEY, kind TEXT NOT NULL, priority INTEGER NOT NULL, age REAL NOT NULL, since REAL NOT NULL,
    channel TEXT NOT NULL, records INTEGER NOT NULL, shares TEXT NOT NULL, data BLOB NOT NULL,
    path TEXT, success INTEGER, key TEXT, body BLOB
)""",
    """CREATE TABLE rejected (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, priority INTEGER NOT NULL, age REAL NOT NULL, since REAL NOT NULL,
    channel TEXT NOT NULL, records INTEGER NOT NULL, data BLOB NOT NULL, body BLOB, at REAL NOT NULL,
    answer TEXT NOT NULL
)""",
    "CREATE TABLE users (user_id TEXT PRIMARY KEY, at REAL NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE lease (one INTEGER PRIMARY KEY CHECK (one = 1), owner TEXT, until REAL NOT NULL,"
    " epoch INTEGER NOT NULL)",
    "CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), newest INTEGER NOT NULL, budget TEXT NOT NULL)",
    "INSERT INTO lease VALUES (1, NULL, 0, 0)",
    "INSERT INTO progress VALUES (1, 0, '{}')",
)
"""Makes the tables that version 1 had otherwise, or not at all."""

_LATER_TABLES = (
    "CREATE TABLE IF NOT EXISTS known (number INTEGER PRIMARY KEY, about TEXT NOT NULL, name TEXT NOT NULL,"
    " value TEXT NOT NULL, UNIQUE (about, name))",
)
"""Makes the tables that earlier spools of this version do not have; processes that do not know them ignore them."""

_OBJECTS = frozenset(
    ("table", name)
    for name in ("waiting", "rejected", "users", "lease", "progress", "counts", "journals", "known", *migration.TABLES)
)
"""Types and names of all that the schema of a spool may hold besides what SQLite itself makes.

A view in place of a table, a trigger or an index of somebody else would change what a statement does.
"""

_OWN_OF_SQLITE = "sqlite_"
_SHARED_TABLES = (
    "CREATE TABLE counts (origin TEXT, reason TEXT, records INTEGER NOT NULL, PRIMARY KEY (origin, reason))"
    " WITHOUT ROWID",
    "CREATE TABLE journals (name TEXT PRIMARY KEY, offset INTEGER NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID",
)


class Database:
    """The connection of this process to a spool, opened when it is needed.

    Args:
        path: path of the file; it is made, readable by this user alone, if it is missing.
        size: bytes that may wait in it; SQLite's own log is kept shorter than a part of that.

    Raises:
        OSError, sqlite3.Error: where that is not possible, or the file is no spool; `NotSupportedError` for a spool of
            a later version, or a database of another application.
    """

    def __init__(self, path: Path, size: int = _LARGE) -> None:
        self.path = path
        self._log_size = min(_LONGEST_LOG, size // 16)
        self._busy = BUSY
        self._connection: sqlite3.Connection | None = None
        self._descriptors: dict[int, descriptors.Identity] = {}
        self._connect()

    def _connect(self) -> sqlite3.Connection:
        # a fork in the middle of it would leave locks of SQLite locked in the child
        with native.no_fork():
            return self._connect_unforked()

    def _connect_unforked(self) -> sqlite3.Connection:
        before = descriptors.open_descriptors()
        self._busy = BUSY
        self._connection = connect(self.path)
        self._connection.execute(f"PRAGMA journal_size_limit = {self._log_size}")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {max(self._log_size // _PAGE, 8)}")
        self._descriptors = descriptors.descriptors_of(self.path, before)
        return self._connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection; it is opened again after `disconnect`, and where the application closed its descriptors."""
        if self._connection is not None and not descriptors.are_ours(self._descriptors):
            self.disconnect()
        return self._connect() if self._connection is None else self._connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Apply all that is done in a block, or nothing where it raises; no other process writes in between."""
        connection = self.connection
        with self._patient(connection):
            self._shorten_log(connection)
            with _transaction(connection):
                yield connection

    def _shorten_log(self, connection: sqlite3.Connection) -> None:
        """Empty SQLite's log if it is long: it was not begun again while another process was reading."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.with_name(self.path.name + "-wal").stat().st_size > 2 * self._log_size:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    @contextlib.contextmanager
    def _patient(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Wait only shortly for a lock that was waited for in vain before: it may be held for long."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                self._wait_for_locks(connection, BUSY_AGAIN)
            raise
        self._wait_for_locks(connection, BUSY)

    def _wait_for_locks(self, connection: sqlite3.Connection, seconds: float) -> None:
        if seconds != self._busy:
            self._busy = seconds
            connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def disconnect(self) -> None:
        """Close the connection until it is needed again."""
        if self._connection is None:
            return
        if descriptors.are_ours(self._descriptors):
            self._connection.close()
        else:
            descriptors.close_robbed(self._connection, self._descriptors)
        self._connection = None


def connect(path: Path, *, is_new_allowed: bool = True) -> sqlite3.Connection:
    """Open a spool; make it or carry it over from version 1 where that is necessary.

    Args:
        path: path of the file.
        is_new_allowed: whether the file and the tables are made where they are missing.

    Raises:
        OSError, sqlite3.Error: as for `Database`.
    """
    files.check_folder(path)
    if is_new_allowed:
        # closing a file that exists would release the locks that another connection of this process has on it
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    _check_files(path, is_mode_checked=False)  # what is no spool at all is set aside, whatever its mode
    uri = f"{path.absolute().as_uri()}?mode=rw"
    # a statement that is cached belongs to the thread that used it first: on some builds of Python another thread that
    # closes the connection before a fork would leave the database open
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=0
    )
    connection.execute("PRAGMA trusted_schema = OFF")  # nothing that a schema names runs with side effects
    connection.text_factory = _text  # one text that is no UTF-8 must not keep all others from being read
    try:
        if not is_new_allowed and _version(connection) == 0:
            raise sqlite3.DatabaseError("it is no spool")  # noqa: TRY301
        _check(connection)
        _check_access(path, connection)
        _configure(connection)
        if _version(connection) < VERSION:
            _bring_up_to_date(connection)
        for statement in _LATER_TABLES:
            connection.execute(statement)
        connection.execute("SELECT epoch FROM lease").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check_files(path: Path, *, is_mode_checked: bool) -> None:
    """Make sure that the files of a database are this user's own, which SQLite opens by their names.

    Raises:
        OSError: if they are not.
    """
    files.check(path, is_mode_checked=is_mode_checked)
    for suffix in _SUFFIXES[1:]:
        with contextlib.suppress(FileNotFoundError):
            files.check(path.with_name(path.name + suffix), is_mode_checked=is_mode_checked)


def _check_access(path: Path, connection: sqlite3.Connection) -> None:
    """Check the files of a database once more: they may have been replaced, and nobody else may have access."""
    try:
        _check_files(path, is_mode_checked=True)
    except files.UnsafeFileError as error:
        if _version(connection) == 0:
            raise sqlite3.DatabaseError(f"it is empty, and {error}") from error
        raise


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def set_aside(path: Path) -> None:
    """Rename a file that cannot be read, and what SQLite keeps beside it; nothing is deleted."""
    mark = f".unusable-{time.time_ns()}"
    for suffix in _SUFFIXES:
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).rename(path.with_name(path.name + mark + suffix))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check(connection: sqlite3.Connection) -> None:
    # one statement sees one state, even where another process makes the tables at this moment
    version, tables = connection.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version > VERSION:
        raise sqlite3.NotSupportedError(f"it is of version {version}, this library knows {VERSION}")
    if version == 0 and tables:
        raise sqlite3.DatabaseError("it is a database of something else")
    if version and connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise sqlite3.NotSupportedError("it is a database of another application")
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
        if not name.startswith(_OWN_OF_SQLITE) and (kind, name.lower()) not in _OBJECTS:
            raise sqlite3.NotSupportedError(f"it has a {kind} that no spool has: {name[:40]!r}")


def _configure(connection: sqlite3.Connection) -> None:
    ends = time.monotonic() + BUSY
    while not _is_configured(connection, is_last=time.monotonic() >= ends):
        time.sleep(_PAUSE)


def _is_configured(connection: sqlite3.Connection, *, is_last: bool) -> bool:
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except sqlite3.OperationalError as error:
        # several processes that open a new file at once: SQLite does not wait for a change of the journal's mode
        if is_last or "locked" not in str(error):
            raise
        return False
    return True


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    with _transaction(connection):
        version = _version(connection)  # once more: another process may have been here in the meantime
        if version == 0:
            for statement in (*_SHARED_TABLES, *TABLES):
                connection.execute(statement)
        elif version == 1:
            migration.carry_over(connection, TABLES)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
