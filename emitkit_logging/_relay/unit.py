"""What one commit of the leader changes: the reports of its outbox in terms of the keys in Redis.

Pure. Computing it changes nothing, so that a commit that failed can be repeated with the same changes, and more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.delivery import Delivery
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._relay import wire
from emitkit_logging.stats import Stats

_COUNTED = ("delivered", "events", "identifies", "requests", "retries", "identifies_lost")


@dataclass(slots=True)
class Rows:
    """What Redis holds of what waits, as far as commits need it.

    Attributes:
        positions: where something waits.
        requests: where a request was started.
        calls: the identify calls, by position.
    """

    positions: set[int] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)
    calls: dict[int, IdentifyCall] = field(default_factory=dict)

    def count_with(self, changes: Changes) -> int:
        """Return how many rows there would be after `changes`, at most."""
        return (
            len(self.positions) + len(changes.came_at) + len(changes.entries) - len(changes.joins) - len(changes.ends)
        )


@dataclass(slots=True)
class Unit:
    """The changes of one commit.

    Attributes:
        gone: positions where nothing waits any more.
        rows: what waits, by position, as it is written.
        requests: the requests that start, by position, as they are written.
        users: what the server has taken over, by user.
    """

    gone: set[int] = field(default_factory=set)
    rows: dict[int, bytes] = field(default_factory=dict)
    requests: dict[int, bytes] = field(default_factory=dict)
    users: dict[str, IdentifyCall] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Changes, before: Rows) -> Unit:
        """Return the unit of `changes`.

        Args:
            changes: what the outbox reported.
            before: what Redis holds.
        """
        unit = cls({position for position, _ in changes.joins} | {end.position for end in changes.ends})
        for position, captured in changes.came_at.items():
            if position not in unit.gone and position not in changes.entries:
                unit.rows[position] = wire.write_entry(captured)
        for position, entry in changes.entries.items():
            if position not in unit.gone:
                unit.rows[position] = wire.write_entry(entry)
        for position, delivery in changes.deliveries.items():
            if position in unit.gone:
                continue
            if delivery.facts is not None:
                unit.rows[position] = wire.write_entry(delivery.facts)
            # the event that reports drops has no row: it is not taken over by another leader
            has_row = position in unit.rows or position in before.positions
            if has_row and (delivery.request is not None or delivery.facts is not None):
                unit.requests[position] = write_request(delivery)
        for end in changes.ends:
            if end.reason is None:
                ended = changes.deliveries.get(end.position)
                call = before.calls.get(end.position) if ended is None else ended.facts
                if call is not None:
                    unit.users[call.user_id] = call
        return unit

    def apply(self, changes: Changes, rows: Rows) -> None:
        """Change `rows` by what was committed."""
        rows.positions |= self.rows.keys()
        rows.requests |= self.requests.keys()
        rows.positions -= self.gone
        rows.requests -= self.gone
        for position, delivery in changes.deliveries.items():
            if delivery.facts is not None:
                rows.calls[position] = delivery.facts
        for position in self.gone:
            rows.calls.pop(position, None)


@dataclass(frozen=True, slots=True)
class StartedRequest:
    """A delivery as it stands in Redis: a request that was started, or an identify request that waits.

    Attributes:
        priority: of the delivery.
        first_position: of the delivery.
        records: how many log records it stands for.
        request: what was sent, or `None`.
    """

    priority: int
    first_position: float
    records: int
    request: ApiRequest | None


def write_request(delivery: Delivery) -> bytes:
    """Return a delivery: an array in JSON, and behind a newline the body of its request."""
    request = delivery.request
    header: list[Any] = [delivery.priority, delivery.first_position, delivery.records]
    if request is None:
        return json.dumps(header).encode()
    header += [request.path, request.success, request.key]
    return json.dumps(header).encode() + b"\n" + request.body


def read_request(data: bytes) -> StartedRequest:
    """Return what `write_request` wrote.

    Raises:
        ValueError: if it cannot be read.
    """
    header, separator, body = data.partition(b"\n")
    try:
        priority, first_position, records, *more = json.loads(header)
        request = ApiRequest(str(more[0]), int(more[1]), body, more[2]) if separator else None
        return StartedRequest(int(priority), float(first_position), int(records), request)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"it is no request: {error}") from error


def counts_between(before: Stats, now: Stats) -> Counter[str]:
    """Return what was counted between two snapshots of one outbox, by the name of the field or the reason."""
    counts: Counter[str] = Counter()
    for name in _COUNTED:
        counts[name] = getattr(now, name) - getattr(before, name)
    for reason, records in now.dropped.items():
        counts[f"dropped:{reason}"] = records - before.dropped.get(reason, 0)
    return +counts


def until(entry_id: bytes) -> str:
    """Return the least id of a stream that is greater than `entry_id`."""
    milliseconds, _, number = entry_id.decode().partition("-")
    return f"{milliseconds}-{int(number) + 1}"


def user_value(call: IdentifyCall, at: float) -> str:
    """Return what the server knows of a user, and since when (seconds of the relays' clock)."""
    return json.dumps({"at": at, "properties": dict(call.properties), "aliases": list(call.aliases)})


def read_user(user_id: str, value: bytes) -> tuple[IdentifyCall, float]:
    """Return what `user_value` wrote.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        state: Mapping[str, Any] = json.loads(value)
        aliases = tuple(map(str, state.get("aliases", ())))
        return IdentifyCall(user_id, dict(state.get("properties", {})), aliases), float(state.get("at", 0.0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no user: {error}") from error
