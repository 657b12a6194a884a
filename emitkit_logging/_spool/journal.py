"""The journal of one process: what it has accepted, read by the process that sends.

A logging call writes one line, without a lock. What was written outlives the process, though not a power cut. A journal
is a series of files beside the spool, `<spool>.<origin>.<number>.journal`. Each is locked by its process: where the
lock is free, the process is gone. The lines are those of `emitkit_logging._spool.codec`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

IS_POSSIBLE = fcntl is not None
"""Whether this system has the locks that show whether a process is alive."""

SEGMENT = 4 * 1024 * 1024
"""Bytes after which a journal goes on in another file, so that a file that is read can be deleted."""

CHUNK = 256 * 1024
"""Bytes that are read at a time."""

_SUFFIX = ".journal"
_MAKING = ".making"
_MADE_WITHIN = 60.0


class Journal:
    """The journal of this process.

    Args:
        spool: path of the spool that it belongs to.

    Raises:
        OSError: where its file cannot be made.

    Attributes:
        origin: a name that no other journal has, the process id and a random number.
        unread: about how many lines were appended since it was last set to zero.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._number = 0
        self._is_torn = False
        self._counting = threading.Lock()
        self._closed_lines = 0
        self.origin = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.unread = 0
        self._file = self._open()
        self._counts = [_Count(self._file)]

    def _open(self) -> FileIO:
        path = _path(self._spool, self.origin, self._number)
        making = path.with_suffix(_MAKING)
        file = FileIO(os.open(making, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600), "a+")
        # locked before it has its name: a process that finds it unlocked may delete it
        fcntl.flock(file, fcntl.LOCK_EX)
        making.rename(path)
        return file

    def append(self, line: bytes) -> bool:
        """Append a line in one step that no other thread can interrupt.

        Args:
            line: the line, its end included.

        Returns:
            Whether the whole line is there; not so on a full disk.
        """
        if self._is_torn:
            line = b"\n" + line
        while True:
            file = self._file
            try:
                written = file.write(line)
            except OSError:
                return False
            except ValueError:  # closed: another thread went on to the next file in the meantime
                if file is self._file:
                    return False
                continue
            self._is_torn = written != len(line)  # what follows starts a line of its own
            self.unread += 1  # not exact where threads meet here: a hint
            return not self._is_torn

    def end(self) -> tuple[int, int]:
        """Return the end of the journal: the number of its last file, and the bytes of that file."""
        number, file = self._number, self._file
        return number, os.fstat(file.fileno()).st_size

    def lines(self) -> int:
        """Count the lines appended so far."""
        with self._counting:
            return self._closed_lines + sum(count.lines() for count in self._counts)

    def turn(self) -> None:
        """Go on in another file if this one is long. One thread calls this, at intervals longer than one write."""
        with self._counting:
            if len(self._counts) > 1:
                # a thread that took this file before the last call has written by now
                retired = self._counts.pop(0)
                self._closed_lines += retired.lines()
                retired.file.close()
            if os.fstat(self._file.fileno()).st_size < SEGMENT:
                return
            self._number += 1
            try:
                self._file = self._open()
            except OSError:
                self._number -= 1
                return
            self._counts.append(_Count(self._file))

    def close(self, *, is_read: bool) -> None:
        """Close the files.

        Args:
            is_read: whether all of it was read; then the last file is deleted.
        """
        if is_read:
            _path(self._spool, self.origin, self._number).unlink(missing_ok=True)
        with self._counting:
            self._closed_lines += sum(count.lines() for count in self._counts)
            for count in self._counts:
                count.file.close()
            self._counts.clear()


class _Count:
    def __init__(self, file: FileIO) -> None:
        self.file = file
        self._offset = 0
        self._lines = 0

    def lines(self) -> int:
        while data := os.pread(self.file.fileno(), CHUNK, self._offset):
            self._offset += len(data)
            self._lines += data.count(b"\n")
        return self._lines


class Source:
    """A file of a journal, for its reader.

    Args:
        path: of the file.
        offset: bytes of it that were read before.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.offset = offset
        self.name, self.origin = _names(path)
        self._file = FileIO(path, "r")

    def read(self, most: int) -> list[bytes]:
        """Return the next whole lines without their ends, about `most` bytes, and go on behind them."""
        data = os.pread(self._file.fileno(), most, self.offset)
        kept = data.rfind(b"\n") + 1
        if not kept and len(data) == most:
            data = self._first_line(data)
            kept = len(data)
        self.offset += kept
        return data[:kept].split(b"\n")[:-1]

    def _first_line(self, beginning: bytes) -> bytes:
        """Return a line that is longer than what is read at a time, its end included; nothing where it has no end."""
        parts, offset = [beginning], self.offset + len(beginning)
        while data := os.pread(self._file.fileno(), CHUNK, offset):
            end = data.find(b"\n") + 1
            parts.append(data[:end] if end else data)
            if end:
                return b"".join(parts)
            offset += len(data)
        return b""

    @property
    def is_read(self) -> bool:
        """Whether all of it was read."""
        return os.fstat(self._file.fileno()).st_size <= self.offset

    @property
    def is_torn(self) -> bool:
        """Whether only a part of a line is left, whose process was killed while it wrote.

        The kernel may end a write in the middle, where a page of memory ends.
        """
        return not self.is_read and self.is_abandoned

    def skip(self) -> list[bytes]:
        """Go to the end, and return no lines: the call that wrote the last one never returned."""
        self.offset = os.fstat(self._file.fileno()).st_size
        return []

    @property
    def is_abandoned(self) -> bool:
        """Whether its process is gone, or goes on in another file."""
        return not _is_locked(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def paths(spool: Path) -> Iterator[Path]:
    """Return the files of all journals of a spool, the older files of each journal first."""
    found = [path for path in spool.parent.iterdir() if path.name.startswith(f"{spool.name}.")]
    return iter(sorted((path for path in found if path.suffix == _SUFFIX), key=lambda path: _key(path.name)))


def unfinished(spool: Path) -> Iterator[Path]:
    """Return the files of processes that were killed while they made their journal."""
    for path in spool.parent.iterdir():
        if path.name.startswith(f"{spool.name}.") and path.suffix == _MAKING:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _MADE_WITHIN:
                    yield path


def name_of(path: Path) -> str:
    """Return the name of a journal's file in the database: origin and number."""
    return _names(path)[0]


def origin_of(path: Path) -> str:
    """Return the origin of a journal's file."""
    return _names(path)[1]


def size_of(path: Path) -> int:
    """Return the bytes of a journal's file; 0 where it was read and deleted in the meantime."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def exists(spool: Path, origin: str, number: int) -> bool:
    """Whether a file of a journal is still there."""
    return _path(spool, origin, number).exists()


def is_alive(spool: Path, origin: str) -> bool:
    """Whether the process of a journal still runs."""
    for path in paths(spool):
        if _names(path)[1] == origin:
            with contextlib.suppress(OSError), FileIO(path, "r") as file:
                if _is_locked(file):
                    return True
    return False


def locked(path: Path) -> FileIO | None:
    """Return a file, locked until it is closed or the process ends; `None` where another process has the lock."""
    file = FileIO(path, "r")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_locked(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _path(spool: Path, origin: str, number: int) -> Path:
    return spool.with_name(f"{spool.name}.{origin}.{number}{_SUFFIX}")


def _names(path: Path) -> tuple[str, str]:
    parts = path.name.split(".")
    return f"{parts[-3]}.{parts[-2]}", parts[-3]


def _key(name: str) -> tuple[str, int]:
    parts = name.split(".")
    return parts[-3] if len(parts) > 2 else "", int(parts[-2]) if parts[-2].isdigit() else 0
