"""What the outbox reports about where each record is, for a store that outlives the process.

Every record comes in at a *position*, a number that grows. It may join what waits at another position, and it ends
delivered or dropped. Nothing else can happen to it, so these reports say at every moment where each record is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emitkit_logging._api.encoding import Json

if TYPE_CHECKING:
    from emitkit_logging._events.captured import CapturedRecord
    from emitkit_logging._outbox.delivery import Delivery
    from emitkit_logging._outbox.folding import Digest, Fold


class Knowledge(str, enum.Enum):
    """What is known besides what waits."""

    KIND = "kind"
    TEMPLATE = "template"


class BacklogObserver(Protocol):
    """Receives the reports of an outbox."""

    def came(self, position: int, captured: CapturedRecord) -> None:
        """Called when a record waits at `position`."""

    def joined(self, position: int, into: int) -> None:
        """Called when what waited at `position` is a part of what waits at `into`."""

    def changed(self, entry: Fold | Digest) -> None:
        """Called when a fold or a digest has grown."""

    def attempted(self, delivery: Delivery) -> None:
        """Called when an identify waits, or a request is about to start."""

    def ended(self, position: int, reason: str | None = None, detail: str = "") -> None:
        """Called when what waited at `position` was delivered (no reason), or dropped for a reason."""

    def learned(self, of: Knowledge, values: Mapping[str, Json]) -> None:
        """Called with what is known now of kinds or templates, by name; `None`: nothing any more."""


class NullObserver:
    """Ignores all reports: for a store in memory."""

    def came(self, position: int, captured: CapturedRecord) -> None:
        """Do nothing."""

    def joined(self, position: int, into: int) -> None:
        """Do nothing."""

    def changed(self, entry: Fold | Digest) -> None:
        """Do nothing."""

    def attempted(self, delivery: Delivery) -> None:
        """Do nothing."""

    def ended(self, position: int, reason: str | None = None, detail: str = "") -> None:
        """Do nothing."""

    def learned(self, of: Knowledge, values: Mapping[str, Json]) -> None:
        """Do nothing."""


NO_OBSERVER: BacklogObserver = NullObserver()
"""The observer of an outbox whose records stay in memory."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of what waited at a position.

    Attributes:
        position: where it waited.
        reason: why it was dropped, or `None` if it was delivered.
        detail: the server's answer, or another explanation for people.
    """

    position: int
    reason: str | None
    detail: str


@dataclass(slots=True)
class Changes:
    """The unit of work: all that an outbox reported since the last one was handed over.

    It is an observer that collects. To apply it, first add what came, then move what joined, in order, then write what
    changed and what was attempted as it is now, then remove what ended: nothing joins a position that has ended.

    Attributes:
        came_at: the new records by position.
        joins: pairs of positions: what waited at the first is now a part of the second.
        entries: folds and digests that have grown, by position.
        deliveries: identifies that wait and requests that start, by position.
        ends: what was delivered or dropped.
        knowledge: what is known now of kinds and templates, by name; `None`: nothing any more.
    """

    came_at: dict[int, CapturedRecord] = field(default_factory=dict)
    joins: list[tuple[int, int]] = field(default_factory=list)
    entries: dict[int, Fold | Digest] = field(default_factory=dict)
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    ends: list[Ended] = field(default_factory=list)
    knowledge: dict[tuple[Knowledge, str], Json] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was reported."""
        return not (self.came_at or self.joins or self.entries or self.deliveries or self.ends or self.knowledge)

    def clear(self) -> None:
        """Forget everything: it was applied."""
        for part in (self.came_at, self.joins, self.entries, self.deliveries, self.ends, self.knowledge):
            part.clear()

    def came(self, position: int, captured: CapturedRecord) -> None:
        """Remember that a record waits at `position`."""
        self.came_at[position] = captured

    def joined(self, position: int, into: int) -> None:
        """Remember that what waited at `position` is a part of what waits at `into`."""
        if position != into:
            self.joins.append((position, into))

    def changed(self, entry: Fold | Digest) -> None:
        """Remember that a fold or a digest has grown."""
        self.entries[entry.position] = entry

    def attempted(self, delivery: Delivery) -> None:
        """Remember an identify that waits, or a request that is about to start."""
        self.deliveries[delivery.position] = delivery

    def ended(self, position: int, reason: str | None = None, detail: str = "") -> None:
        """Remember that what waited at `position` was delivered (no reason), or dropped for a reason."""
        self.ends.append(Ended(position, reason, detail))

    def learned(self, of: Knowledge, values: Mapping[str, Json]) -> None:
        """Remember what is known now of kinds or templates, by name; `None`: nothing any more."""
        for name, value in values.items():
            self.knowledge.pop((of, name), None)
            self.knowledge[of, name] = value
