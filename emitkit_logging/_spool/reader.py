"""Reads the journals of all processes, as the sender does it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from emitkit_logging._spool import journal


class JournalReader:
    """How far each journal of a spool was read.

    Args:
        spool: path of the spool.

    Attributes:
        is_behind: whether the last `read` left lines unread.
        has_moved: whether anything was read since it was last set to `False`.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._offsets: dict[str, int] = {}
        self._sources: dict[str, journal.Source] = {}
        self.is_behind = False
        self.has_moved = False

    def go_on(self, offsets: Mapping[str, int]) -> None:
        """Continue where the sender before this one stopped.

        Args:
            offsets: bytes that were read of each file, by its name. What this process read while it was the sender
                counts where they say nothing: the database may have been set aside since.
        """
        read = dict(self.positions())
        self.close()
        self._offsets = read | dict(offsets)

    def read(self, most: int) -> Iterator[tuple[str, list[bytes]]]:
        """Return the origin and the new whole lines of each journal, about `most` bytes of each.

        No more than that, since a process may log as fast as this one reads.
        """
        self.is_behind = False
        for path in journal.paths(self._spool):
            source = self._source(path)
            if source is None:
                continue
            lines = source.read(most)
            if not lines and source.is_torn:
                lines = source.read(most) or source.skip()
                self.has_moved = True
            if lines:
                self.has_moved = True
                self.is_behind = self.is_behind or not source.is_read
                yield source.origin, lines

    def _source(self, path: Path) -> journal.Source | None:
        name = journal.name_of(path)
        source = self._sources.get(name)
        if source is not None and not source.is_ours:
            self._offsets[name] = source.offset
            source = None
        if source is None:
            try:
                source = self._sources[name] = journal.Source(path, self._offsets.get(name, 0))
            except OSError:  # it was read and deleted, or it cannot be opened now: the others are read all the same
                return None
        return source

    def positions(self) -> list[tuple[str, int]]:
        """Return the name of each open file, and how many bytes of it were read."""
        return [(name, source.offset) for name, source in self._sources.items()]

    def delete_finished(self) -> None:
        """Delete the files that are read and that no process appends to any more."""
        for name, source in list(self._sources.items()):
            if not source.is_ours:
                continue
            # looked at twice: its process may have appended a line and ended between the first look and the second
            if source.is_read and source.is_abandoned and source.is_read:
                with contextlib.suppress(OSError):  # gone, or not ours to delete: it has nothing that is not read
                    source.path.unlink()
                source.close()
                del self._sources[name]

    def close(self) -> None:
        """Close the files."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
