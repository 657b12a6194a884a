"""Listener: the background thread between the queue and the client.

Producers only append to the queue and, where the thread waits for such a record, ring its bell: both are single steps
of the interpreter, so that the garbage collector or a signal handler may log in the middle of them. The one lock guards
the outbox, is never held over network work, and no logging call waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from logging.handlers import QueueListener
from typing import Any, Protocol

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, unanswered
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.outbox import NEVER, Outbox
from emitkit_logging.stats import Stats

LOGGER = logging.getLogger("emitkit_logging")

own_threads: set[int] = set()
"""Threads whose records are of our own work, and never become events."""

_RELIEF_SHARE = 8
_RELIEF_BATCH = 8
_RELIEF_SLOPE = 64
_RELIEF_PATIENCE = 0.01
_STALL = 0.25
_ERROR_PAUSE = 1.0
_LONGEST_SLEEP = 3_600.0


class Transport(Protocol):
    """Sends requests: `Client`, or a test's stand-in."""

    def send(self, request: ApiRequest) -> ApiResponse:
        """Send a request and return what became of it."""

    def close(self) -> None:
        """Release the connection."""


class Listener(QueueListener):
    """Takes records off the queue, asks the outbox what is next, and sends it.

    Args:
        outbox: decides; used under this listener's lock only.
        client: sends.
        size: records that the queue and the outbox may hold together.
        debug: whether each request is logged, at DEBUG, on the logger `emitkit_logging`.

    Attributes:
        queue: a deque of what was captured of records.
        append: puts what was captured of a record in line; producers call it.
        wake_level: the level from which on a new record needs the thread's attention.
    """

    def __init__(self, outbox: Outbox, client: Transport, *, size: int, debug: bool) -> None:
        queue: deque[CapturedRecord] = deque()
        super().__init__(queue)  # type: ignore[arg-type]
        self.queue: Any = queue
        self.append: Callable[[CapturedRecord], object] = queue.append
        self.people: deque[Identity] = deque()
        self.wake_level: float = NEVER
        self.is_started = False
        self.relief = max(1, size // _RELIEF_SHARE)
        self._size = size
        self._outbox = outbox
        self._client = client
        self._debug = debug
        self._bell = threading.Lock()
        self._bell.acquire()
        self._state = threading.Condition(threading.RLock())
        self._starting = threading.Lock()
        self._holder = 0
        self._claims: deque[None] = deque()
        self._ending = False
        self._steps = 0
        self._next_at = 0.0
        self._awaited: list[Callable[[], bool]] = []

    # In the application's threads

    def wake(self) -> None:
        """Ring the bell: something came in that the thread waits for."""
        self.wake_level = NEVER
        with contextlib.suppress(RuntimeError):  # it rings already
            self._bell.release()

    def tell(self, person: Identity) -> None:
        """Put what is known of a user in line."""
        self.people.append(person)
        self.wake()
        if len(self.people) > self.relief:
            self.relieve()

    def relieve(self) -> None:
        """Shorten a queue that has grown long, in the thread whose call found it so.

        Only by a little at a time: moving all of it would make one call in a thousand wait for a millisecond. A caller
        waits for whoever changes the outbox only when the queue has twice that length, for ten milliseconds at most.
        """
        if self._is_inside():
            return
        excess = len(self.queue) - self.relief
        is_overfull = excess > self.relief
        if self._claims and not is_overfull:
            return  # locks are not fair: whoever waits for this one would go on to wait
        if self._state.acquire(timeout=_RELIEF_PATIENCE if is_overfull else 0.0):
            try:
                self._holder = threading.get_ident()
                try:
                    self._take(_RELIEF_BATCH + excess // _RELIEF_SLOPE)
                finally:
                    self._holder = 0
            finally:
                self._state.release()

    def start(self) -> None:
        """Start the thread, once; where the interpreter starts none any more, `finish` does the work."""
        if self.is_started or not self._starting.acquire(blocking=False):
            return
        try:
            if not self.is_started:
                super().start()
                self.is_started = True
                if self._thread is not None:
                    self._thread.name = "emitkit-logging"
        except RuntimeError:  # Python 3.12 starts no thread during shutdown
            self.is_started = True
            self._thread = None
        finally:
            self._starting.release()

    def flush(self, deadline: float) -> bool:
        """Wait until what came in before is settled, or cannot be before the deadline.

        Args:
            deadline: on the monotonic clock, in seconds.

        Returns:
            Whether nothing of it waits any more.
        """
        with self._locked():
            is_settled = self._settled()
        return self._until(is_settled, deadline)

    def _settled(self) -> Callable[[], bool]:
        newest = self._outbox.newest
        return lambda: self._outbox.is_settled(newest)

    def finish(self, deadline: float) -> bool:
        """Deliver what waits, most important first, with the reserve and without our own pauses.

        Args:
            deadline: on the monotonic clock, in seconds.

        Returns:
            Whether all of it is settled.
        """
        with self._locked():
            self._outbox.hurry(max(0.0, deadline - time.monotonic()))
        return self._until(lambda: self._outbox.is_empty, deadline)

    def give_up(self) -> int:
        """Drop what waits, and return how many records that were."""
        with self._locked():
            lost = self._outbox.give_up("shutdown")
            self._state.notify_all()
        return lost

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        with self._locked():
            self._outbox.refuse()

    def waits(self) -> bool:
        """Tell whether there is something to deliver already."""
        return False

    def before_fork(self) -> None:
        """Prepare for a fork, whose child must find nothing half done."""

    def after_fork(self) -> None:
        """Go on in the parent after a fork."""

    def end(self) -> None:
        """Let the thread end as soon as nothing waits."""
        self._ending = True
        self.wake()

    def stop(self) -> None:
        """Give up what waits and end the thread, without waiting for a request that is under way."""
        self.give_up()
        self.end()

    def stats(self) -> Stats:
        """Return the counts of this moment."""
        with self._locked():
            return self._outbox.stats()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._claims.append(None)
        with self._state:
            self._claims.pop()
            if self._is_inside():
                yield  # the collector or a signal handler, in the middle of a change of ours: look, do not touch
                return
            self._holder = threading.get_ident()
            try:
                self._take()
                yield
            finally:
                self._holder = 0

    def _is_inside(self) -> bool:
        return self._holder == threading.get_ident()

    def _take(self, most: int | None = None) -> None:
        self._outbox.take(self.queue, most)
        while self.people:
            self._outbox.identify(self.people.popleft())

    def _is_alive(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _until(self, is_over: Callable[[], bool], deadline: float) -> bool:
        with self._state:
            if is_over() or self._is_inside():
                return is_over()
            if self._is_alive():
                self._next_at = 0.0
                self.wake()
                return self._wait(is_over, deadline)
        return self._run_here(is_over, deadline)

    def _wait(self, is_over: Callable[[], bool], deadline: float) -> bool:
        steps, seen = self._steps, time.monotonic()
        self._awaited.append(is_over)
        try:
            while not is_over():
                now = time.monotonic()
                if now >= deadline or self._next_at > deadline or not self._is_alive():
                    return False
                if self._steps != steps:
                    steps, seen = self._steps, now
                elif now - seen >= _STALL and holds_logging_lock():
                    return False  # the thread may be waiting for the lock that our caller holds
                self._state.wait(min(deadline - now, _STALL))
        finally:
            self._awaited.remove(is_over)
        return True

    def _stepped(self, *, pauses: bool = False) -> None:
        # who waits is woken when there is something to see, not at each request: that would cost a switch of threads
        self._steps += 1
        if self._awaited and (pauses or any(is_over() for is_over in self._awaited)):
            self._state.notify_all()

    def _run_here(self, is_over: Callable[[], bool], deadline: float) -> bool:
        ident = threading.get_ident()
        own_threads.add(ident)
        try:
            while not is_over():
                step = self._next()
                now = time.monotonic()
                if isinstance(step, ApiRequest):
                    self.handle(step)
                elif now + step >= deadline:
                    return False
                else:
                    time.sleep(step)
                if now >= deadline:
                    return is_over()
        finally:
            own_threads.discard(ident)
        return True

    # In the background thread

    def dequeue(self, block: bool) -> Any:  # noqa: ARG002, FBT001 - QueueListener's signature
        """Return the next request when it may start, or the sentinel when the thread is to end."""
        own_threads.add(threading.get_ident())
        while True:
            try:
                step = self._next()
            except Exception:  # a thread that dies silently would lose everything after it
                LOGGER.warning("an error in the background thread; it goes on", exc_info=True)
                step = _ERROR_PAUSE
            if isinstance(step, ApiRequest):
                return step
            if self._ending and self._is_over():
                own_threads.discard(threading.get_ident())
                self._leave()
                return self._sentinel  # type: ignore[attr-defined]
            self._bell.acquire(timeout=min(step, _LONGEST_SLEEP))

    def _is_over(self) -> bool:
        return self._outbox.is_empty

    def _leave(self) -> None:
        self._client.close()

    def _next(self) -> ApiRequest | float:
        with self._locked():
            step = self._decide()
            if isinstance(step, ApiRequest):
                self.wake_level = NEVER
                self._next_at = 0.0
            else:
                self._next_at = time.monotonic() + step
            notices = self._outbox.notices()
            self._stepped(pauses=not isinstance(step, ApiRequest))
        for text in notices:
            LOGGER.warning("%s", text)
        return step

    def _decide(self) -> ApiRequest | float:
        step = self._outbox.next()
        if not isinstance(step, ApiRequest):
            # armed first, looked once more after: whatever comes in later rings the bell by itself
            self.wake_level = self._outbox.wake_level()
            self._take()
            step = self._outbox.next()
        return step

    def handle(self, record: Any) -> None:
        """Send one request and settle it.

        Args:
            record: the request; the name is QueueListener's.
        """
        request: ApiRequest = record
        try:
            answer = self._client.send(request)
        except Exception as error:  # ours or the HTTP library's: for the outbox it is one more failure
            answer = unanswered(type(error).__name__)
        with self._locked():
            self._settle(answer)
            self._stepped()
        if self._debug:
            LOGGER.debug("%s %s: %s %s", request.path, request.key, answer.verdict.value, answer.detail)

    def _settle(self, answer: ApiResponse) -> None:
        self._outbox.settle(answer)

    def enqueue_sentinel(self) -> None:
        """Do nothing: `dequeue` knows when to end."""


def holds_logging_lock() -> bool:
    """Tell whether the calling thread holds logging's module lock, as `dictConfig` does while it closes old handlers.

    Whoever waits then for a thread that logs may wait for ever; logging offers no public way to ask.
    """
    is_owned = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return bool(is_owned is not None and is_owned())
