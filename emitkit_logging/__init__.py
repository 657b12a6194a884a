"""A logging handler that turns log records into EmitKit events.

`EmitKitHandler` sends events, `EmitKitFormatter` formats them as JSON, and `EventFilter` selects them. All three can be
configured by `logging.config.dictConfig`. `event_context` and `bind_event_context` add the same values to many records,
and `verify_callback` verifies the callback that answers a question. Each name is loaded on first use, which keeps the
import of the package fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emitkit_logging.callbacks import verify_callback
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
    "verify_callback",
]

_MODULES = {
    "EmitKitFormatter": "formatter",
    "EmitKitHandler": "handler",
    "EventFilter": "filter",
    "Stats": "stats",
    "bind_event_context": "context",
    "event_context": "context",
    "verify_callback": "callbacks",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
