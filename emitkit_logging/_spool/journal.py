"""The journal of one process: what it has accepted, read by the process that sends.

A logging call writes one line, without a lock. What was written outlives the process, though not a power cut. A journal
is a series of files beside the spool, `<spool>.<origin>.<number>.journal`. Each is locked by its process: where the
lock is free, the process is gone. The lines are those of `emitkit_logging._spool.codec`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from emitkit_logging._spool import files
from emitkit_logging._spool.disk import DiskShare
from emitkit_logging._worker import native
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.descriptors import OwnDescriptor, far_away

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

IS_POSSIBLE = fcntl is not None
"""Whether this system has the locks that show whether a process is alive."""

CHUNK = 256 * 1024
"""Bytes that are read at a time."""

_CHECK = 0.1
"""Seconds after which a writer makes sure again that the descriptor is ours; its number is none that is used soon."""

_REFUSAL = 0.02
"""Seconds for which nothing is written after the files together had become too long."""

_TRIES = 10
_MOST_RETIRED = 2
_SUFFIX = ".journal"
_MAKING = ".making"
_NAME = re.compile(rf"[0-9a-zA-Z_-]+\.[0-9]{{1,9}}\{_SUFFIX}", re.ASCII)
"""The name of a journal's file behind that of the spool: origin and number."""
_MAKING_NAME = re.compile(rf"[0-9a-zA-Z_-]+\.[0-9]{{1,9}}\{_MAKING}", re.ASCII)
_MADE_WITHIN = 60.0


class Journal:
    """The journal of this process.

    Args:
        spool: path of the spool that it belongs to.
        size: bytes that may wait in the spool, see `DiskShare`.

    Raises:
        OSError: where its file cannot be made.

    Attributes:
        origin: a name that no other journal has, the process id and a random number.
        unread: about how many lines were appended since it was last set to zero.
    """

    def __init__(self, spool: Path, size: int) -> None:
        self._spool = spool
        self._share = DiskShare(spool, size)
        self._is_torn = False
        self._changing = native.Token()
        self._counting = threading.Lock()
        self._closed_lines = 0
        self._retired: list[_Segment] = []
        self._is_closed = False
        self.origin = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.unread = 0
        self._segment = self._open(0)

    def _open(self, number: int) -> _Segment:
        path = _path(self._spool, self.origin, number)
        making = path.with_suffix(_MAKING)
        descriptor = far_away(os.open(making, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW, 0o600))
        # locked before it has its name: a process that finds it unlocked may delete it
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        making.rename(path)
        return _Segment(path, number, descriptor)

    def append(self, line: bytes) -> bool:
        """Append a line in one step that no other thread can interrupt.

        Args:
            line: the line, its end included.

        Returns:
            Whether the whole line is there; not so on a full disk, or where the files use what they may.
        """
        if self._is_torn:
            line = b"\n" + line
        for _ in range(_TRIES):
            segment = self._segment
            if (segment.size + len(line) > segment.limit or monotonic() > segment.check_at) and not self._check(line):
                return False
            segment.writers.append(None)
            try:
                if segment is not self._segment:  # another thread went on to the next file in the meantime
                    continue
                written = os.write(segment.descriptor.number, line)
            except OSError:
                segment.check_at = 0.0
                if segment.descriptor.is_ours:
                    return False
                continue
            finally:
                segment.writers.pop()
            segment.size += written
            self._is_torn = written != len(line)  # what follows starts a line of its own
            self.unread += 1  # not exact where threads meet here: a hint
            return not self._is_torn
        return False

    def _check(self, line: bytes) -> bool:
        """Make sure that the file is ours and may take a line; go on in the next file if it is not, or is long.

        Returns:
            Whether the line may be written. While another thread is here, what it is here for does not stop this one.
        """
        segment = self._segment
        if not self._changing.acquire(0.0):
            return not self._is_closed and segment.size + len(line) <= segment.limit + self._share.segment // 8
        try:
            if self._is_closed:
                return False
            if not segment.measure():
                return self._lost()
            return self._may_grow(segment, len(line))
        except OSError:
            return False
        finally:
            self._changing.release()

    def _may_grow(self, segment: _Segment, size: int) -> bool:
        now = monotonic()
        if segment.size + size <= segment.limit:
            return True
        if now < segment.refused_until:
            return False
        granted = self._share.grant(size)
        if granted:
            if segment.size >= self._share.segment:
                segment = self._turn()
            segment.limit = segment.size + granted
            return True
        segment.refused_until = now + _REFUSAL
        return False

    def _turn(self) -> _Segment:
        """Go on in another file, and return it."""
        segment = self._segment
        self._segment = self._open(segment.number + 1)
        self._retired.append(segment)
        if len(self._retired) > _MOST_RETIRED:
            self._close_retired()
        return self._segment

    def _lost(self) -> bool:
        """Go on in another file: the application has closed this one, and what its number refers to is not ours."""
        segment = self._segment
        self._segment = self._open(segment.number + 1)
        with self._counting:
            self._closed_lines += segment.lines()
        return True

    def _close_retired(self) -> None:
        with self._counting:
            for segment in [each for each in self._retired if not each.writers]:
                self._retired.remove(segment)
                self._closed_lines += segment.lines()
                segment.descriptor.close()

    def end(self) -> tuple[int, int]:
        """Return the end of the journal: the number of its last file, and the bytes of that file."""
        segment = self._segment
        return segment.number, size_of(segment.path)

    def lines(self) -> int:
        """Count the lines appended so far."""
        with self._counting:
            return self._closed_lines + sum(segment.lines() for segment in (*self._retired, self._segment))

    def tidy(self, *, is_read: bool = False) -> None:
        """Close files that no thread writes to any more, and go on in another one where that is of use.

        Args:
            is_read: whether all of it was read, so that the file can be deleted if this process goes on in another.
        """
        if not self._changing.acquire(0.0):
            return
        try:
            if self._is_closed:
                return
            segment = self._segment
            if not segment.measure():
                self._lost()
            elif is_read and segment.size >= self._share.segment // 16:
                self._turn()
            self._close_retired()
        except OSError:  # no file can be made: it goes on in this one
            return
        finally:
            self._changing.release()

    def close(self, *, is_read: bool) -> None:
        """Close the files.

        Args:
            is_read: whether all of it was read; then the last file is deleted.
        """
        self._is_closed = True
        if is_read:
            with contextlib.suppress(OSError):
                self._segment.path.unlink()
        self._segment.limit = 0
        with self._counting:
            for segment in (*self._retired, self._segment):
                segment.lines()
                segment.descriptor.close()

    def abandon(self) -> None:
        """Close what a forked child has inherited: the files, and their locks, are the parent's."""
        for segment in (*self._retired, self._segment):
            segment.descriptor.close()


class _Segment:
    """One file of a journal, as its process writes it.

    Attributes:
        path: of the file.
        number: of the file.
        descriptor: open for appending, and locked.
        writers: an entry for each thread that is about to write; the file is not closed meanwhile.
        size: about its bytes.
        limit: bytes that it may have.
        check_at: when to make sure that the descriptor still is that of the file.
        refused_until: when to ask again for more bytes.
    """

    def __init__(self, path: Path, number: int, descriptor: int) -> None:
        self.path = path
        self.number = number
        self.descriptor = OwnDescriptor(descriptor)
        self.writers: deque[None] = deque()
        self.size = 0
        self.limit = 0
        self.check_at = 0.0
        self.refused_until = 0.0
        self._offset = 0
        self._lines = 0

    def measure(self) -> bool:
        """Find out its size; return whether the descriptor still is that of the file."""
        if not self.descriptor.is_ours:
            return False
        self.size = os.lseek(self.descriptor.number, 0, os.SEEK_END)
        self.check_at = monotonic() + _CHECK
        return True

    def lines(self) -> int:
        """Count the lines, also those of a file whose descriptor was closed by the application."""
        if self.descriptor.is_ours:
            self._count(self.descriptor.number)
        else:
            with contextlib.suppress(OSError), FileIO(files.open_own(self.path), "r") as file:
                self._count(file.fileno())
        return self._lines

    def _count(self, descriptor: int) -> None:
        while data := os.pread(descriptor, CHUNK, self._offset):
            self._offset += len(data)
            self._lines += data.count(b"\n")


class Source:
    """A file of a journal, for its reader.

    Args:
        path: of the file.
        offset: bytes of it that were read before.

    Raises:
        OSError: where it cannot be opened, or others may have written it.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.offset = offset
        self.name, self.origin = _names(path)
        self._descriptor = OwnDescriptor(files.open_own(path))

    @property
    def is_ours(self) -> bool:
        """Whether its descriptor still is that of the file, and was not closed by the application."""
        return self._descriptor.is_ours

    def _size(self) -> int:
        return os.fstat(self._descriptor.number).st_size

    def read(self, most: int) -> list[bytes]:
        """Return the next whole lines without their ends, about `most` bytes, and go on behind them."""
        data = os.pread(self._descriptor.number, most, self.offset)
        kept = data.rfind(b"\n") + 1
        if not kept and len(data) == most:
            data = self._first_line(data)
            kept = len(data)
        self.offset += kept
        return data[:kept].split(b"\n")[:-1]

    def _first_line(self, beginning: bytes) -> bytes:
        """Return a line that is longer than what is read at a time, its end included; nothing where it has no end."""
        parts, offset = [beginning], self.offset + len(beginning)
        while data := os.pread(self._descriptor.number, CHUNK, offset):
            end = data.find(b"\n") + 1
            parts.append(data[:end] if end else data)
            if end:
                return b"".join(parts)
            offset += len(data)
        return b""

    @property
    def is_read(self) -> bool:
        """Whether all of it was read."""
        return self._size() <= self.offset

    @property
    def is_torn(self) -> bool:
        """Whether only a part of a line is left, whose process was killed while it wrote.

        The kernel may end a write in the middle, where a page of memory ends.
        """
        return not self.is_read and self.is_abandoned

    def skip(self) -> list[bytes]:
        """Go to the end, and return no lines: the call that wrote the last one never returned."""
        self.offset = self._size()
        return []

    @property
    def is_abandoned(self) -> bool:
        """Whether its process is gone, or goes on in another file."""
        return not _is_locked(self._descriptor.number)

    def close(self) -> None:
        """Close the file."""
        self._descriptor.close()


def paths(spool: Path) -> Iterator[Path]:
    """Return the files of all journals of a spool, the older files of each journal first.

    Files that others may have put there are left out.
    """
    return iter(sorted(filter(files.is_own, _beside(spool, _NAME)), key=lambda path: _key(path.name)))


def refused(spool: Path) -> Iterator[str]:
    """Return for each file that has the name of a journal and is not read why that is so."""
    return filter(None, map(files.problem, sorted(_beside(spool, _NAME))))


def unfinished(spool: Path) -> Iterator[Path]:
    """Return the files of processes that were killed while they made their journal."""
    for path in _beside(spool, _MAKING_NAME):
        if not files.is_own(path, is_mode_checked=False):
            continue
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > _MADE_WITHIN:
                yield path


def _beside(spool: Path, name: re.Pattern[str]) -> list[Path]:
    begin = f"{spool.name}."
    found = [path for path in spool.parent.iterdir() if path.name.startswith(begin)]
    return [path for path in found if name.fullmatch(path.name, len(begin))]


def name_of(path: Path) -> str:
    """Return the name of a journal's file in the database: origin and number."""
    return _names(path)[0]


def origin_of(path: Path) -> str:
    """Return the origin of a journal's file."""
    return _names(path)[1]


def size_of(path: Path) -> int:
    """Return the bytes of a journal's file; 0 where it was read and deleted in the meantime."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def exists(spool: Path, origin: str, number: int) -> bool:
    """Whether a file of a journal is still there."""
    return _path(spool, origin, number).exists()


def is_alive(spool: Path, origin: str) -> bool:
    """Whether the process of a journal still runs."""
    for path in paths(spool):
        if _names(path)[1] == origin:
            with contextlib.suppress(OSError), FileIO(files.open_own(path), "r") as file:
                if _is_locked(file.fileno()):
                    return True
    return False


def locked(path: Path) -> FileIO | None:
    """Return a file, locked until it is closed or the process ends; `None` where another process has the lock."""
    file = FileIO(files.open_own(path), "r")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def unlock(file: FileIO) -> None:
    """Release the lock on a file that stays open."""
    fcntl.flock(file, fcntl.LOCK_UN)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _path(spool: Path, origin: str, number: int) -> Path:
    return spool.with_name(f"{spool.name}.{origin}.{number}{_SUFFIX}")


def _names(path: Path) -> tuple[str, str]:
    parts = path.name.split(".")
    return f"{parts[-3]}.{parts[-2]}", parts[-3]


def _key(name: str) -> tuple[str, int]:
    parts = name.split(".")
    return parts[-3], int(parts[-2])
