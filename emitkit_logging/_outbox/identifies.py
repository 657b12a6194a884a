"""Users: what this process knows of each, and when the server is to be told.

A pure room: no thread and no I/O, and the clock is passed in. The rules are the design's section *Users*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import MOST_ALIASES
from emitkit_logging._events.identity import IdentifyCall, Identity

MOST_PROPERTIES = 100
FAILED_ALIAS_PAUSE = 60.0
"""Seconds between two tries of an alias that the server reported as failed, but for the first: that is at once."""


@dataclass(slots=True)
class _Known:
    properties: dict[str, Json] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    try_failed_at: float = 0.0


class KnownUsers:
    """Decides which identify requests are due.

    Args:
        ttl: seconds for which the same facts are not sent again.
        size: how many users are remembered.
        clock: returns seconds on a monotonic clock.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: LRUCache[str, _Known] = LRUCache(maxsize=size)
        self._sent: TTLCache[str, IdentifyCall] = TTLCache(maxsize=size, ttl=ttl, timer=clock)

    def learn(self, person: Identity) -> IdentifyCall | None:
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
        facts = IdentifyCall(person.user_id, dict(known.properties), tuple(known.aliases))
        if self._sent.get(person.user_id) != facts:
            return facts
        if known.failed and self._clock() >= known.try_failed_at:
            return facts
        return None

    def succeeded(self, facts: IdentifyCall, failed: Iterable[str] = ()) -> None:
        """Remember that the server took `facts`, but for the aliases that it reported as failed."""
        self._sent[facts.user_id] = facts
        known = self._known.get(facts.user_id)
        if known is None:
            return
        still = tuple(alias for alias in failed if alias in known.aliases)
        known.try_failed_at = self._clock() + FAILED_ALIAS_PAUSE if known.failed else 0.0
        known.failed = still

    def remember(self, facts: IdentifyCall, age: float) -> None:
        """Take over what another process told the server, `age` seconds ago."""
        self._known[facts.user_id] = _Known(dict(facts.properties), dict.fromkeys(facts.aliases))
        if age < self._sent.ttl:
            self._sent[facts.user_id] = facts
