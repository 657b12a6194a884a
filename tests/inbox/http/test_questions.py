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
        "url": f"{fresh.inbox.url}/#{event['id']}",
        "action": "no",
        "values": values,
        "by": {"id": "user_inbox", "name": "The inbox's page", "email": "inbox@localhost"},
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
    """A question without buttons is answered by the action `submit`; empty texts are left out of its values."""
    event = fresh.event(fields=FIELDS).json()["data"]
    assert answer(fresh, event["id"], "yes").status_code == 400
    values = {"why": "", "size": None, "also": [], "much": 5, "sure": False}
    stored = answer(fresh, event["id"], "submit", values).json()["answer"]
    assert (stored["action"], stored["values"]) == ("submit", {"also": [], "much": 5, "sure": False})


def cancel(client, event_id):
    return call(client, "POST", f"/v1/events/{event_id}/cancel")


def test_a_question_that_is_canceled(fresh):
    """It no longer waits and has no action, and canceling it again returns it again."""
    event = ask(fresh)
    canceled = cancel(fresh, event["id"])
    unanswered = dict.fromkeys(("action", "values", "by", "at"))
    assert canceled.json()["data"]["answer"] == {**event["answer"], "status": "canceled", **unanswered}
    again = cancel(fresh, event["id"])
    assert (again.status_code, again.json()["data"]) == (200, canceled.json()["data"])
    assert answer(fresh, event["id"], "yes").status_code == 409
    refusal(cancel(fresh, "event_none"), 404, "not_found")


def test_what_cannot_be_canceled(fresh, clock):
    """409: `not_pending` for a question that was answered or has expired, `not_waiting` for what asks nothing."""
    expired, answered = ask(fresh, expiresIn=60), ask(fresh)
    answer(fresh, answered["id"], "yes")
    clock.now += 60
    listed = call(fresh, "GET", "/v1/events").json()["data"]["events"]
    assert [event["answer"]["status"] for event in listed] == ["answered", "expired"]
    assert {listed[1]["answer"][name] for name in ("action", "values", "by", "at")} == {None}
    assert "answered" in refusal(cancel(fresh, answered["id"]), 409, "not_pending")["message"]
    assert "expired" in refusal(cancel(fresh, expired["id"]), 409, "not_pending")["message"]
    link = fresh.event(actions=[{"label": "Open", "url": "https://example.com"}]).json()["data"]
    assert (link["answer"], link["callback"]) == (None, None)
    refusal(cancel(fresh, link["id"]), 409, "not_waiting")
    assert answer(fresh, expired["id"], "yes").status_code == 409
    assert answer(fresh, link["id"], "yes").status_code == 409


def test_half_a_character(fresh):
    """A lone surrogate in what the page sends is replaced: neither the database nor a response takes it."""
    event = ask(fresh)
    sent = call(fresh, "POST", "/_inbox/read", json={"event": "\ud800"})
    assert sent.status_code == 204
    row = answer(fresh, event["id"], "no", {"why": "\ud800", "size": "m"})
    assert row.status_code == 200, row.text
    assert row.json()["answer"]["values"]["why"] == "\ufffd"
