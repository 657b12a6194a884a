"""Calls of the current API that several tests make."""

from __future__ import annotations

import uuid

import requests

BUTTONS = [{"id": "yes", "label": "Yes", "style": "primary"}, {"id": "no", "label": "No", "requires": ["why"]}]
FIELDS = [
    {"id": "why", "type": "text", "label": "Why", "maxLength": 10},
    {
        "id": "size",
        "type": "choice",
        "label": "Size",
        "options": [{"id": "s", "label": "S"}, {"id": "m", "label": "M"}],
    },
    {
        "id": "also",
        "type": "choice",
        "label": "Also",
        "multiple": True,
        "options": [{"id": c, "label": c} for c in "ab"],
    },
    {"id": "much", "type": "number", "label": "Much", "min": 1, "max": 5},
    {"id": "sure", "type": "boolean", "label": "Sure"},
]


def call(client, method, path, **more):
    return client.session.request(method, f"{client.inbox.url}{path}", timeout=10, **more)


def ask(client, **more):
    return client.event(actions=BUTTONS, fields=FIELDS, **more).json()["data"]


def answer(client, event_id, action, values=None):
    body = {"action": action, "values": values or {}}
    return requests.post(f"{client.inbox.url}/_inbox/events/{event_id}/answer", json=body, timeout=10)


def refusal(response, status, code):
    """Check that `response` is the contract's error for `code`, and return its body."""
    body = response.json()
    assert (response.status_code, body["success"], body["code"]) == (status, False, code)
    assert isinstance(body["error"], str)
    uuid.UUID(body["requestId"])
    return body
