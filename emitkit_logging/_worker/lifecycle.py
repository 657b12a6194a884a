"""What forks and exits mean for the handlers of this process.

`atexit` is enough for a process that ends by itself: logging closes its handlers there. This module adds what happens
before that, and the processes that end without exit hooks: children of multiprocessing and billiard, Celery's worker
processes, and uvicorn after a signal (see "Who runs exit hooks" in the documentation).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from emitkit_logging import _log
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._worker import native, own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.worker import Worker


@dataclass(frozen=True, slots=True)
class Hooks:
    """What this module calls when its process forks or ends, each with the handler.

    Attributes:
        before_fork: prepares for a fork.
        after_fork: goes on in the parent.
        start_anew: begins again in the child.
        deliver: delivers what waits, as at the end of a process, and goes on.
    """

    before_fork: Callable[[Any], None]
    after_fork: Callable[[Any], None]
    start_anew: Callable[[Any], None]
    deliver: Callable[[Any], None]


class _Prepared:
    """A handler or a worker that is prepared for a fork. It is equal to another one of the same object."""

    def __init__(self, of: object, before_fork: Callable[[Any], None], after_fork: Callable[[Any], None]) -> None:
        self._of = of
        self.before_fork = functools.partial(before_fork, of)
        self.after_fork = functools.partial(after_fork, of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Prepared) and other._of is self._of

    __hash__ = None  # type: ignore[assignment]


_JOIN = 0.5
"""Seconds that the exit waits for a thread."""

_JOIN_SUBINTERPRETER = 10.0
"""Seconds that the end of a subinterpreter waits for a thread: for as long as a request may take."""

_handlers: dict[int, tuple[weakref.ref[object], Hooks]] = {}
_unlisted: list[weakref.ref[logging.Handler]] = []
_left_behind: dict[Worker, float] = {}
_running: dict[int, weakref.ref[Worker]] = {}
_forking: dict[int, list[_Prepared]] = {}
_prepared: set[str] = set()
_is_exiting = False
_has_warned = False


def watch(handler: object, hooks: Hooks) -> None:
    """Call the hooks of a handler when this process forks or ends, as long as the handler exists."""
    number = id(handler)
    _handlers[number] = weakref.ref(handler, lambda _: _handlers.pop(number, None)), hooks


def close_at_exit(handler: logging.Handler) -> None:
    """Close a handler when the interpreter exits, as logging does with those that it lists."""
    _unlisted.append(weakref.ref(handler))


def _watched() -> list[tuple[object, Hooks]]:
    # copied in one step of the interpreter: another thread may be making a handler
    found = [(reference(), hooks) for reference, hooks in list(_handlers.values())]
    return [(handler, hooks) for handler, hooks in found if handler is not None]


def is_exiting() -> bool:
    """Whether the interpreter runs its exit hooks; logging closes its handlers in the last of them."""
    return _is_exiting


def deliver_all() -> None:
    """Deliver what waits in all handlers, as at the end of a process."""
    for handler, hooks in _watched():
        hooks.deliver(handler)
    for worker, timeout in list(_left_behind.items()):
        worker.deliver(monotonic() + timeout)


def start(worker: Worker) -> None:
    """Start a worker's thread, which is ended before the interpreter is."""
    prepare_exit()
    worker.on_pause = prepare_exit
    number = id(worker)
    _running[number] = weakref.ref(worker, lambda _: _running.pop(number, None))
    _warn_without_thread()
    worker.start()


def _warn_without_thread() -> None:
    global _has_warned  # noqa: PLW0603 - one interpreter, one warning
    if not _has_warned and not native.allows_daemon_threads():
        _has_warned = True
        _log.warn("this subinterpreter has no daemon threads: nothing is sent until the handler is flushed")


def leave_behind(worker: Worker, timeout: float) -> None:
    """Let a worker whose handler is closed, or gone, deliver what it has, at the latest at exit.

    It takes no lock of a thread that runs: the garbage collector may call it in the middle of another's work.

    Args:
        worker: the worker; its thread ends when it has.
        timeout: seconds that it may take at exit.
    """
    if not worker.is_of_this_process:  # another thread was making its handler when this process was forked
        worker.abandon()
        return
    for other in list(_left_behind):
        if not other.is_alive() and other.stats().pending == 0:
            _left_behind.pop(other, None)
    _left_behind[worker] = timeout
    worker.end()


def join_at_end(worker: Worker) -> None:
    """Wait for the thread of a worker that is to end, where the interpreter may end next; else do nothing.

    A thread that is still there then can abort the process: in a greenlet's stack, or in a subinterpreter, which must
    not be destroyed while it has threads.
    """
    if not _IS_MAIN_INTERPRETER:
        worker.join(monotonic() + _JOIN_SUBINTERPRETER)
    elif _is_exiting:
        worker.join(monotonic() + _JOIN)


def _is_main_interpreter() -> bool:
    """Whether this is no subinterpreter, as those of mod_wsgi; Python has no public way to ask before 3.14."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            return bool(module.get_current() == module.get_main())
    return True


# now, and not when it is needed: an import in a forked child can wait for ever for a thread that is not there
_IS_MAIN_INTERPRETER = _is_main_interpreter()


def report_lost(lost: Undelivered) -> None:
    """Print on stderr what could not be delivered, and why; the log may be gone by then."""
    if lost and sys.stderr is not None:
        print(f"emitkit-logging: {lost}", file=sys.stderr)  # noqa: T201


# Processes that end without exit hooks


def prepare_exit() -> None:
    """Make sure that this process delivers its records before it ends.

    Called when a worker starts and whenever it pauses, since what ends the process may be imported later.
    """
    for name, prepare in (
        ("multiprocessing.util", _at_end_of_child),
        ("multiprocessing.process", _at_end_of_threads),
        ("billiard.util", _at_end_of_child),
        ("celery.signals", _at_end_of_celery),
        ("uvicorn.server", _at_end_of_uvicorn),
    ):
        module = sys.modules.get(name)
        if module is not None and name not in _prepared and prepare(module):
            _prepared.add(name)


def _at_end_of_child(util: ModuleType) -> bool:
    """Deliver when a child process has done its work: it ends by `os._exit`, however its handler was made."""
    if not _is_child(sys.modules[util.__name__.partition(".")[0]]):
        return False
    # after the finalizers of the application, which may log
    util.Finalize(None, deliver_all, exitpriority=-1)
    return True


def _is_child(package: ModuleType) -> bool:
    return bool(package.current_process().name != "MainProcess")


def _at_end_of_threads(process: ModuleType) -> bool:
    """Deliver once more when the last thread of a child has ended: it may log after the child's finalizers have run.

    Nothing public is called then: after it, the child ends by `os._exit`.
    """
    if not _is_child(process) or not hasattr(threading, "_shutdown"):
        return False
    threading._shutdown = _followed_by_delivery(threading._shutdown)
    return True


def _followed_by_delivery(shutdown: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(shutdown)
    def shut_down() -> None:
        shutdown()
        deliver_all()

    return shut_down


def _at_end_of_celery(signals: ModuleType) -> bool:
    """Deliver when a worker process of Celery is replaced or ends: its parent then ends it by a signal."""
    signals.worker_process_shutdown.connect(_on_celery_shutdown, weak=False)
    return True


def _on_celery_shutdown(**_: Any) -> None:
    deliver_all()


def _at_end_of_uvicorn(module: ModuleType) -> bool:
    """Deliver when uvicorn has shut down: it then raises the signal that it got again, with the default action."""
    server = module.Server
    if hasattr(server, "capture_signals"):  # uvicorn before 0.29 ends by itself, and runs the exit hooks
        server.shutdown = _delivering(server.shutdown)
    return True


def _delivering(shutdown: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(shutdown)
    async def shut_down(*args: Any, **kwargs: Any) -> Any:
        try:
            return await shutdown(*args, **kwargs)
        finally:
            # elsewhere it gets no signals, and is one server among others in a process that goes on
            if threading.current_thread() is threading.main_thread():
                deliver_all()

    return shut_down


# The interpreter's own exit, and forks


def _exiting() -> None:
    global _is_exiting  # noqa: PLW0603 - one process, one exit
    _is_exiting = True
    native.begin_exit()
    for handler in _unlisted:
        if (unlisted := handler()) is not None:
            unlisted.close()
    lost = Undelivered()
    for worker, timeout in list(_left_behind.items()):
        if not worker.finish(monotonic() + timeout):
            lost += worker.give_up()
    _left_behind.clear()
    report_lost(lost)
    for reference in list(_running.values()):
        running = reference()
        if running is not None and running.is_ending:
            join_at_end(running)


def _before_fork() -> None:
    """Close the databases and hold the locks of all workers.

    First each worker, then `no_fork`: a thread that holds a worker's lock may open its database. A handler that was
    made in between is found by another look.
    """
    # kept until after the fork: a handler that is collected in between would never release its lock
    prepared = _forking[native.get_ident()] = []
    deadline = monotonic() + native.FORK_PATIENCE
    while True:
        for each in _existing():
            if each not in prepared:
                prepared.append(each)
                each.before_fork()
        native.begin_fork()
        if monotonic() > deadline or all(each in prepared for each in _existing()):
            return
        native.end_fork()


def _existing() -> list[_Prepared]:
    """Return all that may have a database: handlers, and the workers that closed handlers have left behind."""
    handlers = [_Prepared(handler, hooks.before_fork, hooks.after_fork) for handler, hooks in _watched()]
    workers = [_Prepared(worker, Worker.before_fork, Worker.after_fork) for worker in list(_left_behind)]
    return handlers + workers


def _after_fork_in_parent() -> None:
    for each in _forking.pop(native.get_ident(), []):
        each.after_fork()
    native.end_fork()


def _after_fork_in_child() -> None:
    _prepared.difference_update(("multiprocessing.util", "billiard.util"))
    own_calls.under_way.clear()
    for worker in _left_behind:
        worker.abandon()
    _left_behind.clear()
    _running.clear()
    for handler, hooks in _watched():
        hooks.start_anew(handler)
    _forking.clear()
    native.end_fork()


# logging registered its own hook when it was imported: this one runs before it
atexit.register(_exiting)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
