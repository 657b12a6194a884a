"""Events that wait for an answer, over HTTP."""

from __future__ import annotations

import pytest

from .calls import FIELDS, answer, ask, call, refusal


def test_a_question_is_answered(fresh, clock):
    """A question is answered once, by one of its buttons and with the values of its fields."""
    event = ask(fresh)
    assert event["answer"]["status"] == "pending"
    clock.now += 5
    values = {"why": "because", "size": "m", "also": ["a"], "much": 2.5, "sure": True}
    row = answer(fresh, event["id"], "no", values).json()
    assert (row["id"], row["answer"]["status"]) == (event["id"], "answered")
    stored = call(fresh, "GET", f"/v1/events/{event['id']}").json()["data"]["answer"]
    assert stored == {
        "status": "answered",
        "action": "no",
        "values": values,
        "by": "inbox",
        "at": "2027-01-15T08:00:05.250Z",
        "expiresAt": "2027-01-16T08:00:00.250Z",
    }
    assert answer(fresh, event["id"], "yes").status_code == 409
    assert answer(fresh, "event_none", "yes").status_code == 404


@pytest.mark.parametrize(
    ("action", "values", "path"),
    [
        ("maybe", {}, ["action"]),
        ("submit", {}, ["action"]),
        (None, {}, ["action"]),
        ("no", {}, ["values", "why"]),
        ("no", {"why": ""}, ["values", "why"]),
        ("yes", {"why": "x" * 11}, ["values", "why"]),
        ("yes", {"size": "l"}, ["values", "size"]),
        ("yes", {"size": ["s"]}, ["values", "size"]),
        ("yes", {"also": "a"}, ["values", "also"]),
        ("yes", {"also": ["c"]}, ["values", "also"]),
        ("yes", {"much": 0}, ["values", "much"]),
        ("yes", {"much": True}, ["values", "much"]),
        ("yes", {"sure": "yes"}, ["values", "sure"]),
        ("yes", {"other": 1}, ["values", "other"]),
    ],
)
def test_an_answer_that_does_not_fit(fresh, action, values, path):
    """The response names what is wrong, and the question still waits."""
    event = ask(fresh)
    response = answer(fresh, event["id"], action, values)
    assert (response.status_code, response.json()["details"][0]["path"]) == (400, path)
    assert fresh.inbox.events[0]["answer"]["status"] == "pending"


def test_fields_alone_are_sent(fresh):
    """A question without buttons is answered by the action `submit`."""
    event = fresh.event(fields=FIELDS[:1]).json()["data"]
    assert answer(fresh, event["id"], "yes").status_code == 400
    assert answer(fresh, event["id"], "submit", {"why": None}).json()["answer"]["values"] == {"why": None}


def test_a_question_expires_and_is_cancelled(fresh, clock):
    """A question ends when its time is over or when it is cancelled, and only once."""
    one, two = ask(fresh, expiresIn=60), ask(fresh)
    clock.now += 60
    listed = call(fresh, "GET", "/v1/events").json()["data"]["events"]
    assert [event["answer"]["status"] for event in listed] == ["pending", "expired"]
    cancelled = call(fresh, "POST", f"/v1/events/{two['id']}/cancel").json()["data"]
    assert (cancelled["answer"]["status"], cancelled["answer"]["action"]) == ("cancelled", None)
    body = refusal(call(fresh, "POST", f"/v1/events/{one['id']}/cancel"), 400, "validation_error")
    assert body["details"] == [{"path": ["id"], "message": "This event was expired already"}]
    plain = fresh.event().json()["data"]["id"]
    refusal(call(fresh, "POST", f"/v1/events/{plain}/cancel"), 400, "validation_error")
    refusal(call(fresh, "POST", "/v1/events/event_none/cancel"), 404, "not_found")
    assert answer(fresh, one["id"], "yes").status_code == 409
