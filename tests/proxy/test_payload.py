"""Parsing: which payloads and events are accepted, and which values of a browser are used."""

from __future__ import annotations

import json

import pytest

from emitkit_logging.proxy import PayloadError, ingest_proxy_events
from emitkit_logging.proxy.payload import parse_event, parse_payload
from tests.proxy.helpers import CHROME, CONTEXT, own, track

# The payload


@pytest.mark.parametrize(
    ("payload", "status", "reason"),
    [
        (b"", 400, "not valid JSON"),
        (b"\xff", 400, "not valid JSON"),
        (b"[" * 60_000, 400, "not valid JSON"),
        (b"[]", 400, "object"),
        (b"{}", 400, "no list named events"),
        ({"events": {}}, 400, "no list named events"),
        (None, 400, "object"),
        ({"events": [1] * 101}, 413, "101 events, more than 100"),
        (b" " * 65_537, 413, "more than 65536 bytes"),
        ("é" * 32_769, 413, "more than 65536 bytes"),
    ],
)
def test_invalid_payloads(payload, status, reason):
    """An invalid payload is refused with a status and a reason."""
    for parse in (parse_payload, ingest_proxy_events):
        with pytest.raises(PayloadError, match=reason) as caught:
            parse(payload)
        assert caught.value.status == status


def test_limits_are_inclusive(collected):
    """100 events and 64 KB are accepted."""
    assert len(collected(*[track()] * 100)) == 100
    payload = json.dumps({"events": [track(properties={"x": ""})]})
    full = payload.replace('"x": ""', f'"x": "{"y" * (65_536 - len(payload))}"')
    assert len(full.encode()) == 65_536
    assert ingest_proxy_events(full) == 1


# Events


def test_track(collected):
    """A tracked event has its page, device and session, and the user agent of the request."""
    (made,) = collected(
        track(properties={"buttonId": "signup", "name": "x"}), headers={"User-Agent": CHROME}, client_ip="192.0.2.1"
    )
    assert (made.title, made.channel, made.icon, made.tags, made.user_id) == (
        "Button Clicked",
        "general",
        "👆",
        ["engagement"],
        None,
    )
    assert own(made) == {
        "buttonId": "signup",
        "name": "x",
        "clientTimestamp": 1_700_000_000_000,
        "sessionId": "s-1",
        "page": CONTEXT["page"],
        "device": CONTEXT["device"],
        "server": {"userAgent": CHROME},
    }
    assert made.metadata["log"]["level"] == "INFO"


@pytest.mark.parametrize(
    ("action", "category", "expected"),
    [
        ("user_signed_up", "user", "user"),
        ("api_error", "api", "error"),
        ("newsletter_opened", "newsletter", "engagement"),
        ("page_scrolled", "marketing", "marketing"),
        ("button_clicked", "engagement", "engagement"),
        ("button_clicked", 7, "engagement"),
        ("button_clicked", "x" * 100, "x" * 64),
    ],
)
def test_category(collected, action, category, expected):
    """The default category of the npm package, the first word of the name, is ignored. An explicit one is used."""
    (made,) = collected(track(action, category=category))
    assert made.metadata["category"] == expected


def test_identify(collected):
    """An identify has traits and no aliases, and an event identifies the user of its context."""
    traits = {"email": "ada@example.com", "name": "Ada", "username": "ada", "plan": "pro"}
    context = {**CONTEXT, "user": {"userId": "u-1", "email": "ada@example.com", "traits": traits}}
    identify, tracked = collected(
        {"type": "identify", "userId": "u-1", "traits": traits}, track(userId="u-1", context=context)
    )
    assert identify.only_identifies
    for made in (identify, tracked):
        (person,) = made.identities
        assert (person.user_id, person.aliases) == ("u-1", ())
        assert dict(person.properties) == traits
    assert tracked.user_id == "u-1"


def test_page_view(collected):
    """A page view has the title, description and display of page views."""
    (made,) = collected({"type": "pageView", "properties": {"loadTime": 12}, "context": CONTEXT})
    assert (made.title, made.description, made.notify, made.display_as) == ("Page View", "/pricing", False, "message")
    assert own(made)["loadTime"] == 12


def test_reset():
    """A reset is valid and logs nothing."""
    assert parse_event({"type": "reset"}, frozenset()) is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("x\nERROR database down\x1b[2J", "x ERROR database down [2J"),
        ("half \ud83d of it", "half   of it"),
        ("turned\u202e around", "turned  around"),
        ("👩\u200d💻 works", "👩\u200d💻 works"),
    ],
)
def test_name_is_one_line(collected, logger, action, message):
    """A name cannot break a line or control a terminal where other handlers write it."""
    collected(track(action))
    assert [taken.attributes["msg"] for taken in logger.handlers[0].records] == [message]


def test_large_traits(collected):
    """Of traits above the limit only the names are kept, because users stay in memory."""
    (made,) = collected({"type": "identify", "userId": "u-1", "traits": {"email": "a@x", "blob": "x" * 5_000}})
    assert dict(made.identities[0].properties) == {"email": "a@x"}


# What a browser cannot set


def test_hostile_keys(collected):
    """A browser cannot set the level, the channel or any other key of a record: such values are metadata or dropped."""
    hostile = {
        "level": "CRITICAL",
        "levelno": 50,
        "channel": "alerts",
        "notify": False,
        "title": "PWNED",
        "icon": "☠",
        "display_as": "message",
        "tags": ["x"],
        "idempotency_key": "k",
        "callback_url": "https://evil.example",
        "actions": [{"id": "a", "label": "b"}],
        "expires_in": 60,
        "event": "other",
        "category": "error",
        "extra": {"channel": "alerts"},
        "context": {"channel": "alerts"},
        "identify": {"id": "u-2"},
        "user": {"id": "u-2", "email": "x"},
        "user_id": "u-2",
        "exc_info": True,
        "message": "m",
        "__emitkit_channel": "alerts",
        "__emitkit_notify": False,
        "__emitkit_context": {"channel": "alerts"},
    }
    (plain,) = collected(track())
    for event in (track(properties=hostile), track(context={**CONTEXT, **hostile})):
        (made,) = collected(event)
        for name in ("channel", "title", "icon", "tags", "notify", "display_as", "questions", "user_id", "identities"):
            assert getattr(made, name) == getattr(plain, name), name
        assert (made.idempotency_key, made.kind, made.level) == (None, plain.kind, plain.level)
        assert made.metadata["category"] == "engagement"
        assert made.metadata["title"] == "PWNED"
        assert not any(str(key).startswith("__emitkit") for key in made.metadata)


def test_server_of_a_browser_is_ignored(collected):
    """A browser cannot describe the server."""
    (made,) = collected(track(context={"server": {"requestId": "forged", "route": "/admin"}}))
    assert "server" not in made.metadata


def test_allowed_channels(collected):
    """A browser may choose an allowed channel, and with it whether to push. Any other channel is ignored."""
    given = {"__emitkit_channel": "feedback", "__emitkit_notify": False}
    allowed, other, alone = collected(
        track(properties=given),
        track(properties={**given, "__emitkit_channel": "payments"}),
        track(properties={"__emitkit_notify": False}),
        channels=["feedback"],
    )
    assert (allowed.channel, allowed.notify) == ("feedback", False)
    assert (other.channel, other.notify) == (alone.channel, alone.notify) == ("general", True)
    assert own(allowed)["clientTimestamp"]
    assert "__emitkit_channel" not in own(allowed)
