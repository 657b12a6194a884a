"""The background thread: takes accepted records into the outbox, and sends what the outbox says.

The application's threads only append to a queue and, where the thread waits for such a record, release a lock that it
waits for. Both are single steps of the interpreter, so that the garbage collector or a signal handler may log in the
middle of them. One lock guards the store and is never held over network work. A logging call waits for it only where
the queue is far too long, ten milliseconds at most, or where the handler is closed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from logging.handlers import QueueListener
from typing import Any, Protocol

from emitkit_logging import _log
from emitkit_logging._api.responses import unanswered
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._outbox.outbox import NEVER
from emitkit_logging._worker import native, own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.progress import STALL, Progress, Stall, holds_logging_lock
from emitkit_logging._worker.store import Store
from emitkit_logging.stats import Stats

_WAKING_SHARE = 4
"""The thread is woken when the queue has one part in so many of `size`."""

_LIMIT_SHARE = 2
"""Producers help the thread when the queue has one part in so many of `size`; during a request, when it is woken."""

_AT_ONCE = 250
"""Records that the thread takes at a time, so that in a storm, too, it soon sees what is to be sent at once."""

_RELIEF_BATCH = 8
"""Records that a producer takes from the queue at least when it helps the thread; each may have to be folded."""

_RELIEF_BRIEF = 64
"""The same while there are series: most records are brief then, and take a tenth of the time."""

_RELIEF_SLOPE = 16
"""A producer that helps takes one more record for each so many that the queue has beyond its limit."""

_RELIEF_PATIENCE = 0.01
"""Seconds for which a producer that helps waits for the lock, at most."""

_POLL = 0.01
_ERROR_PAUSE = 1.0
"""Seconds after an error of this library in the thread."""

_LONGEST_SLEEP = 3_600.0


class Transport(Protocol):
    """Sends what a store's `next` returns: `Client` by HTTP, or the transport of a fleet's application to Redis."""

    def send(self, request: Any) -> Any:
        """Send a request and return the response, as the store's `settle` takes it."""

    def close(self) -> None:
        """Release the connection."""


class Worker(QueueListener):
    """Delivers, in a thread of its own, what a store accepts.

    As of any `QueueListener`, producers put records on `queue`, the thread gets the next one by `dequeue` and gives it
    to `handle`, and a sentinel ends it. This class adds: between two records, and while there is none, `dequeue` sends
    the requests that are due, one at a time; `flush` and `finish` wait for them, or send where there is no thread.

    Args:
        store: accepts records and decides what is sent next; used under this worker's lock, except by producers.
        client: sends.
        size: records that may be held in memory.
        debug: whether each request is logged, at DEBUG, on the logger `emitkit_logging`.

    Attributes:
        append: accepts a record; producers call it.
        append_alert: the same for an alert, which may go before other records.
        series: the series of which producers may append brief records, see `Store`.
        wake_level: the level from which on a new record needs the thread's attention.
        relief: the length of the queue from which on a producer calls `relieve`.
        is_started: whether the thread was started, or cannot be.
        is_ending: whether the thread ends, or has ended.
        on_pause: the thread calls it whenever it has nothing to send.
        starts_at_once: whether it is to be started before anything was accepted.
    """

    def __init__(self, store: Store, client: Transport, *, size: int, debug: bool) -> None:
        super().__init__(store.queue)  # type: ignore[arg-type]
        self.queue: Any = store.queue
        self.append = store.append
        self.append_alert = store.append_alert
        self.series = store.series
        self.wake_level = store.wake_level()
        self._waking = max(1, size // _WAKING_SHARE)
        self._limit = max(1, size // _LIMIT_SHARE)
        self.relief = self._waking
        self.is_started = False
        self.is_ending = False
        self.on_pause: Callable[[], None] = lambda: None
        self.starts_at_once = store.starts_at_once
        self._pid = os.getpid()
        self._store = store
        store.on_long = lambda: self._help(0)
        self._client = client
        self._debug = debug
        self._lock = native.StateLock()
        self._wakeup = native.Wakeup()
        self._starting = native.Token()
        self._sending = native.Token()
        self._is_forking = False
        self._is_running = False
        self._is_turn_of_queue = False
        self._is_in_request = False
        self._progress = Progress()

    # In the application's threads

    def wake(self) -> None:
        """Wake the thread: something was accepted that it waits for."""
        self.wake_level = NEVER
        self._wakeup.set()

    def identify(self, identity: Identity) -> None:
        """Accept what is known of a user, without an event."""
        self._store.identify(identity)
        self.wake()

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        with self._locked():
            self._store.refuse()

    def relieve(self) -> None:
        """Wake the thread, so that it shortens a long queue; do a part of its work where that is not enough.

        The thread may be in the middle of a request, or not get a turn.
        """
        if len(self.queue) <= self._limit and not self._is_in_request:
            self.relief = self._limit
            self._wakeup.set()
        else:
            self._help(max(0, len(self.queue) - self._limit))

    def _help(self, excess: int) -> None:
        """Do a little of the thread's work; all of it would take milliseconds in one call of a thousand.

        Args:
            excess: how many records the queue has beyond its limit. If it is half as long again as the limit, this call
                waits for the lock, at most `_RELIEF_PATIENCE`; else it takes the lock only if it is free.
        """
        if self._lock.is_mine:
            return
        is_overfull = excess > self._waking
        if self._lock.is_wanted and not is_overfull:
            return  # locks are not fair: those that wait for this one would go on waiting
        try:
            if self._lock.acquire(_RELIEF_PATIENCE if is_overfull else 0.0):
                batch = _RELIEF_BRIEF if self.series else _RELIEF_BATCH
                self._store.take(batch + excess // _RELIEF_SLOPE)
        finally:
            try:
                self._lock.release()
            finally:
                self._lock.release()  # a signal handler may have raised before the first call did anything

    def flush(self, deadline: float) -> bool:
        """Wait until what was accepted before the call is settled, or cannot be before the deadline.

        Args:
            deadline: on the monotonic clock, in seconds.

        Returns:
            Whether nothing of it waits any more.
        """
        with self._locked():
            is_settled = self._store.mark()
        return self._until(is_settled, deadline)

    def finish(self, deadline: float) -> bool:
        """Deliver what waits, the most important first, with the reserve, and pausing only where the server demands it.

        Args:
            deadline: on the monotonic clock, in seconds.

        Returns:
            Whether all of it is settled.
        """
        with self._locked():
            is_done = self._store.hurry(deadline)
        return self._until(is_done, deadline)

    def deliver(self, deadline: float) -> bool:
        """Do what `finish` does, and go on as before.

        Args:
            deadline: on the monotonic clock, in seconds.

        Returns:
            Whether all of it is settled.
        """
        is_settled = self.finish(deadline)
        with self._locked():
            self._store.carry_on()
        return is_settled

    def give_up(self) -> Undelivered:
        """Stop delivering, and return what is lost by that."""
        with self._locked():
            lost = self._store.give_up()
            self._progress.notify()
        return lost

    def stats(self) -> Stats:
        """Return the counts of this moment."""
        with self._locked():
            return self._store.stats()

    def end(self) -> None:
        """Let the thread end as soon as nothing waits."""
        self.enqueue_sentinel()

    def stop(self) -> None:
        """Give up what waits and end the thread, without waiting for a request that is under way."""
        self.give_up()
        self.end()

    def join(self, deadline: float) -> None:
        """Wait until the thread has ended; at the most until a deadline, on the monotonic clock."""
        if self._is_running or native.is_replaced():
            while self.is_alive() and monotonic() < deadline:
                native.sleep(_POLL)
            native.sleep(_POLL)  # the thread has a few steps of C left, which nothing shows
        elif self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it is this thread
                self._thread.join(max(0.0, deadline - monotonic()))

    def before_fork(self) -> None:
        """Prepare for a fork, whose child must find no open database; a second call changes nothing."""
        if self._lock.is_mine:
            return
        self._is_forking = self._lock.acquire(native.FORK_PATIENCE)
        if self._is_forking:
            self._store.before_fork()

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process made it, and not the parent that it was forked from."""
        return self._pid == os.getpid()

    def abandon(self) -> None:
        """Close the files that a forked child has inherited from its parent."""
        self._store.abandon()

    def after_fork(self) -> None:
        """Go on in the parent after a fork."""
        if self._is_forking:
            self._is_forking = False
            self._lock.release()

    @contextlib.contextmanager
    def _locked(self, *, takes_all: bool = True) -> Iterator[None]:
        """Hold the lock, after the store has taken what was accepted.

        The garbage collector or a signal handler may come here in the same thread, in the middle of a change of the
        worker: then nothing is taken.

        Args:
            takes_all: whether all of it is taken; else only some of it if it is much.
        """
        if self._lock.is_mine:
            yield
            return
        try:
            self._lock.acquire()
            if takes_all:
                self._store.take()
            else:
                self._take_some()
            self.relief = self._waking
            yield
        finally:
            try:
                self._lock.release()
            finally:
                self._lock.release()  # as in `_help`

    def _take_some(self) -> bool:
        """Let the store take what was accepted, or some of it if that is much; return whether there is more."""
        is_much = len(self.queue) > _AT_ONCE
        self._store.take(_AT_ONCE if is_much else None)
        return is_much

    # Waiting for the thread, or doing its work

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        thread = self._thread
        return self._is_running or (thread is not None and thread.is_alive())

    def _until(self, is_over: Callable[[], bool], deadline: float) -> bool:
        if self._lock.is_mine or self._sending.is_mine:  # called in the middle of a change or a request of this worker
            return is_over()
        if not self.is_alive():
            return self._run_here(is_over, deadline)
        with self._locked():
            if is_over():
                return True
            self._progress.next_at = 0.0
        self.wake()
        return self._wait(is_over, deadline)

    def _wait(self, is_over: Callable[[], bool], deadline: float) -> bool:
        progress, stall = self._progress, Stall()
        with progress.watched(is_over) as wakeup:
            while True:
                with self._locked():
                    if is_over():
                        return True
                    now = monotonic()
                    if now >= deadline or progress.next_at > deadline or not self.is_alive():
                        return False
                    if stall.lasts(progress.steps, now) and holds_logging_lock():
                        return False  # the thread may be waiting for the lock that our caller holds
                wakeup.wait(min(deadline - now, STALL))

    def _run_here(self, is_over: Callable[[], bool], deadline: float) -> bool:
        while True:
            with self._locked():
                if is_over():
                    return True
            now = monotonic()
            if now >= deadline:
                return False
            pause = self._step(deadline - now)
            if now + pause >= deadline:
                with self._locked():
                    return is_over()
            native.sleep(min(pause, STALL))

    # The thread

    def start(self) -> None:
        """Start the thread, once; where the interpreter starts none, `flush` and `finish` do its work."""
        if self.is_started or not self._starting.acquire(0.0):
            return
        try:
            if not self.is_started:
                self._start_thread()
        except RuntimeError:  # Python 3.12 starts no thread during shutdown
            self._thread = None
        finally:
            self.is_started = True
            self._starting.release()

    def _start_thread(self) -> None:
        if native.is_replaced():
            self._is_running = True
            native.start(self._run)
            return
        self._thread = threading.Thread(target=self._run, name="emitkit-logging", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._monitor()  # type: ignore[attr-defined]
        finally:
            self._is_running = False
            if self._thread is not None:
                native.adapt_to_replacement(self._thread)

    def dequeue(self, block: bool) -> Any:  # noqa: FBT001 - QueueListener's signature
        """Return the next record, or the sentinel when the thread is to end; send what is due until then.

        Args:
            block: whether to wait for a record.

        Raises:
            queue.Empty: if there is none and `block` is false.
        """
        while True:
            self._is_turn_of_queue = not self._is_turn_of_queue
            if self._is_turn_of_queue and self.queue:
                return self.queue[0]  # it leaves the queue for the outbox in one step, in `handle`
            pause = self._step(_LONGEST_SLEEP)
            if self.is_ending and self._is_done():
                self._leave()
                return self._sentinel  # type: ignore[attr-defined]
            if not block and not self.queue:
                raise queue.Empty
            if pause and len(self.queue) <= self._waking:  # what waits there cannot be sent yet
                self._wakeup.wait(min(pause, _LONGEST_SLEEP))

    def handle(self, record: Any) -> None:  # noqa: ARG002 - with it, those behind it are taken
        """Move a record, and those that wait behind it, from the queue to the outbox."""
        try:
            with self._locked(takes_all=False):
                self._progress.step()
        except BaseException as error:  # a thread that ends silently would lose everything after it
            self._report(error)

    def _report(self, error: BaseException) -> None:
        """Warn of an error; one that is meant to end the thread is raised again."""
        if not is_fault(error):
            raise error
        _log.warn("an error in the background thread, which goes on", exc_info=error)

    def enqueue_sentinel(self) -> None:
        """Let `dequeue` return the sentinel when nothing waits any more."""
        self.is_ending = True
        self.wake()

    def _is_done(self) -> bool:
        with self._locked():
            return self._store.is_done()

    def _leave(self) -> None:
        with own_calls.inside():
            self._client.close()
        with self._locked():
            self._store.close()
            self._progress.notify()

    def _step(self, seconds: float) -> float:
        """Send the next request, if one may start now; return the seconds until another may.

        One thread at a time does this, whichever it is: two requests of one process never run side by side.

        Args:
            seconds: how long to wait for another thread that is sending.
        """
        if not self._sending.acquire(seconds):
            return STALL
        try:
            step = self._next()
            if isinstance(step, int | float):
                self.on_pause()
                return step
            self._send(step)
        except BaseException as error:  # a thread that ends silently would lose everything after it
            self._report(error)
            return _ERROR_PAUSE
        finally:
            self._sending.release()
        return 0.0

    def _next(self) -> Any:
        with self._locked(takes_all=False):
            step = self._decide()
            is_pause = isinstance(step, int | float)
            self._progress.next_at = monotonic() + step if is_pause else 0.0
            notices = self._store.notices()
            self._progress.step(is_pause=is_pause)
        for text in notices:
            _log.warn("%s", text)
        return step

    def _decide(self) -> Any:
        self.wake_level = NEVER
        step = self._store.next()
        if isinstance(step, int | float):
            # first the level, then one more look: what is accepted later wakes the thread by itself
            self.wake_level = self._store.wake_level()
            if self._take_some():
                return 0.0
            step = self._store.next()
        return step

    def _send(self, request: Any) -> None:
        try:
            self._is_in_request = True
            with own_calls.inside():
                response = self._client.send(request)
        except BaseException as error:  # of this or the HTTP library: for the outbox it is one more failure
            if not is_fault(error):
                raise
            response = unanswered(type(error).__name__)
        finally:
            self._is_in_request = False
        with self._locked(takes_all=False):
            self._store.settle(response)
            self._progress.step()
        if self._debug:
            _log.debug("%s %s: %s %s", request.path, request.key, response.verdict.value, response.detail)
