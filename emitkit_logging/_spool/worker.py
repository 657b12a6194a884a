"""Sharing: the listener of a process that has a spool, alone or with others.

What its threads log goes into its journal. Its background thread sends when it is the sender, and otherwise watches
that somebody does: the one who sends may die or stand still.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.observer import BacklogObserver
from emitkit_logging._outbox.outbox import NEVER, Outbox
from emitkit_logging._spool import journal
from emitkit_logging._spool.store import LeaseLost, Spool, set_aside
from emitkit_logging._worker.worker import LOGGER, Listener, Transport
from emitkit_logging.stats import Stats

_RELIEF = 16 * 1024
"""Bytes of a journal that a call reads which finds it long."""

_POLL = 0.25
"""Seconds between two looks at what other processes do, while anything waits."""

_LEASE = 5.0
_TIDY = 1.0
_COMPLAINT = 60.0


def open_spool(
    path: Path,
    make_outbox: Callable[[BacklogObserver], Outbox],
    shape: EventFactory,
    client: Transport,
    *,
    converter: JsonConverter,
    size: int,
    spool_size: int,
    ttl: float,
    timeout: float,
    debug: bool,
) -> SharingListener | None:
    """Return a listener that delivers through the spool at `path`.

    Returns:
        `None`, and a warning in the log, where the spool cannot be used; a file that is no spool is set aside first.
    """

    def channel_of(captured: CapturedRecord) -> str:
        told = shape.fold_key(captured) or shape.event(captured)
        return "" if told is None else told.channel

    if not journal.IS_POSSIBLE:
        LOGGER.warning("the spool %s cannot be used: this system has no file locks; records are kept in memory", path)
        return None

    def opened() -> Spool:
        return Spool(path, size=spool_size, ttl=ttl, converter=converter, channel_of=channel_of)

    try:
        try:
            spool = opened()
        except (sqlite3.OperationalError, sqlite3.NotSupportedError):
            raise
        except sqlite3.DatabaseError as error:
            LOGGER.warning("the spool %s is set aside, it cannot be read: %s", path, error)
            set_aside(path)
            spool = opened()
    except (OSError, sqlite3.Error) as error:
        LOGGER.warning("the spool %s cannot be used, records are kept in memory: %s", path, error)
        return None
    return SharingListener(spool, lambda: make_outbox(spool), client, size=size, timeout=timeout, debug=debug)


class SharingListener(Listener):
    """Delivers through a spool.

    Args:
        spool: this process's view of it.
        make_outbox: returns an empty outbox whose observer is the spool.
        client: sends.
        size: records that the outbox may hold, and the memory when the spool takes none.
        timeout: seconds that one request may take.
        debug: as for any listener.
    """

    def __init__(
        self,
        spool: Spool,
        make_outbox: Callable[[], Outbox],
        client: Transport,
        *,
        size: int,
        timeout: float,
        debug: bool,
    ) -> None:
        super().__init__(make_outbox(), client, size=size, debug=debug)
        self._spool = spool
        self._make_outbox = make_outbox
        self._lease = _LEASE + timeout
        self._leads_until = 0.0
        self._exits_at: float | None = None
        self._is_left = False
        self._is_full = False
        self._is_forking = False
        self._is_unwritten = False
        self._write_at = 0.0
        self._tidy_at = 0.0
        self._complained_at = -_COMPLAINT
        self._adopted = 0
        self._has_adopted = False
        self._told = 0
        self._refused = 0
        self._overflowed = 0
        self._last: Stats | None = None
        self.append = self._append
        self.wake_level = logging.NOTSET

    # In the application's threads

    def _append(self, captured: CapturedRecord) -> None:
        if self._is_full or not self._spool.append(captured):
            self.queue.append(captured)
        elif self._spool.journal.unread > self._size:
            self.relieve()

    def tell(self, person: Identity) -> None:
        """Put what is known of a user in line."""
        if self._spool.tell(person):
            with self._state:
                self._told += 1
            self.wake()
        else:
            super().tell(person)

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        with self._state:
            self._refused += 1
            if self._last is not None:
                self._last = self._counted(self._last)

    def give_up(self) -> int:
        """Leave what waits to whoever opens the spool next; return how many records are in memory only, and lost."""
        with self._locked():
            if self._is_left:
                return 0
            lost = len(self.queue)
            self._refused += lost
            self.queue.clear()
            with contextlib.suppress(LeaseLost, sqlite3.Error):  # whoever comes next finds what was written before
                if self._spool.is_sender:
                    self._spool.commit(self._outbox)
                    self._spool.resign()
            self._last = self._stats()
            self._is_left = True
            self._spool.close()
            self._state.notify_all()
        return lost

    def finish(self, deadline: float) -> bool:
        """Deliver what this process logged, as any exit does; what is left when the time is over stays in the spool."""
        with self._locked():
            self._exits_at = deadline
            self._hurry()
        return self._until(self._settled(), deadline)

    def _hurry(self) -> None:
        # what others logged as well is not to be folded because this process ends
        if self._exits_at is not None and not self._spool.is_shared():
            self._outbox.hurry(max(0.0, self._exits_at - time.monotonic()))

    def stats(self) -> Stats:
        """Return the counts of this moment, of this process's records, whoever delivers them."""
        with self._locked():
            return self._stats()

    def _stats(self) -> Stats:
        if self._last is not None:
            return self._last
        delivered, dropped = self._spool.counts()
        done = Stats(delivered=delivered, dropped=dropped)
        return self._counted(done)

    def _counted(self, done: Stats) -> Stats:
        made = self._outbox.stats()
        lines = self._spool.journal.lines() - self._told
        accepted = lines + self._adopted + len(self.queue) + self._refused + self._overflowed
        dropped = dict(done.dropped)
        for reason, records in (("shutdown", self._refused), ("overflow", self._overflowed)):
            if records:
                dropped[reason] = records + (dropped.get(reason, 0) if self._last is None else 0)
        return Stats(
            accepted=accepted,
            delivered=done.delivered,
            pending=accepted - done.delivered - sum(dropped.values()),
            dropped=dropped,
            events=made.events,
            identifies=made.identifies,
            requests=made.requests,
            retries=made.retries,
        )

    def waits(self) -> bool:
        """Tell whether there is something to deliver already, of this process or of others before it."""
        return self._spool.waits()

    def before_fork(self) -> None:
        """Close the database: SQLite's connections must not be carried into a child."""
        self._is_forking = not self._is_inside() and self._state.acquire(timeout=_LEASE)
        if self._is_forking:
            self._spool.disconnect()

    def after_fork(self) -> None:
        """Go on in the parent."""
        if self._is_forking:
            self._is_forking = False
            self._state.release()

    def _settled(self) -> Callable[[], bool]:
        if self._is_left:
            return lambda: True
        end, newest = self._spool.journal.end(), -1

        def is_over() -> bool:
            nonlocal newest
            if self._is_left:
                return True
            if self.queue or self.people:
                return False
            if self._has_adopted and self._spool.is_sender:
                newest = newest if newest >= 0 else self._outbox.newest
                if not self._outbox.is_settled(newest):
                    return False
            return self._is_settled(end)

        return is_over

    def _is_settled(self, end: tuple[int, int]) -> bool:
        if self._is_unwritten:
            return self._outbox.is_empty and not self._spool.is_behind
        return self._spool.is_settled(end)

    # In the background thread

    def _take(self, most: int | None = None) -> None:
        spool, queue = self._spool, self.queue
        if self._is_left:
            return
        if not spool.is_sender:
            while len(queue) > self._size:
                queue.popleft()
                self._overflowed += 1
            return
        self._has_adopted = self._has_adopted or bool(queue or self.people)
        if queue:
            records = deque(queue.popleft() for _ in range(len(queue)))
            self._adopted += len(records)
            spool.adopt(records)
            self._outbox.take(records)
        while self.people:
            self._outbox.identify(self.people.popleft())
        for records, people in spool.read() if most is None else spool.read(_RELIEF):
            self._outbox.take(records)
            for person in people:
                self._outbox.identify(person)

    def _decide(self) -> ApiRequest | float:
        if self._is_left:
            return NEVER
        try:
            return self._send_or_watch()
        except LeaseLost:
            self._leads_until = 0.0
            return 0.0
        except (sqlite3.Error, OSError) as error:
            return self._troubled(error)

    def _send_or_watch(self) -> ApiRequest | float:
        spool, now = self._spool, time.monotonic()
        if not spool.is_sender or now > self._leads_until:
            if not self._lead():
                self.wake_level = logging.NOTSET
                self._is_full = spool.is_overfull()
                return _POLL if spool.waits() else NEVER
            self._leads_until = now + _LEASE / 2
            if spool.is_fresh:
                self._outbox = self._make_outbox()
                spool.load(self._outbox)
                spool.is_fresh = False
                self._hurry()
            self._take()
        step = super()._decide()
        self._is_full = False
        self._write()
        if isinstance(step, ApiRequest):
            return step
        if spool.is_behind:
            return 0.0
        if self._is_unwritten:
            return min(step, _POLL)
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY
            spool.journal.turn()
            spool.sweep(self._outbox)
        if self._outbox.is_empty and not spool.waits():
            spool.resign()
            self._leads_until = 0.0
            self.wake_level = logging.NOTSET
            # what came in between rang no bell
            return 0.0 if spool.waits() else step
        return min(step, _POLL)

    def _lead(self) -> bool:
        try:
            return self._spool.lead(self._lease)
        except sqlite3.OperationalError as error:
            if not self._spool.is_sender:
                raise
            self._troubled(error)
            return True  # as long as nothing can be written, nobody else can take over either

    def _write(self) -> None:
        if self._is_unwritten and time.monotonic() < self._write_at:
            return
        try:
            self._spool.commit(self._outbox)
            self._is_unwritten = False
        except sqlite3.OperationalError as error:
            self._is_unwritten = True  # on a full disk it is better sent than not
            self._write_at = time.monotonic() + _TIDY
            self._troubled(error)

    def _settle(self, answer: ApiResponse) -> None:
        if not self._is_left:
            self._outbox.settle(answer)

    def _troubled(self, error: sqlite3.Error | OSError) -> float:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._complain(f"the spool {self._spool.path} cannot be read any more ({error}); it is set aside")
            self._spool.start_over()
            return 0.0
        self._complain(f"the spool {self._spool.path} cannot be used at the moment: {error}")
        return _POLL

    def _complain(self, text: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT:
            self._complained_at = now
            LOGGER.warning("%s", text)

    def _is_over(self) -> bool:
        return self._is_left or self._settled()()

    def _leave(self) -> None:
        super()._leave()
        self.give_up()
