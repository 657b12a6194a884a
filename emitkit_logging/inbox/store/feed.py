"""What the inbox has received: events, channels, identities and their aliases, in SQLite and bounded.

In memory by default; with a path it survives restarts.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.emulation.refusals import TooLarge
from emitkit_logging.inbox.store.channels import Channels, new_channel
from emitkit_logging.inbox.store.database import open_database
from emitkit_logging.inbox.store.event import new_event
from emitkit_logging.inbox.store.events import EventQuery, EventTable, Numbered
from emitkit_logging.inbox.store.identities import Identities
from emitkit_logging.inbox.store.recent import Recent

T = TypeVar("T")

Subscriber = Callable[[str, "dict[str, Any]"], None]
"""Called with `"event"` or `"identify"` and what was stored, by the thread that stored it."""

_MOST_CHANGES = 1_000


class Feed:
    """The store. Safe to use from several threads; what it returns is never changed afterwards.

    Args:
        keep: bounds each of: events, identify calls, identities and channels; the oldest are removed first.
        path: the file to keep it in; without one it is in memory.

    Attributes:
        is_lasting: whether it is in a file.
        version: grows with every change.
        cleared_at: the version of the last `clear`.

    Raises:
        OSError, sqlite3.Error: when the file cannot be used.
    """

    def __init__(self, keep: int = 10_000, path: Path | None = None) -> None:
        self._keep = keep
        self._changed = threading.Condition(threading.RLock())
        self._subscribers: list[Subscriber] = []
        self._database = open_database(path)
        weakref.finalize(self, self._database.close)
        self._events = EventTable(self._database)
        self._channels = Channels(self._database)
        self._identities = Identities(self._database)
        self._identifies: Recent[dict[str, Any]] = Recent(keep)
        self._updates: deque[tuple[int, str]] = deque(maxlen=_MOST_CHANGES)
        self.is_lasting = path is not None
        self.version = 0
        self.cleared_at = 0

    @property
    def newest(self) -> int:
        """The number of the event that was stored last."""
        return self._events.newest

    def close(self) -> None:
        """Close the file, if there is one; what is in memory stays readable."""
        if self.is_lasting:
            with self._changed:
                self._database.close()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with everything that is stored from now on."""
        self._subscribers.append(subscriber)

    # Events

    def add_event(
        self,
        fields: Mapping[str, Any],
        *,
        now: float,
        display_as: str | None = None,
        answer_page: str = "",
        most_bytes: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Store the event of a valid request, and return it.

        Args:
            fields: the fields of the request.
            now: Unix seconds.
            display_as: how the event is shown when the request does not have it.
            answer_page: the address of the page that answers an event, without the event's id.
            most_bytes: bytes that the event may have as JSON in UTF-8; `None`: no limit.
            idempotency_key: the key of the request.

        Raises:
            TooLarge: when the event is larger; nothing is stored then.
        """
        with self._changed:
            channel = self._channels.get(fields["channelName"]) or new_channel(fields, now)
            user_id = self._identities.resolve(fields.get("userId"))
            event = new_event(
                fields,
                channel=channel.data,
                user_id=user_id,
                display_as=display_as,
                answer_page=answer_page,
                now=now,
            )
            size = len(javascript.encode(event))
            if most_bytes is not None and size > most_bytes:
                raise TooLarge(f"Event exceeds the {most_bytes // 1024} KB storage limit")
            event["idempotencyKey"] = idempotency_key
            until = now + event["expiresIn"] if event["answer"] else None
            self._channels.add_event(channel)
            self._events.insert(event, at=now, until=until, size=size)
            for seq, name in self._events.remove_oldest(self._keep):
                self._channels.remove_event(name, seq)
            self._channels.remove_oldest(self._keep)
            self._has_changed()
        self._notify("event", event)
        return event

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events kept, oldest first, each with the keys of `EVENT_FIELDS`."""
        return [event for _, event in self.after(0)]

    def after(self, seq: int) -> list[Numbered]:
        """Return the events after the one numbered `seq`, oldest first, each with its number."""
        with self._changed:
            return self._events.after(seq)

    def find(self, query: EventQuery, most: int) -> list[Numbered]:
        """Return at most `most` events, newest first, each with its number."""
        with self._changed:
            return self._events.find(query, most)

    def event(self, event_id: str) -> Numbered | None:
        """Return an event by its id, and its number before it; `None` where there is none."""
        with self._changed:
            return self._events.get(event_id)

    def update(self, event: dict[str, Any]) -> None:
        """Store a change of an event: its answer, its callback, or its user."""
        with self._changed:
            self._events.update(event)
            self._updates.append((self.version + 1, event["id"]))
            self._has_changed()

    def forget_before(self, moment: float) -> None:
        """Remove the events that were stored before a moment (Unix seconds)."""
        with self._changed:
            removed = list(self._events.remove_before(moment))
            for seq, name in removed:
                self._channels.remove_event(name, seq)
            if removed:
                self._has_changed()

    def due(self, now: float) -> list[str]:
        """Return the ids of the events that still wait although their time was over at `now` (Unix seconds)."""
        with self._changed:
            return self._events.due(now)

    def updated_since(self, version: int) -> list[str]:
        """Return the ids of the events that were updated after that `version`."""
        with self._changed:
            return list(dict.fromkeys(event_id for at, event_id in self._updates if at > version))

    def clear(self) -> None:
        """Remove all events, channels, identities and identify calls; idempotency keys are still known."""
        with self._changed:
            for each in (self._events, self._channels, self._identities, self._identifies, self._updates):
                each.clear()
            self._has_changed()
            self.cleared_at = self.version

    # Channels

    @property
    def channels(self) -> list[dict[str, Any]]:
        """The channels, by name: `id`, `name`, `icon`, `description` and `createdAt`."""
        with self._changed:
            return self._channels.listed()

    def has_channel(self, name: str) -> bool:
        """Whether an event was sent to that channel before."""
        with self._changed:
            return self._channels.get(name) is not None

    def counts(self) -> list[dict[str, Any]]:
        """Return the channels by name, each with its `events` and how many of them are `unread`."""
        with self._changed:
            return self._channels.counts()

    def mark_read(self, channel: str | None = None) -> None:
        """Mark the events of a channel, or all, as read."""
        with self._changed:
            self._channels.mark_read(channel, self.newest)
            self._has_changed()

    def mark_event_read(self, event_id: str) -> None:
        """Mark one event as read, if it is still kept."""
        with self._changed:
            found = self._events.get(event_id)
            if found is not None and self._channels.mark_event_read(found[1]["channelName"], found[0]):
                self._has_changed()

    def is_unread(self, seq: int, event: Mapping[str, Any]) -> bool:
        """Whether an event, numbered `seq`, is unread."""
        with self._changed:
            channel = self._channels.get(event["channelName"])
            return channel is not None and channel.is_unread(seq)

    # Identities

    def identify(
        self, user_id: str, properties: Mapping[str, Any], aliases: Iterable[str], *, now: float, merge: bool
    ) -> dict[str, Any]:
        """Store an identify call.

        Args:
            user_id: the user.
            properties: what is known of the user.
            aliases: other ids of the user. An alias moves to the identity that named it last.
            now: Unix seconds.
            merge: whether the properties are added to those already known, or replace them.

        Returns:
            The identity as the API returns it. `aliases` has those that were `created`: all that were sent.
        """
        aliases = list(dict.fromkeys(aliases))
        call = {"user_id": user_id, "properties": dict(properties), "aliases": aliases}
        with self._changed:
            identity = self._identities.identify(user_id, properties, aliases, now=now, merge=merge)
            self._identities.remove_oldest(self._keep)
            self._identifies.append(call, len(javascript.encode(call)))
            self._has_changed()
        self._notify("identify", call)
        return identity

    def erase(self, user_id: str) -> dict[str, Any] | None:
        """Remove an identity, its aliases and the user's id on events, which stay.

        Args:
            user_id: the user's id; an alias is none.

        Returns:
            The identity as it was, or `None` where there was none.
        """
        with self._changed:
            identity = self._identities.remove(user_id)
            if identity is not None:
                for event in self._events.of_user(user_id):
                    self.update({**event, "userId": None})
                self._has_changed()
        return identity

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The identify calls kept, oldest first: `user_id`, `properties` and `aliases` as they were sent."""
        with self._changed:
            return self._identifies.snapshot()

    @property
    def identities(self) -> dict[str, dict[str, Any]]:
        """The identities by user: `id`, `userId`, `properties`, `aliases` and `updatedAt`."""
        with self._changed:
            return self._identities.listed()

    # What a later inbox needs

    def setting(self, name: str, value: str) -> str:
        """Return what was first set under `name`: `value`, if nothing was."""
        with self._changed:
            self._database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
            row = self._database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row[0])

    def keep_reply(self, api_key: str, key: str, at: float, reply: dict[str, Any]) -> None:
        """Keep the response to a request with an idempotency key, answered at `at` (Unix seconds), in the file."""
        if self.is_lasting:
            row = (api_key, key, at, javascript.to_text(reply))
            with self._changed:
                self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", row)

    def replies(self, since: float) -> Iterator[tuple[str, str, float, dict[str, Any]]]:
        """Return what `keep_reply` kept since then (Unix seconds), oldest first; what is older is removed."""
        with self._changed:
            self._database.execute("DELETE FROM replies WHERE at < ?", (since,))
            rows = self._database.execute("SELECT api_key, key, at, data FROM replies ORDER BY at").fetchall()
        return ((api_key, key, at, json.loads(data)) for api_key, key, at, data in rows)

    # Changes

    def wait(self, find: Callable[[], T | None], timeout: float) -> T | None:
        """Return what `find()`, called again after changes, returns; `None` if that is nothing in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                found = find()
                left = deadline - time.monotonic()
                if found is not None or left <= 0:
                    return found
                self._changed.wait(left)
            # Changes come a thousand a second, and `find` may look at everything that is stored.
            time.sleep(0.005)

    def _has_changed(self) -> None:
        self.version += 1
        self._changed.notify_all()

    def _notify(self, kind: str, stored: dict[str, Any]) -> None:
        for subscriber in self._subscribers:
            subscriber(kind, stored)
