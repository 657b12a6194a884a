"""The open-source server as it was observed, over HTTP."""

from __future__ import annotations

import codecs
import json
import threading

import pytest

from emitkit_logging.inbox import Inbox

from .calls import call

UNAUTHORIZED = b'{"error":"Unauthorized","message":"Invalid or missing authentication credentials"}'


def permanent(response):
    """Check that `response` is the 500 of a request that can never succeed: without a code."""
    body = response.json()
    assert response.status_code == 500
    assert body.keys() - {"message"} == {"success", "error", "requestId"}
    return body["error"]


def test_success(self_hosted_client):
    """An event is answered with 201 and five of its fields, an identify call with 200."""
    response = self_hosted_client.event(title="Returned", displayAs="message", unknown=1)
    assert (response.status_code, response.json()["success"]) == (201, True)
    assert response.json()["data"].keys() == {"id", "channelId", "channelName", "title", "createdAt"}
    assert self_hosted_client.inbox.wait_for(title="Returned")["displayAs"] is None
    assert self_hosted_client.identify(user_id="u").json()["success"] is True


def test_over_the_limit_is_401_as_for_a_wrong_key(clock, connect):
    """Both responses are the same to the byte; 400s and 500s count, and only a window without a request ends it."""
    with Inbox(generation="self-hosted", rate_limit=4, clock=clock) as inbox:
        client, wrong_client = connect(inbox), connect(inbox, "emitkit_wrong")
        responses = [
            client.event(),
            client.event(title=None),
            client.event(title="x" * 501),
            client.identify(user_id="u"),
        ]
        assert [each.status_code for each in responses] == [201, 400, 500, 200]
        for each in responses:
            assert (each.headers["X-RateLimit-Limit"], each.headers["X-RateLimit-Remaining"]) == ("4", "4")
            assert each.headers["X-RateLimit-Reset"] == str(int(clock.now) + 60)
        wrong = wrong_client.event()
        for pause in (0.0, 59.0, 1.0):
            clock.now += pause
            over = client.event()
            assert (over.status_code, over.content) == (wrong.status_code, wrong.content) == (401, UNAUTHORIZED)
            assert over.headers.keys() == wrong.headers.keys()
            assert not any("ratelimit" in name.lower() for name in over.headers)
        clock.now += 0.5
        assert client.event().status_code == 201


def test_its_database_is_down(connect):
    """A fault of 401 is the response to a wrong key to the byte, as the server's is while its database is down."""
    with Inbox(generation="self-hosted", faults=["401 times 1"]) as inbox:
        client = connect(inbox)
        failing, wrong = client.event(), connect(inbox, "emitkit_wrong").event()
        assert (failing.status_code, failing.content) == (wrong.status_code, wrong.content) == (401, UNAUTHORIZED)
        assert failing.headers.keys() == wrong.headers.keys()
        assert client.event().status_code == 201


def test_idempotency_keys_are_ignored(self_hosted_client):
    """The same key creates two events."""
    first, second = (self_hosted_client.event("same", title="Twice") for _ in range(2))
    assert first.json()["data"]["id"] != second.json()["data"]["id"]
    assert "X-Idempotent-Replay" not in second.headers
    assert [event["idempotencyKey"] for event in self_hosted_client.inbox.wait_for(2, title="Twice")] == ["same"] * 2


def test_explicit_nulls_are_400(self_hosted_client):
    """An explicit null is a 400 with details and without a code, except for userId."""
    body = self_hosted_client.event(description=None).json()
    assert body.keys() == {"success", "error", "details", "requestId"}
    assert body["details"][0]["path"] == ["description"]
    assert self_hosted_client.event(userId=None).status_code == 201
    assert self_hosted_client.identify(userId="u").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"channelName": "c", "title": "x" * 501}),
        json.dumps({"channelName": "c" * 256, "title": "t"}),
        json.dumps({"channelName": "c", "title": "t", "icon": "x" * 51}),
        json.dumps({"channelName": "c", "title": "t", "source": "x" * 51}),
        json.dumps({"channelName": "c", "title": "NUL \0"}),
        json.dumps({"channelName": "c", "title": "t", "metadata": {"n": float("nan")}}),
        json.dumps({"channelName": "c", "title": "t", "metadata": {"half": "\ud83d"}}),
        '{"channelName": "c", "title": "t", "metadata": {"a": ' + "[" * 5000 + "]" * 5000 + "}}",
        json.dumps({"channelName": "c", "title": "t", "x": "x" * 512 * 1024}),
        "not JSON",
    ],
)
def test_permanent_500(self_hosted_client, body):
    """What the database refuses is a 500 at every try."""
    assert permanent(self_hosted_client.send(body.encode())) == "Failed to create event"


def test_an_identify_call_may_have_a_nul(self_hosted_client):
    """The database takes a NUL in an identify call; what cannot be read is a 500 there too."""
    assert self_hosted_client.identify(user_id="u", properties={"a": "\0"}).status_code == 200
    assert permanent(self_hosted_client.send(b"not JSON", path="/v1/identify")) == "Failed to identify user"


def test_details_have_a_code_and_what_is_expected(self_hosted_client):
    """Each detail of a 400 has the code of its kind and, for a wrong type, the right one."""
    body = self_hosted_client.send(b'{"title": 1, "tags": ["a", 2], "metadata": null}').json()
    assert [{**each, "message": ""} for each in body["details"]] == [
        {"path": path, "code": "invalid_type", "expected": expected, "message": ""}
        for path, expected in (
            (["channelName"], "string"),
            (["title"], "string"),
            (["tags", 1], "string"),
            (["metadata"], "object"),
        )
    ]
    empty = self_hosted_client.identify(user_id="").json()["details"]
    assert [(each["path"], each["code"]) for each in empty] == [(["user_id"], "too_small")]
    many = self_hosted_client.identify(user_id="u", aliases=["a"] * 51).json()["details"]
    assert [(each["path"], each["code"]) for each in many] == [(["aliases"], "too_big")]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Token"])
def test_the_scheme_of_the_key_does_not_matter(self_hosted_client, scheme):
    """The key is the second word of `Authorization`, whatever the first is; `X-API-Key` is not known."""
    session, key = self_hosted_client.session, self_hosted_client.inbox.api_key
    session.headers["Authorization"] = f"{scheme} {key}"
    assert self_hosted_client.event().status_code == 201
    session.headers.update({"Authorization": key, "X-API-Key": key})
    assert (self_hosted_client.event().status_code, self_hosted_client.event().content) == (401, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, "/v1/events") for method in ("GET", "PUT", "OPTIONS", "HEAD", "DELETE")] + [("GET", "/v1/identify")],
)
def test_other_methods_are_405(self_hosted_client, method, path):
    """A method that does not exist is a 405 in plain text, with `Allow`."""
    response = call(self_hosted_client, method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.headers["Content-Type"].startswith("text/plain")


def test_a_trailing_slash_is_a_redirect(self_hosted_client):
    """A path with a slash after it is a 308 to the path without, and nothing is stored."""
    url = f"{self_hosted_client.inbox.url}/v1/events/?a=1"
    body = {"channelName": "c", "title": "Redirected"}
    response = self_hosted_client.session.post(url, json=body, timeout=10, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (308, "/v1/events?a=1")
    assert not [event for event in self_hosted_client.inbox.events if event["title"] == "Redirected"]
    missing = self_hosted_client.session.post(f"{self_hosted_client.inbox.url}/v1/me/", json={}, timeout=10)
    assert missing.status_code == 404


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/identify"), ("GET", "/v1/events"), ("HEAD", "/v1/events")])
def test_any_method_with_a_trailing_slash(connect, prefix, method, path):
    """The redirect is the same for each path and method, also without a key, and keeps the prefix."""
    with Inbox(generation="self-hosted", prefix=prefix) as inbox:
        client = connect(inbox, "emitkit_wrong")
        response = call(client, method, f"{path}/", allow_redirects=False)
        assert (response.status_code, response.headers["Location"]) == (308, f"{prefix}{path}")


def test_odd_bodies(self_hosted_client):
    """A byte order mark before the JSON does no harm; a number beyond a float is a 400."""
    start = b'{"channelName": "c", "title": "BOM", "metadata": {"n": '
    assert self_hosted_client.send(codecs.BOM_UTF8 + start + b"1}}").status_code == 201
    assert self_hosted_client.send(start + b"1e999}}").status_code == 400


def test_channels_without_ascii_letters_are_one(self_hosted_client):
    """Their name is empty, so that all of them are the same channel."""
    ids = {self_hosted_client.event(channelName=name).json()["data"]["channelId"] for name in ("Ж", "日本", "!")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "TEXT/PLAIN; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data"],
)
def test_forms_are_403(self_hosted_client, content_type):
    """A form is refused in plain text, before its key is looked at."""
    self_hosted_client.session.headers["Authorization"] = None
    response = self_hosted_client.send(b'{"channelName": "c", "title": "t"}', content_type)
    assert (response.status_code, response.headers["Content-Type"]) == (403, "text/plain; charset=utf-8")


def test_no_content_type_is_500(self_hosted_client):
    """A request without a content type cannot be read."""
    permanent(self_hosted_client.send(b'{"channelName": "c", "title": "t"}', None))


def test_channels_are_slugified(self_hosted_client):
    """Names that have the same slug are one channel, with the icon of its first event."""
    first = self_hosted_client.event(channelName="My.App Errors", icon="🚨").json()["data"]
    second = self_hosted_client.event(channelName="myapp-errors", icon="💥").json()["data"]
    assert first["channelName"] == second["channelName"] == "myapp-errors"
    assert first["channelId"] == second["channelId"]
    assert [each["icon"] for each in self_hosted_client.inbox.channels if each["id"] == first["channelId"]] == ["🚨"]


def test_identify_replaces_and_fails_no_alias(self_hosted_client):
    """Properties are replaced, and every alias is listed as created, another user's too."""
    self_hosted_client.identify(user_id="replaced", properties={"plan": "pro"})
    data = self_hosted_client.identify(user_id="replaced", properties={"seats": 1}).json()["data"]
    assert data["properties"] == {"seats": 1}
    other = self_hosted_client.identify(user_id="other", aliases=["replaced", "o@example.com"]).json()["data"]
    assert sorted(other["aliases"].pop("created")) == ["o@example.com", "replaced"]
    assert other["aliases"] == {}


def test_details_of_storage(self_hosted_client):
    """Large integers lose their precision, and a lone surrogate in a title becomes U+FFFD."""
    self_hosted_client.event(title="Stored \ud83d", metadata={"n": 2**53 + 1})
    assert self_hosted_client.inbox.wait_for(title="Stored \ufffd")["metadata"] == {"n": 2**53}


def test_missing_endpoints_are_a_page(self_hosted_client):
    """A path that does not exist is a 404 in HTML; no endpoint can check a key."""
    response = self_hosted_client.session.get(f"{self_hosted_client.inbox.url}/v1/me", timeout=10)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_the_wrong_address_is_a_sign_in_page(connect):
    """Outside the prefix `/v1/*` redirects to a sign-in page, which answers 200 and stores nothing."""
    with Inbox(generation="self-hosted", prefix="/api") as inbox:
        client, root = connect(inbox), inbox.url.removesuffix("/api")
        assert client.event().status_code == 201
        redirect = client.session.post(f"{root}/v1/events", json={}, timeout=10, allow_redirects=False)
        assert (redirect.status_code, redirect.headers["Location"]) == (302, "/sign-in")
        followed = client.session.post(f"{root}/v1/events", json={}, timeout=10)
        assert (followed.status_code, followed.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert client.session.get(f"{root}/other", timeout=10).status_code == 404
        assert len(inbox.events) == 1


def test_first_events_race_for_a_new_channel(connect):
    """Some of the simultaneous first events of a channel get a 500; later events do not."""
    with Inbox(generation="self-hosted", rate_limit=0) as inbox:
        clients = [connect(inbox) for _ in range(6)]
        for client in clients:
            client.event(channelName="there")
        ready, statuses = threading.Barrier(len(clients)), []

        def send(client):
            ready.wait()
            statuses.append(client.event(channelName="new").status_code)

        threads = [threading.Thread(target=send, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(statuses)) == [201, 500]
        assert statuses.count(201) == sum(event["channelName"] == "new" for event in inbox.events)
        assert {client.event(channelName="new").status_code for client in clients} == {201}
