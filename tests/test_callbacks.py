"""Verification of callbacks, with the examples of the Standard Webhooks specification."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging import verify_callback
from tests.docs.pages import program

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 byt").decode()
CALLBACK = {"type": "event.answered", "eventId": "event_1", "answer": {"action": "yes"}, "resume": None}
BODY = json.dumps(CALLBACK).encode()

# the example that the specification publishes
EXAMPLE = b'{"test": 2432232314}'
EXAMPLE_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
SINCE_EXAMPLE = 10**11
"""Seconds: a tolerance that includes the time of the example."""


def sign(body, secret=SECRET, at=None, message_id="msg_1"):
    """Return the headers of a callback, signed as the specification says."""
    at = int(time.time()) if at is None else at
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}


class Headers:
    """Headers of which one name may have several items, as werkzeug's and Starlette's."""

    def __init__(self, items):
        self._items = items

    def items(self):
        return self._items


def test_the_example_of_the_specification():
    """The published example is genuine, as bytes and as text; with any other body it is not."""
    options = {"secret": SECRET, "tolerance": SINCE_EXAMPLE}
    assert verify_callback(EXAMPLE, EXAMPLE_HEADERS, **options) == {"test": 2432232314}
    assert verify_callback(EXAMPLE.decode(), EXAMPLE_HEADERS, **options) == {"test": 2432232314}
    with pytest.raises(ValueError, match="signature"):
        verify_callback(EXAMPLE + b" ", EXAMPLE_HEADERS, **options)


def test_returns_the_callback(monkeypatch):
    """The secret may come from the environment, with or without its prefix."""
    monkeypatch.setenv("EMITKIT_CALLBACK_SECRET", SECRET)
    assert verify_callback(BODY, sign(BODY)) == CALLBACK
    assert verify_callback(BODY, sign(BODY), secret=SECRET.removeprefix("whsec_")) == CALLBACK
    with pytest.raises(ValueError, match="signature"):
        verify_callback(BODY, sign(BODY), secret=OTHER)


@pytest.mark.parametrize("change", [str.upper, str.title, str.encode])
def test_header_names_in_any_case(change):
    """Frameworks write header names in different cases, or as bytes."""
    headers = {change(name): value for name, value in sign(BODY).items()}
    assert verify_callback(BODY, headers, secret=SECRET) == CALLBACK


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: value.encode(), lambda value: f" {value} "])
def test_header_values_as_frameworks_have_them(wrap):
    """A value may be a text, bytes, or a list of one."""
    headers = {name: wrap(value) for name, value in sign(BODY).items()}
    assert verify_callback(BODY, headers, secret=SECRET) == CALLBACK


def test_one_of_several_signatures_is_enough():
    """While a secret is replaced, callbacks are signed with both; other versions and broken ones do not matter."""
    good, other = sign(BODY), sign(BODY, OTHER)
    several = f"v1a,abc v1,??? v1, {other['webhook-signature']} {good['webhook-signature']}"
    assert verify_callback(BODY, {**good, "webhook-signature": several}, secret=SECRET) == CALLBACK
    version_2 = good["webhook-signature"].replace("v1,", "v2,")
    for signatures in (other["webhook-signature"], version_2, "v1", "v1,", good["webhook-signature"][3:]):
        with pytest.raises(ValueError, match="signature"):
            verify_callback(BODY, {**good, "webhook-signature": signatures}, secret=SECRET)


@pytest.mark.parametrize("change", [list, tuple, lambda values: [value.encode() for value in values]])
def test_signatures_in_several_headers(change):
    """A header that was sent twice is a list in some frameworks, and in others two items of the same name."""
    good, other = sign(BODY), sign(BODY, OTHER)
    both = change([other["webhook-signature"], good["webhook-signature"]])
    assert verify_callback(BODY, {**good, "webhook-signature": both}, secret=SECRET) == CALLBACK
    items = [*good.items(), ("Webhook-Signature", other["webhook-signature"])]
    for given_items in (items, items[::-1]):
        assert verify_callback(BODY, Headers(given_items), secret=SECRET) == CALLBACK
    with pytest.raises(ValueError, match="time"):
        verify_callback(BODY, Headers([*items, ("webhook-timestamp", "1")]), secret=SECRET)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", []])
def test_a_missing_header(name, value):
    """The error names the header that is missing."""
    headers = sign(BODY)
    headers[name] = value
    with pytest.raises(ValueError, match=name):
        verify_callback(BODY, headers, secret=SECRET)


@pytest.mark.parametrize("off", [-320, 320])
def test_a_callback_that_is_too_old_or_too_new(off):
    """A callback that was recorded cannot be sent again later; the tolerance decides how much later."""
    headers = sign(BODY, at=int(time.time()) + off)
    with pytest.raises(ValueError, match="300 s"):
        verify_callback(BODY, headers, secret=SECRET)
    assert verify_callback(BODY, headers, secret=SECRET, tolerance=400) == CALLBACK


@pytest.mark.parametrize("off", [-300, 300])
def test_the_edge_of_the_tolerance(off, monkeypatch):
    """A callback exactly as old or as new as the tolerance is accepted, and a second more is refused."""
    now = 1_800_000_000
    monkeypatch.setattr(time, "time", lambda: float(now))
    assert verify_callback(BODY, sign(BODY, at=now + off), secret=SECRET) == CALLBACK
    for tolerance in (299.0, 0, -1, float("nan")):
        with pytest.raises(ValueError, match="time"):
            verify_callback(BODY, sign(BODY, at=now + off), secret=SECRET, tolerance=tolerance)


@pytest.mark.parametrize("body", [bytearray(BODY), memoryview(BODY), BODY.decode()])
def test_the_body_as_it_was_received(body):
    """The body may be text or any bytes."""
    assert verify_callback(body, sign(BODY), secret=SECRET) == CALLBACK


@pytest.mark.parametrize("body", [CALLBACK, None, 5, [1]])
def test_a_body_that_was_parsed(body):
    """What a framework has parsed cannot be verified, and the error says what is needed."""
    with pytest.raises(ValueError, match="must be bytes or text"):
        verify_callback(body, sign(BODY), secret=SECRET)


@pytest.mark.parametrize("timestamp", ["now", "1e9", "²", "-1", "1" * 5000, "1614265330.0"])
def test_a_timestamp_that_is_none(timestamp):
    """A time that is not whole seconds is refused."""
    with pytest.raises(ValueError, match="time"):
        verify_callback(BODY, {**sign(BODY), "webhook-timestamp": timestamp}, secret=SECRET)


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_%%%", "whsec_ключ", "not base64!"])
def test_a_secret_that_is_none(secret, monkeypatch):
    """A missing or invalid secret is an error that says so and does not contain it."""
    monkeypatch.delenv("EMITKIT_CALLBACK_SECRET", raising=False)
    with pytest.raises(ValueError, match="secret for callbacks is") as raised:
        verify_callback(BODY, sign(BODY), secret=secret)
    assert not secret.strip() or secret == "whsec_" or secret not in str(raised.value)
    assert raised.value.__context__ is None
    with pytest.raises(ValueError, match="EMITKIT_CALLBACK_SECRET"):
        verify_callback(BODY, sign(BODY))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_callback(body):
    """A signed body that is not a JSON object is refused."""
    with pytest.raises(ValueError, match="JSON object"):
        verify_callback(body, sign(body), secret=SECRET)


@given(st.dictionaries(st.text(), st.text() | st.binary() | st.none()), st.binary() | st.text())
def test_whatever_arrives_is_a_value_error(headers, body):
    """A request from anybody never raises anything else, and the error does not contain the secret."""
    for given_headers in (headers, {**headers, **sign(b"other")}):
        with pytest.raises(ValueError, match="callback") as raised:
            verify_callback(body, given_headers, secret=SECRET)
        assert SECRET[6:] not in str(raised.value)


@pytest.fixture
def documented(emitkit_inbox, monkeypatch):
    """What the code of docs/guides/questions.md defines, with an inbox and a secret in the environment."""
    monkeypatch.setenv("EMITKIT_CALLBACK_SECRET", SECRET)
    names: dict[str, Any] = {}
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    exec(program("guides/questions.md"), names)
    yield names
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:], root.level = before, level


def test_the_documented_question(documented, emitkit_inbox):
    """The question of the documentation waits for an answer, with all that it asks."""
    stored = emitkit_inbox.wait_for(title="Refund order 1042?")
    assert (stored["answer"]["status"], stored["resume"], stored["expiresIn"]) == ("pending", "order-1042", 1800)
    assert ([each["label"] for each in stored["actions"]], len(stored["fields"])) == (
        ["Refund", "Keep", "Open order"],
        1,
    )


@pytest.mark.parametrize("framework", ["django", "flask", "fastapi"])
def test_the_documented_views(documented, framework):
    """Each view acts on a genuine callback with 204, and refuses any other with 400."""
    callback = {**CALLBACK, "answer": {"action": "approve"}, "resume": "order-1042"}
    refunded: list[str] = []
    documented["refund"] = refunded.append
    body = json.dumps(callback).encode()
    post = globals()[f"post_to_{framework}"]
    assert post(documented, body, sign(body)) == 204
    assert post(documented, body, sign(body, OTHER)) == 400
    assert post(documented, body, {}) == 400
    assert refunded == ["order-1042"]


def post_to_flask(documented, body, headers):
    return documented["app"].test_client().post("/emitkit/answers", data=body, headers=headers).status_code


def post_to_fastapi(documented, body, headers):
    messages, sent = [{"type": "http.request", "body": body}], []

    async def receive():
        return messages.pop()

    async def send(message):
        sent.append(message)

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/emitkit/answers", "headers": encoded, "query_string": b""}
    asyncio.run(documented["api"](scope, receive, send))
    return sent[0]["status"]


def post_to_django(documented, body, headers):
    from django.conf import UserSettingsHolder, global_settings, settings
    from django.test import RequestFactory

    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    before = settings._wrapped
    settings._wrapped = UserSettingsHolder(global_settings)  # another test of this process configures Django for itself
    try:
        request = RequestFactory().post("/emitkit/answers", body, content_type="application/json", **named)
        return documented["answers"](request).status_code
    finally:
        settings._wrapped = before
