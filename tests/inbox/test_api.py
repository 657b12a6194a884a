"""The current API beyond events and identify: lists, cursors, channels, erasure, scopes, questions, callbacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading

import pytest
import requests
import trustme

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.callbacks import signed

from .test_current import refusal

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


@pytest.fixture
def fresh(clock, connect):
    """A client of an inbox of the test's own, whose clock stands still."""
    with Inbox(rate_limit=0, clock=clock) as inbox:
        yield connect(inbox)


def call(client, method, path, **more):
    return client.session.request(method, f"{client.inbox.url}{path}", timeout=10, **more)


def answer(client, event_id, action, values=None):
    body = {"action": action, "values": values or {}}
    return requests.post(f"{client.inbox.url}/_inbox/events/{event_id}/answer", json=body, timeout=10)


def test_lists_the_newest_first_and_goes_on_at_the_cursor(fresh):
    """Pages by `limit`, each with the cursor of the next, until there are no more."""
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
    """`since` takes the moment in, `before` leaves it out."""
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
    """As wrong fields are."""
    body = refusal(call(client, "GET", f"/v1/events?{query}"), 400, "validation_error")
    assert [detail["path"] for detail in body["details"]] == [[path]]


def test_an_event_by_its_id(fresh):
    """The same as when it was created."""
    created = fresh.event(title="One", metadata={"n": 1}).json()["data"]
    assert call(fresh, "GET", f"/v1/events/{created['id']}").json()["data"] == created
    refusal(call(fresh, "GET", "/v1/events/event_none"), 404, "not_found")


def test_channels_by_name(fresh):
    """As their first events made them."""
    for name in ("b", "a", "b"):
        fresh.event(channelName=name, icon="👤")
    channels = call(fresh, "GET", "/v1/channels").json()["data"]["channels"]
    assert [(channel["name"], channel["icon"]) for channel in channels] == [("a", "👤"), ("b", "👤")]


def test_erases_an_identity(fresh):
    """With its aliases and its name on events, which stay; a second time there is none."""
    fresh.identify(user_id="u/1", properties={"plan": "pro"}, aliases=["u@example.com"])
    event = fresh.event(userId="u@example.com").json()["data"]
    assert event["userId"] == "u/1"
    data = call(fresh, "DELETE", "/v1/identities/u%2F1").json()["data"]
    assert data == {"userId": "u/1", "deleted": True}
    assert fresh.inbox.identities == {}
    assert call(fresh, "GET", f"/v1/events/{event['id']}").json()["data"]["userId"] is None
    assert fresh.event(userId="u@example.com").json()["data"]["userId"] == "u@example.com"
    refusal(call(fresh, "DELETE", "/v1/identities/u%2F1"), 404, "not_found")


def test_who_a_key_is(connect):
    """The scopes in their order; each endpoint needs its own."""
    with Inbox(scopes=["events:read"], other_api_keys={"emitkit_w": ["identities:write", "events:write"]}) as inbox:
        reader, writer = connect(inbox), connect(inbox, "emitkit_w")
        assert call(reader, "GET", "/v1/me").json()["data"]["scopes"] == ["events:read"]
        assert call(writer, "GET", "/v1/me").json()["data"]["scopes"] == ["events:write", "identities:write"]
        refusal(reader.event(), 403, "forbidden")
        refusal(reader.identify(user_id="u"), 403, "forbidden")
        refusal(call(reader, "DELETE", "/v1/identities/u"), 403, "forbidden")
        assert writer.event().status_code == 201
        assert "events:read" in refusal(call(writer, "GET", "/v1/events"), 403, "forbidden")["message"]
        refusal(call(writer, "GET", "/v1/channels"), 403, "forbidden")
        assert reader.inbox.events


def test_all_endpoints_share_the_limit(connect):
    """Reading counts as writing does."""
    with Inbox(rate_limit=3) as inbox:
        client = connect(inbox)
        paths = ("/v1/me", "/v1/channels", "/v1/events")
        left = [call(client, "GET", path).headers["X-RateLimit-Remaining"] for path in paths]
        assert left == ["2", "1", "0"]
        refusal(client.event(), 429, "rate_limited")


def test_the_open_source_server_has_none_of_it(self_hosted_client):
    """404 as a web page, as it answers."""
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/events"), ("GET", "/v1/channels"), ("GET", "/openapi.json")):
        response = call(self_hosted_client, method, path)
        assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_other_methods_do_not_exist(client):
    """HEAD neither: what has no answer of its own is not found."""
    for method, path in (("HEAD", "/v1/events"), ("DELETE", "/v1/events"), ("GET", "/v1/identify"), ("PUT", "/v1/me")):
        assert call(client, method, path).status_code == 404


# Questions


def ask(client, **more):
    return client.event(actions=BUTTONS, fields=FIELDS, **more).json()["data"]


def test_a_question_is_answered(fresh, clock):
    """By one of its buttons, with what was filled in; once."""
    event = ask(fresh)
    assert event["answer"]["status"] == "pending"
    clock.now += 5
    values = {"why": "because", "size": "m", "also": ["a"], "much": 2.5, "sure": True}
    row = answer(fresh, event["id"], "no", values).json()
    assert (row["id"], row["answer"]["status"]) == (event["id"], "answered")
    told = call(fresh, "GET", f"/v1/events/{event['id']}").json()["data"]["answer"]
    assert told == {
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
    """Names what is wrong, and the question still waits."""
    event = ask(fresh)
    response = answer(fresh, event["id"], action, values)
    assert (response.status_code, response.json()["details"][0]["path"]) == (400, path)
    assert fresh.inbox.events[0]["answer"]["status"] == "pending"


def test_fields_alone_are_sent(fresh):
    """Without a button of its own a question has the one that sends it."""
    event = fresh.event(fields=FIELDS[:1]).json()["data"]
    assert answer(fresh, event["id"], "yes").status_code == 400
    assert answer(fresh, event["id"], "submit", {"why": None}).json()["answer"]["values"] == {"why": None}


def test_a_question_expires_and_is_cancelled(fresh, clock):
    """When its time is over, or whoever asked does not want to know any more."""
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


# Callbacks


@pytest.fixture
def application():
    """An application's own address for callbacks: https, with a certificate nobody knows; the first answer is 503."""
    calls, statuses = [], [503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(statuses.pop() if statuses else 204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}/answers", calls
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_callback_is_signed_and_tried_again(fresh, application):
    """What became of a question is told, as Standard Webhooks says, until the application has it."""
    url, calls = application
    event = ask(fresh, callbackUrl=url, resume="where we were")
    answer(fresh, event["id"], "yes")
    inbox = fresh.inbox
    done = inbox._feed.wait(lambda: inbox.events if inbox.events[0]["callback"]["deliveredAt"] else None, 10.0)
    assert done[0]["callback"] == {
        "url": url,
        "attempts": 2,
        "deliveredAt": "2027-01-15T08:00:00.250Z",
        "lastStatus": 204,
    }
    (first, body), (second, again) = calls
    assert body == again
    assert first["webhook-id"] == second["webhook-id"] == f"msg_{event['id']}"
    told = json.loads(body)
    assert (told["type"], told["timestamp"]) == ("event.answered", "2027-01-15T08:00:00.250Z")
    assert (told["data"]["id"], told["data"]["resume"]) == (event["id"], "where we were")
    secret = base64.b64decode(inbox.callback_secret.removeprefix("whsec_"))
    content = f"{first['webhook-id']}.{first['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    assert first["webhook-signature"] == f"v1,{expected}"


def test_the_signature_of_the_specification():
    """The example that Standard Webhooks publishes."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_callback_to_elsewhere_stays_here(fresh):
    """Nothing that is logged leaves this machine."""
    event = ask(fresh, callbackUrl="https://example.com/answers")
    answer(fresh, event["id"], "yes")
    assert fresh.inbox.events[0]["callback"]["attempts"] == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "emitkit-inbox-callbacks"]


def test_a_callback_nobody_takes(fresh, monkeypatch):
    """A refused connection is an attempt without a status."""
    event = ask(fresh, callbackUrl="https://localhost:9/answers")
    answer(fresh, event["id"], "yes")
    inbox = fresh.inbox
    tried = inbox._feed.wait(lambda: inbox.events if inbox.events[0]["callback"]["attempts"] else None, 10.0)
    assert (tried[0]["callback"]["lastStatus"], tried[0]["callback"]["deliveredAt"]) == (None, None)


# What lasts


def test_a_file_survives_a_restart(tmp_path, clock, connect):
    """Events, channels, identities, what is read, the key, and what was answered to an idempotency key."""
    path = tmp_path / "inbox.db"
    with Inbox(db=path, clock=clock) as inbox:
        client = connect(inbox)
        first = client.event("key", title="Once", channelName="a").json()
        client.identify(user_id="u", properties={"plan": "pro"}, aliases=["u@example.com"])
        requests.post(f"{inbox.url}/_inbox/read", json={"channel": "a"}, timeout=10)
        client.event(title="Unread", channelName="a")
        asked = ask(client, expiresIn=60)
        key, secret = inbox.api_key, inbox.callback_secret
    assert path.stat().st_mode & 0o777 == 0o600
    clock.now += 60
    with Inbox(db=path, clock=clock) as inbox:
        client = connect(inbox)
        assert (inbox.api_key, inbox.callback_secret) == (key, secret)
        again = client.event("key", title="Once", channelName="a")
        assert (again.json(), again.headers["X-Idempotent-Replay"]) == (first, "true")
        refusal(client.event("key", title="Another"), 409, "idempotency_conflict")
        assert client.event(userId="u@example.com", channelName="b").json()["data"]["userId"] == "u"
        assert [event["title"] for event in inbox.events] == ["Once", "Unread", "A title", "A title"]
        feed = requests.get(f"{inbox.url}/_inbox/feed", timeout=10).json()
        counts = {each["name"]: (each["events"], each["unread"]) for each in feed["channels"]}
        assert counts == {"a": (2, 1), "b": (1, 1), "tests": (1, 1)}
        assert call(client, "GET", f"/v1/events/{asked['id']}").json()["data"]["answer"]["status"] == "expired"
    with Inbox(db=path, api_key="emitkit_other", clock=clock) as inbox:
        assert inbox.api_key == "emitkit_other"


def test_a_file_that_cannot_be_used(tmp_path):
    """Said where the inbox is made."""
    other = tmp_path / "other.db"
    other.write_text("no database, but more than a few bytes of something else entirely" * 20)
    for path in (other, tmp_path, tmp_path / "nowhere" / "inbox.db"):
        with pytest.raises(OSError, match=str(path)):
            Inbox(db=path)
    with Inbox(db=tmp_path / "inbox.db"), pytest.raises(OSError, match="locked"):
        Inbox(db=tmp_path / "inbox.db")
