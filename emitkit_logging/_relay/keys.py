"""The names of the keys in Redis. Pure."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PREFIX = "emitkit"

ALERTS = "alerts"
RECORDS = "records"
LANES = (ALERTS, RECORDS)
"""The two streams, the one that is read first first."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys of one fleet.

    Three patterns cover them, for the access rules of Redis: `PREFIX:in:*` (what applications wrote and no relay has
    read), `PREFIX:edge:*` (what is known of processes) and `PREFIX:relay:*` (the state of the relays).

    Args:
        prefix: the first part of each name.
    """

    prefix: str = DEFAULT_PREFIX

    def stream(self, lane: str) -> str:
        """Return the stream of a lane."""
        return f"{self.prefix}:in:{lane}"

    @property
    def totals(self) -> str:
        """How many lines and records wait in each stream."""
        return f"{self.prefix}:in:totals"

    def process(self, name: str) -> str:
        """Return the key of what is known of one process."""
        return f"{self.prefix}:edge:process:{name}"

    @property
    def seen(self) -> str:
        """When each process was heard of."""
        return f"{self.prefix}:edge:seen"

    def relay(self, name: str) -> str:
        """Return a key of the state of the relays: `lease`, `token`, `waiting`, `requests`, `state`, `users`, …."""
        return f"{self.prefix}:relay:{name}"

    def alive(self, owner: str) -> str:
        """Return the channel to which a relay is subscribed as long as it lives."""
        return f"{self.prefix}:relay:alive:{owner}"
