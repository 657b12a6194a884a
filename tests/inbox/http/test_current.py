"""The current API beyond creating events and identifying users: lists, channels, erasure and scopes."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.config import SCOPES

from .calls import call, refusal


def test_lists_the_newest_first_and_continues_at_the_cursor(fresh):
    """Each page has at most `limit` events and the cursor of the next page, until there are no more."""
    for number in range(7):
        fresh.event(title=str(number), channelName="odd" if number % 2 else "even")
    seen, query = [], {"limit": 3}
    while True:
        data = call(fresh, "GET", "/v1/events", params=query).json()["data"]
        seen.append([event["title"] for event in data["events"]])
        if data["nextCursor"] is None:
            break
        query["before"] = data["nextCursor"]
    assert seen == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    odd = call(fresh, "GET", "/v1/events", params={"channel": "odd"}).json()["data"]
    assert [event["title"] for event in odd["events"]] == ["5", "3", "1"]
    since = call(fresh, "GET", "/v1/events", params={"since": odd["events"][1]["id"]}).json()["data"]["events"]
    assert [event["title"] for event in since] == ["6", "5", "4"]


def test_lists_by_time(fresh, clock):
    """`since` includes its moment, `before` excludes it."""
    for number in range(3):
        fresh.event(title=str(number))
        clock.now += 60
    times = [event["createdAt"] for event in fresh.inbox.events]

    def titles(**query):
        return [event["title"] for event in call(fresh, "GET", "/v1/events", params=query).json()["data"]["events"]]

    assert titles(since=times[1]) == ["2", "1"]
    assert titles(before=times[1]) == ["0"]
    assert titles(since=times[1], before=times[2]) == ["1"]
    for moment in ("2000-01-01", "2000-01-01t00:00:00.1z", "2000-01-01T00:00:00.1234567+02:00", "2000-01-01T00:00:00"):
        assert titles(since=moment) == ["2", "1", "0"]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=²", "limit"),
        ("since=yesterday", "since"),
        ("before=event_none", "before"),
        ("channel=", "channel"),
    ],
)
def test_wrong_queries_are_refused(client, query, path):
    """A wrong parameter is a 400 that names it."""
    body = refusal(call(client, "GET", f"/v1/events?{query}"), 400, "validation_error")
    assert [detail["path"] for detail in body["details"]] == [[path]]


def test_an_event_by_its_id(fresh):
    """An event is returned as it was when it was created; an unknown id is a 404."""
    created = fresh.event(title="One", metadata={"n": 1}).json()["data"]
    assert call(fresh, "GET", f"/v1/events/{created['id']}").json()["data"] == created
    refusal(call(fresh, "GET", "/v1/events/event_none"), 404, "not_found")


def test_events_are_kept_for_90_days(fresh, clock):
    """An event that is older can neither be read nor listed; its channel stays."""
    old = fresh.event(title="Old").json()["data"]["id"]
    clock.now += 86_400
    new = fresh.event(title="New").json()["data"]["id"]
    clock.now += 89 * 86_400
    assert call(fresh, "GET", f"/v1/events/{old}").status_code == 200
    clock.now += 1
    refusal(call(fresh, "GET", f"/v1/events/{old}"), 404, "not_found")
    assert [event["id"] for event in call(fresh, "GET", "/v1/events").json()["data"]["events"]] == [new]
    assert [channel["name"] for channel in call(fresh, "GET", "/v1/channels").json()["data"]["channels"]] == ["tests"]


def test_channels_by_name(fresh):
    """Channels are listed by name, with the icon of their first event."""
    for name in ("b", "a", "b"):
        fresh.event(channelName=name, icon="👤")
    channels = call(fresh, "GET", "/v1/channels").json()["data"]["channels"]
    assert [(channel["name"], channel["icon"]) for channel in channels] == [("a", "👤"), ("b", "👤")]


def test_erases_an_identity(fresh):
    """An identity is removed with its aliases and from its events, which stay; the second time is a 404.

    An alias is no user's id: it is a 404 too.
    """
    identity = fresh.identify(user_id="u/1", properties={"plan": "pro"}, aliases=["u@example.com", "u-1"]).json()[
        "data"
    ]
    refusal(call(fresh, "DELETE", "/v1/identities/u@example.com"), 404, "not_found")
    event = fresh.event(userId="u@example.com").json()["data"]
    assert event["userId"] == "u/1"
    data = call(fresh, "DELETE", "/v1/identities/u%2F1").json()["data"]
    assert data == {
        "id": identity["id"],
        "userId": "u/1",
        "status": "erased",
        "aliasesDeleted": 2,
        "productEventsDetached": 0,
    }
    assert fresh.inbox.identities == {}
    assert call(fresh, "GET", f"/v1/events/{event['id']}").json()["data"]["userId"] is None
    assert fresh.event(userId="u@example.com").json()["data"]["userId"] == "u@example.com"
    refusal(call(fresh, "DELETE", "/v1/identities/u%2F1"), 404, "not_found")


def test_scopes_of_a_key(connect):
    """A key's scopes are listed in a fixed order, and each endpoint requires its own."""
    with Inbox(scopes=["events:read"], keys={"emitkit_w": ["identities:write", "events:write"]}) as inbox:
        reader, writer = connect(inbox), connect(inbox, "emitkit_w")
        me = call(reader, "GET", "/v1/me").json()["data"]
        assert (me["scopes"], me["via"]) == (["events:read"], "api_key")
        assert (me["organization"].keys(), me["project"].keys()) == ({"id", "name"}, {"id", "name"})
        assert call(writer, "GET", "/v1/me").json()["data"]["scopes"] == ["events:write", "identities:write"]
        refusal(reader.event(), 403, "forbidden")
        refusal(reader.identify(user_id="u"), 403, "forbidden")
        refusal(call(reader, "DELETE", "/v1/identities/u"), 403, "forbidden")
        assert writer.event().status_code == 201
        assert "events:read" in refusal(call(writer, "GET", "/v1/events"), 403, "forbidden")["message"]
        refusal(call(writer, "GET", "/v1/channels"), 403, "forbidden")
        assert [event["title"] for event in call(reader, "GET", "/v1/events").json()["data"]["events"]] == ["A title"]


ENDPOINTS = {
    ("POST", "/v1/events"): "events:write",
    ("POST", "/v1/events/x/cancel"): "events:write",
    ("GET", "/v1/events"): "events:read",
    ("GET", "/v1/events/x"): "events:read",
    ("GET", "/v1/channels"): "events:read",
    ("POST", "/v1/identify"): "identities:write",
    ("DELETE", "/v1/identities/x"): "identities:write",
}


def test_every_endpoint_asks_for_one_scope(connect):
    """A key with one scope is refused at the endpoints of the others, before anything else is looked at."""
    keys = {f"emitkit_{number}": [scope] for number, scope in enumerate(SCOPES)}
    with Inbox(rate_limit=0, keys={**keys, "emitkit_none": []}) as inbox:
        for key, scopes in {**keys, "emitkit_none": []}.items():
            client = connect(inbox, key)
            for (method, path), scope in ENDPOINTS.items():
                is_refused = call(client, method, path, data=b"{").status_code == 403
                assert is_refused == (scope not in scopes), (key, method, path)
            assert call(client, "GET", "/v1/me").json()["data"]["scopes"] == scopes
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            assert call(client, "POST", "/mcp", json=ping).status_code == 200


def test_the_last_page_has_no_cursor(fresh):
    """A page that ends with the oldest event is the last one, also when it is full; 100 is the largest page."""
    for number in range(3):
        fresh.event(title=str(number))
    for limit, has_next in ((1, True), (2, True), (3, False), (100, False)):
        data = call(fresh, "GET", "/v1/events", params={"limit": limit}).json()["data"]
        assert (len(data["events"]), data["nextCursor"] is not None) == (min(limit, 3), has_next)
    oldest = fresh.inbox.events[0]["id"]
    assert call(fresh, "GET", "/v1/events", params={"before": oldest}).json()["data"] == {
        "events": [],
        "nextCursor": None,
    }


def test_all_endpoints_share_the_limit(connect):
    """Requests that read count towards the same limit."""
    with Inbox(rate_limit=3) as inbox:
        client = connect(inbox)
        paths = ("/v1/me", "/v1/channels", "/v1/events")
        left = [call(client, "GET", path).headers["X-RateLimit-Remaining"] for path in paths]
        assert left == ["2", "1", "0"]
        refusal(client.event(), 429, "rate_limited")


def test_the_open_source_server_has_no_such_endpoints(self_hosted_client):
    """The open-source server answers with a 404 as a web page."""
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/channels"), ("GET", "/openapi.json"), ("POST", "/mcp")):
        response = call(self_hosted_client, method, path, json={})
        assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
