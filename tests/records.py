"""Records as an application makes them."""

from __future__ import annotations

import logging
import sys
from typing import Any

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore
from emitkit_logging._events.event import Event


def make(msg: Any = "hello", *args: Any, level: int = logging.INFO, exc_info: Any = None, **extra: Any):
    """Make a record through `Logger.makeRecord`, as a logging call does."""
    if exc_info is True:
        exc_info = sys.exc_info()
    return logging.getLogger("app").makeRecord("app", level, "/srv/app.py", 7, msg, args, exc_info, "work", extra)


def event(msg: Any = "hello", *args: Any, options: dict[str, Any] | None = None, **kwargs: Any) -> Event:
    """Return the event of a record, which must not depend on whether it was captured first."""
    formatter = EmitKitFormatter(**(options or {}))
    record = make(msg, *args, **kwargs)
    direct = formatter.event(record)
    captured = formatter.event(restore(capture(record, formatter.json_converter)))
    assert captured.body() == direct.body()
    assert (captured.identities, captured.kind) == (direct.identities, direct.kind)
    return captured
