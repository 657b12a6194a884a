"""Which log records are of this library's own work, so that they never become events.

An event about sending events would cause the next one, without end. Records of the library itself have its logger's
name. Others are logged in the middle of a call that the library makes: a request, or a formatter of the application's.
Those about requests reach no other handler either.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import weakref
from collections.abc import Iterator
from types import FrameType

from emitkit_logging._worker import native

under_way: set[int] = set()
"""The threads that are inside such a call now; mostly empty, which is quicker to see than to ask `is_own`."""

_HTTP_LOGGERS = ("urllib3", "requests", "charset_normalizer", "chardet", "socks")
_MOST_FRAMES = 200
_FINALIZE = weakref.finalize.__call__.__code__


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """A context in which what this thread logs is of the library's own work."""
    ident = native.get_ident()
    is_outer = ident not in under_way
    under_way.add(ident)
    try:
        yield
    finally:
        if is_outer:
            under_way.discard(ident)


def is_own(record: logging.LogRecord) -> bool:
    """Whether a record, logged now, is of this library's own work.

    The garbage collector may run a finalizer of the application's in the middle of such a call; what that logs is not.
    """
    if native.get_ident() not in under_way:
        return False
    return str(record.name).partition(".")[0] in _HTTP_LOGGERS or not _is_in_finalizer()


class _Silence(logging.Filter):
    """Drops what is logged about this library's own requests; the application's requests are logged as before."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is kept."""
        return not (under_way and is_own(record))


_SILENCE = _Silence()


def silence() -> None:
    """Keep what the HTTP libraries log about this library's own requests from all handlers.

    Where the root logger's level is DEBUG, each event that is sent would be two lines in the console. The loggers of
    modules that are loaded now get a filter, since one of a parent logger does not count for its children.
    """
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.name.partition(".")[0] in _HTTP_LOGGERS:
            logger.addFilter(_SILENCE)


def _is_in_finalizer() -> bool:
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name == "__del__" or frame.f_code is _FINALIZE:
            return True
        frame = frame.f_back
    return False
