"""A logger, and a handler that collects the events of what is logged."""

from __future__ import annotations

import logging

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore

log = logging.getLogger("test.middleware")


class Collector(logging.Handler):
    """Keeps the events of what is logged."""

    def __init__(self):
        super().__init__()
        self.formatter = EmitKitFormatter(plain_level="INFO")
        self.events = []

    def emit(self, record):
        self.events.append(self.formatter.event(restore(capture(record, self.formatter.json_converter))))

    def parts(self, part="server"):
        """Return one part of the metadata of each event, without the ids of the requests."""
        parts = [event.metadata.get(part) for event in self.events]
        return [part and {key: value for key, value in part.items() if key != "requestId"} for part in parts]


def is_own(event):
    """Whether an event was logged by the test, not by a framework."""
    return event.metadata["log"]["logger"] == log.name
