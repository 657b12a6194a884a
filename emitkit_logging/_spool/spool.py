"""The spool: where each record is, in SQLite, for the process that sends.

One process at a time is the sender, by a lease in the database. It reads all journals, and writes each unit of work of
its outbox before a request starts and after its answer. The sender that comes next continues with the same waiting
records and folds, the same requests to the byte, and the same budget.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.minimal import minimal_of
from emitkit_logging._outbox.observer import Changes, Ended, Knowledge
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._spool import codec, journal, rows, schema, tables
from emitkit_logging._spool.disk import rows_size
from emitkit_logging._spool.lease import Lease, LeaseLost
from emitkit_logging._spool.reader import JournalReader
from emitkit_logging._spool.unit import DELIVERED, REJECTED, Findings, Origin, Unit, UnreadableLine, Waiting
from emitkit_logging._worker.clock import monotonic

_TIDY = 0.05
"""Seconds between two looks for journals that can be deleted."""

_RECORD = 1000
"""Bytes of a record that did not come from a journal, about."""

_ROW = 200
"""Bytes that a row needs in the database besides its data."""

_KNOWN_SHARE = 32
"""What is known of kinds and templates may have one part in so many of the size."""

_SWEEP = 60.0
"""Seconds between two looks for rows that are no longer needed."""


class Arrivals(NamedTuple):
    """What is new in one journal.

    Attributes:
        records: log records, in their order.
        identities: what records and calls of `identify` say about users.
        is_flush: whether its process waits until they are sent.
    """

    records: deque[CapturedRecord]
    identities: list[Identity]
    is_flush: bool


class Spool:
    """The spool as one process sees it.

    Args:
        path: path of the database; the journals lie beside it.
        size: bytes that may wait.
        ttl: seconds for which a record may wait.
        converter: converts values that the format on disk does not have.
        channel_of: returns the channel that a captured record goes to.

    Raises:
        OSError, sqlite3.Error: where the spool cannot be used.

    Attributes:
        journal: what this process has accepted.
        size: as above.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: int,
        ttl: float,
        converter: JsonConverter,
        channel_of: Callable[[CapturedRecord], str],
    ) -> None:
        self.size = size
        self._ttl = ttl
        self._chunk = max(4096, min(journal.CHUNK, size // 32))
        self._converter = converter
        self._database = schema.Database(path, size)
        self.journal = journal.Journal(path, size)
        self._lease = Lease(self._database, self.journal.origin)
        self._reader = JournalReader(path)
        self._writer = rows.RowWriter(converter, channel_of)
        self._counted: Counter[tuple[str, str]] = Counter()  # by this process, in all commits
        self._swept_at = -_SWEEP
        self._tidied_at = -_TIDY
        self._has_rejected = True
        self._known_written = size  # characters since `limit_known`; at first so many that it is called
        self._forget()

    def _forget(self) -> None:
        self._waiting = Waiting()
        self._findings = Findings()
        self._reader.has_moved = False
        self._uncommitted = 0

    @property
    def path(self) -> Path:
        """Path of the database."""
        return self._database.path

    def disconnect(self) -> None:
        """Close the database until it is needed again."""
        self._database.disconnect()

    def start_over(self) -> None:
        """Set a database that cannot be read any more aside, and go on with a new one; memory has what waits."""
        self._database.disconnect()
        schema.set_aside(self.path)
        self._findings.counts = Counter(self._counted)
        self._reader.has_moved = True
        self._lease.renew(schema.BUSY)

    # In the application's threads

    def append(self, captured: CapturedRecord) -> bool:
        """Write a record into this process's journal, or what can be written of it; return whether it is there."""
        try:
            line = codec.write_record(captured, self._converter)
        except BaseException as error:
            line = codec.write_record(minimal_of(captured, error), self._converter)
            if not isinstance(error, Exception):  # perhaps of a signal handler, and so for the application
                self.journal.append(line + b"\n")
                raise
        return self.journal.append(line + b"\n")

    def append_identity(self, identity: Identity) -> bool:
        """Write what a record says about a user into this process's journal; return whether it is there."""
        return self.journal.append(codec.write_identity(identity, self._converter) + b"\n")

    def append_flush(self) -> bool:
        """Ask the sender, in this process's journal, to hold nothing back; return whether that is there."""
        return self.journal.append(codec.write_flush() + b"\n")

    # Which process sends

    @property
    def is_sender(self) -> bool:
        """Whether this process is the sender."""
        return self._lease.is_held

    @property
    def is_fresh(self) -> bool:
        """Whether this process became the sender after another one, and has not loaded what waits since."""
        return self._lease.is_fresh

    def acquire(self, seconds: float) -> bool:
        """Become the sender, or remain it, for some seconds; return whether this process is.

        Raises:
            LeaseLost: it was, and another process is now.
            sqlite3.Error: where the database cannot be used.
        """
        with self._forgetting():
            return self._lease.acquire(seconds)

    def release(self) -> None:
        """Let another process become the sender."""
        self._lease.release()

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        try:
            yield
        except LeaseLost:  # what was read since the last commit, the other process reads again
            self._forget()
            raise

    # As the sender: what comes in

    def load(self, outbox: Outbox) -> None:
        """Give an empty outbox all that waits, what is known, and the state of the budget."""
        connection = self._database.connection
        self._forget()
        if not tables.has_counts(connection):
            self._findings.counts = Counter(self._counted)  # another process had to set the database aside
        newest, budget = connection.execute("SELECT newest, budget FROM progress").fetchone()
        _begin(outbox, newest, codec.read_state(budget))
        outbox.know_kinds(self.known_kinds())
        outbox.know_templates(tables.known(connection, Knowledge.TEMPLATE))
        now = time.time()
        for user_id, at, facts in connection.execute("SELECT user_id, at, facts FROM users").fetchall():
            with contextlib.suppress(ValueError):
                outbox.remember(codec.read_call({"user_id": user_id, **codec.read_state(facts)}), max(0.0, now - at))
        for row in connection.execute(tables.SELECT_WAITING).fetchall():
            self._resume(outbox, rows.ReadRow(*row), now - self._ttl)
        self._reader.go_on(tables.offsets(connection))
        self._lease.is_fresh = False

    def _resume(self, outbox: Outbox, row: rows.ReadRow, oldest: float) -> None:
        self._waiting.put(row.position, row.share, len(row.data))
        try:
            row.check()
            entry = rows.read_entry(row.kind, row.data)
        except ValueError as error:
            self._findings.ends.append(Ended(row.position, REJECTED, f"its row cannot be read: {error}"))
            return
        if row.since < oldest:
            self._findings.ends.append(Ended(row.position, "expired", ""))
            return
        if isinstance(entry, IdentifyCall):
            self._waiting.calls[row.position] = entry
        outbox.resume(
            row.position,
            entry,
            priority=row.priority,
            first_position=row.first_position,
            records=row.records,
            request=row.request,
        )

    @property
    def is_commit_due(self) -> bool:
        """Whether so much was read since the last commit that more of it would make SQLite's log long."""
        return self._uncommitted >= self._chunk

    @property
    def is_behind(self) -> bool:
        """Whether the last `read` left lines unread."""
        return self._reader.is_behind

    def read(self, most: int | None = None) -> Iterator[Arrivals]:
        """Return what is new in each journal, about `most` bytes of each."""
        self.journal.unread = 0
        for origin, lines in self._reader.read(most or self._chunk):
            self._uncommitted += sum(map(len, lines))
            values = [self._read(origin, line) for line in lines]
            records = deque(value for value in values if isinstance(value, CapturedRecord))
            identities = [value for value in values if isinstance(value, Identity)]
            yield Arrivals(records, identities, any(isinstance(value, codec.Flush) for value in values))

    def _read(self, origin: str, line: bytes) -> CapturedRecord | Identity | codec.Flush | None:
        try:
            value = codec.read_line(line)
        except ValueError as error:
            if line:  # an empty one ends what was left half written
                self._findings.lines.append(UnreadableLine(origin, line, str(error)))
            return None
        if isinstance(value, CapturedRecord):
            value.origin = Origin(origin, line if codec.is_current(line) else None)
        return value

    def adopt(self, records: deque[CapturedRecord]) -> None:
        """Mark records as this process's own that were kept in memory because the journal took nothing."""
        for captured in records:
            captured.origin = Origin(self.journal.origin, None)
        self._uncommitted += len(records) * _RECORD

    # As the sender: what is written

    def is_too_large(self, changes: Changes) -> bool:
        """Whether more bytes would wait after a commit of `changes` than may wait, overhead of the rows included."""
        rows = self._waiting.rows_with(changes)
        return self.size_with(changes) + rows * _ROW > rows_size(self.size)

    def size_with(self, changes: Changes) -> int:
        """Return the bytes that would wait after a commit of `changes`."""
        return self._waiting.size_with(changes)

    def commit(self, changes: Changes, newest: int, budget: Mapping[str, Any]) -> None:
        """Write a unit of work, and how far the journals were read, in one transaction.

        Args:
            changes: all that the outbox reported since the last commit that succeeded.
            newest: the newest position of the outbox.
            budget: the state of its budget.

        Raises:
            LeaseLost: another process is the sender; the changes are no longer this process's own.
            sqlite3.Error: nothing is written; the same changes, and more, are to be given again.
        """
        if changes.is_empty and self._findings.is_empty and not self._reader.has_moved:
            return
        unit = Unit.of(changes, self._findings, self._waiting)
        written = list(self._writer.rows(changes, unit))
        with self._forgetting(), self._database.transaction() as connection:
            self._lease.check()
            # first what is gone: its pages are used again, and the database does not grow
            tables.delete_waiting(connection, (unit.gone - unit.rejected.keys()) & self._waiting.sizes.keys())
            tables.write_waiting(connection, [row.values() for row in written], rows.requests(changes))
            tables.keep_rejected(connection, unit.rejected.values(), {end.position for end in self._findings.ends})
            tables.delete_waiting(connection, unit.rejected.keys())
            tables.keep_lines(connection, self._findings.lines)
            tables.add_counts(connection, unit.counts)
            tables.put_users(connection, self._writer.users(unit))
            self._put_known(connection, changes)
            state = codec.write_state(budget, self._converter)
            tables.put_progress(connection, self._reader.positions(), newest, state)
        for row in written:
            self._waiting.put(row.position, row.share, len(row.data))
        self._waiting.apply(changes, unit.gone)
        self._counted.update(unit.counts - self._findings.counts)
        self._findings = Findings()
        self._reader.has_moved = False
        self._uncommitted = 0
        self._has_rejected = self._has_rejected or bool(unit.rejected)
        self.tidy_journals()

    def _put_known(self, connection: sqlite3.Connection, changes: Changes) -> None:
        """Write what is known of kinds and templates; now and then, since it takes longer, delete the oldest of it."""
        most = self.size // _KNOWN_SHARE
        self._known_written += tables.put_known(connection, changes.knowledge)
        if self._known_written >= most // 4:
            tables.limit_known(connection, most * 3 // 4)
            self._known_written = 0

    def tidy_journals(self) -> None:
        """Delete journals that are read and abandoned, not too often; all that was read has to be committed."""
        now = monotonic()
        if now < self._tidied_at + _TIDY:
            return
        self._tidied_at = now
        self.journal.tidy()
        self._reader.delete_finished()

    def sweep(self, oldest: float) -> None:
        """Delete journals that are read and abandoned, and once a minute rows that are no longer needed.

        Nothing was read since the last commit.

        Args:
            oldest: epoch seconds; what was rejected, and users of whom nothing was sent since, are deleted.
        """
        self.journal.tidy(is_read=not self._unread())
        self._reader.delete_finished()
        if self._has_rejected:
            self._has_rejected = False
            with self._database.transaction() as connection:
                tables.limit_rejected(connection, self.size // 8)
        now = monotonic()
        if now < self._swept_at + _SWEEP:
            return
        self._swept_at = now
        for path in journal.unfinished(self.path):
            with contextlib.suppress(OSError):
                path.unlink()
        paths = list(journal.paths(self.path))
        names, origins = set(map(journal.name_of, paths)), set(map(journal.origin_of, paths))
        with self._database.transaction() as connection:
            tables.delete_old(connection, oldest, names=names, origins=origins)
            tables.limit_users(connection, self.size // 8)

    def requeue(self) -> int:
        """Let rejected events wait again, as the sender; return how many events that are."""
        with self._database.transaction() as connection:
            return tables.requeue(connection)

    # In any process

    def counts(self, pending: Changes | None = None) -> tuple[int, dict[str, int]]:
        """Return how many of this process's records were delivered, and dropped by reason.

        Args:
            pending: changes that are not committed yet; they count while this process is the sender.
        """
        own = self.journal.origin
        counted = Counter(tables.counts_of(self._database.connection, own))
        if self._lease.is_own():  # else another process counts the same
            unit = Unit.of(pending or Changes(), self._findings, self._waiting)
            for (origin, reason), records in unit.counts.items():
                if origin == own:
                    counted[reason] += records
        delivered = counted.pop(DELIVERED, 0)
        return delivered, dict(counted)

    def known_kinds(self) -> dict[str, Json]:
        """Return what the sender knows of kinds of alerts."""
        return tables.known(self._database.connection, Knowledge.KIND)

    def is_settled(self, end: tuple[int, int]) -> bool:
        """Whether nothing of this process's journal up to `end`, as of `Journal.end`, still waits."""
        number, offset = end
        connection, origin = self._database.connection, self.journal.origin
        read = tables.read_until(connection, f"{origin}.{number}")
        if read is None and not journal.exists(self.path, origin, number):
            read = offset, tables.newest(connection)  # it was read, and deleted
        if read is None or read[0] < offset:
            return offset == 0
        return not tables.has_waiting_of(connection, origin, read[1])

    def has_waiting(self) -> bool:
        """Whether anything waits, of any process."""
        connection = self._database.connection
        if tables.has_waiting(connection):
            return True
        offsets = tables.offsets(connection)
        return any(journal.size_of(path) > offsets.get(journal.name_of(path), 0) for path in journal.paths(self.path))

    def is_shared(self) -> bool:
        """Whether another process that uses the spool is alive."""
        others = {journal.origin_of(path) for path in journal.paths(self.path)} - {self.journal.origin}
        return any(journal.is_alive(self.path, other) for other in others)

    def refused_files(self) -> list[str]:
        """Return for each file that has the name of a journal and is not read why that is so."""
        return list(journal.refused(self.path))

    def watch(self) -> None:
        """Keep this process's journal short, while another process reads it."""
        self.journal.tidy(is_read=not self._unread())

    def _unread(self) -> int:
        offsets = tables.offsets(self._database.connection)
        own = [path for path in journal.paths(self.path) if journal.origin_of(path) == self.journal.origin]
        return sum(journal.size_of(path) - offsets.get(journal.name_of(path), 0) for path in own)

    def close(self) -> None:
        """Close the files."""
        is_read = False
        with contextlib.suppress(OSError, sqlite3.Error):
            is_read = not self._unread()
        self.journal.close(is_read=is_read)
        self._reader.close()
        self._database.disconnect()
        self._lease.close()

    def abandon(self) -> None:
        """Close the files that a forked child has inherited; the database was closed before the fork."""
        self.journal.abandon()
        self._reader.close()
        self._lease.close()


def _begin(outbox: Outbox, newest: int, budget: Mapping[str, Any]) -> None:
    try:
        outbox.begin_at(newest, budget)
    except (KeyError, TypeError, ValueError, AttributeError):  # a budget that cannot be read is learned anew
        outbox.begin_at(newest, {})
