"""The files of a spool, in a directory that others may be able to write.

A file counts only where nobody but the user of this process can have written it: a regular file of that user, which
nobody else may open and which has one name only. Anything else is neither read nor written, and no link is followed: a
pipe would stop the reader, and a link could name any file of this user.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MODE = 0o600
_ROOT = 0


class UnsafeFileError(OSError):
    """A file that others may have put there, or may open."""


def check(path: Path, *, is_mode_checked: bool = True) -> None:
    """Make sure that a file is one of this user's own, without opening it.

    Args:
        path: of the file.
        is_mode_checked: whether nobody else may have access.

    Raises:
        UnsafeFileError: if it is not; the text says why.
        OSError: if there is no such file.
    """
    _raise_if(path, _problem(found := path.lstat()) or (_mode_problem(found) if is_mode_checked else ""))


def is_own(path: Path, *, is_mode_checked: bool = True) -> bool:
    """Whether a file is there and is one of this user's own; the arguments are those of `check`."""
    try:
        check(path, is_mode_checked=is_mode_checked)
    except OSError:
        return False
    return True


def problem(path: Path) -> str:
    """Return why `check` refuses a file, or an empty text; also where there is no such file."""
    try:
        check(path)
    except UnsafeFileError as error:
        return str(error)
    except OSError:
        pass
    return ""


def open_own(path: Path) -> int:
    """Open a file for reading if it is one of this user's own, and return its descriptor.

    Raises:
        UnsafeFileError: if it is not; the text says why.
        OSError: if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _raise_if(path, _problem(found := os.fstat(descriptor)) or _mode_problem(found))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_folder(path: Path) -> None:
    """Make sure that no link on the way to a file belongs to another user, who could let it lead anywhere.

    Raises:
        UnsafeFileError: if one does.
    """
    for folder in path.absolute().parents:
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in (os.geteuid(), _ROOT):
            raise UnsafeFileError(f"{folder} is a link of another user")


def belongs_to_us(found: os.stat_result) -> bool:
    """Whether a file belongs to the user of this process."""
    return found.st_uid == os.geteuid()


def _raise_if(path: Path, problem: str) -> None:
    if problem:
        raise UnsafeFileError(f"{path.name} {problem}")


def _problem(found: os.stat_result) -> str:
    """Return why a file is not used, whatever its mode, or an empty text."""
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if stat.S_ISDIR(found.st_mode):
        return "is a directory"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if not belongs_to_us(found):
        return "belongs to another user"
    return "has another name, too" if found.st_nlink > 1 else ""


def _mode_problem(found: os.stat_result) -> str:
    mode = stat.S_IMODE(found.st_mode)
    return f"may be used by others: its mode is {mode:o}, not {_MODE:o}" if mode & ~_MODE else ""
