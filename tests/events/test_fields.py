"""Fields that a record gives its event: what the server would refuse is sent as metadata."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging._api.contract import CURRENT
from tests.records import event

BUTTON = {"id": "yes", "label": "Yes"}
LINK = {"label": "Order", "url": "https://example.com/orders/1"}
CALLBACK = "https://example.com/answers"


@pytest.mark.parametrize(
    ("extra", "sent", "refused"),
    [
        (
            {"actions": [{"label": "Open", "url": "http://example.com"}, LINK]},
            {"actions": [LINK]},
            {"actions": [{"label": "Open", "url": "http://example.com"}]},
        ),
        (
            {"actions": [{"label": "Run", "url": "javascript:alert(1)"}]},
            {},
            {"actions": [{"label": "Run", "url": "javascript:alert(1)"}]},
        ),
        (
            {"actions": [BUTTON], "callback_url": "https://api.emitkit.com/v1/events"},
            {"actions": [BUTTON]},
            {"callback_url": "https://api.emitkit.com/v1/events"},
        ),
        ({"actions": [BUTTON, BUTTON]}, {"actions": [BUTTON]}, {"actions": [BUTTON]}),
        (
            {"actions": [BUTTON, {**BUTTON, "id": "no", "colour": "red"}], "callback_url": CALLBACK},
            {"actions": [BUTTON], "callbackUrl": CALLBACK},
            {"actions": [{**BUTTON, "id": "no", "colour": "red"}]},
        ),
        ({"actions": [LINK], "expires_in": 60}, {"actions": [LINK]}, {"expires_in": 60}),
        ({"actions": [BUTTON], "notify": False}, {"actions": [BUTTON]}, {"notify": False}),
        ({"actions": [BUTTON], "__emitkit_notify": False}, {"actions": [BUTTON]}, {"notify": False}),
        ({"actions": [BUTTON], "notify": True}, {"actions": [BUTTON]}, {}),
    ],
)
def test_what_would_be_refused_becomes_metadata(extra, sent, refused):
    """The event is sent with what remains of its question, and keeps the rest where it can be read."""
    body = event("refund", event="refund", **extra).body()
    assert CURRENT.event.problems(body) == []
    assert {name: body[name] for name in ("actions", "fields", "expiresIn", "callbackUrl") if name in body} == sent
    names = ("actions", "fields", "expires_in", "callback_url", "notify")
    assert {name: body["metadata"][name] for name in names if name in body["metadata"]} == refused
    assert body["notify"] is True


def test_the_event_is_accepted(emitkit_inbox):
    """A local EmitKit of the current generation stores such an event at the first request."""
    handler = EmitKitHandler(notify=False)
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    actions = [BUTTON, BUTTON, {"label": "Run", "url": "javascript:alert(1)"}]
    logger.info("Refund?", extra={"event": "refund", "actions": actions, "callback_url": "https://emitkit.com"})
    assert handler.flush(10)
    handler.close()
    stored = emitkit_inbox.wait_for(channel="general")
    assert (stored["actions"], stored["answer"]["status"], stored["notify"]) == ([BUTTON], "pending", True)
    assert stored["metadata"]["callback_url"] == "https://emitkit.com"
    assert [request["status"] for request in emitkit_inbox.requests] == [201]
