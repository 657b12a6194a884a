"""Counts of what happened to the log records that a handler accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stats:
    """The counts of a handler at one moment.

    `accepted == delivered + pending + sum(dropped.values())` holds in every snapshot.

    Attributes:
        accepted: log records that the handler took from the application.
        delivered: log records that the server has received, alone or as part of a fold or a digest.
        pending: log records that wait.
        dropped: log records that were not delivered, by reason: `rejected`, `shutdown`, `overflow`, `expired`.
        events: events created on the server.
        identifies: identify requests that succeeded.
        requests: requests started.
        retries: requests that repeated an earlier one.
        identifies_lost: identify requests that were dropped and stood for no log record of their own.
        kinds: kinds of alerts (ERROR and above) that are remembered.
        storming: the kinds whose repeats fold at the moment, at most five, and how many records each had lately.
    """

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    events: int = 0
    identifies: int = 0
    requests: int = 0
    retries: int = 0
    identifies_lost: int = 0
    kinds: int = 0
    storming: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        dropped = sum(self.dropped.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.items() if count)
        kinds = f"; {kinds_text(self.kinds, self.storming)}" if self.kinds else ""
        lost = f"; {self.identifies_lost:,} identifies lost" if self.identifies_lost else ""
        return (
            f"{self.accepted:,} records accepted: {self.delivered:,} delivered, {self.pending:,} pending, "
            f"{dropped:,} dropped{f' ({reasons})' if reasons else ''}; {self.events:,} events and {self.identifies:,} "
            f"identifies in {self.requests:,} requests ({self.retries:,} retries){lost}{kinds}"
        )


def kinds_text(kinds: int, storming: Mapping[str, int]) -> str:
    """Return how many kinds of alerts are known, and which are storming, for people.

    Args:
        kinds: as of `Stats`.
        storming: as of `Stats`.
    """
    named = ", ".join(f"{name} ×{count:,}" for name, count in storming.items())
    known = f"{kinds:,} kind{'' if kinds == 1 else 's'} of alerts known"
    return f"{known}; storming: {named}" if named else known
