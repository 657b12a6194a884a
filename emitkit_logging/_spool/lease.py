"""Which process may send: one at a time, for as long as it says so again and again.

The lease stands in the database. It is free when no process has it, when the process that has it is gone, or when that
process has let its time pass: then it stands still. A full disk takes no new lease; then a lock on the file stands for
it.
"""

from __future__ import annotations

import sqlite3
from io import FileIO
from typing import NoReturn

from emitkit_logging._spool import journal
from emitkit_logging._spool.schema import Database
from emitkit_logging._worker.clock import monotonic

_FULL_DISK = ("full", "disk I/O")


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
            return self._acquire(seconds)
        except sqlite3.OperationalError as error:
            if not any(cause in str(error) for cause in _FULL_DISK) or not self._acquire_on_full_disk():
                raise
            return True

    def _acquire(self, seconds: float) -> bool:
        now = monotonic()
        with self._database.transaction() as connection:
            owner, until, epoch = connection.execute("SELECT owner, until, epoch FROM lease").fetchone()
            if owner == self._owner:
                connection.execute("UPDATE lease SET until = ?", (now + seconds,))
                return True
            if self.is_held and self._file_lock is None:
                self._lose()
            if not self._is_free(owner, until, now):
                return False
            connection.execute("UPDATE lease SET owner = ?, until = ?, epoch = epoch + 1", (self._owner, now + seconds))
        self.is_fresh = epoch != self._epoch and not self.is_held
        self.is_held = True
        self._epoch = epoch + 1
        self._unlock()
        return True

    def _acquire_on_full_disk(self) -> bool:
        """Become the sender without writing so, unless another process is."""
        owner, until = self._database.connection.execute("SELECT owner, until FROM lease").fetchone()
        if self.is_held or not (owner == self._owner or self._is_free(owner, until, monotonic())):
            return self.is_held
        if self._file_lock is None:
            self._file_lock = journal.locked(self._database.path)
        self.is_held = self.is_fresh = self._file_lock is not None
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
        """Whether the database names this process; or no process, where this one has the lock on the file instead."""
        (owner,) = self._database.connection.execute("SELECT owner FROM lease").fetchone()
        return owner == self._owner or (owner is None and self._file_lock is not None)

    def _lose(self) -> NoReturn:
        self.is_held = False
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
        """Release the lock on the file."""
        self._unlock()

    def _unlock(self) -> None:
        if self._file_lock is not None:
            self._file_lock.close()
            self._file_lock = None
