"""Records that are logged in a context, and the events that they become."""

from __future__ import annotations

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore
from tests.records import make

PAGE = {"url": "https://shop.example/cart?x=1", "host": "shop.example", "path": "/cart"}


def seen(msg="it_happened", formatter=None, **extra):
    """Return the event of a record that is captured now."""
    formatter = formatter or EmitKitFormatter()
    return formatter.event(restore(capture(make(msg, event=msg, **extra), formatter.json_converter)))


def own(made):
    """Return the metadata of an event, without what every event has."""
    return {k: v for k, v in made.metadata.items() if k not in ("category", "event", "timestamp", "log")}


def own_but_error(made):
    """Return the same without the exception."""
    return {key: value for key, value in own(made).items() if key != "exception"}
