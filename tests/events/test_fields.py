"""Fields that a record gives its event: what the server would refuse is sent as metadata."""

from __future__ import annotations

import json
import logging

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging._api.contract import CURRENT
from tests.records import event

BUTTON = {"id": "yes", "label": "Yes"}
LINK = {"label": "Order", "url": "https://example.com/orders/1"}
LARGE_FIELDS = [{"id": each, "type": "text", "label": "L", "default": "é" * 2_000} for each in "abcde"]
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


@pytest.mark.parametrize(("length", "is_sent"), [(8_000, True), (8_001, False), (60_000, False)])
def test_resume_is_whole_or_metadata(length, is_sent):
    """A text that would be cut is not sent as `resume`: the application could not read it when it comes back."""
    body = event("refund", event="refund", actions=[BUTTON], resume="x" * length).body()
    assert body.get("resume") == ("x" * length if is_sent else None)
    assert ("resume" in body["metadata"]) is not is_sent
    assert body["actions"] == [BUTTON]


@pytest.mark.parametrize("limit", [15 * 1024, 4 * 1024])
@pytest.mark.parametrize(
    ("question", "left"),
    [
        ({"actions": [BUTTON], "resume": "é" * 8_000}, ["actions"]),
        ({"actions": [BUTTON], "fields": LARGE_FIELDS, "resume": "r"}, []),
    ],
)
def test_a_question_that_is_too_large(question, left, limit):
    """An event whose question exceeds its size is sent without it, first without `resume`; the metadata shows it."""
    encoded = event("refund", event="refund", expires_in=60, **question).encode(limit)
    body = json.loads(encoded)
    assert len(encoded) <= limit
    assert CURRENT.event.problems(body) == []
    assert [name for name in question if name in body] == left
    assert question.keys() - set(left) <= body["metadata"].keys()


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
