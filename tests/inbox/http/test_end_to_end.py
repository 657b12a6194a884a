"""What the official client of the current API, version 3, expects of a server, as requests.

Its end-to-end tests check these things; here they are in requests as that client makes them.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from emitkit_logging.inbox import Inbox

from .calls import call, refusal

REQUEST_ID = r"[0-9a-f-]{36}"


@pytest.fixture(scope="module")
def pair():
    """An inbox with a key for everything and one for reading."""
    with Inbox(keys={"emitkit_reader0": ["events:read"]}) as inbox:
        yield inbox


@pytest.fixture
def full(pair, connect):
    return connect(pair)


@pytest.fixture
def channel(request):
    """A channel of the test's own."""
    return request.node.name.replace("_", "-")


def page(client, **query):
    return call(client, "GET", "/v1/events", params=query).json()["data"]


def test_describes_the_key(full):
    """A key has an organization, a project with a name, scopes, and the kind that it is; the limit is 100."""
    response = call(full, "GET", "/v1/me")
    me = response.json()["data"]
    assert (me["via"], "events:write" in me["scopes"]) == ("api_key", True)
    assert isinstance(me["project"]["name"], str)
    assert re.fullmatch(REQUEST_ID, response.json()["requestId"])
    assert response.headers["X-RateLimit-Limit"] == "100"


def test_creates_reads_and_lists(full, channel):
    """Events are read by their id and listed by pages, the newest first, and their channel is listed too."""
    created = [
        full.event(channelName=channel, title=title, notify=False, metadata={"n": len(title)}).json()["data"]
        for title in ("One", "Two", "Three")
    ]
    first = created[0]
    assert (first["actions"], first["fields"], first["answer"], first["channelName"]) == ([], [], None, channel)
    assert call(full, "GET", f"/v1/events/{created[2]['id']}").json()["data"]["title"] == "Three"
    newest = page(full, channel=channel, limit=2)
    assert [event["title"] for event in newest["events"]] == ["Three", "Two"]
    oldest = page(full, channel=channel, limit=2, before=newest["nextCursor"])
    assert ([event["title"] for event in oldest["events"]], oldest["nextCursor"]) == (["One"], None)
    soon = (datetime.now(timezone.utc) + timedelta(minutes=1)).isoformat(timespec="milliseconds")
    assert page(full, channel=channel, since=soon.replace("+00:00", "Z"))["events"] == []
    channels = call(full, "GET", "/v1/channels").json()["data"]["channels"]
    assert channel in [each["name"] for each in channels]


def test_an_idempotency_key_creates_one_event(full, channel):
    """The second request with a key is a replay, and is marked as one."""
    first, again = (full.event("once", channelName=channel, title="Once", notify=False) for _ in range(2))
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert ["X-Idempotent-Replay" in each.headers for each in (first, again)] == [False, True]


def test_errors_have_codes(full, connect, channel, pair):
    """Each error has the code by which a client decides, and a validation error has the fields."""
    invalid = refusal(full.event(channelName="", title=""), 400, "validation_error")
    assert re.fullmatch(REQUEST_ID, invalid["requestId"])
    assert ["channelName"] in [detail["path"] for detail in invalid["details"]]
    refusal(call(full, "GET", "/v1/events/event_doesnotexist"), 404, "not_found")
    plain = full.event(channelName=channel).json()["data"]["id"]
    refusal(call(full, "POST", f"/v1/events/{plain}/cancel"), 409, "not_waiting")
    refusal(call(connect(pair, "emitkit_notarealkey0"), "GET", "/v1/me"), 401, "unauthorized")


def test_a_question_is_polled_until_it_ends(full, channel):
    """A question stays pending until it is canceled; its button can be asked for alone."""
    question = {"actions": [{"id": "ok", "label": "OK"}], "channelName": channel, "title": "Anyone?"}
    asked = full.event(**question).json()["data"]
    assert call(full, "GET", f"/v1/events/{asked['id']}").json()["data"]["answer"]["status"] == "pending"
    call(full, "POST", f"/v1/events/{asked['id']}/cancel")
    answer = call(full, "GET", f"/v1/events/{asked['id']}").json()["data"]["answer"]
    assert (answer["status"], answer["action"]) == ("canceled", None)


def test_a_question_expires(channel, connect, clock):
    """A question whose time is over is expired when it is read, with its fields as they were sent."""
    fields = [{"id": "note", "label": "Note", "type": "text"}]
    with Inbox(clock=clock) as inbox:
        client = connect(inbox)
        asked = client.event(channelName=channel, expiresIn=10, fields=fields, title="Expires").json()["data"]
        clock.now += 10
        read = call(client, "GET", f"/v1/events/{asked['id']}").json()["data"]
    assert (read["answer"]["status"], read["answer"]["action"], read["fields"]) == ("expired", None, fields)


def test_identifies_and_erases(full):
    """An identity has its properties, and is erased by its id."""
    user_id = f"sdk_user_{time.monotonic_ns()}"
    identity = full.identify(userId=user_id, properties={"plan": "pro"}, aliases=[f"{user_id}@example.com"]).json()
    assert (identity["data"]["userId"], identity["data"]["properties"]) == (user_id, {"plan": "pro"})
    erased = call(full, "DELETE", f"/v1/identities/{user_id}").json()["data"]
    assert (erased["status"], erased["userId"]) == ("erased", user_id)


def test_a_key_that_only_reads(full, pair, connect, channel):
    """A key for reading reads what the other key wrote, and cannot write."""
    full.event(channelName=channel)
    reader = connect(pair, "emitkit_reader0")
    assert call(reader, "GET", "/v1/me").json()["data"]["scopes"] == ["events:read"]
    assert len(page(reader, channel=channel, limit=1)["events"]) == 1
    refusal(reader.event(channelName=channel), 403, "forbidden")
