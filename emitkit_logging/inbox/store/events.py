"""The table of events. They are in the database alone, because they may be many."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.store.event import is_pending, level_of, search_pattern, searchable_text

MOST_BYTES = 256 * 1024 * 1024
"""Bytes of events that are kept."""


@dataclass(frozen=True)
class EventQuery:
    """Which events to find; what is not given does not matter.

    Attributes:
        channel: the name of their channel.
        level: the number of their least level.
        text: what is in their text, in any case.
        since: Unix seconds; they were stored then or later.
        until: Unix seconds; they were stored earlier.
        after: their numbers are above it.
        before: their numbers are below it.
    """

    channel: str | None = None
    level: int = 0
    text: str = ""
    since: float | None = None
    until: float | None = None
    after: int | None = None
    before: int | None = None

    def conditions(self) -> list[tuple[str, object]]:
        """Return the conditions in SQL, each with its value."""
        all_conditions: list[tuple[str, object]] = [
            ("channel = ?", self.channel),
            ("level >= ?", self.level or None),
            ("text LIKE ? ESCAPE '\\'", search_pattern(self.text)),
            ("at >= ?", self.since),
            ("at < ?", self.until),
            ("seq > ?", self.after),
            ("seq < ?", self.before),
        ]
        return [(condition, value) for condition, value in all_conditions if value is not None]


Numbered = tuple[int, dict[str, Any]]
"""An event with its number, which grows from event to event."""


class EventTable:
    """Reads and writes events. `Feed` holds its lock around each call.

    Attributes:
        newest: the number of the event that was stored last.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        query = "SELECT count(*), total(size), max(seq) FROM events"
        self._count, self._held, newest = database.execute(query).fetchone()
        self.newest: int = newest or 0

    def insert(self, event: dict[str, Any], *, at: float, until: float | None, size: int) -> None:
        """Store an event.

        Args:
            event: the event.
            at: when it was created (Unix seconds).
            until: when it stops to wait for an answer (Unix seconds); `None` when it does not wait.
            size: its bytes.
        """
        row = (
            *(event["id"], event["channelName"], level_of(event)[0], at, until, size),
            *(searchable_text(event), javascript.to_text(event)),
        )
        added = self._database.execute(
            "INSERT INTO events (id, channel, level, at, until, size, text, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row
        )
        self.newest = added.lastrowid or 0
        self._count += 1
        self._held += size

    def remove_oldest(self, keep: int) -> Iterator[tuple[int, str]]:
        """Remove the oldest events until at most `keep` are left; yield the number and the channel of each."""
        while self._count > 1 and (self._count > keep or self._held > MOST_BYTES):
            yield self._remove_first()

    def remove_before(self, moment: float) -> Iterator[tuple[int, str]]:
        """Remove the events that were stored before a moment (Unix seconds); yield their numbers and channels."""
        query = "SELECT at FROM events ORDER BY seq LIMIT 1"
        while (first := self._database.execute(query).fetchone()) is not None and first[0] < moment:
            yield self._remove_first()

    def _remove_first(self) -> tuple[int, str]:
        query = self._database.execute
        seq, channel, size = query("SELECT seq, channel, size FROM events ORDER BY seq LIMIT 1").fetchone()
        query("DELETE FROM events WHERE seq = ?", (seq,))
        self._count -= 1
        self._held -= size
        return seq, channel

    def clear(self) -> None:
        """Remove all events; the numbers go on."""
        self._database.execute("DELETE FROM events")
        self._count = self._held = 0

    def get(self, event_id: str) -> Numbered | None:
        """Return an event by its id; `None` where there is none."""
        row = self._database.execute("SELECT seq, data FROM events WHERE id = ?", (event_id,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def update(self, event: dict[str, Any]) -> None:
        """Store an event again, of which anything but its channel may have changed."""
        self._database.execute(
            "UPDATE events SET data = ?, text = ?, until = CASE WHEN ? THEN until END WHERE id = ?",
            (javascript.to_text(event), searchable_text(event), is_pending(event), event["id"]),
        )

    def after(self, seq: int) -> list[Numbered]:
        """Return the events after the one numbered `seq`, oldest first."""
        return self._rows("SELECT seq, data FROM events WHERE seq > ? ORDER BY seq", seq)

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """Return the events that are about a user."""
        query = "SELECT seq, data FROM events WHERE json_extract(data, '$.userId') = ?"
        return [event for _, event in self._rows(query, user_id)]

    def due(self, now: float) -> list[str]:
        """Return the ids of the events that still wait although their time was over at `now` (Unix seconds)."""
        rows = self._database.execute("SELECT id FROM events WHERE until <= ? ORDER BY until", (now,))
        return [row[0] for row in rows]

    def find(self, query: EventQuery, most: int) -> list[Numbered]:
        """Return at most `most` events, newest first."""
        conditions = query.conditions()
        where = " AND ".join(condition for condition, _ in conditions) or "true"
        values = [value for _, value in conditions]
        statement = f"SELECT seq, data FROM events WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        return self._rows(statement, *values, most)

    def _rows(self, query: str, *values: object) -> list[Numbered]:
        return [(seq, json.loads(data)) for seq, data in self._database.execute(query, values)]
