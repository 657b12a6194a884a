"""What the inbox has received: events, channels, identities and their aliases, in SQLite and bounded.

In memory by default; with a path it survives restarts. Events are in the database alone; channels and identities are
few, and are kept in memory as well.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

from emitkit_logging._api.contract import WAITING_SECONDS, TooLarge, encode, waits

T = TypeVar("T")

Listener = Callable[[str, "dict[str, Any]"], None]
"""Called with `"event"` or `"identify"` and what was stored, by the thread that stored it."""

EVENT_FIELDS = frozenset(
    {
        *("id", "channelId", "channelName", "createdAt", "title", "description", "icon", "tags"),
        *("metadata", "userId", "notify", "displayAs", "source", "actions", "fields", "expiresIn"),
        *("callbackUrl", "resume", "answer", "callback", "idempotencyKey"),
    }
)
"""The keys of a stored event: every field of a request, and what the server adds."""

MOST_BYTES = 256 * 1024 * 1024
"""Of events that are kept."""

_VERSION = 1
_SEARCHED = 500
_MOST_CHANGES = 1_000
_LEVELS: dict[str, int] = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_TABLES = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL, level INTEGER NOT NULL,
    at REAL NOT NULL, until REAL, size INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX events_of_a_channel ON events (channel, seq);
CREATE INDEX events_that_wait ON events (until) WHERE until IS NOT NULL;
CREATE TABLE channels (name TEXT PRIMARY KEY, data TEXT NOT NULL, read INTEGER NOT NULL);
CREATE TABLE identities (user_id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE replies (api_key TEXT, key TEXT, at REAL NOT NULL, data TEXT NOT NULL, PRIMARY KEY (api_key, key));
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Recent(Generic[T]):
    """The latest items: at most `keep` of them and, but for the newest, at most `size` bytes."""

    def __init__(self, keep: int, size: int = 128 * 1024 * 1024) -> None:
        self._keep = keep
        self._size = size
        self._held = 0
        self._items: deque[tuple[T, int]] = deque()

    def append(self, item: T, size: int) -> None:
        """Add `item` of `size` bytes and let go of the oldest that no longer fit."""
        self._items.append((item, size))
        self._held += size
        while len(self._items) > 1 and (len(self._items) > self._keep or self._held > self._size):
            self._held -= self._items.popleft()[1]

    def clear(self) -> None:
        """Let go of all of them."""
        self._items.clear()
        self._held = 0

    def snapshot(self) -> list[T]:
        """Return the items, oldest first."""
        return [item for item, _ in self._items]


@dataclass
class _Channel:
    told: dict[str, Any]
    read: int = 0
    events: int = 0
    unread: int = 0


@dataclass
class _Identity:
    id: str
    user_id: str
    properties: dict[str, Any]
    aliases: dict[str, None] = field(default_factory=dict)
    updated_at: str = ""

    def told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "userId": self.user_id,
            "properties": self.properties,
            "aliases": list(self.aliases),
            "updatedAt": self.updated_at,
        }


class Feed:
    """The store. Safe to use from several threads; what it hands out is never changed afterwards.

    `keep` bounds each of: events, identify calls, identities and channels; the oldest go first. `path` is of the
    file to keep it in; without one it is in memory. Raises `OSError` or `sqlite3.Error` when that cannot be used.
    """

    def __init__(self, keep: int = 10_000, path: Path | None = None) -> None:
        self._keep = keep
        self._changed = threading.Condition(threading.RLock())
        self._identifies: Recent[dict[str, Any]] = Recent(keep)
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        self._identities: OrderedDict[str, _Identity] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._listeners: list[Listener] = []
        self._updates: deque[tuple[int, str]] = deque(maxlen=_MOST_CHANGES)
        self._database = _open(path)
        weakref.finalize(self, self._database.close)
        self.is_lasting = path is not None
        self.version = 0
        self.cleared_at = 0
        self._load()

    def _load(self) -> None:
        query = self._database.execute
        for name, told, read in query("SELECT name, data, read FROM channels ORDER BY rowid"):
            self._channels[name] = _Channel(json.loads(told), read)
        counts = "SELECT channel, count(*), sum(seq > channels.read) FROM events JOIN channels ON name = channel"
        for name, events, unread in query(f"{counts} GROUP BY channel"):
            self._channels[name].events, self._channels[name].unread = events, unread
        for (data,) in query("SELECT data FROM identities ORDER BY rowid"):
            told = json.loads(data)
            identity = _Identity(
                told["id"], told["userId"], told["properties"], dict.fromkeys(told["aliases"]), told["updatedAt"]
            )
            self._identities[identity.user_id] = identity
            self._owners.update(dict.fromkeys(identity.aliases, identity.user_id))
        self._count, self._held, newest = query("SELECT count(*), total(size), max(seq) FROM events").fetchone()
        self.newest: int = newest or 0

    def close(self) -> None:
        """Let go of the file, if there is one; what is in memory stays readable."""
        if self.is_lasting:
            with self._changed:
                self._database.close()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with everything that is stored from now on."""
        self._listeners.append(listener)

    def setting(self, name: str, value: str) -> str:
        """Return what was first set under `name`: `value`, if nothing was."""
        with self._changed:
            self._database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
            row = self._database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row[0])

    # Events

    def add_event(
        self,
        fields: Mapping[str, Any],
        *,
        now: float,
        display_as: str | None = None,
        most_bytes: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Store the event of the valid request `fields` at `now` (Unix seconds) and return it.

        `display_as` is for a request that does not say. Raises `TooLarge`, and stores nothing, when the event
        has over `most_bytes` as JSON in UTF-8.
        """
        with self._changed:
            known = self._channels.get(fields["channelName"])
            channel = known or _Channel(_channel(fields, now))
            event = _event(fields, channel.told, self._resolve(fields.get("userId")), display_as, now)
            size = len(encode(event))
            if most_bytes is not None and size > most_bytes:
                raise TooLarge(f"Event exceeds the {most_bytes // 1024} KB storage limit")
            name = channel.told["name"]
            if known is None:
                self._channels[name] = channel
                self._database.execute("INSERT INTO channels VALUES (?, ?, 0)", (name, _text(channel.told)))
            event["idempotencyKey"] = idempotency_key
            until = now + event["expiresIn"] if event["answer"] else None
            row = (event["id"], name, level_of(event)[0], now, until, size, _searched(event), _text(event))
            added = self._database.execute(
                "INSERT INTO events (id, channel, level, at, until, size, text, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self.newest = added.lastrowid or 0
            channel.events += 1
            channel.unread += 1
            self._count += 1
            self._held += size
            self._bound()
            self._has_changed()
        self._tell("event", event)
        return event

    def _bound(self) -> None:
        while self._count > 1 and (self._count > self._keep or self._held > MOST_BYTES):
            query = self._database.execute
            seq, name, size = query("SELECT seq, channel, size FROM events ORDER BY seq LIMIT 1").fetchone()
            query("DELETE FROM events WHERE seq = ?", (seq,))
            self._count -= 1
            self._held -= size
            if (channel := self._channels.get(name)) is not None:
                channel.events -= 1
                channel.unread -= seq > channel.read
        for name, _ in _oldest(self._channels, self._keep):
            self._database.execute("DELETE FROM channels WHERE name = ?", (name,))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events kept, oldest first, each with the keys of `EVENT_FIELDS`."""
        return [event for _, event in self.after(0)]

    def after(self, seq: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the events that came after the one numbered `seq`, oldest first, each with its number."""
        with self._changed:
            rows = self._database.execute("SELECT seq, data FROM events WHERE seq > ? ORDER BY seq", (seq,)).fetchall()
        return [(seq, json.loads(data)) for seq, data in rows]

    def find(
        self,
        *,
        channel: str | None = None,
        level: int = 0,
        text: str = "",
        since: float | None = None,
        until: float | None = None,
        after: int | None = None,
        before: int | None = None,
        most: int,
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return at most `most` events, newest first, each with its number.

        Those of `channel`, from `level` up, with `text` in them whatever its case, stored at `since` or later and
        earlier than `until` (Unix seconds), numbered above `after` and below `before`.
        """
        clauses: list[tuple[str, object]] = [
            ("channel = ?", channel),
            ("level >= ?", level or None),
            ("text LIKE ? ESCAPE '\\'", _pattern(text)),
            ("at >= ?", since),
            ("at < ?", until),
            ("seq > ?", after),
            ("seq < ?", before),
        ]
        asked = [(clause, value) for clause, value in clauses if value is not None]
        where = " AND ".join(clause for clause, _ in asked) or "true"
        values = [value for _, value in asked]
        with self._changed:
            rows = self._database.execute(
                f"SELECT seq, data FROM events WHERE {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608
                (*values, most),
            ).fetchall()
        return [(seq, json.loads(data)) for seq, data in rows]

    def event(self, event_id: str) -> tuple[int, dict[str, Any]] | None:
        """Return an event by its id, and its number before it; `None` where there is none."""
        with self._changed:
            row = self._database.execute("SELECT seq, data FROM events WHERE id = ?", (event_id,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def update(self, event: dict[str, Any]) -> None:
        """Store what became of an event: its answer, or its callback."""
        with self._changed:
            still = event["answer"] and event["answer"]["status"] == "pending"
            self._database.execute(
                "UPDATE events SET data = ?, until = CASE WHEN ? THEN until END WHERE id = ?",
                (_text(event), bool(still), event["id"]),
            )
            self._updates.append((self.version + 1, event["id"]))
            self._has_changed()

    def due(self, now: float) -> list[str]:
        """Return the ids of the events that still wait although their time was over at `now` (Unix seconds)."""
        with self._changed:
            rows = self._database.execute("SELECT id FROM events WHERE until <= ? ORDER BY until", (now,)).fetchall()
        return [row[0] for row in rows]

    def updated_since(self, version: int) -> list[str]:
        """Return the ids of the events that were updated after that `version`."""
        with self._changed:
            return list(dict.fromkeys(event_id for at, event_id in self._updates if at > version))

    def clear(self) -> None:
        """Forget all events, channels, identities and identify calls; requests sent again are still known."""
        with self._changed:
            for table in ("events", "channels", "identities"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608
            for each in (self._channels, self._identities, self._owners, self._identifies, self._updates):
                each.clear()
            self._count = self._held = 0
            self._has_changed()
            self.cleared_at = self.version

    # Channels

    @property
    def channels(self) -> list[dict[str, Any]]:
        """The channels, by name: `id`, `name`, `icon`, `description` and `createdAt`."""
        with self._changed:
            return sorted((channel.told for channel in self._channels.values()), key=lambda told: str(told["name"]))

    def has_channel(self, name: str) -> bool:
        """Tell whether anything was sent to that channel before."""
        with self._changed:
            return name in self._channels

    def counts(self) -> list[dict[str, Any]]:
        """Return the channels by name, each with its `events` and how many of them are `unread`."""
        with self._changed:
            return [
                {"name": name, "icon": each.told["icon"], "events": each.events, "unread": each.unread}
                for name, each in sorted(self._channels.items())
            ]

    def read(self, channel: str | None = None) -> None:
        """Mark the events of a channel, or all, as read."""
        with self._changed:
            for name, each in self._channels.items():
                if channel in (None, name):
                    each.read, each.unread = self.newest, 0
                    self._database.execute("UPDATE channels SET read = ? WHERE name = ?", (self.newest, name))
            self._has_changed()

    # Identities

    def identify(
        self, user_id: str, properties: Mapping[str, Any], aliases: Iterable[str], *, now: float, merge: bool
    ) -> dict[str, Any]:
        """Store what is told of `user_id` at `now` (Unix seconds); return the identity as the API answers it.

        `merge` adds the properties to those already known, else they replace them. An alias moves to the
        identity that named it last; one that is itself the id of another user cannot be moved and comes back
        under `failed`.
        """
        aliases = list(dict.fromkeys(aliases))
        with self._changed:
            identity = self._identities.pop(user_id, None) or _Identity(_id("identity"), user_id, {})
            self._identities[user_id] = identity
            identity.properties = {**identity.properties, **properties} if merge else dict(properties)
            identity.updated_at = iso(now)
            failed = [alias for alias in aliases if alias != user_id and alias in self._identities]
            created = [alias for alias in aliases if alias not in failed]
            for alias in created:
                owner = self._identities.get(self._owners.get(alias, ""))
                if owner is not None and owner is not identity:
                    owner.aliases.pop(alias, None)
                    self._write(owner)
                identity.aliases[alias] = None
                self._owners[alias] = user_id
            self._write(identity)
            for _, forgotten in _oldest(self._identities, self._keep):
                self._forget(forgotten)
            call = {"user_id": user_id, "properties": dict(properties), "aliases": aliases}
            self._identifies.append(call, len(encode(call)))
            self._has_changed()
            answer = {**identity.told(), "aliases": {"created": created}}
        if failed:
            reason = "This is the id of another user"
            answer["aliases"]["failed"] = [{"alias": alias, "reason": reason} for alias in failed]
        self._tell("identify", call)
        return answer

    def erase(self, user_id: str) -> bool:
        """Forget what is known of a user, by its id or an alias, and whom its events are about; whether it was known.

        The events themselves stay.
        """
        with self._changed:
            user_id = self._resolve(user_id) or user_id
            identity = self._identities.pop(user_id, None)
            if identity is None:
                return False
            self._forget(identity)
            found = self._database.execute(
                "SELECT data FROM events WHERE json_extract(data, '$.userId') = ?", (user_id,)
            ).fetchall()
            for (data,) in found:
                event = json.loads(data)
                event["userId"] = None
                self._database.execute("UPDATE events SET text = ? WHERE id = ?", (_searched(event), event["id"]))
                self.update(event)
            self._has_changed()
        return True

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The identify calls kept, oldest first: `user_id`, `properties` and `aliases` as they were sent."""
        with self._changed:
            return self._identifies.snapshot()

    @property
    def identities(self) -> dict[str, dict[str, Any]]:
        """The identities by user: `id`, `userId`, `properties`, `aliases` and `updatedAt`."""
        with self._changed:
            return {user_id: identity.told() for user_id, identity in self._identities.items()}

    def _write(self, identity: _Identity) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO identities VALUES (?, ?)", (identity.user_id, _text(identity.told()))
        )

    def _forget(self, identity: _Identity) -> None:
        for alias in identity.aliases:
            self._owners.pop(alias, None)
        self._database.execute("DELETE FROM identities WHERE user_id = ?", (identity.user_id,))

    def _resolve(self, user_id: str | None) -> str | None:
        if user_id is None or user_id in self._identities:
            return user_id
        return self._owners.get(user_id, user_id)

    # Answers to keep for requests that are sent again

    def keep_reply(self, api_key: str, key: str, at: float, reply: dict[str, Any]) -> None:
        """Keep what a request with an idempotency key was answered at `at` (Unix seconds), if anything lasts here."""
        if self.is_lasting:
            with self._changed:
                row = (api_key, key, at, _text(reply))
                self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", row)

    def replies(self, since: float) -> Iterator[tuple[str, str, float, dict[str, Any]]]:
        """Return what `keep_reply` kept since then (Unix seconds), oldest first; what is older is forgotten."""
        with self._changed:
            self._database.execute("DELETE FROM replies WHERE at < ?", (since,))
            rows = self._database.execute("SELECT api_key, key, at, data FROM replies ORDER BY at").fetchall()
        return ((api_key, key, at, json.loads(data)) for api_key, key, at, data in rows)

    # Waiting for something

    def wait(self, find: Callable[[], T | None], timeout: float) -> T | None:
        """Return what `find()`, asked again after changes, finds; `None` if nothing in `timeout` seconds."""
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

    def _tell(self, kind: str, stored: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener(kind, stored)


def _open(path: Path | None) -> sqlite3.Connection:
    if path is None:
        database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    else:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds the key to itself
        database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.NotSupportedError(f"it is of version {version}, this inbox knows {_VERSION}")  # noqa: TRY301
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "locking_mode = EXCLUSIVE"):
            database.execute(f"PRAGMA {pragma}")
        if version == 0:
            database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
        else:
            with contextlib.closing(database.execute("BEGIN IMMEDIATE")):  # nobody else has it
                database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def level_of(event: Mapping[str, Any]) -> tuple[int, str | None]:
    """Return the level of the log record that an event was made of, as number and name; 0 and `None` for others."""
    log = event["metadata"].get("log")
    name = log.get("level") if isinstance(log, dict) else None
    return (_LEVELS.get(name, 0), name) if isinstance(name, str) else (0, None)


def least_level(name: str) -> int:
    """Return the number of a level; 0 for a name that is none."""
    return _LEVELS.get(name.upper(), 0)


def _searched(event: Mapping[str, Any]) -> str:
    first = (event["title"], event["description"] or "", event["userId"] or "", event["channelName"], *event["tags"])
    said = "\n".join(first)[:_SEARCHED]
    return f"{said}\n{_text(event['metadata'])[:_SEARCHED]}".casefold()


def _pattern(text: str) -> str | None:
    if not text:
        return None
    escaped = text.casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _text(value: object) -> str:
    return encode(value).decode()


def _channel(fields: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Make the channel of the first event sent to it, from which it takes its icon and description."""
    return {
        "id": _id("channel"),
        "name": fields["channelName"],
        "icon": fields.get("icon"),
        "description": fields.get("description"),
        "createdAt": iso(now),
    }


def _event(
    fields: Mapping[str, Any],
    channel: Mapping[str, Any],
    user_id: str | None,
    display_as: str | None,
    now: float,
) -> dict[str, Any]:
    event = {
        "id": _id("event"),
        "channelId": channel["id"],
        "channelName": channel["name"],
        "title": fields["title"],
        "description": fields.get("description"),
        "icon": fields.get("icon"),
        "tags": fields.get("tags", []),
        "metadata": fields.get("metadata", {}),
        "userId": user_id,
        "notify": fields.get("notify", True),
        "displayAs": fields.get("displayAs", display_as),
        "source": fields.get("source", "api"),
        "actions": fields.get("actions", []),
        "fields": fields.get("fields", []),
        "expiresIn": fields.get("expiresIn"),
        "callbackUrl": fields.get("callbackUrl"),
        "resume": fields.get("resume"),
        "answer": None,
        "callback": None,
        "createdAt": iso(now),
    }
    if waits(fields):
        event["expiresIn"] = fields.get("expiresIn", WAITING_SECONDS)
        event["answer"] = {
            "status": "pending",
            "action": None,
            "values": None,
            "by": None,
            "at": None,
            "expiresAt": iso(now + event["expiresIn"]),
        }
        if event["callbackUrl"] is not None:
            event["callback"] = {
                "url": event["callbackUrl"],
                "attempts": 0,
                "deliveredAt": None,
                "lastStatus": None,
            }
    return event


def _oldest(items: OrderedDict[str, T], keep: int) -> list[tuple[str, T]]:
    """Take the oldest of `items` away until `keep` are left, and return them."""
    return [items.popitem(last=False) for _ in range(len(items) - keep)]


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def iso(seconds: float) -> str:
    """Return Unix seconds as the API writes a time: UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
