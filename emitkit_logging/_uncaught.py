"""Exceptions that nobody catches become alerts (design, *Legacy applications*).

Python calls `sys.excepthook` for an exception that ends the program, and `threading.excepthook` for one that ends a
thread. Hooks of this module report it to the handlers with `capture_uncaught=True` and then do what the hook before
them did. asyncio's event loop and the servers call no hook: they log such exceptions themselves.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType, TracebackType
from typing import Any

from emitkit_logging._events.captured import UNCAUGHT_KEY, text_of_object
from emitkit_logging._events.converter import qualified_name
from emitkit_logging._worker import native

_NAME = "excepthook"
_QUIET = (SystemExit, KeyboardInterrupt)
_BARE = logging.LogRecord("", logging.CRITICAL, "", 0, "", (), None)

_handlers: dict[int, logging.Handler] = {}
_reporting: dict[int, BaseException | None] = {}
"""By thread the exception that a hook of this module handles now; another such hook may be further down the chain."""


class _Hook:
    """A hook that reports an exception and then calls the hook that was there before.

    Args:
        module: `sys` or `threading`.
        report: takes the hook's arguments, and does not raise an `Exception` that anybody sees.
        error_of: returns the exception that is among these arguments.
    """

    def __init__(
        self, module: ModuleType, report: Callable[..., None], error_of: Callable[..., BaseException | None]
    ) -> None:
        self.module = module
        self.previous: Callable[..., object] = getattr(module, _NAME)
        self._report = report
        self._error_of = error_of

    def __call__(self, *args: Any) -> None:
        """Report, and do what was done before."""
        thread, error = native.get_ident(), self._error_of(*args)
        if not _handlers or (thread in _reporting and _reporting[thread] is error):
            self.previous(*args)
            return
        outer = _reporting.setdefault(thread, error)
        try:
            with contextlib.suppress(Exception):
                self._report(*args)
        finally:
            try:
                self.previous(*args)
            finally:
                if outer is error:
                    _reporting.pop(thread, None)


_hooks: list[_Hook] = []


def watch(handler: logging.Handler) -> None:
    """Report uncaught exceptions to a handler until `forget`; the hooks keep it alive, as a logger would."""
    _handlers[id(handler)] = handler
    for module, report, error_of in (
        (sys, _report_program, lambda _type, value, _trace: value),
        (threading, _report_thread, lambda args: args.exc_value),
    ):
        if not isinstance(getattr(module, _NAME), _Hook):
            hook = _Hook(module, report, error_of)
            _hooks.append(hook)
            setattr(module, _NAME, hook)


def forget(handler: logging.Handler) -> None:
    """Report nothing more to a handler; after the last one the hooks are what they were.

    Where somebody has chained a hook after one of ours, that one stays and passes exceptions on.
    """
    if _handlers.pop(id(handler), None) is None or _handlers:
        return
    while _hooks and getattr(_hooks[-1].module, _NAME) is _hooks[-1]:
        hook = _hooks.pop()
        setattr(hook.module, _NAME, hook.previous)


def _report_program(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not hasattr(sys, "ps1"):  # at a prompt, an exception ends nothing
        _report(kind, error, trace, "sys.excepthook", "Nobody caught this exception: it ended the program", {})


def _report_thread(args: threading.ExceptHookArgs) -> None:
    try:
        name = "" if args.thread is None else text_of_object(args.thread.name)
    except Exception:  # a class of the application's own
        name = qualified_name(type(args.thread))
    described = "Nobody caught this exception: it ended a thread"
    more = {"thread_name": name} if name else {}
    _report(args.exc_type, args.exc_value, args.exc_traceback, "threading.excepthook", described, more)


def _report(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    hook: str,
    described: str,
    more: dict[str, str],
) -> None:
    if logging.root.manager.disable >= logging.CRITICAL or _is_quiet(kind, error):
        return
    text = "" if error is None else text_of_object(error)
    summary = f"{qualified_name(kind)}: {text}" if text else qualified_name(kind)
    extra = {"description": described, UNCAUGHT_KEY: True, **more}
    record = _record(hook, summary, None if error is None else (kind, error, trace), _innermost(trace), extra)
    for handler in list(_handlers.values()):
        if record.levelno >= handler.level:
            with contextlib.suppress(Exception):
                handler.handle(record)


def _is_quiet(kind: type[BaseException], error: BaseException | None) -> bool:
    """Whether an exception ends a program on purpose; a group of such exceptions does, too."""
    if issubclass(kind, _QUIET):
        return True
    group = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11
    return group is not None and isinstance(error, group) and error.split(_QUIET)[1] is None


def _innermost(trace: TracebackType | None) -> tuple[str, int, str]:
    """Return file, line and function of where an exception was raised."""
    place = ("", 0, "")
    while trace is not None:
        code = trace.tb_frame.f_code
        place = (code.co_filename, trace.tb_lineno or 0, code.co_name)
        trace = trace.tb_next
    return place


def _record(
    name: str,
    message: str,
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | None,
    place: tuple[str, int, str],
    extra: Mapping[str, object],
) -> logging.LogRecord:
    """Return a log record, which no factory of the application's has made."""
    path, line, function = place
    try:
        record = logging.LogRecord(name, logging.CRITICAL, path, line, message, (), exc_info, function)
    except Exception:  # `LogRecord` asks the thread for its name, and a class of the application's may raise
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__.update(vars(_BARE), created=time.time(), name=name, msg=message, exc_info=exc_info)
        record.__dict__.update(pathname=path, filename=path, lineno=line, funcName=function)
    record.__dict__.update(extra)
    return record
