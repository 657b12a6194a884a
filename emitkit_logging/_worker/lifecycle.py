"""What forks and exits mean for the handlers of this process.

`atexit` is enough for a process that ends by itself: logging closes its handlers there. This module adds what happens
before that, and the processes that end without exit hooks: children of multiprocessing and billiard, Celery's worker
processes, and uvicorn after a signal (see "Who runs exit hooks" in the documentation).
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._worker import own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.worker import Worker


class Watched(Protocol):
    """What this module calls when its process forks or ends: a handler."""

    def before_fork(self) -> None:
        """Prepare for a fork."""

    def after_fork(self) -> None:
        """Go on in the parent."""

    def start_anew(self) -> None:
        """Begin again in the child."""

    def deliver(self) -> None:
        """Deliver what waits, as at the end of a process, and go on."""


_handlers: dict[int, weakref.ref[Watched]] = {}
_left_behind: dict[Worker, float] = {}
_prepared: set[str] = set()
_is_exiting = False


def watch(handler: Watched) -> None:
    """Call a handler when this process forks or ends, as long as it exists."""
    number = id(handler)
    _handlers[number] = weakref.ref(handler, lambda _: _handlers.pop(number, None))


def _watched() -> list[Watched]:
    # copied in one step of the interpreter: another thread may be making a handler
    found = [reference() for reference in list(_handlers.values())]
    return [handler for handler in found if handler is not None]


def is_exiting() -> bool:
    """Whether the interpreter runs its exit hooks; logging closes its handlers in the last of them."""
    return _is_exiting


def deliver_all() -> None:
    """Deliver what waits in all handlers, as at the end of a process."""
    for handler in _watched():
        handler.deliver()


def leave_behind(worker: Worker, timeout: float) -> None:
    """Let a worker whose handler is closed deliver what it has, at the latest at exit.

    Args:
        worker: the worker.
        timeout: seconds that it may take at exit.
    """
    for finished in [other for other in list(_left_behind) if other.stats().pending == 0]:
        del _left_behind[finished]
    _left_behind[worker] = timeout


def report_lost(lost: Undelivered) -> None:
    """Print on stderr what could not be delivered, and why; the log may be gone by then."""
    if lost and sys.stderr is not None:
        print(f"emitkit-logging: {lost}", file=sys.stderr)  # noqa: T201


# Processes that end without exit hooks


def prepare_exit() -> None:
    """Make sure that this process delivers its records before it ends; called when a worker starts."""
    for name, prepare in (
        ("multiprocessing.util", _at_end_of_multiprocessing),
        ("billiard.util", _at_end_of_multiprocessing),
        ("celery.signals", _at_end_of_celery),
        ("uvicorn.server", _at_end_of_uvicorn),
    ):
        module = sys.modules.get(name)
        if module is not None and name not in _prepared and prepare(module):
            _prepared.add(name)


def _at_end_of_multiprocessing(util: ModuleType) -> bool:
    """Deliver when a child process has done its work: it ends by `os._exit`, however its handler was made."""
    package = sys.modules[util.__name__.partition(".")[0]]
    if package.current_process().name == "MainProcess":
        return False
    # after the finalizers of the application, which may log
    util.Finalize(None, deliver_all, exitpriority=-1)
    return True


def _at_end_of_celery(signals: ModuleType) -> bool:
    """Deliver when a worker process of Celery is replaced or ends: its parent then ends it by a signal."""
    signals.worker_process_shutdown.connect(_on_celery_shutdown, weak=False)
    return True


def _on_celery_shutdown(**_: Any) -> None:
    deliver_all()


def _at_end_of_uvicorn(module: ModuleType) -> bool:
    """Deliver when uvicorn has shut down: after that it ends its process by the signal that it got."""
    server = module.Server
    server.shutdown = _delivering(server.shutdown)
    return True


def _delivering(shutdown: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(shutdown)
    async def shut_down(*args: Any, **kwargs: Any) -> Any:
        try:
            return await shutdown(*args, **kwargs)
        finally:
            deliver_all()

    return shut_down


# The interpreter's own exit, and forks


def _exiting() -> None:
    global _is_exiting  # noqa: PLW0603 - one process, one exit
    _is_exiting = True
    lost = Undelivered()
    for worker, timeout in list(_left_behind.items()):
        if not worker.finish(monotonic() + timeout):
            lost += worker.give_up()
    _left_behind.clear()
    report_lost(lost)


def _before_fork() -> None:
    for handler in _watched():
        handler.before_fork()


def _after_fork_in_parent() -> None:
    for handler in _watched():
        handler.after_fork()


def _after_fork_in_child() -> None:
    _prepared.difference_update(("multiprocessing.util", "billiard.util"))
    own_calls.under_way.clear()
    _left_behind.clear()
    for handler in _watched():
        handler.start_anew()


# logging registered its own hook when it was imported: this one runs before it
atexit.register(_exiting)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
