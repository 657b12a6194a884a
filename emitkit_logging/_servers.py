"""Records of servers whose loggers keep them from the root logger.

uvicorn and gunicorn configure loggers of their own with `propagate: False`. An exception that an application
does not catch is logged there, and a handler of the root logger never gets it. To let these loggers propagate would
print each line twice. So a filter on each of them, which lets everything pass, also gives the record to the handler,
where the handler is one of the root logger's and would not get the record otherwise. Unlike handlers, filters stay when
a server configures its loggers later.

Celery's workers remove the root logger's handlers, unless the application configures logging in `setup_logging`. They
are added again.
"""

from __future__ import annotations

import logging
import sys
import weakref
from typing import Any

SERVER_LOGGERS = ("uvicorn.error", "gunicorn.error", "hypercorn.error")
"""The loggers on which servers log exceptions. Access logs are not among them."""

_listening: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
_removed: list[logging.Handler] = []
_is_celery_prepared = False


class _Forwarding(logging.Filter):
    """Gives a handler of the root logger the records that do not propagate to it; lets every record pass."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = weakref.ref(handler)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return `True`."""
        handler = self._handler()
        if handler is not None and record.levelno >= handler.level and _is_cut_off(record.name, handler):
            handler.handle(record)
        return True

    def is_of(self, handler: logging.Handler | None) -> bool:
        """Whether it is for this handler; one whose handler is gone is for `None`."""
        return self._handler() is handler


def _is_cut_off(name: str, handler: logging.Handler) -> bool:
    """Whether a handler is one of the root logger's, and gets no record that is logged under a name."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if handler in logger.handlers:
            return False
        if not logger.propagate:
            return handler in logging.root.handlers
        logger = logger.parent
    return False


def handlers_of(name: str) -> list[logging.Handler]:
    """Return the handlers of a logger, of those above it, and of the root logger, whether or not records propagate."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        found += logger.handlers
        logger = logger.parent
    return found


def listen(handler: logging.Handler) -> None:
    """Let a handler get the records of the servers that are here by now.

    Called when the handler is made, when its thread starts, and when it is closed by a new configuration, since servers
    may be imported later. A logger that does not exist yet is not made: `dictConfig` would disable it for good.
    """
    _listening.add(handler)
    known = logging.root.manager.loggerDict
    for name in SERVER_LOGGERS:
        logger = known.get(name)
        if isinstance(logger, logging.Logger):
            ours = [each for each in logger.filters if isinstance(each, _Forwarding)]
            for each in ours:
                if each.is_of(None):
                    logger.removeFilter(each)
            if not any(each.is_of(handler) for each in ours):
                logger.addFilter(_Forwarding(handler))
    _prepare_celery()


def _prepare_celery() -> None:
    global _is_celery_prepared  # noqa: PLW0603 - one process, one connection
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None and not _is_celery_prepared and hasattr(signals, "after_setup_logger"):
        _is_celery_prepared = True
        signals.celeryd_init.connect(_note_handlers, weak=False)
        signals.after_setup_logger.connect(_restore_handlers, weak=False)


def _note_handlers(**_: Any) -> None:
    _removed[:] = [handler for handler in _listening if handler in logging.root.handlers]


def _restore_handlers(**_: Any) -> None:
    for handler in _removed:
        if handler not in logging.root.handlers:
            logging.root.addHandler(handler)
    _removed.clear()
