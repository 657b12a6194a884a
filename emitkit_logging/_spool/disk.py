"""How much of the disk the files of a spool may use, together and at any moment: at most twice `spool_size`.

Of `spool_size`, three quarters may wait as rows and one quarter in journals. SQLite's log is at most as long as the
rows, when one transaction changes nearly all of them. The journals are written by several processes at any speed, so
each asks for a small share at a time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from emitkit_logging._spool import files

_SEGMENT = 4 * 1024 * 1024
_LEAST = 4096
_UNUSABLE = ".unusable-"


def rows_size(size: int) -> int:
    """Return the bytes of `spool_size` that rows may have."""
    return size * 3 // 4


class DiskShare:
    """What the journal of one process may still write.

    Args:
        spool: path of the database; the journals lie beside it.
        size: `spool_size`, in bytes.

    Attributes:
        segment: bytes after which a journal goes on in another file, so that a file that is read can be deleted.
    """

    def __init__(self, spool: Path, size: int) -> None:
        self._spool = spool
        self._size = size
        self.segment = max(_LEAST, min(_SEGMENT, size // 32))

    def grant(self, needed: int) -> int:
        """Return the bytes that a journal may grow by before it asks again; others may ask at the same moment.

        Args:
            needed: bytes of the line that is to be written now.

        Returns:
            At least `needed`, or 0.
        """
        journals, rest, origins = self._used()
        left = min(self._size - rows_size(self._size) - journals, self._size * 19 // 10 - journals - rest)
        share = left // (2 * max(origins, 1))
        return max(needed, min(share, self.segment // 2)) if needed <= share else 0

    def _used(self) -> tuple[int, int, int]:
        """Return the bytes of the journals and of the database, and the number of journals."""
        journals = rest = 0
        origins = set()
        begin = self._spool.name
        with os.scandir(self._spool.parent) as entries:
            for entry in entries:
                if not entry.name.startswith(begin) or entry.name.startswith(begin + _UNUSABLE):
                    continue
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if not files.belongs_to_us(found):
                        continue
                    used = found.st_size
                    if entry.name.endswith(".journal"):
                        journals += used
                        origins.add(entry.name.split(".")[-3])
                    else:
                        rest += used
        return journals, rest, len(origins)
