"""Users: what this process knows of each, and when the server is to be told.

A pure room: no thread and no I/O, and the clock is passed in. The rules are the design's section *Users*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from emitkit_logging.contract import MOST_ALIASES
from emitkit_logging.values import Json

MOST_PROPERTIES = 100
FAILED_ALIAS_PAUSE = 60.0
"""Seconds between two tries of an alias that the server reported as failed, but for the first: that is at once."""


@dataclass(frozen=True, slots=True)
class Person:
    """What one record tells about a user.

    `created` is the record's time in epoch seconds: an older record never overwrites what a newer one said.
    """

    user_id: str
    properties: Mapping[str, Json] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: float = 0.0

    @property
    def tells(self) -> bool:
        """Whether there is anything to tell besides the id."""
        return bool(self.properties or self.aliases)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one identify request says: the union of what is known."""

    user_id: str
    properties: Mapping[str, Json]
    aliases: tuple[str, ...]

    def body(self) -> dict[str, Json]:
        """Return the request's JSON object; `user_id` is the one spelling that every server takes (API contract)."""
        return {
            "user_id": self.user_id,
            "properties": dict(self.properties),
            "aliases": list(self.aliases),
        }


def facts_of(person: Person) -> Facts:
    """Return what one record tells, by itself."""
    return Facts(person.user_id, person.properties, (person.user_id, *person.aliases))


@dataclass(slots=True)
class _Known:
    properties: dict[str, Json] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    try_failed_at: float = 0.0


class Users:
    """Decides which identify requests are due.

    Args:
        ttl: seconds for which the same facts are not sent again.
        size: how many users are remembered.
        clock: returns seconds on a monotonic clock.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: LRUCache[str, _Known] = LRUCache(maxsize=size)
        self._sent: TTLCache[str, Facts] = TTLCache(maxsize=size, ttl=ttl, timer=clock)

    def learn(self, person: Person) -> Facts | None:
        """Add what a record tells, and return the facts to send, or `None` when the server has them.

        Facts are the union of all that is known, because self-hosted servers replace properties (API contract).
        """
        known = self._known.get(person.user_id)
        if known is None:
            known = self._known[person.user_id] = _Known()
        for key, value in person.properties.items():
            if person.created >= known.told.get(key, 0.0) and (
                key in known.properties or len(known.properties) < MOST_PROPERTIES
            ):
                known.properties[key] = value
                known.told[key] = person.created
        for alias in (person.user_id, *person.aliases):
            known.aliases.setdefault(alias)
        for alias in list(known.aliases)[1 : len(known.aliases) - MOST_ALIASES + 1]:
            del known.aliases[alias]  # the oldest, but never the id itself, which came first
        facts = Facts(person.user_id, dict(known.properties), tuple(known.aliases))
        if self._sent.get(person.user_id) != facts:
            return facts
        if known.failed and self._clock() >= known.try_failed_at:
            return facts
        return None

    def succeeded(self, facts: Facts, failed: Iterable[str] = ()) -> None:
        """Remember that the server took `facts`, but for the aliases that it reported as failed."""
        self._sent[facts.user_id] = facts
        known = self._known.get(facts.user_id)
        if known is None:
            return
        still = tuple(alias for alias in failed if alias in known.aliases)
        known.try_failed_at = self._clock() + FAILED_ALIAS_PAUSE if known.failed else 0.0
        known.failed = still

    def remember(self, facts: Facts, age: float) -> None:
        """Take over what another process told the server, `age` seconds ago."""
        self._known[facts.user_id] = _Known(dict(facts.properties), dict.fromkeys(facts.aliases))
        if age < self._sent.ttl:
            self._sent[facts.user_id] = facts
