"""What the inbox has received: events, channels, identities and their aliases, in memory and bounded."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from emitkit_logging.contract import WAITING_SECONDS, TooLarge, encode, waits

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

    def snapshot(self) -> list[T]:
        """Return the items, oldest first."""
        return [item for item, _ in self._items]


@dataclass
class _Identity:
    id: str
    user_id: str
    properties: dict[str, Any]
    aliases: dict[str, None]
    updated_at: str


class Feed:
    """The store. Safe to use from several threads; what it hands out is never changed afterwards.

    `keep` bounds each of: events, identify calls, identities and channels; the oldest go first.
    """

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._changed = threading.Condition()
        self._events: Recent[dict[str, Any]] = Recent(keep)
        self._identifies: Recent[dict[str, Any]] = Recent(keep)
        self._channels: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._identities: OrderedDict[str, _Identity] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with everything that is stored from now on."""
        self._listeners.append(listener)

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
            channel = self._channels.get(fields["channelName"]) or _channel(fields, now)
            event = _event(fields, channel, self._resolve(fields.get("userId")), display_as, now)
            size = len(encode(event))
            if most_bytes is not None and size > most_bytes:
                raise TooLarge(f"Event exceeds the {most_bytes // 1024} KB storage limit")
            self._channels[channel["name"]] = channel
            _bound(self._channels, self._keep)
            event["idempotencyKey"] = idempotency_key
            self._events.append(event, size)
            self._changed.notify_all()
        self._tell("event", event)
        return event

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
            identity = self._identities.pop(user_id, None) or _Identity(_id("identity"), user_id, {}, {}, "")
            self._identities[user_id] = identity
            identity.properties = {**identity.properties, **properties} if merge else dict(properties)
            identity.updated_at = _iso(now)
            failed = [alias for alias in aliases if alias != user_id and alias in self._identities]
            created = [alias for alias in aliases if alias not in failed]
            for alias in created:
                owner = self._identities.get(self._owners.get(alias, ""))
                if owner is not None:
                    owner.aliases.pop(alias, None)
                identity.aliases[alias] = None
                self._owners[alias] = user_id
            for forgotten in _bound(self._identities, self._keep):
                for alias in forgotten.aliases:
                    self._owners.pop(alias, None)
            call = {"user_id": user_id, "properties": dict(properties), "aliases": aliases}
            self._identifies.append(call, len(encode(call)))
            self._changed.notify_all()
            answer: dict[str, Any] = {
                "id": identity.id,
                "userId": user_id,
                "properties": identity.properties,
                "aliases": {"created": created},
                "updatedAt": identity.updated_at,
            }
        if failed:
            reason = "This is the id of another user"
            answer["aliases"]["failed"] = [{"alias": alias, "reason": reason} for alias in failed]
        self._tell("identify", call)
        return answer

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events kept, oldest first, each with the keys of `EVENT_FIELDS`."""
        with self._changed:
            return self._events.snapshot()

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The identify calls kept, oldest first: `user_id`, `properties` and `aliases` as they were sent."""
        with self._changed:
            return self._identifies.snapshot()

    @property
    def identities(self) -> dict[str, dict[str, Any]]:
        """The identities by user: `id`, `userId`, `properties`, `aliases` and `updatedAt`."""
        with self._changed:
            return {
                user_id: {
                    "id": identity.id,
                    "userId": user_id,
                    "properties": identity.properties,
                    "aliases": list(identity.aliases),
                    "updatedAt": identity.updated_at,
                }
                for user_id, identity in self._identities.items()
            }

    @property
    def channels(self) -> list[dict[str, Any]]:
        """The channels, by name: `id`, `name`, `icon`, `description` and `createdAt`."""
        with self._changed:
            return sorted(self._channels.values(), key=lambda channel: channel["name"])

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

    def _resolve(self, user_id: str | None) -> str | None:
        if user_id is None or user_id in self._identities:
            return user_id
        return self._owners.get(user_id, user_id)

    def _tell(self, kind: str, stored: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener(kind, stored)


def _channel(fields: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Make the channel of the first event sent to it, from which it takes its icon and description."""
    return {
        "id": _id("channel"),
        "name": fields["channelName"],
        "icon": fields.get("icon"),
        "description": fields.get("description"),
        "createdAt": _iso(now),
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
        "createdAt": _iso(now),
    }
    if waits(fields):
        event["expiresIn"] = fields.get("expiresIn", WAITING_SECONDS)
        event["answer"] = {
            "status": "pending",
            "action": None,
            "values": None,
            "by": None,
            "at": None,
            "expiresAt": _iso(now + event["expiresIn"]),
        }
        if event["callbackUrl"] is not None:
            event["callback"] = {
                "url": event["callbackUrl"],
                "attempts": 0,
                "deliveredAt": None,
                "lastStatus": None,
            }
    return event


def _bound(items: OrderedDict[str, T], keep: int) -> list[T]:
    """Take the oldest of `items` away until `keep` are left, and return them."""
    return [items.popitem(last=False)[1] for _ in range(len(items) - keep)]


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
