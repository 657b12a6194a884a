"""Spool: where each record is, in SQLite, for whichever process sends.

One process at a time is the sender, by a lease in the spool. It reads all journals, and what its outbox tells is
written here before each request and after each answer, so that whoever comes next goes on at the same place: with the
same waiting records and folds, the same requests to the byte, and the same budget.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._outbox.delivery import Delivery
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._spool import codec, journal

VERSION = 1
"""Of the tables; a spool of a later one is left alone."""

BUSY = 1.0
"""Seconds that the background thread waits for another process's lock."""

_APPLICATION = 0x454D4B54  # EMKT: what `file` and we recognise a spool by
_PERSON = "__emitkit_person"
_DELIVERED = ""
_NO_ROOM = ("full", "disk I/O")
_SWEEP = 60.0
_TABLES = """
CREATE TABLE waiting (
    place INTEGER PRIMARY KEY, kind TEXT NOT NULL, level INTEGER NOT NULL, age REAL NOT NULL, since REAL NOT NULL,
    channel TEXT NOT NULL, records INTEGER NOT NULL, shares TEXT NOT NULL, data BLOB NOT NULL,
    path TEXT, success INTEGER, key TEXT, body BLOB
);
CREATE TABLE rejected (
    place INTEGER PRIMARY KEY, kind TEXT NOT NULL, level INTEGER NOT NULL, age REAL NOT NULL, since REAL NOT NULL,
    channel TEXT NOT NULL, records INTEGER NOT NULL, data BLOB NOT NULL, body BLOB, at REAL NOT NULL,
    answer TEXT NOT NULL
);
CREATE TABLE counts (origin TEXT, reason TEXT, records INTEGER NOT NULL, PRIMARY KEY (origin, reason)) WITHOUT ROWID;
CREATE TABLE journals (name TEXT PRIMARY KEY, offset INTEGER NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE users (user_id TEXT PRIMARY KEY, at REAL NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sender (
    one INTEGER PRIMARY KEY CHECK (one = 1), owner TEXT, until REAL NOT NULL, epoch INTEGER NOT NULL,
    newest INTEGER NOT NULL, pace TEXT NOT NULL
);
INSERT INTO sender VALUES (1, NULL, 0, 0, 0, '{}');
"""


class LeaseLost(Exception):  # noqa: N818 - no error: another process took over while this one stood still
    """Another process is the sender now; what this one holds is no longer its own."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a spool, or make one that nobody else can read.

    Raises:
        OSError, sqlite3.Error: where that is not possible, or the file is no spool of ours; `NotSupportedError` for
            one of a later version.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.NotSupportedError(f"it is of version {version}, this library knows {VERSION}")  # noqa: TRY301
        if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("it is a database of something else")  # noqa: TRY301
        # a power cut may cost what was written last, never what was there before
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 4194304"):
            database.execute(f"PRAGMA {pragma}")
        if version == 0:
            marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION};"
            made = f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT"
            try:
                database.executescript(made)
            except sqlite3.OperationalError:  # another process made it in the meantime
                if not database.execute("PRAGMA user_version").fetchone()[0]:
                    raise
        database.execute("SELECT epoch FROM sender").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def set_aside(path: Path) -> None:
    """Rename a file that is no spool, and what SQLite keeps beside it: it may matter to somebody."""
    mark = f".unusable-{time.time_ns()}"
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).rename(path.with_name(path.name + mark + suffix))


class Spool:
    """The spool as one process sees it; a ledger for its outbox while it is the sender.

    Args:
        path: of the file.
        size: bytes that may wait.
        ttl: seconds for which a record may wait.
        plain: converts what has no notation.
        channel_of: returns the channel that a captured record goes to.

    Raises:
        OSError, sqlite3.Error: where the spool cannot be used.
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
        self.path = path
        self._size = size
        self._ttl = ttl
        self._converter = converter
        self._channel_of = channel_of
        self._connection: sqlite3.Connection | None = connect(path)
        self.journal = journal.Journal(path)
        self._epoch = -1
        self._swept_at = -_SWEEP
        self._offsets: dict[str, int] = {}
        self._sources: dict[str, journal.Source] = {}
        self._totals: Counter[tuple[str, str]] = Counter()
        self._substitute: FileIO | None = None
        self.is_sender = False
        self.is_fresh = False
        self.is_behind = False
        self._forget()

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path)
        return self._connection

    def disconnect(self) -> None:
        """Close the database until it is needed again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start_over(self) -> None:
        """Set a file that cannot be read any more aside, and go on with a new one; memory still has what waits."""
        self.disconnect()
        set_aside(self.path)
        self._counts.update(self._totals - self._counts)
        self._is_dirty = True
        if self.is_sender:
            until = time.monotonic() + BUSY
            self._database.execute("UPDATE sender SET owner = ?, until = ?", (self.journal.origin, until))

    def _forget(self) -> None:
        self._new: dict[int, CapturedRecord] = {}
        self._lines: dict[int, bytes] = {}
        self._entries: dict[int, Fold | Digest] = {}
        self._attempts: dict[int, Delivery] = {}
        self._requests: dict[int, Delivery] = {}
        self._shares: dict[int, Counter[str]] = {}
        self._bytes: dict[int, int] = {}
        self._gone: list[int] = []
        self._rejected: list[tuple[Any, ...]] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._identified: dict[str, IdentifyCall] = {}
        self._is_dirty = False

    # In the application's threads

    def append(self, captured: CapturedRecord) -> bool:
        """Write a record into this process's journal; return whether it is there."""
        return self.journal.append(codec.write_record(captured, self._converter) + b"\n")

    def tell(self, person: Identity) -> bool:
        """Write what is known of a user into this process's journal; return whether it is there."""
        told = {_PERSON: [person.user_id, dict(person.properties), list(person.aliases), person.created]}
        return self.journal.append(codec.write(told, self._converter) + b"\n")

    # Who sends

    def lead(self, seconds: float) -> bool:
        """Become the sender, or remain it, for some seconds; return whether this process is.

        The sender's place is free when nobody has it, when its process is gone, or when it has not been heard of for as
        long as it said: then it stands still.

        Raises:
            Deposed: it was, and another is now.
        """
        try:
            return self._take_the_lead(seconds)
        except sqlite3.OperationalError as error:
            if not any(cause in str(error) for cause in _NO_ROOM) or not self._stand_in():
                raise
            return True

    def _stand_in(self) -> bool:
        """Become the sender where the disk is too full to say so, unless another process did."""
        owner, until = self._database.execute("SELECT owner, until FROM sender").fetchone()
        is_free = owner in (None, self.journal.origin) or time.monotonic() >= until
        if self.is_sender or not (is_free or not journal.is_alive(self.path, owner)):
            return self.is_sender
        if self._substitute is None:
            self._substitute = journal.locked(self.path)
        self.is_sender = self.is_fresh = self._substitute is not None
        return self.is_sender

    def _take_the_lead(self, seconds: float) -> bool:
        now = time.monotonic()
        with self._transaction():
            owner, until, epoch = self._database.execute("SELECT owner, until, epoch FROM sender").fetchone()
            if owner == self.journal.origin:
                self._database.execute("UPDATE sender SET until = ?", (now + seconds,))
                return True
            if self.is_sender and self._substitute is None:
                self._step_down()
            if owner is not None and now < until and journal.is_alive(self.path, owner):
                return False
            self._database.execute(
                "UPDATE sender SET owner = ?, until = ?, epoch = epoch + 1", (self.journal.origin, now + seconds)
            )
        self.is_fresh = epoch != self._epoch and not self.is_sender
        self.is_sender = True
        self._epoch = epoch + 1
        if self._substitute is not None:
            self._substitute.close()
            self._substitute = None
        return True

    def _step_down(self) -> NoReturn:
        # what was told since the last commit, the other process will be told again
        self.is_sender = False
        self._totals.subtract(self._counts)
        self._forget()
        raise LeaseLost

    def resign(self) -> None:
        """Let another process become the sender."""
        if self.is_sender:
            self.is_sender = False
            self._database.execute("UPDATE sender SET owner = NULL WHERE owner = ?", (self.journal.origin,))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)

    # As the sender

    def load(self, outbox: Outbox) -> None:
        """Hand the outbox all that waits, and the budget that is left."""
        # what this process read while it was the sender it has read, even if the spool had to be started over since
        read = {name: source.offset for name, source in self._sources.items()}
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        database = self._database
        is_new = not database.execute("SELECT count(*) FROM counts").fetchone()[0]
        self._forget()
        newest, pace = database.execute("SELECT newest, pace FROM sender").fetchone()
        outbox.begin_at(newest, json.loads(pace))
        now = time.time()
        oldest = now - self._ttl
        for user_id, at, facts in database.execute("SELECT user_id, at, facts FROM users").fetchall():
            properties, aliases = json.loads(facts)
            outbox.remember(IdentifyCall(user_id, properties, tuple(aliases)), max(0.0, now - at))
        columns = "place, kind, level, age, since, records, shares, data, path, success, key, body"
        for row in database.execute(f"SELECT {columns} FROM waiting ORDER BY place").fetchall():  # noqa: S608
            place, kind, level, age, since, records, shares, data, *request = row
            self._shares[place] = Counter(json.loads(shares))
            self._bytes[place] = len(data)
            try:
                entry = _ENTRIES[kind](codec.read(data))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.ended(place, "rejected", "its row in the spool cannot be read")
                continue
            if since < oldest:
                self.ended(place, "expired")
                continue
            path, success, key, body = request
            made = None if body is None else ApiRequest(path, success, body, key)
            outbox.resume(place, entry, priority=level, age=age, records=records, request=made)
        self._offsets = read | dict(database.execute("SELECT name, offset FROM journals").fetchall())
        if is_new:
            self._counts.update(self._totals)

    def read(self, most: int = journal.CHUNK) -> Iterator[tuple[deque[CapturedRecord], list[Identity]]]:
        """Return what is new in each journal: records and users, about `most` bytes of each; `is_behind` where more is.

        No more than that, since whoever logs may be as fast as who reads.
        """
        self.journal.unread = 0
        self.is_behind = False
        for path in journal.paths(self.path):
            name = journal.name_of(path)
            source = self._sources.get(name)
            if source is None:
                try:
                    source = self._sources[name] = journal.Source(path, self._offsets.get(name, 0))
                except FileNotFoundError:
                    continue
            lines = source.read(most)
            if not lines and source.is_torn:
                lines = source.read(most) or source.skip()
                self._is_dirty = True
            if lines:
                self._is_dirty = True
                self.is_behind = self.is_behind or not source.is_read
                yield self._captured(lines, source.origin)

    def _captured(self, lines: list[bytes], origin: str) -> tuple[deque[CapturedRecord], list[Identity]]:
        records: deque[CapturedRecord] = deque()
        people = []
        for line in lines:
            try:
                value = codec.read(line)
                if _PERSON in value:
                    user_id, properties, aliases, created = value[_PERSON]
                    people.append(Identity(user_id, properties, tuple(aliases), created))
                    continue
                captured = codec.record_in(value)
                is_record = type(captured.level) is int and type(captured.created) is float
            except (ValueError, KeyError, TypeError):
                is_record = False
            if is_record:
                captured.origin = _Origin(origin, line)
                records.append(captured)
            elif line:
                self._count(origin, "rejected", 1)
        return records, people

    def adopt(self, records: deque[CapturedRecord]) -> None:
        """Make records that went to memory, because the journal took nothing, this process's own."""
        for captured in records:
            captured.origin = _Origin(self.journal.origin, None)

    # What the outbox tells

    def came(self, place: int, captured: CapturedRecord) -> None:
        """Note that a record waits at `place`."""
        origin = captured.origin
        assert isinstance(origin, _Origin)  # noqa: S101 - the spool itself set it
        self._shares[place] = Counter({origin.journal: 1})
        self._new[place] = captured
        if origin.line is not None:
            self._lines[place] = origin.line
        captured.origin = None
        self._is_dirty = True

    def joined(self, place: int, into: int) -> None:
        """Note that what waited at `place` is a part of what waits at `into`."""
        if place != into:
            self._shares.setdefault(into, Counter()).update(self._shares.pop(place, ()))
            self._remove(place)

    def changed(self, entry: Fold | Digest) -> None:
        """Note that a fold or a digest has become more."""
        self._entries[entry.place] = entry

    def attempted(self, attempt: Delivery) -> None:
        """Note an identify that waits, or a request that is about to start."""
        if attempt.records or attempt.facts is not None:
            self._attempts[attempt.place] = self._requests[attempt.place] = attempt
            self._is_dirty = True

    def ended(self, place: int, reason: str | None = None, detail: str = "") -> None:
        """Note that what waited at `place` was delivered, or dropped for a reason."""
        shares = self._shares.pop(place, None) or Counter()
        for origin, records in shares.items():
            self._count(origin, reason or _DELIVERED, records)
        attempt = self._attempts.pop(place, None)
        if reason == "rejected":
            self._rejected.append((time.time(), detail, place))
            self._gone.append(place)  # once it is written, it moves to those that are kept to be looked at
            self._is_dirty = True
            return
        if reason is None and attempt is not None and attempt.facts is not None:
            self._identified[attempt.facts.user_id] = attempt.facts
        self._remove(place)

    def _count(self, origin: str, reason: str, records: int) -> None:
        self._counts[origin, reason] += records
        self._totals[origin, reason] += records
        self._is_dirty = True

    def _remove(self, place: int) -> None:
        self._entries.pop(place, None)
        self._requests.pop(place, None)
        self._lines.pop(place, None)
        self._bytes.pop(place, None)
        if self._new.pop(place, None) is None:
            self._gone.append(place)
        self._is_dirty = True

    # What is written

    @property
    def used(self) -> int:
        """Bytes of what waits."""
        return sum(self._bytes.values()) + sum(map(len, self._lines.values()))

    def commit(self, outbox: Outbox) -> None:
        """Write all that was told since the last time, in one step.

        Raises:
            Deposed: another process is the sender.
            sqlite3.Error: it is not written, and is still to be.
        """
        if not self._is_dirty:
            return
        while self.used > self._size and outbox.halve():
            pass
        database, waiting = self._database, list(self._rows())
        with self._transaction():
            (owner,) = database.execute("SELECT owner FROM sender").fetchone()
            if owner != self.journal.origin and (self._substitute is None or owner is not None):
                self._step_down()
            database.executemany(
                "INSERT OR REPLACE INTO waiting (place, kind, level, age, since, channel, records, shares, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                waiting,
            )
            database.executemany(
                "UPDATE waiting SET path = ?, success = ?, key = ?, body = ?, records = ? WHERE place = ?",
                [
                    (made.path, made.success, made.key, made.body, attempt.records, place)
                    for place, attempt in self._requests.items()
                    if (made := attempt.request) is not None
                ],
            )
            database.executemany(
                "INSERT OR REPLACE INTO rejected"
                " SELECT place, kind, level, age, since, channel, records, data, body, ?, ? FROM waiting"
                " WHERE place = ? AND records > 0",
                self._rejected,
            )
            database.executemany("DELETE FROM waiting WHERE place = ?", [(place,) for place in self._gone])
            database.executemany(
                "INSERT INTO counts VALUES (?, ?, ?)"
                " ON CONFLICT (origin, reason) DO UPDATE SET records = records + excluded.records",
                [(*whose, records) for whose, records in self._counts.items()],
            )
            database.executemany(
                "INSERT OR REPLACE INTO users VALUES (?, ?, ?)",
                [
                    (facts.user_id, time.time(), json.dumps([dict(facts.properties), facts.aliases]))
                    for facts in self._identified.values()
                ],
            )
            database.executemany(
                "INSERT OR REPLACE INTO journals VALUES (?, ?, ?)",
                [(name, source.offset, outbox.newest) for name, source in self._sources.items()],
            )
            database.execute("UPDATE sender SET newest = ?, pace = ?", (outbox.newest, json.dumps(outbox.budget())))
        for place, *_, data in waiting:
            self._bytes[place] = len(data)
        for told in (self._new, self._lines, self._entries, self._requests, self._gone, self._rejected, self._counts):
            told.clear()
        self._identified.clear()
        self._is_dirty = False

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        write, converter = codec.write, self._converter
        for place, captured in self._new.items():
            if place not in self._entries:
                data = self._lines.get(place) or codec.write_record(captured, converter)
                level, since = captured.priority, captured.created
                shares = json.dumps(self._shares.get(place, {}))
                yield place, "record", level, place, since, self._channel_of(captured), 1, shares, data
        for place, entry in self._entries.items():
            kind = "fold" if isinstance(entry, Fold) else "digest"
            level, channel = -entry.rank[0], entry.key.channel if isinstance(entry, Fold) else entry.channel
            shares, data = json.dumps(self._shares.get(place, {})), write(entry.state(), converter)
            yield place, kind, level, entry.age, entry.last_seen, channel, entry.count, shares, data
        for place, attempt in self._requests.items():
            if (facts := attempt.facts) is not None:
                shares = json.dumps(self._shares.get(place, {}))
                data = write({"facts": [facts.user_id, dict(facts.properties), list(facts.aliases)]}, converter)
                yield place, "identify", attempt.priority, attempt.age, time.time(), "", attempt.records, shares, data

    def sweep(self, outbox: Outbox) -> None:
        """Delete journals that are read and abandoned, and what is too old."""
        for name, source in list(self._sources.items()):
            if source.is_read and source.is_abandoned and source.is_read:
                source.path.unlink(missing_ok=True)
                source.close()
                del self._sources[name]
        now = time.monotonic()
        if now < self._swept_at + _SWEEP:
            return
        self._swept_at = now
        oldest = time.time() - self._ttl
        outbox.expire(oldest)
        for path in journal.unfinished(self.path):
            path.unlink(missing_ok=True)
        database, names, origins = self._database, set(), set()
        for path in journal.paths(self.path):
            names.add(journal.name_of(path))
            origins.add(journal.origin_of(path))
        with self._transaction():
            database.executemany(
                "DELETE FROM journals WHERE name = ?",
                [row for row in database.execute("SELECT name FROM journals").fetchall() if row[0] not in names],
            )
            database.executemany(
                "DELETE FROM counts WHERE origin = ?",
                [
                    row
                    for row in database.execute("SELECT DISTINCT origin FROM counts").fetchall()
                    if row[0] not in origins
                ],
            )
            database.execute("DELETE FROM rejected WHERE at < ?", (oldest,))
            database.execute("DELETE FROM users WHERE at < ?", (oldest,))

    def requeue(self) -> int:
        """As the sender: let what was rejected wait again, and return how many events that are."""
        with self._transaction():
            columns = "kind, level, age, since, channel, records, data"
            (newest,) = self._database.execute("SELECT newest FROM sender").fetchone()
            rejected = self._database.execute(f"SELECT {columns} FROM rejected ORDER BY place").fetchall()  # noqa: S608
            self._database.executemany(
                f"INSERT INTO waiting (place, {columns}, shares) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{{}}')",  # noqa: S608
                [(newest + number, *row) for number, row in enumerate(rejected, 1)],
            )
            self._database.execute("UPDATE sender SET newest = ?", (newest + len(rejected),))
            self._database.execute("DELETE FROM rejected")
        return len(rejected)

    # As anybody

    def counts(self) -> tuple[int, dict[str, int]]:
        """Return how many of this process's records were delivered, and dropped by reason."""
        own = self.journal.origin
        rows = self._database.execute("SELECT reason, records FROM counts WHERE origin = ?", (own,)).fetchall()
        counted = Counter(dict(rows))
        (owner,) = self._database.execute("SELECT owner FROM sender").fetchone()
        if owner == own or (owner is None and self._substitute is not None):  # else another counts the same
            for (origin, reason), records in self._counts.items():
                if origin == own:
                    counted[reason] += records
        delivered = counted.pop(_DELIVERED, 0)
        return delivered, dict(counted)

    def is_settled(self, end: tuple[int, int]) -> bool:
        """Tell whether nothing of this process's journal up to `end` still waits."""
        number, offset = end
        row = self._database.execute(
            "SELECT offset, place FROM journals WHERE name = ?", (f"{self.journal.origin}.{number}",)
        ).fetchone()
        if row is None and not journal.exists(self.path, self.journal.origin, number):
            row = offset, self._database.execute("SELECT newest FROM sender").fetchone()[0]  # read, and deleted
        if row is None or row[0] < offset:
            return offset == 0
        waits = "SELECT 1 FROM waiting WHERE age <= ? AND instr(shares, ?) LIMIT 1"
        return self._database.execute(waits, (row[1], self.journal.origin)).fetchone() is None

    def waits(self) -> bool:
        """Tell whether anything waits, of whichever process."""
        if self._database.execute("SELECT 1 FROM waiting LIMIT 1").fetchone():
            return True
        offsets = dict(self._database.execute("SELECT name, offset FROM journals").fetchall())
        return any(journal.size_of(path) > offsets.get(journal.name_of(path), 0) for path in journal.paths(self.path))

    def is_shared(self) -> bool:
        """Tell whether another process that uses the spool is alive."""
        others = {journal.origin_of(path) for path in journal.paths(self.path)} - {self.journal.origin}
        return any(journal.is_alive(self.path, other) for other in others)

    def is_overfull(self) -> bool:
        """Tell whether this process's journal holds more that is not read than may wait."""
        return self._unread() > self._size

    def _unread(self) -> int:
        offsets = dict(self._database.execute("SELECT name, offset FROM journals").fetchall())
        own = [path for path in journal.paths(self.path) if journal.origin_of(path) == self.journal.origin]
        return sum(journal.size_of(path) - offsets.get(journal.name_of(path), 0) for path in own)

    def close(self) -> None:
        """Let go of the files."""
        is_read = False
        with contextlib.suppress(OSError, sqlite3.Error):
            is_read = not self._unread()
        self.journal.close(is_read=is_read)
        if self._substitute is not None:
            self._substitute.close()
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        self.disconnect()


@dataclass(frozen=True, slots=True)
class _Origin:
    journal: str
    line: bytes | None


@dataclass(frozen=True)
class Row:
    """What waits at one place of a spool, or was rejected.

    Attributes:
        kind: `record`, `fold`, `digest` or `identify`.
        level: of the most important record.
        since: when the oldest record was logged, in epoch seconds.
        channel: where it goes; empty where only the sender's options tell.
        records: log records that it stands for.
        entry: what waits, or `None` where it cannot be read.
        body: of the request that was started, or `None`.
        answer: why it was rejected, or an empty text.
    """

    kind: str
    level: int
    since: float
    channel: str
    records: int
    entry: CapturedRecord | Fold | Digest | IdentifyCall | None
    body: bytes | None = None
    answer: str = ""


def rows(path: Path) -> Iterator[Row]:
    """Return what waits in a spool, rows and what is still in the journals, and then what was rejected.

    Raises:
        OSError, sqlite3.Error: where there is no spool that can be read.
    """
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY)) as database:
        columns = "kind, level, since, channel, records, data, body"
        for row in database.execute(f"SELECT {columns} FROM waiting ORDER BY level DESC, age").fetchall():  # noqa: S608
            yield _row(*row)
        for row in _unread(path, dict(database.execute("SELECT name, offset FROM journals").fetchall())):
            yield row
        for row in database.execute(f"SELECT {columns}, answer FROM rejected ORDER BY at").fetchall():  # noqa: S608
            yield _row(*row)


def _row(kind: str, level: int, since: float, channel: str, records: int, data: bytes, *more: Any) -> Row:
    try:
        entry = _ENTRIES[kind](codec.read(data))
    except (ValueError, KeyError, TypeError, AttributeError):
        entry = None
    return Row(kind, level, since, channel, records, entry, *more)


def _unread(path: Path, offsets: Mapping[str, int]) -> Iterator[Row]:
    for each in journal.paths(path):
        source = journal.Source(each, offsets.get(journal.name_of(each), 0))
        with contextlib.closing(source):
            while lines := source.read(journal.CHUNK):
                for line in lines:
                    with contextlib.suppress(ValueError):
                        captured = codec.read_record(line)
                        yield Row("record", captured.priority, captured.created, "", 1, captured)


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._database.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


_ENTRIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "record": codec.record_in,
    "fold": Fold.of,
    "digest": Digest.of,
    "identify": lambda noted: IdentifyCall(noted["facts"][0], noted["facts"][1], tuple(noted["facts"][2])),
}
