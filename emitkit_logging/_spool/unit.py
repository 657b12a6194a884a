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
"""Log records of each origin that wait at one place."""


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
        shares: by place.
        sizes: bytes of `data`, by place.
        size: their sum.
        calls: the identify calls, by place.
    """

    shares: dict[int, Share] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    size: int = 0
    calls: dict[int, IdentifyCall] = field(default_factory=dict)

    def put(self, place: int, share: Share, size: int) -> None:
        """Take note of a row that was written or read."""
        self.shares[place] = share
        self.size += size - self.sizes.get(place, 0)
        self.sizes[place] = size

    def remove(self, place: int) -> None:
        """Take note that a row is gone."""
        self.shares.pop(place, None)
        self.calls.pop(place, None)
        self.size -= self.sizes.pop(place, 0)

    def apply(self, changes: Changes, gone: set[int]) -> None:
        """Take note of what was committed besides the rows: calls, and places where nothing waits any more.

        The records that came in are the outbox's alone now: what they were read from is no longer needed.
        """
        for place, delivery in changes.deliveries.items():
            if delivery.facts is not None:
                self.calls[place] = delivery.facts
        for place in gone:
            self.remove(place)
        for captured in changes.came_at.values():
            captured.origin = None

    def rows_with(self, changes: Changes) -> int:
        """Return how many rows there would be after `changes`, at most."""
        return len(self.sizes) + len(changes.came_at) - len(changes.joins) - len(changes.ends)

    def size_with(self, changes: Changes) -> int:
        """Return the bytes that would wait after `changes`, folds as large as they are now."""
        gone = {place for place, _ in changes.joins}
        gone.update(end.place for end in changes.ends)
        came = [origin_of(captured).line for place, captured in changes.came_at.items() if place not in gone]
        left = sum([self.sizes.get(place, 0) for place in gone])
        return self.size - left + sum([len(line) for line in came if line is not None])


@dataclass(slots=True)
class Unit:
    """The changes of one commit.

    Attributes:
        shares: the new shares of all places that were touched and are not gone.
        gone: places where nothing waits any more.
        rejected: what ended rejected, by place: the rows are kept for people.
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
        shares = {place: {origin_of(captured).journal: 1} for place, captured in changes.came_at.items()}
        unit = cls(shares, counts=Counter(findings.counts))
        unit.counts.update((line.origin, REJECTED) for line in findings.lines)
        for place, into in changes.joins:
            unit._join(place, into, waiting.shares)
        for place in changes.entries.keys() - unit.shares.keys() - unit.gone:
            unit.shares[place] = dict(waiting.shares.get(place, ()))  # a fold that became a digest, at the same place
        for end in (*findings.ends, *changes.ends):
            unit._end(end, changes, waiting)
        return unit

    def _join(self, place: int, into: int, before: Mapping[int, Share]) -> None:
        share = self.shares.get(into)
        if share is None:
            share = self.shares[into] = dict(before.get(into, ()))
        for origin, records in self._leave(place, before).items():
            share[origin] = share.get(origin, 0) + records

    def _end(self, end: Ended, changes: Changes, waiting: Waiting) -> None:
        for origin, records in self._leave(end.place, waiting.shares).items():
            self.counts[origin, end.reason or DELIVERED] += records
        if end.reason == REJECTED:
            self.rejected[end.place] = end
        if end.reason is None:
            delivery = changes.deliveries.get(end.place)
            call = waiting.calls.get(end.place) if delivery is None else delivery.facts
            if call is not None:
                self.users[call.user_id] = call

    def _leave(self, place: int, before: Mapping[int, Share]) -> Share:
        if place in self.gone:
            return {}
        self.gone.add(place)
        share = self.shares.pop(place, None)
        return before.get(place, {}) if share is None else share

    def is_written(self, place: int) -> bool:
        """Whether the row of a place that was touched is to be written: it stays, or is kept as rejected."""
        return place not in self.gone or place in self.rejected
