"""Which process may send: one at a time, for as long as it says so again and again.

The lease stands in the database. It is free when no process has it, when the process that has it is gone, or when that
process has let its time pass: then it stands still. A full disk takes no new lease, nor does a database that another
process keeps locked for longer than a lease lasts; then a lock on the file stands for it. What is sent then cannot be
written: should another process have gone on in the meantime, it may be sent twice.
"""

from __future__ import annotations

import sqlite3
from io import FileIO
from typing import NoReturn

from emitkit_logging._spool import journal
from emitkit_logging._spool.schema import Database
from emitkit_logging._worker.clock import monotonic

_FULL_DISK = ("full", "disk I/O")
_LOCKED = "locked"
_STATE = (
    "SELECT owner, until, epoch, (SELECT newest FROM progress), (SELECT total(offset) FROM journals),"
    " (SELECT count(*) FROM waiting), (SELECT total(records) FROM counts) FROM lease"
)
"""Changes with each commit that matters to another process."""


class LeaseLost(Exception):  # noqa: N818 - no error: another process took over while this one stood still
    """Another process is the sender now; what this one holds is no longer its own."""


class Lease:
    """The lease of one spool, as one process sees it.

    Args:
        database: the database of the spool.
        owner: the origin of this process's journal.

    Attributes:
        is_held: whether this process is the sender.
        is_fresh: whether it became the sender and has not loaded what waits since; set to `False` by who loads.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._epoch = -1
        self._file_lock: FileIO | None = None
        self._unlocked: list[FileIO] = []
        self._locked_since: float | None = None
        self._state: tuple[object, ...] = ()
        self.is_held = False
        self.is_fresh = False

    def acquire(self, seconds: float) -> bool:
        """Become the sender, or remain it, for some seconds.

        Returns:
            Whether this process is the sender.

        Raises:
            LeaseLost: it was, and another process is now.
            sqlite3.Error: where the database cannot be used.
        """
        try:
            is_acquired = self._acquire(seconds)
        except sqlite3.OperationalError as error:
            if not self._may_do_without(error, seconds) or not self._acquire_without_writing():
                raise
            return True
        self._locked_since = None
        return is_acquired

    def _may_do_without(self, error: sqlite3.OperationalError, seconds: float) -> bool:
        """Whether to be the sender without writing so: on a full disk, or after a lock that outlasts a lease."""
        if any(cause in str(error) for cause in _FULL_DISK):
            return True
        if _LOCKED not in str(error):
            return False
        now = monotonic()
        self._locked_since = now if self._locked_since is None else self._locked_since
        return now >= self._locked_since + seconds

    def _acquire(self, seconds: float) -> bool:
        now = monotonic()
        with self._database.transaction() as connection:
            owner, until, epoch = connection.execute("SELECT owner, until, epoch FROM lease").fetchone()
            if owner == self._owner:
                connection.execute("UPDATE lease SET until = ?", (now + seconds,))
                return True
            is_free = self._is_free(owner, until, now)
            if self.is_held and not (is_free and self._is_unchanged()):
                self._lose()
            if not is_free:
                return False
            connection.execute("UPDATE lease SET owner = ?, until = ?, epoch = epoch + 1", (self._owner, now + seconds))
        self.is_fresh = epoch != self._epoch and not self.is_held
        self.is_held = True
        self._epoch = epoch + 1
        self._unlock()
        return True

    def _is_unchanged(self) -> bool:
        """Whether nothing was written since this process took the lock on the file instead."""
        return self._file_lock is not None and self._state == self._read_state()

    def _read_state(self) -> tuple[object, ...]:
        row: tuple[object, ...] = self._database.connection.execute(_STATE).fetchone()
        return row

    def _acquire_without_writing(self) -> bool:
        """Become the sender without writing so, unless another process is."""
        owner, until = self._database.connection.execute("SELECT owner, until FROM lease").fetchone()
        if self.is_held or not (owner == self._owner or self._is_free(owner, until, monotonic())):
            return self.is_held
        if self._file_lock is None:
            self._file_lock = journal.locked(self._database.path)
        self.is_held = self.is_fresh = self._file_lock is not None
        self._state = self._read_state()
        return self.is_held

    def _is_free(self, owner: str | None, until: float, now: float) -> bool:
        return owner is None or now >= until or not journal.is_alive(self._database.path, owner)

    def check(self) -> None:
        """Make sure, inside a transaction, that this process is still the sender.

        Raises:
            LeaseLost: if it is not.
        """
        if not self.is_own():
            self._lose()

    def is_own(self) -> bool:
        """Whether the database names this process; or nothing was written since this one has the lock on the file."""
        (owner,) = self._database.connection.execute("SELECT owner FROM lease").fetchone()
        return owner == self._owner or self._is_unchanged()

    def _lose(self) -> NoReturn:
        self.is_held = False
        self._unlock()
        raise LeaseLost

    def release(self) -> None:
        """Let another process become the sender."""
        if self.is_held:
            self.is_held = False
            self._database.connection.execute("UPDATE lease SET owner = NULL WHERE owner = ?", (self._owner,))

    def renew(self, seconds: float) -> None:
        """Write into a new database that this process is the sender, if it is."""
        if self.is_held:
            until = monotonic() + seconds
            self._database.connection.execute("UPDATE lease SET owner = ?, until = ?", (self._owner, until))

    def close(self) -> None:
        """Release the lock on the file; the database is closed."""
        for file in (*self._unlocked, *([self._file_lock] if self._file_lock is not None else [])):
            file.close()
        self._unlocked.clear()
        self._file_lock = None

    def _unlock(self) -> None:
        if self._file_lock is not None:
            journal.unlock(self._file_lock)
            # to close it while the database is open would release the locks of SQLite on the same file
            self._unlocked.append(self._file_lock)
            self._file_lock = None
