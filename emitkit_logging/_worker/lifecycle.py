"""Process: what forks and exits mean for the handlers of this process."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Protocol

from emitkit_logging._worker import own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.worker import Worker


class Forkable(Protocol):
    """What must know when its process is forked, or ends as the child of one: a handler."""

    def before_fork(self) -> None:
        """Prepare for the fork."""

    def after_fork(self) -> None:
        """Go on in the parent."""

    def start_anew(self) -> None:
        """Begin again in the child."""

    def close(self) -> None:
        """Deliver what waits and end."""


_handlers: weakref.WeakSet[Forkable] = weakref.WeakSet()
_left_behind: dict[Worker, float] = {}
_is_exiting = False
_is_forked = False
_is_exit_known = False


def watch(handler: Forkable) -> None:
    """Let a handler know when this process is forked."""
    _handlers.add(handler)


def is_exiting() -> bool:
    """Tell whether the interpreter is running its exit hooks; logging closes its handlers as the last of them."""
    return _is_exiting


def leave_behind(unfinished: Worker, timeout: float) -> None:
    """Let a listener whose handler is closed deliver what it has, at the latest at exit.

    Args:
        unfinished: the listener.
        timeout: seconds that it may take at exit.
    """
    for finished in [other for other in _left_behind if other.stats().pending == 0]:
        del _left_behind[finished]
    _left_behind[unfinished] = timeout


def prepare_exit() -> None:
    """Make sure that a forked child delivers its records before it ends: those of multiprocessing skip `atexit`."""
    global _is_exit_known  # noqa: PLW0603 - one process, one exit
    if not _is_forked or _is_exit_known:
        return
    _is_exit_known = True
    for name in ("multiprocessing", "billiard"):
        package, util = sys.modules.get(name), sys.modules.get(f"{name}.util")
        if package is not None and util is not None and package.current_process().name != "MainProcess":
            util.Finalize(None, _close_all, exitpriority=-1)


def report_lost(lost: int) -> None:
    """Say on stderr that records could not be delivered; the log may be gone by then."""
    if lost and sys.stderr is not None:
        print(f"emitkit-logging: {lost} log records could not be delivered before the exit", file=sys.stderr)  # noqa: T201


def _close_all() -> None:
    for handler in list(_handlers):
        handler.close()


def _exiting() -> None:
    global _is_exiting  # noqa: PLW0603 - one process, one exit
    _is_exiting = True
    lost = 0
    for unfinished, timeout in list(_left_behind.items()):
        if not unfinished.finish(monotonic() + timeout):
            lost += unfinished.give_up()
    _left_behind.clear()
    report_lost(lost)


def _forking() -> None:
    for handler in list(_handlers):
        handler.before_fork()


def _has_forked() -> None:
    for handler in list(_handlers):
        handler.after_fork()


def _forked() -> None:
    global _is_forked, _is_exit_known
    _is_forked, _is_exit_known = True, False
    own_calls.under_way.clear()
    _left_behind.clear()
    for handler in list(_handlers):
        handler.start_anew()


# logging registered its own hook when it was imported: this one runs before it
atexit.register(_exiting)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking, after_in_parent=_has_forked, after_in_child=_forked)
