"""Creating events and identifying users on the hosted service, over HTTP."""

from __future__ import annotations

import codecs
import math
import re
import threading
import time
from email.utils import parsedate_to_datetime

import pytest

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.config import SCOPES
from emitkit_logging.inbox.http.openapi import document
from emitkit_logging.inbox.store.feed import Feed

from .calls import call, refusal

LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def test_creates_an_event(client):
    """The response is 201 with the event as it is stored."""
    response = client.event("key-1", title="Created", userId="u-1", metadata={"n": 1}, tags=["a"], icon="👤")
    body = response.json()
    assert (response.status_code, body["success"]) == (201, True)
    assert body["data"]["id"].startswith("event_")
    assert body["data"]["displayAs"] == "message"
    stored = client.inbox.wait_for(title="Created")
    assert {name: stored[name] for name in body["data"]} == body["data"]
    assert stored["idempotencyKey"] == "key-1"


def test_identifies_a_user(client):
    """The response is 200 with the merged identity; an alias is then resolved in events."""
    client.identify(user_id="ident-1", properties={"plan": "pro"}, aliases=["i@example.com"])
    response = client.identify(userId="ident-1", properties={"seats": 2})
    data = response.json()["data"]
    assert response.status_code == 200
    assert (data["userId"], data["properties"]) == ("ident-1", {"plan": "pro", "seats": 2})
    assert data["aliases"] == {"created": []}
    assert client.event(userId="i@example.com").json()["data"]["userId"] == "ident-1"
    assert client.inbox.identities["ident-1"]["aliases"] == ["i@example.com"]
    assert {"user_id": "ident-1", "properties": {"seats": 2}, "aliases": []} in client.inbox.identifies


def test_an_alias_moves_to_the_identity_that_named_it_last(client):
    """Every alias is listed as created, the id of another user too; events resolve an alias by its last owner."""
    client.identify(user_id="move-1", aliases=["m@example.com"])
    aliases = client.identify(user_id="move-2", aliases=["move-1", "m@example.com"]).json()["data"]["aliases"]
    assert aliases == {"created": ["move-1", "m@example.com"]}
    assert client.event(userId="m@example.com").json()["data"]["userId"] == "move-2"
    assert client.event(userId="move-1").json()["data"]["userId"] == "move-1"


def test_validation_details(client):
    """A 400 names each wrong field, and nothing is stored."""
    before = len(client.inbox.events)
    body = refusal(client.event(title="", notify=None), 400, "validation_error")
    assert [detail["path"] for detail in body["details"]] == [["title"], ["notify"]]
    assert refusal(client.send(b"{"), 400, "validation_error")["details"][0]["path"] == []
    assert refusal(client.identify(), 400, "validation_error")["details"][0]["path"] == ["userId"]
    assert len(client.inbox.events) == before


def test_sizes(client):
    """413 over 1 MiB in the body, and over 16 KB in the stored event."""
    limit = 1024 * 1024
    body = refusal(client.send(b'"' + b"x" * (limit - 1) + b'"'), 413, "payload_too_large")
    assert body["message"] == "Request body exceeds the 1 MiB limit"
    refusal(client.send(b'"' + b"x" * (limit - 2) + b'"'), 400, "validation_error")
    body = refusal(client.event(metadata={"text": "x" * 16_384}), 413, "payload_too_large")
    assert body["message"] == "Event exceeds the 16 KB storage limit"
    assert client.event(metadata={"text": "x" * 15_500}).status_code == 201
    refusal(client.send(b'"' + b"x" * (limit - 1) + b'"', path="/v1/identify"), 413, "payload_too_large")


def test_lone_surrogates_do_not_break_the_answer(client):
    """Half of a pair is stored as U+FFFD; whole pairs, as requests sends emoji, are not touched."""
    data = client.event(title="half \ud83d 👤", metadata={"\ud83d": ["\ude00"]}).json()["data"]
    assert (data["title"], data["metadata"]) == ("half \ufffd 👤", {"\ufffd": ["\ufffd"]})


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic KEY", "KEY"])
def test_wrong_keys(client, authorization):
    """A wrong or missing key is a 401 with a code and without rate-limit headers."""
    client.session.headers["Authorization"] = authorization and authorization.replace("KEY", client.inbox.api_key)
    response = client.event()
    refusal(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not set(LIMITS) & set(response.headers)


@pytest.mark.parametrize("path", ["/v1", "/v1/events/", "/v1/nothing"])
def test_missing_endpoints(client, path):
    """Any other path is a 404 as JSON."""
    refusal(client.send(b"{}", path=path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/events", "GET, POST"),
        ("HEAD", "/v1/events", "GET, POST"),
        ("OPTIONS", "/v1/events", "GET, POST"),
        ("DELETE", "/v1/events/event_1", "GET"),
        ("GET", "/v1/events/event_1/cancel", "POST"),
        ("GET", "/v1/identify", "POST"),
        ("GET", "/v1/identities/u", "DELETE"),
        ("POST", "/v1/me", "GET"),
        ("POST", "/v1/channels", "GET"),
        ("POST", "/openapi.json", "GET"),
    ],
)
def test_other_methods(client, method, path, allowed):
    """A method that a path does not have is a 405 that names those it has."""
    response = call(client, method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)
    assert method == "HEAD" or response.json()["code"] == "method_not_allowed"


def test_the_key_in_its_own_header(client):
    """The key may come in `X-API-Key` instead; a wrong one is refused there too."""
    del client.session.headers["Authorization"]
    url = f"{client.inbox.url}/v1/me"
    assert client.session.get(url, headers={"X-API-Key": client.inbox.api_key}, timeout=10).status_code == 200
    refusal(client.session.get(url, headers={"X-API-Key": "emitkit_wrong"}, timeout=10), 401, "unauthorized")


@pytest.mark.parametrize(
    ("authorization", "own", "status"),
    [
        ("Bearer KEY", "emitkit_wrong", 200),
        ("Bearer emitkit_wrong", "KEY", 401),
        ("bearer KEY", None, 200),
        ("Basic KEY", "KEY", 200),
        (None, "KEY", 200),
    ],
)
def test_a_key_in_both_headers(client, authorization, own, status):
    """A bearer token decides where there is one; a scheme that is not known leaves it to `X-API-Key`."""
    key = client.inbox.api_key
    given = {"Authorization": authorization, "X-API-Key": own}
    headers = {name: value and value.replace("KEY", key) for name, value in given.items()}
    assert client.session.get(f"{client.inbox.url}/v1/me", headers=headers, timeout=10).status_code == status


def test_every_path_has_its_own_methods_only(client):
    """Any method that the OpenAPI document does not have at a path is a 405 with those that it has; HEAD is none."""
    paths = document(client.inbox.url, rate_limit=0)["paths"]
    assert len(paths) == 8
    for path, described in paths.items():
        allowed = ", ".join(sorted(map(str.upper, described)))
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(map(str.upper, described)):
            if (method, path) == ("HEAD", "/openapi.json"):  # a file, of which HEAD gets the headers
                continue
            response = call(client, method, re.sub("{.*}", "x", path))
            found = (response.status_code, response.headers.get("Allow"))
            assert found == (405, allowed), (method, path)


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=x", "é", "a/b/c"],
)
def test_any_content_type(client, content_type):
    """The body is read as JSON, whatever its type is named."""
    headers = {} if content_type is None else {"Content-Type": content_type.encode()}
    body = b'{"channelName": "tests", "title": "A title"}'
    response = client.session.post(f"{client.inbox.url}/v1/events", data=body, headers=headers, timeout=10)
    assert response.status_code == 201


def test_odd_bodies(client):
    """A byte order mark before the JSON does no harm; what JavaScript cannot read as a number is a 400."""
    assert client.send(codecs.BOM_UTF8 + b'{"channelName": "tests", "title": "BOM"}').json()["data"]["title"] == "BOM"
    start = b'{"channelName": "tests", "title": "T", "metadata": {"n": '
    for number in (b"1e999", b"-1e999", b"1" * 400, b"NaN", b"Infinity"):
        refusal(client.send(start + number + b"}}"), 400, "validation_error")
    assert client.send(start + b'"\\u0000"}}').json()["data"]["metadata"] == {"n": "\0"}
    for body in (b"", b"null", b"[]", b'"x"', b"\xff", b"{" * 5000):
        refusal(client.send(body), 400, "validation_error")


def test_replays_the_first_response(client):
    """The same key with the same request gets the first response again, marked, and creates one event."""
    first = client.event("replay", title="Once")
    again = client.event("replay", title="Once")
    assert (again.status_code, again.json()) == (201, first.json())
    assert "X-Idempotent-Replay" not in first.headers
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert len(client.inbox.wait_for(1, title="Once")) == 1
    refusal(client.event("replay", title="Another"), 409, "idempotency_conflict")


def test_a_refused_request_holds_no_key(client):
    """A request that created nothing may be changed and sent again with the same key."""
    assert client.event("freed", metadata={"text": "x" * 17_000}).status_code == 413
    assert client.event("freed", title="").status_code == 400
    assert client.event("freed", title="Shrunk").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_bad_idempotency_keys(client, key):
    """A key has 1 to 255 characters."""
    assert refusal(client.event(key), 400, "validation_error")["details"][0]["path"] == ["Idempotency-Key"]
    assert client.event("x" * 255).status_code == 201


def test_conflict_while_the_first_request_runs(connect):
    """The same key is a conflict until the first request is answered, and a replay after that."""
    with Inbox(rate_limit=0, latency=1.0) as inbox:
        answers = []
        first = threading.Thread(target=lambda: answers.append(connect(inbox).event("running")))
        first.start()
        deadline = time.monotonic() + 5
        while not inbox.requests and time.monotonic() < deadline:
            time.sleep(0.001)
        client = connect(inbox)
        refusal(client.event("running"), 409, "idempotency_conflict")
        first.join()
        assert answers[0].status_code == 201
        assert client.event("running").headers["X-Idempotent-Replay"] == "true"
        assert len(inbox.events) == 1


def test_the_rate_limit(clock, connect):
    """Responses to a known key have the headers; over the limit it is a 429 with Retry-After until the window ends."""
    with Inbox(rate_limit=4, window=60.0, clock=clock) as inbox:
        client = connect(inbox)
        responses = [client.event("k"), client.event("k"), client.event(title=""), client.identify(user_id="u")]
        assert [each.status_code for each in responses] == [201, 201, 400, 200]
        assert [each.headers["X-RateLimit-Remaining"] for each in responses] == ["3", "2", "1", "0"]
        clock.now += 10.5
        refused = client.event()
        refusal(refused, 429, "rate_limited")
        assert refused.headers["Retry-After"] == "50"
        reset = math.ceil(1_800_000_000.25 + 60)
        assert [refused.headers[name] for name in LIMITS] == ["4", "0", str(reset)]
        assert parsedate_to_datetime(refused.headers["Date"]).timestamp() == 1_800_000_010
        clock.now += 49.5
        assert client.event().status_code == 201


def test_limits_and_idempotency_are_per_api_key(connect):
    """Each API key has its own limit and its own idempotency keys."""
    with Inbox(rate_limit=1, api_key="emitkit_one", keys={"emitkit_two": SCOPES}) as inbox:
        one, two = connect(inbox), connect(inbox, "emitkit_two")
        answers = [one.event("same", title="1"), two.event("same", title="2"), one.event("same", title="3")]
        assert [each.status_code for each in answers] == [201, 201, 429]


def test_without_a_limit_there_are_no_headers(client):
    """A server without a rate limit has no headers for it."""
    assert not set(LIMITS) & set(client.event().headers)


def test_an_internal_error_is_500_and_printed(client, monkeypatch, capfd):
    """An error in the inbox is the contract's 500, and its traceback is on stderr."""
    monkeypatch.setattr(Feed, "add_event", lambda *args, **kwargs: 1 / 0)
    refusal(client.event("crash"), 500, "internal_error")
    monkeypatch.undo()
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert client.event("crash").status_code == 201


def test_below_a_prefix(connect):
    """With a prefix, the API is served below it and nowhere else."""
    with Inbox(prefix="/api") as inbox:
        client = connect(inbox)
        assert inbox.url.endswith("/api")
        assert client.event().status_code == 201
        root = inbox.url.removesuffix("/api")
        refusal(client.session.post(f"{root}/v1/events", json={}, timeout=10), 404, "not_found")
