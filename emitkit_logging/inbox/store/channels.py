"""The channels, and how many of their events are unread. They are few, and kept in memory too."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.store.event import iso, new_id


@dataclass
class Channel:
    """A channel.

    Attributes:
        data: what the API returns of it.
        read: the number of the newest event up to which all were read.
        opened: the numbers of the events after it that were read one by one.
        events: how many events of it are kept.
        unread: how many of them are unread.
    """

    data: dict[str, Any]
    read: int = 0
    opened: set[int] = field(default_factory=set)
    events: int = 0
    unread: int = 0

    @property
    def name(self) -> str:
        """The name of the channel."""
        return str(self.data["name"])

    def is_unread(self, seq: int) -> bool:
        """Whether the event numbered `seq`, one of this channel, is unread."""
        return seq > self.read and seq not in self.opened


def new_channel(fields: Mapping[str, Any], now: float) -> Channel:
    """Return the channel of the first event that is sent to it, from which it takes its icon and description."""
    return Channel(
        {
            "id": new_id("channel"),
            "name": fields["channelName"],
            "icon": fields.get("icon"),
            "description": fields.get("description"),
            "createdAt": iso(now),
        }
    )


class Channels:
    """Reads and writes channels. `Feed` holds its lock around each call."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._by_name: OrderedDict[str, Channel] = OrderedDict()
        for name, data, read in database.execute("SELECT name, data, read FROM channels ORDER BY rowid"):
            self._by_name[name] = Channel(json.loads(data), read)
        counts = "SELECT channel, count(*), sum(seq > channels.read) FROM events JOIN channels ON name = channel"
        for name, events, unread in database.execute(f"{counts} GROUP BY channel"):
            self._by_name[name].events, self._by_name[name].unread = events, unread
        for name, seq in database.execute("SELECT channel, seq FROM opened JOIN events USING (seq)").fetchall():
            if name in self._by_name:
                self._open(self._by_name[name], seq)

    def get(self, name: str) -> Channel | None:
        """Return a channel by its name; `None` where there is none."""
        return self._by_name.get(name)

    def add_event(self, channel: Channel) -> None:
        """Count a new event of a channel, which is stored with its first event."""
        if channel.name not in self._by_name:
            self._by_name[channel.name] = channel
            row = (channel.name, javascript.to_text(channel.data))
            self._database.execute("INSERT INTO channels VALUES (?, ?, 0)", row)
        channel.events += 1
        channel.unread += 1

    def remove_event(self, name: str, seq: int) -> None:
        """Count that the event numbered `seq` of a channel is no longer kept."""
        if (channel := self._by_name.get(name)) is not None:
            channel.events -= 1
            channel.unread -= channel.is_unread(seq)
            self._forget_opened(channel, seq)

    def remove_oldest(self, keep: int) -> None:
        """Remove the oldest channels until `keep` are left."""
        while len(self._by_name) > keep:
            name, _ = self._by_name.popitem(last=False)
            self._database.execute("DELETE FROM channels WHERE name = ?", (name,))

    def clear(self) -> None:
        """Remove all channels."""
        self._database.execute("DELETE FROM channels")
        self._database.execute("DELETE FROM opened")
        self._by_name.clear()

    def mark_read(self, name: str | None, newest: int) -> None:
        """Mark the events of a channel, or of all, as read up to the one numbered `newest`."""
        for channel in self._by_name.values():
            if name in (None, channel.name):
                channel.read, channel.unread = newest, 0
                self._database.execute("UPDATE channels SET read = ? WHERE name = ?", (newest, channel.name))
                self._forget_opened(channel, *channel.opened)

    def mark_event_read(self, name: str, seq: int) -> bool:
        """Mark the event numbered `seq` of a channel as read; return whether it was unread."""
        channel = self._by_name.get(name)
        if channel is None or not channel.is_unread(seq):
            return False
        self._database.execute("INSERT OR IGNORE INTO opened VALUES (?)", (seq,))
        self._open(channel, seq)
        return True

    def _open(self, channel: Channel, seq: int) -> None:
        channel.unread -= channel.is_unread(seq)
        channel.opened.add(seq)

    def _forget_opened(self, channel: Channel, *numbers: int) -> None:
        for seq in numbers:
            if seq in channel.opened:
                channel.opened.discard(seq)
                self._database.execute("DELETE FROM opened WHERE seq = ?", (seq,))

    def listed(self) -> list[dict[str, Any]]:
        """Return the channels by name, as the API returns them."""
        return [channel.data for channel in self._sorted()]

    def counts(self) -> list[dict[str, Any]]:
        """Return the channels by name, each with its `events` and how many of them are `unread`."""
        return [
            {"name": each.name, "icon": each.data["icon"], "events": each.events, "unread": each.unread}
            for each in self._sorted()
        ]

    def _sorted(self) -> list[Channel]:
        return sorted(self._by_name.values(), key=lambda channel: channel.name)
