"""Events as browsers send them, requests to the endpoint, and a handler that collects what they become."""

from __future__ import annotations

import json
import logging

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore
from emitkit_logging.proxy import BrowserRequest
from emitkit_logging.proxy.request import RequestHeaders

CHROME = "Mozilla/5.0 Chrome/156"
CONTEXT = {
    "page": {"path": "/pricing", "title": "Pricing", "referrer": "", "url": "https://shop.example/pricing?x=1"},
    "device": {"type": "desktop", "os": "Linux", "userAgent": CHROME, "language": "en-US", "screen": {"width": 1}},
    "user": {},
}


def track(action="button_clicked", properties=None, context=CONTEXT, **event):
    """Return an event as the npm package 0.14.5 sends it."""
    given = {"action": action, "category": action.partition("_")[0], "properties": properties or {}}
    return {
        "type": "track",
        "event": {**given, "timestamp": 1_700_000_000_000, "sessionId": "s-1", **event},
        "context": context,
    }


def payload(*events):
    """Return a payload as bytes of JSON."""
    return json.dumps({"events": list(events)}).encode()


def browser_request(method="POST", client="192.0.2.1", peer=None, host="shop.example", **headers):
    """Return a request to the endpoint; keyword arguments are headers, with `_` in place of `-`."""
    pairs = [("host", host), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return BrowserRequest(RequestHeaders(pairs), client, None, method, peer)


def reason(response):
    """Return the reason for which the endpoint refused a request."""
    return json.loads(response.body)["error"]


def own(made):
    """Return the metadata of an event, without what every event has."""
    return {k: v for k, v in made.metadata.items() if k not in ("category", "event", "timestamp", "log")}


class Clock:
    """A monotonic clock that the test moves."""

    now = 1_000.0

    def __call__(self):
        return self.now


class Collector(logging.Handler):
    """Keeps the captured records, and returns the events that they become."""

    def __init__(self, **options):
        super().__init__()
        self.formatter = EmitKitFormatter(**options)
        self.records = []

    def emit(self, record):
        self.records.append(capture(record, self.formatter.json_converter))

    @property
    def events(self):
        return [self.formatter.event(restore(taken)) for taken in self.records]
