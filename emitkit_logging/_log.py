"""The library's own warnings, on the logger `emitkit_logging`.

By default, `dictConfig` and `fileConfig` disable every logger that they do not name: also this one, in the same call
that makes the handler. A warning about a wrong key must be seen all the same. So it reaches the logger's handlers and
those of its parents, or stderr where there are none. `logging.disable` and the logger's level still count.
"""

from __future__ import annotations

import logging
import traceback

from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.redaction import Redactor

NAME = "emitkit_logging"

_LOGGER = logging.getLogger(NAME)


def warn(text: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Log a warning.

    Args:
        text: a template for `%`.
        args: its arguments.
        exc_info: the exception that caused it, or `None`.
    """
    if _LOGGER.getEffectiveLevel() <= logging.WARNING and _LOGGER.manager.disable < logging.WARNING:
        _emit(logging.WARNING, text, args, exc_info)


def debug(text: str, *args: object) -> None:
    """Log at DEBUG although the level of the logger may be higher: `debug=True` asked for it."""
    if _LOGGER.manager.disable < logging.DEBUG:
        _emit(logging.DEBUG, text, args, None)


def _emit(level: int, text: str, args: tuple[object, ...], error: BaseException | None) -> None:
    info = None if error is None else (type(error), error, error.__traceback__)
    path, line, function, _ = _LOGGER.findCaller(stacklevel=3)
    record = _LOGGER.makeRecord(NAME, level, path, line, text, args, info, function)
    try:
        if _LOGGER.filter(record):
            _LOGGER.callHandlers(record)
    except BaseException as fault:  # a filter or a handler of the application's own that raises
        if not is_fault(fault):
            raise


def never_show(secret: str) -> None:
    """Mask a text wherever it stands in what the library logs."""
    _MASKING.redactor.add_literal(secret)


class _Masking(logging.Filter):
    """Masks secrets in the library's own records: what a server says, or the text of an error, may have some."""

    def __init__(self) -> None:
        super().__init__()
        self.redactor = Redactor()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let each record pass, masked."""
        try:
            record.msg, record.args = self.redactor.mask(record.getMessage()), ()
            if record.exc_info:
                record.exc_text = self.redactor.mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
                record.exc_info = None
        except Exception:  # an argument or an error whose text raises
            record.msg, record.args, record.exc_info = "a message that cannot be shown", (), None
        return True


_MASKING = _Masking()
_LOGGER.addFilter(_MASKING)


class LastResort(logging.Handler):
    """Prints the library's own warnings on stderr if no other handler takes them.

    A handler of this library ignores the library's own records. Without this one, a wrong key would not be noticed
    where it is the only handler. To silence the library, add a `NullHandler` to the logger `emitkit_logging`.

    Args:
        own: the class of the library's handler.
    """

    def __init__(self, own: type[logging.Handler]) -> None:
        super().__init__()
        self._own = own

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record if no other handler takes it."""
        if not self._is_taken(record) and logging.lastResort is not None:
            logging.lastResort.handle(record)

    def _is_taken(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = _LOGGER
        while logger is not None:
            for handler in logger.handlers:
                if not isinstance(handler, self._own | LastResort) and record.levelno >= handler.level:
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def install_last_resort(own: type[logging.Handler]) -> None:
    """Add the `LastResort` handler to the library's logger."""
    _LOGGER.addHandler(LastResort(own))
