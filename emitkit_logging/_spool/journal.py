"""Journal: what one process has accepted, appended to by its threads, read by whichever process sends.

One write of a line is all that a logging call does: no lock, and what was written outlives the process, though not a
power cut. A journal is a series of files beside the spool, each locked by its writer, so that whoever can lock it knows
that the writer is gone.
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
"""Whether this system has the locks that tell whether a process is alive."""

SEGMENT = 4 * 1024 * 1024
"""Bytes after which a journal goes on in another file, so that the read one can be deleted."""

CHUNK = 256 * 1024
"""Bytes that are read at a time."""

_SUFFIX = ".journal"
_MAKING = ".making"
_MADE_WITHIN = 60.0
_LONGEST = 64 * 1024 * 1024


class Journal:
    """The journal of this process.

    Args:
        spool: path of the spool that it belongs to.

    Raises:
        OSError: where its file cannot be made.

    Attributes:
        origin: what tells this journal from those of all other processes, ever.
        unread: about how many lines were appended since somebody set it to zero.
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
        # locked before it has its name: whoever finds it unlocked may delete it
        fcntl.flock(file, fcntl.LOCK_EX)
        making.rename(path)
        return file

    def append(self, line: bytes) -> bool:
        """Append a line, its end included, in one step that no other thread can interrupt.

        Returns:
            Whether it is there; not so on a full disk.
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
        """Return where the journal ends: the number of its file, and bytes."""
        number, file = self._number, self._file
        return number, os.fstat(file.fileno()).st_size

    def lines(self) -> int:
        """Count the lines appended so far."""
        with self._counting:
            return self._closed_lines + sum(count.lines() for count in self._counts)

    def turn(self) -> None:
        """Go on in another file where this one has grown long; called now and then, by one thread."""
        with self._counting:
            if len(self._counts) > 1:
                # since the last call every thread that had it in hand has written
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
        """Leave it to others, or delete it where they have read it."""
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
    """A journal's file, as its reader sees it.

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
        """Return the next whole lines, without their ends, about `most` bytes of them, and move on behind them."""
        data = os.pread(self._file.fileno(), most, self.offset)
        kept = data.rfind(b"\n") + 1
        if not kept and len(data) == most:
            data += os.pread(self._file.fileno(), _LONGEST, self.offset + most)
            kept = data.find(b"\n") + 1
        self.offset += kept
        return data[:kept].split(b"\n")[:-1]

    @property
    def is_read(self) -> bool:
        """Whether there is nothing more in it."""
        return os.fstat(self._file.fileno()).st_size <= self.offset

    @property
    def is_torn(self) -> bool:
        """Whether there is only a part of a line, whose process was killed in the middle of writing it.

        A kernel that kills may leave a write half done where a page ends.
        """
        return not self.is_read and self.is_abandoned

    def skip(self) -> list[bytes]:
        """Move to the end, and return no lines: the call that was writing the last one never returned."""
        self.offset = os.fstat(self._file.fileno()).st_size
        return []

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody will append to it any more."""
        return not _is_locked(self._file)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def paths(spool: Path) -> Iterator[Path]:
    """Return the files of all journals of a spool, the older ones of each first."""
    found = [path for path in spool.parent.iterdir() if path.name.startswith(f"{spool.name}.")]
    return iter(sorted((path for path in found if path.suffix == _SUFFIX), key=lambda path: _key(path.name)))


def unfinished(spool: Path) -> Iterator[Path]:
    """Return what is left of journals whose processes were killed while they made them."""
    for path in spool.parent.iterdir():
        if path.name.startswith(f"{spool.name}.") and path.suffix == _MAKING:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _MADE_WITHIN:
                    yield path


def name_of(path: Path) -> str:
    """Return what tells the file of a journal from all others: its origin and number."""
    return _names(path)[0]


def origin_of(path: Path) -> str:
    """Return what tells the process that writes a journal from all others."""
    return _names(path)[1]


def size_of(path: Path) -> int:
    """Return a journal's bytes; none where it was read and deleted in the meantime."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def exists(spool: Path, origin: str, number: int) -> bool:
    """Tell whether that file of that journal is still there."""
    return _path(spool, origin, number).exists()


def is_alive(spool: Path, origin: str) -> bool:
    """Tell whether the process with that journal still runs."""
    for path in paths(spool):
        if _names(path)[1] == origin:
            with contextlib.suppress(OSError), FileIO(path, "r") as file:
                if _is_locked(file):
                    return True
    return False


def locked(path: Path) -> FileIO | None:
    """Return a file, locked until it is closed or the process ends; `None` where another process has it."""
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
