"""A logging handler that turns log records into EmitKit events.

`EmitKitHandler` sends them, `EmitKitFormatter` prints them, `EventFilter` chooses among them; all three are made for
`logging.config.dictConfig`. `event_context` and `bind_event_context` say once what many records carry. Each is loaded
when it is first asked for, so that the import costs an application nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emitkit_logging.context import bind_event_context, event_context
    from emitkit_logging.filter import EventFilter
    from emitkit_logging.formatter import EmitKitFormatter
    from emitkit_logging.handler import EmitKitHandler
    from emitkit_logging.stats import Stats

__version__ = "0.1.0"
__all__ = [
    "EmitKitFormatter",
    "EmitKitHandler",
    "EventFilter",
    "Stats",
    "__version__",
    "bind_event_context",
    "event_context",
]

_ROOMS = {
    "EmitKitFormatter": "formatter",
    "EmitKitHandler": "handler",
    "EventFilter": "filter",
    "Stats": "stats",
    "bind_event_context": "context",
    "event_context": "context",
}


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
