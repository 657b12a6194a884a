"""`emitkit-logging spool`: show, export, deliver or requeue what waits in a spool.

Each function prints for a person and returns the exit status. It raises an `OSError`, `ValueError` or `sqlite3.Error`
when the spool cannot be used.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emitkit_logging import EmitKitFormatter, EmitKitHandler
from emitkit_logging._events.captured import CapturedRecord, restore
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._spool import listing, spool
from emitkit_logging.cli.masking import Mask

PATIENCE = 15.0
"""Seconds to wait for another process that sends: longer than the lease of a stopped process lasts."""

POLL_INTERVAL = 0.1
"""Seconds between two looks at the spool."""

_MASK = Mask()


def show(path: Path) -> int:
    """Print what waits, by channel and level, and what the server rejected."""
    rows = list(listing.rows(path))
    waiting = [row for row in rows if not row.answer and row.kind != "identify"]
    identifies = sum(row.kind == "identify" for row in rows)
    rejected = [row for row in rows if row.answer]
    print(*_summary(waiting), *_by_channel(waiting), sep="\n")
    if identifies:
        print(f"{_count(identifies, 'user')} to identify")
    if rejected:
        print(f"{_count(len(rejected), 'rejected event')}:")
    for row in rejected:
        print(f"  {_MASK(row.channel):24} {logging.getLevelName(row.level):10} {_MASK(row.answer)}")
    return 0


def _summary(waiting: list[listing.Row]) -> list[str]:
    if not waiting:
        return ["nothing waits"]
    oldest = datetime.datetime.fromtimestamp(min(row.since for row in waiting)).astimezone()
    records = sum(row.records for row in waiting)
    return [f"{_count(records, 'log record')} in {_count(len(waiting), 'event')} since {oldest:%Y-%m-%d %H:%M:%S}"]


def _by_channel(waiting: Iterable[listing.Row]) -> list[str]:
    """Return a line for each channel and level, the highest level first."""
    totals: dict[tuple[str, int], list[int]] = {}
    for row in waiting:
        counts = totals.setdefault((row.channel or "(not read yet)", row.level), [0, 0])
        counts[0] += row.records
        counts[1] += 1
    return [
        f"  {_MASK(channel):24} {logging.getLevelName(level):10} {records:>9,} in {_count(events, 'event')}"
        for (channel, level), (records, events) in sorted(totals.items(), key=lambda entry: (-entry[0][1], entry[0][0]))
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def export(path: Path) -> int:
    """Print the body of each request that waits or was rejected, one JSON object a line."""
    builder = _EventBuilder()
    for row in listing.rows(path):
        body = _body(row, builder)
        if body is not None:
            print(_MASK.json(body))
    return 0


class _EventBuilder:
    """Builds events as a handler without options does."""

    def __init__(self) -> None:
        self._formatter = EmitKitFormatter()
        self.fold_key = self._formatter.fold_key
        self.plain_kinds = self._formatter.plain_kinds
        self.shows_revenue = self._formatter.shows_revenue
        self.summary = self._formatter.summary

    def event(self, captured: CapturedRecord) -> Event:
        """Return the event that a captured record becomes."""
        return self._formatter.event(restore(captured))


def _body(row: listing.Row, builder: _EventBuilder) -> Any:
    """Return the body of a row's request, or what there is of a row that cannot be read; `None` if it has no event."""
    if row.body is not None:
        return json.loads(row.body)
    if isinstance(row.entry, IdentifyCall):
        return row.entry.body()
    if row.entry is None:
        return {"unreadable": row.data.decode("utf-8", "replace"), "reason": row.answer}
    event = row.entry.event(builder) if isinstance(row.entry, Fold | Digest) else builder.event(row.entry)
    return None if event is None else json.loads(event.encode())


def flush(path: Path, timeout: float) -> int:
    """Deliver what waits, with the key and the address of the environment.

    Args:
        path: the spool.
        timeout: seconds to wait at most.

    Returns:
        The exit status: 0 when nothing waits any more, else 1.
    """
    handler = EmitKitHandler(spool=path, shutdown_timeout=0.0)
    ends = time.monotonic() + timeout
    try:
        while (left := _waiting(path)) and time.monotonic() < ends:
            time.sleep(POLL_INTERVAL)
    finally:
        handler.close()
    print(f"{_count(left, 'event')} still waiting" if left else "nothing waits")
    return int(left > 0)


def _waiting(path: Path) -> int:
    return sum(not row.answer for row in listing.rows(path))


def requeue(path: Path) -> int:
    """Let what the server rejected wait again.

    Returns:
        The exit status: 0, or 1 when another process keeps sending from this spool.
    """
    converter = EmitKitFormatter().json_converter
    opened = spool.Spool(path, size=sys.maxsize, ttl=float("inf"), converter=converter, channel_of=lambda _: "")
    try:
        ends = time.monotonic() + PATIENCE
        while not opened.acquire(PATIENCE):
            if time.monotonic() >= ends:
                print("another process is sending from this spool; try again when it has nothing to send")
                return 1
            time.sleep(POLL_INTERVAL)
        print(f"{_count(opened.requeue(), 'event')} put back")
        opened.release()
    finally:
        opened.close()
    return 0
