"""The store of a relay. The leader sends what applications wrote into Redis; the others stand by."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.series import NO_SERIES
from emitkit_logging._outbox.budget import backoff
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._outbox.observer import BacklogObserver, Changes
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._relay import wire
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.keys import Keys
from emitkit_logging._relay.leader import Counted, LeaderState, NewerFormat, StateBehind, hand_over
from emitkit_logging._relay.lease import LEASE, LOOK, Lease, LeaseLost
from emitkit_logging._relay.signal import ScarcitySignal
from emitkit_logging._relay.trouble import TroubleLog
from emitkit_logging._relay.unit import counts_between
from emitkit_logging._worker.clock import monotonic
from emitkit_logging.stats import Stats

_POLL = 0.1
"""Seconds between two looks at what applications have written."""

_SIGNAL = 5.0
"""Seconds after which the leader writes again whether the budget lasts, although nothing has changed."""

_MOST_PARTS = 2_000
"""Parts of entries that are read, about, before what they changed is written."""

_STAND_BACK = 10.0
_TIDY = 60.0
_TTL = 7 * 86_400.0
_LONGEST_BACKOFF = 2.0
_NEVER = math.inf


class RelayClock:
    """The clock that all relays of a fleet share: that of the Redis server, as it was when this relay began to lead."""

    def __init__(self) -> None:
        self._offset = 0.0

    def set(self, seconds: float) -> None:
        """Let it be `seconds` now."""
        self._offset = seconds - monotonic()

    def __call__(self) -> float:
        """Return epoch seconds."""
        return monotonic() + self._offset


class RelayStore:
    """Drives an outbox with what is in Redis, while this relay leads; else stands by.

    Args:
        address: of Redis.
        make_outbox: returns an empty outbox that reports to the given observer and has the given clock.
        size: lines and entries that Redis may hold.
        most_users: users that are remembered.
        timeout: seconds that one request to EmitKit may take.
        shown: options that the status shows.
        on_line: called with each line for the log that is no warning.
    """

    def __init__(
        self,
        address: Address,
        make_outbox: Callable[[BacklogObserver, Callable[[], float]], Outbox],
        *,
        size: int,
        most_users: int,
        timeout: float,
        shown: Mapping[str, Any],
        on_line: Callable[[str], None],
    ) -> None:
        keys = Keys(address.prefix)
        self._client = address.connect()
        self._state = LeaderState(self._client, keys, most_users=most_users)
        self._lease = Lease(address, keys, seconds=LEASE + timeout, clock=monotonic)
        self._trouble = TroubleLog(address.label, address.clean, monotonic)
        self._clock = RelayClock()
        self._signal = ScarcitySignal(self._clock)
        self._make_outbox = make_outbox
        self._size = size
        self._shown = shown
        self._on_line = on_line
        self._changes = Changes()
        self._outbox = make_outbox(self._changes, self._clock)
        self._counted = Stats()
        self._uncommitted: Counter[str] = Counter()  # what the outbox does not count, and what a failed commit left
        self._started: ApiRequest | None = None
        self._is_loaded = False
        self._signalled = ""
        self._signal_at = -math.inf
        self._tidy_at = -math.inf
        self._look_at = -math.inf
        self._is_behind = False
        self._is_ending = False
        self._is_closed = False
        self._is_standing_by = False
        self._notices: list[str] = []
        self.queue: deque[CapturedRecord] = deque()
        self.append: Callable[[CapturedRecord], object] = self.queue.append
        self.append_alert = self.append
        self.on_long: Callable[[], None] = lambda: None
        self.starts_at_once = True
        self.series = NO_SERIES

    # Nothing is logged through a relay's own store

    def identify(self, identity: Identity) -> None:
        """Do nothing."""

    def refuse(self) -> None:
        """Do nothing."""

    def take(self, most: int | None = None) -> None:
        """Do nothing: `next` reads."""

    def mark(self) -> Callable[[], bool]:
        """Return a function that returns `True`."""
        return lambda: True

    def hurry(self, deadline: float) -> Callable[[], bool]:  # noqa: ARG002 - what waits stays in Redis
        """Start no further request; return a function that returns `True`."""
        self._is_ending = True
        return lambda: True

    def carry_on(self) -> None:
        """Do nothing."""

    def before_fork(self) -> None:
        """Do nothing: a relay does not fork."""

    def abandon(self) -> None:
        """Do nothing."""

    # Under the worker's lock

    def next(self) -> ApiRequest | float:
        """Return the request to start now, if this relay leads, or the seconds until it looks again."""
        if self._is_closed or self._is_ending:
            return _NEVER
        now = monotonic()
        if now < self._look_at:
            return self._look_at - now
        try:
            step = self._send() if self._leads() else LOOK
            self._trouble.over()
        except LeaseLost:
            self._lose("another relay leads")
            step = 0.0
        except StateBehind:
            self._is_loaded = False
            step = 0.0
        except NewerFormat:
            step = self._stand_back()
        except Exception as error:  # of redis-py or the network
            self._trouble.failed(error, "nothing is relayed until it works again")
            step = backoff(self._trouble.failures, _LONGEST_BACKOFF)
        if not isinstance(step, ApiRequest):
            self._look_at = monotonic() + step
        return step

    def _leads(self) -> bool:
        if not self._lease.hold(self._client):
            if not self._is_standing_by:
                self._is_standing_by = True
                self._on_line("stands by: another relay leads")
            return False
        if self._lease.format > wire.FORMAT:
            raise NewerFormat
        if not self._is_loaded:
            self._load()
        return True

    def _load(self) -> None:
        known, waited = self._state.revision, self._outbox.pending
        self._clock.set(self._state.seconds())
        self._changes = Changes()
        self._outbox = self._make_outbox(self._changes, self._clock)
        self._counted, self._started = Stats(), None
        self._state.load(self._outbox, self._clock())
        if self._state.revision < known:
            lost = max(0, waited - self._outbox.pending)
            self._uncommitted["lost"] += lost
            self._notices.append(
                "Redis has an older state than this relay wrote: it was restarted without its data, or a replica that "
                f"lagged has taken over; {lost:,} log records that waited are lost"
            )
        self._is_loaded, self._is_standing_by = True, False
        self._signal_at = -math.inf
        self._on_line(f"leads: {self._outbox.pending:,} log records wait")

    def _lose(self, why: str) -> None:
        self._lease.lose()
        self._state.reset()
        if self._is_loaded:
            self._on_line(f"leads no more: {why}")
        self._is_loaded = False

    def _stand_back(self) -> float:
        self._trouble.begin("newer", "Redis has data of a newer version", "update this relay")
        if self._is_loaded:
            with contextlib.suppress(Exception):
                self._commit()
        with contextlib.suppress(Exception):
            self._lease.release(self._client)
        self._lose("a newer version is needed")
        self._lease.stand_back(_STAND_BACK)
        return LOOK

    def _send(self) -> ApiRequest | float:
        pause = 0.0
        if self._started is None:
            self._read()
            step = self._outbox.next()
            if isinstance(step, ApiRequest):
                self._started = step
            else:
                pause = step
        self._commit()
        if self._started is not None:  # it is written, and so may be sent
            request, self._started = self._started, None
            return request
        self._tidy()
        return 0.0 if self._is_behind else min(pause, _POLL)

    def _read(self) -> None:
        parts = 0
        self._is_behind = True
        while parts < _MOST_PARTS:
            read = 0
            for arrival in self._state.read():
                hand_over(arrival.parts, self._outbox, self._state.unreadable)
                self._signal.arrived(arrival.records)
                self._uncommitted["received"] += arrival.records
                read += len(arrival.parts)
            parts += read
            if not read:
                self._is_behind = False
                return

    def _commit(self) -> None:
        outbox, now = self._outbox, monotonic()
        while self._state.rows.count_with(self._changes) > self._size // 2 and outbox.halve():
            pass
        signal = self._signal.value(is_spent=outbox.is_scarce, capacity=outbox.capacity, waiting=outbox.pending)
        is_due = signal != self._signalled or now >= self._signal_at
        if self._changes.is_empty and not self._state.has_read and not self._state.unreadable and not is_due:
            return
        stats = outbox.stats()
        counts = counts_between(self._counted, stats) + self._uncommitted
        for reason, records in self._state.unreadable.items():
            counts["dropped:unreadable"] += records
            self._notices.append(f"{records} log records in Redis cannot be read: {reason}")
        self._state.unreadable.clear()
        config = {"size": self._size, "options": self._options(stats)} if is_due else {}
        counted = Counted(counts, outbox.newest, outbox.budget(), signal, config, self._clock())
        self._uncommitted = counts  # counted again where the commit fails
        self._counted = stats
        self._state.commit(self._changes, counted, self._lease.value)
        self._uncommitted = Counter()
        self._changes.clear()
        self._signalled = signal
        if is_due:
            self._signal_at = now + _SIGNAL

    def _options(self, stats: Stats) -> str:
        return json.dumps({**self._shown, "storming": dict(stats.storming)})

    def _tidy(self) -> None:
        now = monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY
            self._outbox.expire(time.time() - _TTL)

    def wake_level(self) -> float:
        """Return the level from which on a new record needs the thread."""
        return logging.NOTSET

    def settle(self, response: ApiResponse) -> None:
        """Take the response to the request that `next` returned."""
        if not self._is_closed:
            self._outbox.settle(response)
            self._look_at = -math.inf

    def notices(self) -> list[str]:
        """Return what the log should say since the last call."""
        notices, self._notices = self._notices, []
        return notices + self._trouble.take() + self._outbox.notices()

    # The end

    def is_done(self) -> bool:
        """Whether the background thread may end: what waits is in Redis."""
        return self._is_ending or self._is_closed

    def give_up(self) -> Undelivered:
        """Write what the last answer changed, and let another relay lead, at once."""
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(Exception):
                if self._is_loaded:
                    self._commit()
            with contextlib.suppress(Exception):
                self._lease.release(self._client)
            self._lease.close()
            with contextlib.suppress(Exception):
                self._client.connection_pool.disconnect()
        return Undelivered()

    def close(self) -> None:
        """Do what `give_up` does."""
        self.give_up()

    def stats(self) -> Stats:
        """Return what this relay has done since it began to lead."""
        return self._outbox.stats()

    @property
    def is_leading(self) -> bool:
        """Whether it leads, as far as it knows."""
        return self._is_loaded

    @property
    def client(self) -> Any:
        """The client of Redis, for a command that shows the state."""
        return self._client
