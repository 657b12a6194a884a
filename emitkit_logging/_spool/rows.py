"""Rows of the table of what waits: made of an outbox's entries, and read back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.text import clean
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.delivery import Delivery
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._spool import codec
from emitkit_logging._spool.unit import Share, Unit, origin_of

Entry: TypeAlias = "CapturedRecord | Fold | Digest | IdentifyCall"

_LARGEST = 2**63 - 1  # of an integer in SQLite
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A row that is new or changed.

    Attributes:
        position: where it waits.
        kind: `record`, `fold`, `digest` or `identify`.
        priority: of the most important record.
        first_position: where the first record came in.
        since: when the latest record was logged, in epoch seconds.
        channel: where its event goes, or an empty text.
        records: log records that it stands for.
        share: of each origin.
        data: the content.
    """

    position: int
    kind: str
    priority: int
    first_position: float
    since: float
    channel: str
    records: int
    share: Share
    data: bytes

    def values(self) -> tuple[Any, ...]:
        """Return the values of the columns, each such that SQLite can hold it."""
        priority = max(-_LARGEST, min(_LARGEST, self.priority))
        since = self.since if math.isfinite(self.since) else time.time()
        channel, share = clean(self.channel), json.dumps(self.share)
        return self.position, self.kind, priority, self.first_position, since, channel, self.records, share, self.data


class RowWriter:
    """Makes rows.

    Args:
        converter: converts values that the format does not have.
        channel_of: returns the channel that a captured record goes to.
    """

    def __init__(self, converter: JsonConverter, channel_of: Callable[[CapturedRecord], str]) -> None:
        self._converter = converter
        self._channel_of = channel_of

    def rows(self, changes: Changes, unit: Unit) -> Iterator[WrittenRow]:
        """Return the rows that are new or changed."""
        for position, captured in changes.came_at.items():
            if unit.is_written(position) and position not in changes.entries:
                yield self._of_record(position, captured, unit.shares.get(position, {}))
        for position, entry in changes.entries.items():
            if unit.is_written(position):
                yield self._of_entry(position, entry, unit)
        for position, delivery in changes.deliveries.items():
            if delivery.facts is not None and unit.is_written(position):
                yield self._of_call(position, delivery, delivery.facts, unit.shares.get(position, {}))

    def users(self, unit: Unit) -> dict[str, str]:
        """Return what the server has taken over, a JSON object for each user."""
        return {user_id: codec.write_call(call, self._converter) for user_id, call in unit.users.items()}

    def _of_record(self, position: int, captured: CapturedRecord, share: Share) -> WrittenRow:
        data = origin_of(captured).line or codec.write_record(captured, self._converter)
        channel = self._channel(captured)
        return WrittenRow(position, "record", captured.priority, position, captured.created, channel, 1, share, data)

    def _channel(self, captured: CapturedRecord) -> str:
        try:
            return self._channel_of(captured)
        except BaseException as error:  # from an application's own formatter; the outbox asks it again
            if not is_fault(error):
                raise
            return ""

    def _of_entry(self, position: int, entry: Fold | Digest, unit: Unit) -> WrittenRow:
        kind, channel = ("fold", entry.key.channel) if isinstance(entry, Fold) else ("digest", entry.channel)
        data = codec.write_entry(kind, entry.state(), self._converter)
        priority, first_position = entry.priority, entry.first_position
        share = unit.shares.get(position, {})
        return WrittenRow(position, kind, priority, first_position, entry.last_seen, channel, entry.count, share, data)

    def _of_call(self, position: int, delivery: Delivery, call: IdentifyCall, share: Share) -> WrittenRow:
        data = codec.write_identify(call, self._converter)
        priority, first_position, records = delivery.priority, delivery.first_position, delivery.records
        return WrittenRow(position, "identify", priority, first_position, time.time(), "", records, share, data)


def requests(changes: Changes) -> Iterator[tuple[Any, ...]]:
    """Return the requests that are about to start, as the values of `tables.write_waiting`."""
    for position, delivery in changes.deliveries.items():
        if (request := delivery.request) is not None:
            yield request.path, request.success, request.key, request.body, delivery.records, position


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row, as `tables.SELECT_WAITING` returns it.

    Attributes:
        position, kind, priority, first_position, since, records, data: as of `WrittenRow`.
        shares: the JSON object of the shares.
        path, success, key, body: of the request that was started, or `None` each.
    """

    position: int
    kind: str
    priority: int
    first_position: float
    since: float
    records: int
    shares: str
    data: bytes
    path: str | None
    success: int | None
    key: str | None
    body: bytes | None

    def check(self) -> None:
        """Check the columns by which it waits.

        Raises:
            ValueError: if one has a wrong type: SQLite holds any value in any column.
        """
        if not all(
            isinstance(each, int | float) for each in (self.priority, self.first_position, self.since, self.records)
        ):
            raise ValueError("a column has a wrong type")

    @property
    def share(self) -> Share:
        """The records of each origin; none where they cannot be read."""
        try:
            return {str(origin): int(records) for origin, records in json.loads(self.shares).items()}
        except _UNREADABLE:
            return {}

    @property
    def request(self) -> ApiRequest | None:
        """The request that was started, or `None`."""
        if not (isinstance(self.path, str) and isinstance(self.success, int) and isinstance(self.body, bytes)):
            return None
        return ApiRequest(self.path, self.success, self.body, self.key)


def read_entry(kind: str, data: bytes) -> Entry:
    """Return what waits in a row.

    Raises:
        ValueError: if it cannot be read; the text says why.
    """
    try:
        if kind == "fold":
            return Fold.of(codec.read_entry(kind, data))
        if kind == "digest":
            return Digest.of(codec.read_entry(kind, data))
        if kind in ("record", "identify"):
            entry: CapturedRecord | IdentifyCall = codec.read_entry(kind, data)
            return entry
    except _UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    raise ValueError(f"{kind!r} is no known kind")
