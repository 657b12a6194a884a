"""What one commit changes: the changes of an outbox in terms of the tables.

Computing it changes nothing, so that a commit that failed can be repeated with the same changes, and more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.observer import Changes, Ended

DELIVERED = ""
"""The reason, in the table of counts, of records that were delivered."""

REJECTED = "rejected"

Share: TypeAlias = "dict[str, int]"
"""Log records of each origin that wait at one position."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a captured record comes from.

    Attributes:
        journal: the origin of the journal.
        line: the line that it was read from, or `None` where the database cannot take it over as it is.
    """

    journal: str
    line: bytes | None


def origin_of(captured: CapturedRecord) -> Origin:
    """Return the origin that the spool set when it read or adopted a record."""
    origin = captured.origin
    assert isinstance(origin, Origin)  # noqa: S101 - a record of another store never comes here
    return origin


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line of a journal that cannot be read.

    Attributes:
        origin: of the journal.
        data: the line.
        reason: why.
    """

    origin: str
    data: bytes
    reason: str


@dataclass(slots=True)
class Findings:
    """What the spool itself has found, to be written with the next commit.

    Attributes:
        ends: rows that are too old or cannot be read.
        lines: lines of journals that cannot be read.
        counts: what this process had counted in a database that is gone.
    """

    ends: list[Ended] = field(default_factory=list)
    lines: list[UnreadableLine] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.ends or self.lines or self.counts)


@dataclass(slots=True)
class Waiting:
    """What the rows of the database hold, as far as commits need it.

    Attributes:
        shares: by position.
        sizes: bytes of `data`, by position.
        size: their sum.
        calls: the identify calls, by position.
    """

    shares: dict[int, Share] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    size: int = 0
    calls: dict[int, IdentifyCall] = field(default_factory=dict)

    def put(self, position: int, share: Share, size: int) -> None:
        """Remember a row that was written or read."""
        self.shares[position] = share
        self.size += size - self.sizes.get(position, 0)
        self.sizes[position] = size

    def remove(self, position: int) -> None:
        """Remember that a row is gone."""
        self.shares.pop(position, None)
        self.calls.pop(position, None)
        self.size -= self.sizes.pop(position, 0)

    def apply(self, changes: Changes, gone: set[int]) -> None:
        """Remember what was committed besides the rows: calls, and positions where nothing waits any more.

        The records that came in are the outbox's alone now: what they were read from is no longer needed.
        """
        for position, delivery in changes.deliveries.items():
            if delivery.facts is not None:
                self.calls[position] = delivery.facts
        for position in gone:
            self.remove(position)
        for captured in changes.came_at.values():
            captured.origin = None

    def rows_with(self, changes: Changes) -> int:
        """Return how many rows there would be after `changes`, at most."""
        return len(self.sizes) + len(changes.came_at) - len(changes.joins) - len(changes.ends)

    def size_with(self, changes: Changes) -> int:
        """Return the bytes that would wait after `changes`, folds as large as they are now."""
        gone = {position for position, _ in changes.joins}
        gone.update(end.position for end in changes.ends)
        came = [origin_of(captured).line for position, captured in changes.came_at.items() if position not in gone]
        left = sum([self.sizes.get(position, 0) for position in gone])
        return self.size - left + sum([len(line) for line in came if line is not None])


@dataclass(slots=True)
class Unit:
    """The changes of one commit.

    Attributes:
        shares: the new shares of all positions that were touched and are not gone.
        gone: positions where nothing waits any more.
        rejected: what ended rejected, by position: the rows are kept for people.
        counts: records delivered or dropped, by origin and reason, those of `Findings` included.
        users: what the server has taken over, by user.
    """

    shares: dict[int, Share] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    rejected: dict[int, Ended] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    users: dict[str, IdentifyCall] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Changes, findings: Findings, waiting: Waiting) -> Unit:
        """Return the unit of `changes`.

        Args:
            changes: what the outbox reported.
            findings: what the spool itself found.
            waiting: what waited before.
        """
        shares = {position: {origin_of(captured).journal: 1} for position, captured in changes.came_at.items()}
        unit = cls(shares, counts=Counter(findings.counts))
        unit.counts.update((line.origin, REJECTED) for line in findings.lines)
        for position, into in changes.joins:
            unit._join(position, into, waiting.shares)
        for position in changes.entries.keys() - unit.shares.keys() - unit.gone:
            unit.shares[position] = dict(
                waiting.shares.get(position, ())
            )  # a fold that became a digest, at the same position
        for end in (*findings.ends, *changes.ends):
            unit._end(end, changes, waiting)
        return unit

    def _join(self, position: int, into: int, before: Mapping[int, Share]) -> None:
        share = self.shares.get(into)
        if share is None:
            share = self.shares[into] = dict(before.get(into, ()))
        for origin, records in self._leave(position, before).items():
            share[origin] = share.get(origin, 0) + records

    def _end(self, end: Ended, changes: Changes, waiting: Waiting) -> None:
        for origin, records in self._leave(end.position, waiting.shares).items():
            self.counts[origin, end.reason or DELIVERED] += records
        if end.reason == REJECTED:
            self.rejected[end.position] = end
        if end.reason is None:
            delivery = changes.deliveries.get(end.position)
            call = waiting.calls.get(end.position) if delivery is None else delivery.facts
            if call is not None:
                self.users[call.user_id] = call

    def _leave(self, position: int, before: Mapping[int, Share]) -> Share:
        if position in self.gone:
            return {}
        self.gone.add(position)
        share = self.shares.pop(position, None)
        return before.get(position, {}) if share is None else share

    def is_written(self, position: int) -> bool:
        """Whether the row of a position that was touched is to be written: it stays, or is kept as rejected."""
        return position not in self.gone or position in self.rejected
