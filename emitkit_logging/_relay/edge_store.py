"""The application's side of a fleet: the store whose records go to Redis, and from there to a relay."""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.series import Series
from emitkit_logging._outbox.budget import backoff
from emitkit_logging._outbox.factory import EventFactory, SafeEventFactory
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._relay.batches import MOST_BATCHES, MOST_PARTS, Batch, Lane, Receipt, Reply, Shipment
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.edge import EdgeBacklog
from emitkit_logging._relay.keys import LANES
from emitkit_logging._relay.trouble import TroubleLog
from emitkit_logging.stats import Stats

_NEVER = math.inf
_LINGER = 0.02
"""Seconds between two shipments, so that what an application logs in between goes together."""

_LOOK = 0.05
"""Seconds between two looks at what came in while records fold."""

_LONGEST_BACKOFF = 5.0
_FULL_PAUSE = 1.0


def make_edge_store(
    address: Address, factory: EventFactory, *, size: int, users: KnownUsers, clock: Callable[[], float]
) -> EdgeStore:
    """Return a store for the application's side.

    Args:
        address: of Redis, for messages.
        factory: makes events.
        size: records held in memory.
        users: remembers what was sent about users.
        clock: returns seconds of a monotonic clock.
    """
    backlog = EdgeBacklog(size=size, factory=SafeEventFactory(factory), users=users, clock=clock)
    return EdgeStore(backlog, TroubleLog(address.label, address.clean, clock), clock)


class EdgeStore:
    """Keeps records in memory until Redis has acknowledged them.

    Args:
        backlog: decides what goes next.
        trouble: warns of what goes wrong with Redis.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, backlog: EdgeBacklog, trouble: TroubleLog, clock: Callable[[], float]) -> None:
        self._backlog = backlog
        self._trouble = trouble
        self._clock = clock
        self._lanes = {name: Lane(name) for name in LANES}
        self._identities: deque[Identity] = deque()
        self._dropped: Counter[str] = Counter()
        self._delivered = 0
        self._requests = 0
        self._retries = 0
        self._is_retry = False
        self._not_before = -math.inf
        self._shipped_at = -math.inf
        self._under_way: Shipment | None = None
        self._is_closed = False
        self.queue: deque[CapturedRecord] = deque()
        self.append: Callable[[CapturedRecord], object] = self.queue.append
        self.append_alert = self.append
        self.on_long: Callable[[], None] = lambda: None
        self.starts_at_once = False
        self.series: Mapping[object, Series] = backlog.series

    def identify(self, identity: Identity) -> None:
        """Accept what is known of a user, without an event."""
        self._identities.append(identity)

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        self._dropped["shutdown"] += 1

    def take(self, most: int | None = None) -> None:
        """Let the backlog take what was accepted, about `most` records of it."""
        waiting = len(self.queue)
        while self._identities:
            identity = self._identities.popleft()
            if not self._is_closed:
                self._backlog.identify(identity)
        if self._is_closed:
            self._dropped["shutdown"] += waiting
            for _ in range(waiting):
                self.queue.popleft()
            return
        if waiting:
            self._backlog.take(self.queue, waiting if most is None else min(waiting, most))

    # What goes to Redis

    def next(self) -> Shipment | float:
        """Return the shipment to write now, or the seconds until there may be one."""
        if self._is_closed:
            return _NEVER
        now = self._clock()
        wait = max(self._not_before, self._shipped_at + _LINGER) - now
        if wait > 0:
            return _NEVER if self.is_done() else wait
        if self._backlog.end_series():
            self.take()
        batches = [batch for lane in self._lanes.values() if lane.not_before <= now for batch in self._batches(lane)]
        if not batches:
            return self._pause(now)
        self._shipped_at = now
        self._requests += 1
        self._retries += self._is_retry
        acknowledged = {name: lane.acknowledged for name, lane in self._lanes.items()}
        self._under_way = Shipment(batches, acknowledged, self._dropped_so_far().total())
        return self._under_way

    def _batches(self, lane: Lane) -> list[Batch]:
        if lane.waiting:  # each has to be in Redis before the next: its number shows whether a batch is repeated
            return lane.waiting[:MOST_BATCHES]
        batches: list[Batch] = []
        while len(batches) < MOST_BATCHES and (items := self._backlog.pop(lane.name, MOST_PARTS)):
            batches.append(lane.add(items))
        return batches

    def _pause(self, now: float) -> float:
        if not self._backlog.is_empty:
            return _LOOK
        return min((lane.not_before - now for lane in self._lanes.values() if lane.waiting), default=_NEVER)

    def wake_level(self) -> float:
        """Return the level from which on a new record may go before the time that `next` returned.

        Infinite while anything waits: the thread looks again soon by itself, and waking it costs the application time.
        """
        return logging.NOTSET if self.is_done() else _NEVER

    def settle(self, receipt: Receipt) -> None:
        """Take what Redis answered to the shipment that `next` returned."""
        shipment, self._under_way = self._under_way, None
        if shipment is None or self._is_closed:
            return
        error = receipt.error
        for batch, reply in zip(shipment.batches, receipt.replies, strict=False):
            if isinstance(reply, Reply):
                self._settle_batch(self._lanes[batch.lane], batch, reply)
            else:
                error = reply
        self._is_retry = error is not None
        if error is not None:
            self._trouble.failed(error, "records are kept in memory")
            failures = self._trouble.failures - 1
            self._not_before = self._clock() + (backoff(failures, _LONGEST_BACKOFF) if failures else 0.0)
        elif not any(lane.not_before > self._clock() for lane in self._lanes.values()):
            self._trouble.over()

    def _settle_batch(self, lane: Lane, batch: Batch, reply: Reply) -> None:
        if reply.status != "gap":
            self._backlog.is_scarce = reply.signal == "scarce"
        if reply.lost:
            text = f"Redis has lost {reply.lost} batches of this process's records, which it had acknowledged"
            self._trouble.warn(f"{text}; what no relay had read of them is lost")
        if reply.status == "full":
            lane.not_before = self._clock() + _FULL_PAUSE
            text = "the relay's queue in Redis is full, since no relay empties it"
            self._trouble.begin("full", text, "records are kept in memory")
        elif reply.status in ("added", "again"):
            lane.acknowledge(batch)
            self._delivered += batch.records - batch.rejected
            if batch.rejected:
                self._dropped["rejected"] += batch.rejected
                self._trouble.warn(f"{batch.rejected} log records dropped, no event could be made: {batch.reason}")

    def notices(self) -> list[str]:
        """Return what the log should say since the last call."""
        return self._trouble.take()

    # The end

    def mark(self) -> Callable[[], bool]:
        """Return a function that says whether all that was accepted before now is in Redis, or dropped."""
        self._backlog.release()
        newest = self._backlog.newest
        return lambda: self._is_closed or self._is_settled(newest)

    def _is_settled(self, newest: int) -> bool:
        batches = [batch for lane in self._lanes.values() for batch in lane.waiting]
        return self._backlog.is_after(newest) and all(batch.items[0].position > newest for batch in batches)

    def hurry(self, deadline: float) -> Callable[[], bool]:  # noqa: ARG002 - Redis takes all at once
        """Prepare for the end of the process: everything that waits is to be in Redis by the deadline."""
        self._not_before = -math.inf
        for lane in self._lanes.values():
            lane.not_before = -math.inf
        self._backlog.release()
        return self.is_done

    def carry_on(self) -> None:
        """Go on as before `hurry`: nothing has to be done for that."""

    def is_done(self) -> bool:
        """Whether the background thread may end: nothing waits."""
        return self._is_closed or (self._backlog.is_empty and not any(lane.waiting for lane in self._lanes.values()))

    def give_up(self) -> Undelivered:
        """Drop what waits, and return what it was."""
        identities = self._backlog.identities + len(self._identities)
        lost = Undelivered(self._pending(), identities, self._trouble.reason or self._why_undelivered())
        self._dropped["shutdown"] += lost.records
        self._backlog.clear()
        self._identities.clear()
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._is_closed = True
        return lost

    def _why_undelivered(self) -> str:
        return "Redis does not answer" if self._under_way is not None else ""

    def close(self) -> None:
        """Do nothing: the transport closes the connection."""

    def before_fork(self) -> None:
        """Do nothing: the child makes a store and a connection of its own."""

    def abandon(self) -> None:
        """Do nothing: redis-py closes no connection of another process."""

    # Counts

    def _pending(self) -> int:
        batches = [batch.records for lane in self._lanes.values() for batch in lane.waiting]
        return self._backlog.pending + sum(batches)

    def _dropped_so_far(self) -> Counter[str]:
        return self._dropped + Counter(overflow=self._backlog.overflowed)

    def stats(self) -> Stats:
        """Return the counts of this moment; what Redis has acknowledged is delivered."""
        pending, dropped = self._pending(), self._dropped_so_far()
        return Stats(
            accepted=self._delivered + pending + dropped.total(),
            delivered=self._delivered,
            pending=pending,
            dropped=dict(dropped),
            requests=self._requests,
            retries=self._retries,
        )
