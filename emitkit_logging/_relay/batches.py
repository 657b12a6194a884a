"""Batches of an application on their way to Redis. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging._relay.edge import Item

MOST_PARTS = 64
"""Parts of one batch; a batch is one entry of a stream."""

MOST_BATCHES = 8
"""Batches of one lane that are written in one pipeline."""


@dataclass(slots=True)
class Batch:
    """What is added to a stream in one step.

    Attributes:
        lane: the stream.
        number: counts the batches of this process and lane.
        items: what it holds.
        records: how many log records these stand for.
        payload: the bytes, once they were made; each try has the same.
        parts: how many parts the payload has.
        rejected: log records of which no event could be made.
        reason: why not, for people.
    """

    lane: str
    number: int
    items: list[Item]
    records: int
    payload: bytes | None = None
    parts: int = 0
    rejected: int = 0
    reason: str = ""


@dataclass(slots=True)
class Lane:
    """The batches of one stream.

    Attributes:
        name: the stream.
        number: of the newest batch.
        acknowledged: the number of the last one that Redis has.
        waiting: the batches that Redis has not acknowledged, in order; each is written again until it has.
        not_before: when they may be written again, in seconds of the clock.
    """

    name: str
    number: int = 0
    acknowledged: int = 0
    waiting: list[Batch] = field(default_factory=list)
    not_before: float = -math.inf

    def add(self, items: list[Item]) -> Batch:
        """Make a batch, which waits until it is acknowledged."""
        self.number += 1
        batch = Batch(self.name, self.number, items, sum([item.records for item in items]))
        self.waiting.append(batch)
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """Remember that Redis has a batch."""
        self.acknowledged = max(self.acknowledged, batch.number)
        self.waiting = [other for other in self.waiting if other.number > batch.number]


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is written in one pipeline.

    Attributes:
        batches: those of alerts first.
        acknowledged: by lane the number of the last batch that Redis is known to have.
        dropped: how many records this process has dropped so far.
    """

    batches: list[Batch]
    acknowledged: dict[str, int]
    dropped: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What Redis answered to one batch.

    Attributes:
        status: `added`, `again`, `full` or `gap`.
        signal: `ample`, `scarce`, or an empty text where no relay has said so lately.
        lost: how many batches that were acknowledged before Redis does not know any more.
    """

    status: str
    signal: str
    lost: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What Redis answered to a shipment.

    Attributes:
        replies: one for each batch: an answer or an exception; none where there was no answer.
        error: why there was none.
    """

    replies: list[Reply | Exception]
    error: Exception | None = None


def read_reply(answer: Any) -> Reply | Exception:
    """Return what the script `append` returned."""
    if isinstance(answer, Exception):
        return answer
    try:
        status, signal, lost = answer
        return Reply(bytes(status).decode(), bytes(signal).decode(), int(lost))
    except (TypeError, ValueError) as error:
        return error
