"""Stats: what became of the records, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stats:
    """A snapshot; `accepted == delivered + pending + sum(dropped.values())` always holds.

    Attributes:
        accepted: log records taken from the application.
        delivered: log records that the server has.
        pending: log records that wait.
        dropped: log records given up, by reason: `rejected`, `shutdown`, `overflow`, `expired`.
        events: events created on the server.
        identifies: identify calls that succeeded.
        requests: requests started.
        retries: those of them that were not the first try.
    """

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    events: int = 0
    identifies: int = 0
    requests: int = 0
    retries: int = 0

    def __str__(self) -> str:
        lost = sum(self.dropped.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.items() if count)
        return (
            f"{self.accepted:,} records accepted: {self.delivered:,} delivered, {self.pending:,} pending, "
            f"{lost:,} dropped{f' ({reasons})' if reasons else ''}; {self.events:,} events and {self.identifies:,} "
            f"identifies in {self.requests:,} requests ({self.retries:,} retries)"
        )
