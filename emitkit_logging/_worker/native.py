"""Threads and locks of the operating system, also where gevent or eventlet has replaced those of Python.

gevent and eventlet replace `threading` when an application asks for it, which may be before or after a handler was
made. A greenlet that waits for a lock of the operating system stops the whole process, and a greenlet that is started
in a thread of a pool never runs. So the background thread and its locks are always the operating system's, and a
greenlet never waits long for one: it looks again and again, and sleeps in between.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from emitkit_logging._worker.clock import monotonic

_POLL = 0.005
"""Seconds between two looks of a greenlet at a lock."""

_LOOK = 0.05
"""Seconds after which a waiting thread tries a lock again unasked: the thread that was woken may wait no more."""

_is_exiting = False


def _original(name: str) -> Any:
    """Return what `_thread` had under `name` before gevent or eventlet replaced it."""
    gevent, patcher = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original("_thread", name)
    return getattr(_thread if patcher is None else patcher.original("_thread"), name)


# taken once: what is replaced later is replaced in the module, and not here
_allocate_lock, _start_new_thread = map(_original, ("allocate_lock", "start_new_thread"))

get_ident: Callable[[], int] = _original("get_ident")
"""Return the number of this thread of the operating system, which its greenlets share."""


def is_replaced() -> bool:
    """Whether gevent or eventlet has replaced the threads of this process by now."""
    gevent, patcher = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return True
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def allows_daemon_threads() -> bool:
    """Whether a thread may run that does not hold up the end of the interpreter; isolated subinterpreters have none."""
    ask = getattr(_thread, "daemon_threads_allowed", None)  # new in Python 3.12
    return ask is None or bool(ask())


def begin_exit() -> None:
    """Note that the exit hooks of the interpreter run: `sleep` is not interrupted any more."""
    global _is_exiting  # noqa: PLW0603 - one process, one exit
    _is_exiting = True


def sleep(seconds: float) -> None:
    """Sleep, and let other greenlets run.

    One of them may end by `sys.exit`, as a worker of gunicorn does after SIGQUIT. gevent raises that where the main
    greenlet sleeps. While the exit hooks run it is ignored, so that all of them run.
    """
    try:
        time.sleep(seconds)
    except SystemExit:
        if not _is_exiting:
            raise


def start(target: Callable[[], None]) -> None:
    """Run a function in a new thread of the operating system, although threads have been replaced.

    Raises:
        RuntimeError: if no thread can be started.
    """
    gevent = sys.modules.get("gevent")
    if gevent is not None:
        # The first hub of a process imports modules: two threads that make one at once wait for each other forever
        gevent.get_hub()
    _start_new_thread(target, ())


def with_names(connect: Callable[[], None]) -> None:
    """Call a function that looks up the name of a host, also where the interpreter starts no thread any more.

    gevent looks names up in a thread of a pool. At the exit Python 3.12 starts none: then this thread looks them up.
    """
    try:
        connect()
    except RuntimeError:
        if not _is_exiting or "gevent" not in sys.modules:
            raise
        resolver = importlib.import_module("gevent.resolver.blocking").Resolver()
        sys.modules["gevent"].get_hub().resolver = resolver
        connect()


def adapt_to_replacement(thread: threading.Thread) -> None:
    """Let a thread that gevent or eventlet found running end without a traceback; called in this thread, at its end.

    `threading` looks its threads up by a number. These libraries replace the function that returns it, and then
    `threading` does not find the thread that ends.
    """
    active = getattr(threading, "_active", None)
    if is_replaced() and active is not None:
        active[threading.get_ident()] = active.pop(get_ident(), thread)


class Wakeup:
    """Wakes one thread that waits for it, or the next one that will wait."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread that waits; if none does, the next one that will."""
        try:
            self._lock.release()
        except RuntimeError:  # it is set
            return

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most some seconds; return whether it was."""
        return _acquire(self._lock, seconds)


class Token:
    """A lock that belongs to one thread at a time, which can ask whether it has it."""

    __slots__ = ("_lock", "_owner")

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._owner = 0

    @property
    def is_mine(self) -> bool:
        """Whether this thread has it."""
        return self._owner == get_ident()

    def acquire(self, seconds: float) -> bool:
        """Wait for it, at most some seconds; return whether this thread has it now."""
        if self.is_mine or not _acquire(self._lock, seconds):
            return False
        self._owner = get_ident()
        return True

    def release(self) -> None:
        """Let another thread have it."""
        self._owner = 0
        self._lock.release()


class StateLock:
    """Guards what a worker and its callers change.

    The garbage collector or a signal handler can interrupt the thread that holds it, and log, flush or ask for counts
    in the same thread. So it says whether this thread holds it: then nothing may be changed.

    It is no `RLock`: eventlet replaces those that it finds and complains about all others. With it, or with a plain
    lock, to acquire is one step and to note the holder a second, and an interruption may come between the two. Here
    `dict.setdefault` does both in one step of the interpreter.
    """

    __slots__ = ("_claims", "_holder")

    def __init__(self) -> None:
        self._holder: dict[None, int] = {}
        self._claims: deque[Wakeup] = deque()

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._holder.get(None) == get_ident()

    @property
    def is_wanted(self) -> bool:
        """Whether another thread waits for it."""
        return bool(self._claims)

    def acquire(self, seconds: float = math.inf) -> bool:
        """Wait for the lock, at most some seconds; return whether this thread holds it now.

        It must not hold it before. Where a signal handler raises in the middle of this, it does not hold it after.
        """
        ident = get_ident()
        try:
            return self._holder.setdefault(None, ident) == ident or (seconds > 0 and self._wait(ident, seconds))
        except BaseException:
            self.release()
            raise

    def _wait(self, ident: int, seconds: float) -> bool:
        deadline = monotonic() + seconds
        wakeup = Wakeup()
        try:
            self._claims.append(wakeup)
            # try once more after the claim: a thread that released the lock before it has not seen the claim
            while self._holder.setdefault(None, ident) != ident:
                left = deadline - monotonic()
                if left <= 0:
                    return False
                wakeup.wait(min(left, _LOOK))
            return True
        finally:
            with contextlib.suppress(ValueError):  # a signal handler raised before the claim
                self._claims.remove(wakeup)

    def release(self) -> None:
        """Let another thread have it, if this thread holds it."""
        if self._holder.get(None) != get_ident():
            return
        self._holder.pop(None, None)
        with contextlib.suppress(IndexError):  # nobody waits any more
            self._claims[0].set()


_opening = Token()
FORK_PATIENCE = 10.0
"""Seconds for which a fork and what must not be forked wait for each other."""


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """A context during which no other thread forks: for what takes locks of other libraries, as opening a database."""
    is_acquired = _opening.acquire(FORK_PATIENCE)
    try:
        yield
    finally:
        if is_acquired:
            _opening.release()


def begin_fork() -> None:
    """Wait until no thread is inside `no_fork`, and let none in until `end_fork`."""
    _opening.acquire(FORK_PATIENCE)


def end_fork() -> None:
    """Let threads into `no_fork` again, in the parent and in the child."""
    if _opening.is_mine:
        _opening.release()


def _acquire(lock: Any, seconds: float) -> bool:
    if not is_replaced():
        return bool(lock.acquire(timeout=max(0.0, seconds)))
    deadline = monotonic() + seconds
    while not lock.acquire(blocking=False):
        if monotonic() >= deadline:
            return False
        sleep(_POLL)
    return True
