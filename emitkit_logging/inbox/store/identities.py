"""The users and their aliases. They are few, and kept in memory too."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.store.event import iso, new_id


@dataclass
class Identity:
    """What is known of a user.

    Attributes:
        id: of the identity.
        user_id: of the user.
        properties: as they were sent.
        aliases: other ids of the user, oldest first; an ordered set.
        updated_at: when the last identify call came.
    """

    id: str
    user_id: str
    properties: dict[str, Any]
    aliases: dict[str, None] = field(default_factory=dict)
    updated_at: str = ""

    def data(self) -> dict[str, Any]:
        """Return the identity as the API returns it."""
        return {
            "id": self.id,
            "userId": self.user_id,
            "properties": self.properties,
            "aliases": list(self.aliases),
            "updatedAt": self.updated_at,
        }


def _from_data(data: Mapping[str, Any]) -> Identity:
    aliases = dict.fromkeys(data["aliases"])
    return Identity(data["id"], data["userId"], data["properties"], aliases, data["updatedAt"])


class Identities:
    """Reads and writes identities. `Feed` holds its lock around each call."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._by_user: OrderedDict[str, Identity] = OrderedDict()
        self._owners: dict[str, str] = {}
        for (text,) in database.execute("SELECT data FROM identities ORDER BY rowid"):
            identity = _from_data(json.loads(text))
            self._by_user[identity.user_id] = identity
            self._owners.update(dict.fromkeys(identity.aliases, identity.user_id))

    def resolve(self, user_id: str | None) -> str | None:
        """Return the id of the user whose alias `user_id` is; any other id as it is."""
        if user_id is None or user_id in self._by_user:
            return user_id
        return self._owners.get(user_id, user_id)

    def identify(
        self, user_id: str, properties: Mapping[str, Any], aliases: Iterable[str], *, now: float, merge: bool
    ) -> dict[str, Any]:
        """Store an identify call, and return the identity as `Feed.identify` describes it."""
        identity = self._by_user.pop(user_id, None) or Identity(new_id("identity"), user_id, {})
        self._by_user[user_id] = identity
        identity.properties = {**identity.properties, **properties} if merge else dict(properties)
        identity.updated_at = iso(now)
        created = list(aliases)
        for alias in created:
            self._move_alias(alias, identity)
        self._write(identity)
        return {**identity.data(), "aliases": {"created": created}}

    def _move_alias(self, alias: str, identity: Identity) -> None:
        owner = self._by_user.get(self._owners.get(alias, ""))
        if owner is not None and owner is not identity:
            owner.aliases.pop(alias, None)
            self._write(owner)
        identity.aliases[alias] = None
        self._owners[alias] = identity.user_id

    def remove(self, user_id: str) -> dict[str, Any] | None:
        """Remove the identity of a user, and return it as it was; `None` where there is none."""
        identity = self._by_user.pop(user_id, None)
        if identity is None:
            return None
        self._forget(identity)
        return identity.data()

    def remove_oldest(self, keep: int) -> None:
        """Remove the identities whose last identify call is the oldest, until `keep` are left."""
        while len(self._by_user) > keep:
            self._forget(self._by_user.popitem(last=False)[1])

    def clear(self) -> None:
        """Remove all identities."""
        self._database.execute("DELETE FROM identities")
        self._by_user.clear()
        self._owners.clear()

    def listed(self) -> dict[str, dict[str, Any]]:
        """Return the identities by user, as the API returns them."""
        return {user_id: identity.data() for user_id, identity in self._by_user.items()}

    def _write(self, identity: Identity) -> None:
        row = (identity.user_id, javascript.to_text(identity.data()))
        self._database.execute("INSERT OR REPLACE INTO identities VALUES (?, ?)", row)

    def _forget(self, identity: Identity) -> None:
        for alias in identity.aliases:
            self._owners.pop(alias, None)
        self._database.execute("DELETE FROM identities WHERE user_id = ?", (identity.user_id,))
