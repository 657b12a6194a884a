"""Descriptors of our files and sockets, in a process that may close all descriptors, as daemons do.

A number that was closed behind our back is soon that of a file of the application. Device and inode show whether it
still is ours; what is not ours is neither written to nor closed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import sqlite3

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]

Identity: TypeAlias = "tuple[int, int]"
"""Device and inode."""

_BELOW_LIMIT = 64
_FREE_IN_A_ROW = 256


def identity_of(number: int) -> Identity | None:
    """Return device and inode of an open descriptor; `None` if it is closed."""
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class OwnDescriptor:
    """A descriptor of a file of ours.

    Args:
        number: of the descriptor, just opened.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = identity_of(number)

    @property
    def is_ours(self) -> bool:
        """Whether it still is that file's."""
        return self._identity is not None and identity_of(self.number) == self._identity

    def close(self) -> None:
        """Close it, once, unless it belongs to something else by now."""
        if self.is_ours:
            os.close(self.number)
        self._identity = None


def far_away(number: int) -> int:
    """Move a descriptor to a number that no file of the application gets soon, and return that number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = (4096 if soft == resource.RLIM_INFINITY else min(soft, 65_536)) - _BELOW_LIMIT
    try:
        moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, max(lowest, 0))
    except OSError:
        return number
    os.close(number)
    return moved


def open_descriptors() -> set[int]:
    """Return the numbers of the open descriptors among which a file that is opened next gets its own.

    A new file gets the lowest number that is free, so the search ends after many free numbers in a row. It opens
    nothing itself: a list of the system would need a descriptor, which the application could close in the meantime.
    """
    found: set[int] = set()
    number = 0
    free = 0
    while free < _FREE_IN_A_ROW:
        if identity_of(number) is None:
            free += 1
        else:
            found.add(number)
            free = 0
        number += 1
    return found


def descriptors_of(path: Path, before: Iterable[int]) -> dict[int, Identity]:
    """Return the descriptors of a database that are open now and were not before.

    Args:
        path: path of the database.
        before: what `open_descriptors` returned before.
    """
    files = set()
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            found = path.with_name(path.name + suffix).stat()
            files.add((found.st_dev, found.st_ino))
    new = {number: identity_of(number) for number in open_descriptors().difference(before)}
    return {number: identity for number, identity in new.items() if identity is not None and identity in files}


def are_ours(descriptors: Mapping[int, Identity]) -> bool:
    """Whether all of some descriptors still belong to the same files."""
    return all(identity_of(number) == identity for number, identity in descriptors.items())


def close_robbed(connection: sqlite3.Connection, descriptors: Mapping[int, Identity]) -> None:
    """Close a connection whose descriptors were closed, without effect on the files that have their numbers now.

    SQLite closes by number, and may write first. So the numbers refer for that moment to a file that takes no writes
    and no write locks, and are given back.

    Args:
        connection: to close.
        descriptors: those that it had.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    kept: dict[int, tuple[int, bool]] = {}
    for number, identity in descriptors.items():
        saved = None if identity_of(number) == identity else _replace(number, nothing)
        if saved is not None:
            kept[number] = saved
    try:
        connection.close()
    finally:
        for number, (copy, is_inheritable) in kept.items():
            os.dup2(copy, number, inheritable=is_inheritable)
            os.close(copy)
        os.close(nothing)


def _replace(number: int, by: int) -> tuple[int, bool] | None:
    """Let a number refer to the file of another one.

    Returns:
        What the number referred to, as a descriptor, and whether it is inherited; `None` if it was free.
    """
    got: int = fcntl.fcntl(by, fcntl.F_DUPFD_CLOEXEC, number)
    if got == number:  # it was free, and SQLite closes it
        return None
    os.close(got)
    saved = os.dup(number), os.get_inheritable(number)
    os.dup2(by, number, inheritable=False)
    return saved
