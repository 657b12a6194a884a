"""The store of processes of one machine that share a spool.

What a process logs goes into its journal. One process at a time is the sender: its outbox takes what all journals hold,
and what the outbox reports is written to the spool before each request and after each response. The others watch that
somebody sends: a sender may die or stand still.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from emitkit_logging import _log
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.series import NO_SERIES
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._outbox.observer import BacklogObserver, Changes
from emitkit_logging._outbox.outbox import NEVER, Outbox
from emitkit_logging._spool import journal
from emitkit_logging._spool.files import UnsafeFileError
from emitkit_logging._spool.lease import LeaseLost
from emitkit_logging._spool.schema import set_aside
from emitkit_logging._spool.spool import Spool
from emitkit_logging._worker.clock import monotonic
from emitkit_logging.stats import Stats

_RELIEF = 16 * 1024
"""Bytes that `take` reads of each journal when it is to take only some records."""

_UNUSABLE = (sqlite3.Error, OSError)
"""What is raised where the files of the spool cannot be used at the moment."""

_SOME = 64
"""Records that go from memory to the outbox at a time."""

_POLL = 0.25
"""Seconds between two looks at what other processes do, while anything waits."""

_LOOK = 0.5
"""Seconds between two looks for what other processes have left, while nothing waits."""

_LEASE = 5.0
"""Seconds that a lease lasts, besides the time that one request may take."""

_TIDY = 1.0
"""Seconds between two looks for what is too old, and between two tries to write on a full disk."""

_WARNING_PAUSE = 60.0
_MOST_NAMED = 3
"""Files that a warning names."""


def open_store(
    path: Path,
    make_outbox: Callable[[BacklogObserver], Outbox],
    factory: EventFactory,
    *,
    converter: JsonConverter,
    size: int,
    spool_size: int,
    ttl: float,
    timeout: float,
) -> SpoolStore | None:
    """Return a store that uses the spool at `path`.

    Args:
        path: the spool's file; one that is no spool is set aside first.
        make_outbox: returns an empty outbox that reports to the given observer.
        factory: makes events of records.
        converter: converts values for the journal.
        size: records that may be held in memory.
        spool_size: bytes that may wait in the spool.
        ttl: seconds for which a record may wait in it.
        timeout: seconds that one request may take.

    Returns:
        The store, or `None` where the spool cannot be used; a warning in the log says why.
    """

    def channel_of(captured: CapturedRecord) -> str:
        found = factory.fold_key(captured) or factory.event(captured)
        return "" if found is None else found.channel

    def opened() -> Spool:
        return Spool(path, size=spool_size, ttl=ttl, converter=converter, channel_of=channel_of)

    if not journal.IS_POSSIBLE:
        _log.warn("the spool %s cannot be used: this system has no file locks; records are kept in memory", path)
        return None
    try:
        try:
            spool = opened()
        except (sqlite3.OperationalError, sqlite3.NotSupportedError):
            raise
        except sqlite3.DatabaseError as error:
            _log.warn("the spool %s cannot be read and is set aside: %s", path, error)
            set_aside(path)
            spool = opened()
    except (OSError, sqlite3.Error) as error:
        _log.warn("the spool %s cannot be used, records are kept in memory: %s", path, error)
        return None
    return SpoolStore(spool, make_outbox, size=size, ttl=ttl, timeout=timeout)


class SpoolStore:
    """Keeps records in a spool, and delivers what waits there while this process is the sender.

    Args:
        spool: this process's view of the spool.
        make_outbox: returns an empty outbox that reports to the given observer.
        size: records that the outbox may hold, and the memory when the spool takes none.
        ttl: seconds for which a record may wait.
        timeout: seconds that one request may take.
    """

    def __init__(
        self,
        spool: Spool,
        make_outbox: Callable[[BacklogObserver], Outbox],
        *,
        size: int,
        ttl: float,
        timeout: float,
    ) -> None:
        self._spool = spool
        self._size = size
        self._ttl = ttl
        self._lease = _LEASE + timeout
        self._make_outbox = make_outbox
        self._changes = Changes()
        self._outbox = make_outbox(self._changes)
        self._identities: deque[Identity] = deque()
        self._kept: deque[CapturedRecord] = deque()
        self._adopted: deque[CapturedRecord] = deque()  # taken from memory since the last commit
        self.queue: deque[CapturedRecord] = deque()
        self.on_long: Callable[[], None] = lambda: None
        self.starts_at_once = True  # to find what other processes leave
        self.series = NO_SERIES
        self._counts = _Counts()
        self._sends_until = 0.0
        self._exits_at: float | None = None
        self._is_under_way = False
        self._next_at = 0.0
        self._is_closed = False
        self._is_unwritten = False
        self._has_memory_records = False
        self._write_at = 0.0
        self._tidy_at = 0.0
        self._warned_at = -_WARNING_PAUSE
        self._has_warned_of_files = False
        self._done: tuple[int, dict[str, int]] = 0, {}
        self._last: Stats | None = None
        self._warn_of_files()

    # In the application's threads

    def append(self, captured: CapturedRecord) -> None:
        """Write a record to the journal, or keep it in memory where that is not possible."""
        if not self._spool.append(captured):
            self.queue.append(captured)
        elif self._spool.journal.unread > self._size:
            self.on_long()

    append_alert = append

    def identify(self, identity: Identity) -> None:
        """Accept what is known of a user, without an event."""
        if self._spool.append_identity(identity):
            self._counts.other_lines += 1
        else:
            self._identities.append(identity)

    # Under the worker's lock

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        self._counts.refused += 1
        if self._last is not None:
            self._last = self._counted(self._last)

    def take(self, most: int | None = None) -> None:
        """Let the outbox take what the journals hold, as the sender; else keep the memory bounded."""
        if self._is_closed:
            return
        if not self._spool.is_sender:
            self._keep()
            return
        if not self._take_memory():
            return
        try:
            for arrived in self._spool.read() if most is None else self._spool.read(_RELIEF):
                for identity in arrived.identities:  # what was logged after `identify` is sent after it
                    self._outbox.identify(identity)
                self._outbox.take(arrived.records)
                if arrived.is_flush:
                    self._outbox.release()
                if not self._write_if_due():
                    return
        except OSError as error:  # the folder cannot be listed
            self._fail(error)

    def _write_if_due(self) -> bool:
        """Write what came in if it is much already, so that no transaction is large.

        Returns:
            Whether this process still is the sender.
        """
        if not self._is_unwritten and self._spool.is_commit_due:
            try:
                self._write()
            except LeaseLost:
                self._lose_lease()
                return False
            except _UNUSABLE as error:
                self._fail(error)
        return True

    def _keep(self) -> None:
        """Keep in memory, bounded, what the journal did not take, until it does or this process is the sender."""
        kept = self._kept
        kept.extend(self.queue.popleft() for _ in range(len(self.queue)))
        while kept and self._spool.append(kept[0]):
            kept.popleft()
        while len(kept) > self._size:
            kept.popleft()
            self._counts.overflowed += 1

    def _take_memory(self) -> bool:
        self._has_memory_records = self._has_memory_records or bool(self.queue or self._kept or self._identities)
        self._kept.extend(self.queue.popleft() for _ in range(len(self.queue)))
        while self._kept:
            records = deque(self._kept.popleft() for _ in range(min(_SOME, len(self._kept))))
            self._counts.adopted += len(records)
            self._adopted.extend(records)
            self._spool.adopt(records)
            self._outbox.take(records)
            if not self._write_if_due():
                return False
        while self._identities:
            self._outbox.identify(self._identities.popleft())
        return True

    def next(self) -> ApiRequest | float:
        """Return the request to start now, if this process is the sender, or the seconds until it looks again."""
        if self._is_closed:
            return NEVER
        try:
            return self._send() if self._is_sender() else self._watch()
        except LeaseLost:
            self._lose_lease()
            return 0.0
        except _UNUSABLE as error:
            return self._fail(error)

    def _is_sender(self) -> bool:
        now = monotonic()
        if self._spool.is_sender:
            if now <= self._sends_until:
                return True
        elif not self._has_waiting():
            return False
        if not self._acquire():
            return False
        self._sends_until = now + _LEASE / 2
        if self._spool.is_fresh:
            self._load()
        self.take()
        return True

    def _acquire(self) -> bool:
        try:
            return self._spool.acquire(self._lease)
        except sqlite3.OperationalError as error:
            if not self._spool.is_sender:
                raise
            self._fail(error)
            return True  # as long as nothing can be written, no other process can take over

    def _load(self) -> None:
        self._start_anew()
        self._spool.load(self._outbox)
        self._hurry()

    def _lose_lease(self) -> None:
        # the next sender reads again what was reported since the last commit, except for what is in no journal
        self._sends_until = 0.0
        self._counts.adopted -= len(self._adopted)
        self._kept.extendleft(reversed(self._adopted))
        self._adopted.clear()
        self._start_anew()

    def _start_anew(self) -> None:
        self._counts.sent = self._sent()
        self._changes = Changes()
        self._outbox = self._make_outbox(self._changes)

    def _has_waiting(self) -> bool:
        return bool(self.queue or self._kept or self._identities) or self._spool.has_waiting()

    def _watch(self) -> float:
        self._spool.watch()
        return _POLL if self._has_waiting() else _LOOK

    def _send(self) -> ApiRequest | float:
        spool, now = self._spool, monotonic()
        step = self._outbox.next()
        self._write()
        self._next_at = now if isinstance(step, ApiRequest) else now + step
        if isinstance(step, ApiRequest):
            self._is_under_way = True
            return step
        if spool.is_behind:
            return 0.0
        if self._is_unwritten:
            return min(step, _POLL)
        if now >= self._tidy_at:
            self._tidy(now)
        if self._outbox.is_empty and not spool.has_waiting():
            spool.release()
            self._sends_until = 0.0
            # what came in since the first look woke nobody
            return 0.0 if spool.has_waiting() else _LOOK
        return min(step, _POLL)

    def _tidy(self, now: float) -> None:
        self._tidy_at = now + _TIDY
        oldest = time.time() - self._ttl
        self._outbox.expire(oldest)
        self._spool.sweep(oldest)
        self._warn_of_files()

    def _write(self) -> None:
        if self._is_unwritten and monotonic() < self._write_at:
            return
        try:
            self._commit()
            self._is_unwritten = False
        except sqlite3.OperationalError as error:
            self._is_unwritten = True  # what cannot be written, as on a full disk, is sent all the same
            self._write_at = monotonic() + _TIDY
            self._fail(error)

    def _commit(self) -> None:
        spool, outbox = self._spool, self._outbox
        while spool.is_too_large(self._changes) and outbox.halve():
            pass
        spool.commit(self._changes, outbox.newest, outbox.budget())
        self._changes.clear()
        self._adopted.clear()

    def wake_level(self) -> float:
        """Return the level from which on a new record needs the thread: any, unless this process is the sender."""
        return self._outbox.wake_level() if self._spool.is_sender else logging.NOTSET

    def settle(self, response: ApiResponse) -> None:
        """Take the response to the request that `next` returned."""
        self._is_under_way = False
        if not self._is_closed:
            self._outbox.settle(response)

    def notices(self) -> list[str]:
        """Return what the log should say since the last call."""
        return self._outbox.notices()

    def mark(self) -> Callable[[], bool]:
        """Return a function that says whether all that this process logged before now is settled."""
        if self._is_closed:
            return lambda: True
        self._release()
        return self._mark()

    def _mark(self) -> Callable[[], bool]:
        end, newest = self._spool.journal.end(), -1

        def is_over() -> bool:
            nonlocal newest
            if self._is_closed:
                return True
            if self.queue or self._kept or self._identities:
                return False
            if self._has_memory_records and self._spool.is_sender:
                newest = newest if newest >= 0 else self._outbox.newest
                if not self._outbox.is_settled(newest):
                    return False
            if self._is_unwritten:
                return self._outbox.is_empty and not self._spool.is_behind
            try:
                return self._spool.is_settled(end)
            except _UNUSABLE:
                return False

        return is_over

    def _release(self) -> None:
        """Let no fold wait for a place of its kind; if another process is the sender, ask it for that."""
        self._outbox.release()
        with contextlib.suppress(sqlite3.Error, OSError):  # then the other process sends them when there is a place
            if (
                not self._spool.is_sender
                and not self._spool.is_settled(self._spool.journal.end())
                and self._spool.append_flush()
            ):
                self._counts.other_lines += 1

    def hurry(self, deadline: float) -> Callable[[], bool]:
        """Prepare for the end of the process: what waits is to be delivered by the deadline; the rest stays.

        What other processes logged is left to those of them that are alive. A request that was started is finished.
        """
        self._exits_at = deadline
        self._hurry()
        is_settled = self.mark()
        return lambda: is_settled() and not self._is_under_way and not self._has_leftovers(deadline)

    def _has_leftovers(self, deadline: float) -> bool:
        """Whether records of processes that are gone wait, of which one may be sent before the deadline."""
        if self._is_closed or self._is_unwritten or (self._spool.is_sender and self._next_at > deadline):
            return False
        try:
            return self._spool.has_waiting() and not self._spool.is_shared()
        except _UNUSABLE:  # the next process finds them
            return False

    def _hurry(self) -> None:
        # what other living processes logged must not fold only because this one ends
        with contextlib.suppress(OSError):  # the folder cannot be listed
            if self._exits_at is not None and not self._is_closed and not self._spool.is_shared():
                self._outbox.hurry(max(0.0, self._exits_at - monotonic()))

    def carry_on(self) -> None:
        """Go on as before `hurry`: the process did not end."""
        self._exits_at = None
        self._outbox.carry_on()

    def is_done(self) -> bool:
        """Whether the background thread may end: nothing of this process waits."""
        self._outbox.release()
        return self._is_closed or self._mark()()

    def give_up(self) -> Undelivered:
        """Leave what waits to the next process, and return what is lost with the memory."""
        if self._is_closed:
            return Undelivered()
        records = len(self.queue) + len(self._kept)
        lost = Undelivered(records, len(self._identities), "the spool could not be used")
        self._counts.refused += records
        self.queue.clear()
        self._kept.clear()
        with contextlib.suppress(LeaseLost, *_UNUSABLE):  # the next process finds what was written before
            if self._spool.is_sender:
                self._commit()
                self._spool.release()
        self._last = self._now()
        self._is_closed = True
        self._spool.close()
        return lost

    def close(self) -> None:
        """Leave the spool: the background thread has ended."""
        self.give_up()

    def before_fork(self) -> None:
        """Close the database: connections of SQLite must not be carried into a child."""
        self._spool.disconnect()

    def abandon(self) -> None:
        """Close what a forked child has inherited: it makes a store of its own when it needs one."""
        self._is_closed = True
        self._spool.abandon()

    # Counts

    def stats(self) -> Stats:
        """Return the counts of this process's records, whichever process delivers them."""
        return self._now() if self._last is None else self._last

    def _now(self) -> Stats:
        with contextlib.suppress(*_UNUSABLE):  # else the counts are those of the last time
            self._done = self._spool.counts(self._changes)
        delivered, dropped = self._done
        if not self._spool.is_sender:
            with contextlib.suppress(*_UNUSABLE):
                self._outbox.know_kinds(self._spool.known_kinds())
        return self._counted(Stats(delivered=delivered, dropped=dropped))

    def _counted(self, done: Stats) -> Stats:
        counts = self._counts
        lines = self._spool.journal.lines() - counts.other_lines
        accepted = lines + counts.adopted + len(self.queue) + len(self._kept) + counts.refused + counts.overflowed
        dropped = dict(done.dropped)
        for reason, records in (("shutdown", counts.refused), ("overflow", counts.overflowed)):
            if records:
                dropped[reason] = records + (dropped.get(reason, 0) if self._last is None else 0)
        return replace(
            self._sent(),
            accepted=accepted,
            delivered=done.delivered,
            pending=accepted - done.delivered - sum(dropped.values()),
            dropped=dropped,
        )

    def _sent(self) -> Stats:
        """Return what this process has sent, each time that it was the sender, in the fields that count requests."""
        before, now = self._counts.sent, self._outbox.stats()
        return Stats(
            events=before.events + now.events,
            identifies=before.identifies + now.identifies,
            requests=before.requests + now.requests,
            retries=before.retries + now.retries,
            identifies_lost=before.identifies_lost + now.identifies_lost,
            kinds=now.kinds,
            storming=now.storming,
        )

    # Trouble

    def _fail(self, error: sqlite3.Error | OSError) -> float:
        path = self._spool.path
        is_unreadable = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if is_unreadable or isinstance(error, UnsafeFileError):
            self._warn(f"the spool {path} cannot be read any more and is set aside: {error}")
            with contextlib.suppress(*_UNUSABLE):  # a file of another user stays where it is
                self._spool.start_over()
                self._outbox.report_all_known()
                return 0.0 if is_unreadable else _POLL
            return _POLL
        self._warn(f"the spool {path} cannot be used at the moment: {error}")
        return _POLL

    def _warn_of_files(self) -> None:
        """Warn once of files beside the spool that have the name of a journal and are not read."""
        if self._has_warned_of_files:
            return
        refused = self._spool.refused_files()
        if refused:
            self._has_warned_of_files = True
            named = "; ".join(refused[:_MOST_NAMED]) + (", …" if len(refused) > _MOST_NAMED else "")
            _log.warn("%d files beside the spool %s are not read: %s", len(refused), self._spool.path, named)

    def _warn(self, text: str) -> None:
        now = monotonic()
        if now - self._warned_at >= _WARNING_PAUSE:
            self._warned_at = now
            _log.warn("%s", text)


class _Counts:
    """Records of this process that its journal does not count.

    Attributes:
        adopted: taken from memory, because the journal took none.
        refused: came after `close`, or were lost with the memory.
        overflowed: dropped because the memory was full.
        other_lines: lines of the journal that are no records.
        sent: what this process sent before it last became, or ceased to be, the sender.
    """

    def __init__(self) -> None:
        self.adopted = 0
        self.refused = 0
        self.overflowed = 0
        self.other_lines = 0
        self.sent = Stats()
