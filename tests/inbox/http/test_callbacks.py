"""Callbacks: signed, tried again, and only to this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time

import pytest
import trustme

from emitkit_logging import verify_callback
from emitkit_logging.inbox.http.callbacks import PAUSES, signed

from .calls import answer, ask, call


@pytest.fixture
def application():
    """A server for callbacks over https, with a certificate that nobody trusts; its first response is a 503.

    At `/moved` its first response is a redirect.
    """
    calls, statuses = [], [503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            status = statuses.pop() if statuses else 204
            self.send_response(302 if status == 503 and self.path == "/moved" else status)
            self.send_header("Location", "/elsewhere")
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


def wait_until(inbox, condition, number=0):
    """Return the callback of an event once it meets a condition."""
    deadline = time.monotonic() + 10
    while not condition(callback := inbox.events[number]["callback"]):
        assert time.monotonic() < deadline, callback
        time.sleep(0.01)
    return callback


def test_a_callback_is_signed_and_tried_again(fresh, application):
    """The answer to a question is sent, signed, until the application accepts it."""
    url, calls = application
    event = ask(fresh, callbackUrl=url, resume="where we were")
    answer(fresh, event["id"], "yes")
    inbox = fresh.inbox
    assert wait_until(inbox, lambda callback: callback["deliveredAt"]) == {
        "url": url,
        "attempts": 2,
        "deliveredAt": "2027-01-15T08:00:00.250Z",
        "lastStatus": 204,
    }
    (first, body), (second, again) = calls
    assert body == again
    assert first["webhook-id"] == second["webhook-id"] == f"msg_{event['id']}"
    sent = json.loads(body)
    assert sent == {
        "type": "event.answered",
        "eventId": event["id"],
        "answer": inbox.events[0]["answer"],
        "resume": "where we were",
    }
    assert verify_callback(body, first, secret=inbox.callback_secret, tolerance=10**9) == sent
    secret = base64.b64decode(inbox.callback_secret.removeprefix("whsec_"))
    content = f"{first['webhook-id']}.{first['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    assert first["webhook-signature"] == f"v1,{expected}"


def test_what_has_a_callback(fresh, application, clock):
    """An expiry is sent, without an action; a cancellation is not, for the application caused it."""
    url, calls = application
    canceled = ask(fresh, callbackUrl=url)
    call(fresh, "POST", f"/v1/events/{canceled['id']}/cancel")
    expiring = ask(fresh, callbackUrl=url, expiresIn=10)
    clock.now += 10
    call(fresh, "GET", "/v1/events")
    wait_until(fresh.inbox, lambda callback: callback["deliveredAt"], number=1)
    sent = [json.loads(body) for _, body in calls]
    assert {(each["type"], each["eventId"]) for each in sent} == {("event.expired", expiring["id"])}
    assert (sent[0]["answer"]["status"], sent[0]["answer"]["action"], sent[0]["resume"]) == ("expired", None, None)
    assert fresh.inbox.events[0]["callback"]["attempts"] == 0


def test_a_redirect_is_not_followed(fresh, application):
    """A redirect could lead to another machine: it is no success, and the callback is sent to its own URL again."""
    url, calls = application
    event = ask(fresh, callbackUrl=url.replace("/answers", "/moved"))
    answer(fresh, event["id"], "yes")
    assert wait_until(fresh.inbox, lambda callback: callback["deliveredAt"])["attempts"] == len(calls) == 2


def test_attempts_go_on_for_about_16_hours():
    """The pauses between the attempts grow, and last about as long as the hosted service tries."""
    assert list(PAUSES) == sorted(PAUSES)
    assert 15 * 3600 < sum(PAUSES) < 17 * 3600


def test_the_signature_of_the_specification():
    """The signature is that of the example which Standard Webhooks publishes."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    ["https://example.com/answers", "https://example.com\\@127.0.0.1/", "https://127.0.0.1@example.com/"]
    + ["https://example.com#@127.0.0.1/"],
)
def test_a_callback_to_another_machine_is_not_sent(fresh, url):
    """Nothing that was logged leaves this machine, also where two parsers find two hosts in one URL."""
    before = threading.enumerate()  # the thread of another test's inbox may not have ended yet
    event = ask(fresh, callbackUrl=url)
    answer(fresh, event["id"], "yes")
    assert fresh.inbox.events[0]["callback"]["attempts"] == 0
    started = [thread.name for thread in threading.enumerate() if thread not in before]
    assert "emitkit-inbox-callbacks" not in started


def test_a_callback_that_cannot_connect(fresh, monkeypatch):
    """A refused connection is counted as an attempt without a status."""
    event = ask(fresh, callbackUrl="https://localhost:9/answers")
    answer(fresh, event["id"], "yes")
    inbox = fresh.inbox
    tried = wait_until(inbox, lambda callback: callback["attempts"])
    assert (tried["lastStatus"], tried["deliveredAt"]) == (None, None)
