"""Know an exception again that several loggers report.

A framework and its middleware, or a library and its caller, may log the same exception object, one after the other.
That is one occurrence. The object is marked when it is first reported (as sentry-sdk does), so that the reports after
that one can be added to it. A logger that reports the object once more has seen it happen again: some exceptions are
created once and raised often.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from emitkit_logging._events import extras

KEY = f"{extras.PRIVATE}reports"
"""Name of the attribute in which an exception keeps who reported it."""


class _Occurrence:
    """One occurrence of an exception, as one handler has seen it.

    Attributes:
        name: a random name.
        loggers: the loggers that have reported it.
    """

    __slots__ = ("loggers", "name")

    def __init__(self) -> None:
        self.name = os.urandom(8).hex()
        self.loggers: set[object] = set()


class _Reports(dict[object, _Occurrence]):
    """The latest occurrence of an exception for each handler."""

    def __reduce__(self) -> tuple[Any, ...]:
        # the process that unpickles the exception may not have this class
        return dict, ()


def report_of(error: BaseException, logger: str, observer: object) -> str:
    """Return the name of the occurrence that a logger reports, or an empty string if the exception cannot be marked.

    Args:
        error: the exception; it is marked.
        logger: the name of the logger.
        observer: on whose behalf: what another one has seen counts for that one only.
    """
    with contextlib.suppress(Exception):  # some exceptions accept no attributes
        reports = error.__dict__.get(KEY)
        if type(reports) is not _Reports:
            reports = error.__dict__[KEY] = _Reports()
        occurrence = reports.get(observer)
        if occurrence is None or logger in occurrence.loggers:
            occurrence = reports[observer] = _Occurrence()
        occurrence.loggers.add(logger)
        return occurrence.name
    return ""
