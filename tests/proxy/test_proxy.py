"""What a browser's events become, and what they cannot do."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import logging
import time
import uuid

import flask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter, EventFilter, event_context
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, capture, restore
from emitkit_logging._spool import codec
from emitkit_logging.proxy import (
    PayloadError,
    Visit,
    asgi_app,
    flask_blueprint,
    ingest_proxy_events,
    starlette_route,
    wsgi_app,
)
from emitkit_logging.proxy.policy import MOST_CLIENTS, Gate
from emitkit_logging.proxy.request import Headers
from tests.server import Reply

CHROME = "Mozilla/5.0 Chrome/156"
CONTEXT = {
    "page": {"path": "/pricing", "title": "Pricing", "referrer": "", "url": "https://shop.example/pricing?x=1"},
    "device": {"type": "desktop", "os": "Linux", "userAgent": CHROME, "language": "en-US", "screen": {"width": 1}},
    "user": {},
}


def track(action="button_clicked", properties=None, context=CONTEXT, **event):
    """Return an event as the npm package 0.14.5 sends it."""
    said = {"action": action, "category": action.partition("_")[0], "properties": properties or {}}
    return {
        "type": "track",
        "event": {**said, "timestamp": 1_700_000_000_000, "sessionId": "s-1", **event},
        "context": context,
    }


class Collector(logging.Handler):
    """Keeps the events that records become, and the records."""

    def __init__(self, **options):
        super().__init__()
        self.formatter = EmitKitFormatter(**options)
        self.records = []

    def emit(self, record):
        self.records.append(capture(record, self.formatter.json_converter))

    @property
    def events(self):
        return [self.formatter.event(restore(taken)) for taken in self.records]


@pytest.fixture
def collected(logger):
    """A function that ingests events and returns what they become."""

    def collect(*events, options=None, **given):
        collector = Collector(**(options or {}))
        logger.handlers[:] = [collector]
        ingest_proxy_events({"events": list(events)}, logger=logger, **given)
        return collector.events

    return collect


def own(made):
    return {k: v for k, v in made.metadata.items() if k not in ("category", "event", "timestamp", "log")}


def test_track(collected):
    """An event with its page, its device, its session, and the browser that the request shows."""
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
    """The package's first word of the name means nothing; a category that somebody chose does."""
    (made,) = collected(track(action, category=category))
    assert made.metadata["category"] == expected


def test_identify(collected):
    """An identify is one, with its aliases; from then on the browser says with each event who it is."""
    traits = {"email": "ada@example.com", "name": "Ada", "username": "ada", "plan": "pro"}
    context = {**CONTEXT, "user": {"userId": "u-1", "email": "ada@example.com", "traits": traits}}
    identify, tracked = collected(
        {"type": "identify", "userId": "u-1", "traits": traits}, track(userId="u-1", context=context)
    )
    assert identify.only_identifies
    for made in (identify, tracked):
        (person,) = made.identities
        assert (person.user_id, person.aliases) == ("u-1", ("ada@example.com", "ada"))
        assert dict(person.properties) == traits
    assert tracked.user_id == "u-1"


def test_page_view(collected):
    """A page view looks like one."""
    (made,) = collected({"type": "pageView", "properties": {"loadTime": 12}, "context": CONTEXT})
    assert (made.title, made.description, made.notify, made.display_as) == ("Page View", "/pricing", False, "message")
    assert own(made)["loadTime"] == 12


def test_reset_is_nothing(logger):
    """A reset is understood and leaves no trace."""
    collector = Collector()
    logger.addHandler(collector)
    assert ingest_proxy_events({"events": [{"type": "reset"}, track()]}, logger=logger) == 1
    assert len(collector.records) == 1


BAD = [
    None,
    [],
    {},
    {"type": "track"},
    {"type": "track", "event": "x"},
    {"type": "track", "event": {}},
    {"type": "track", "event": {"action": " "}},
    {"type": "track", "event": {"action": "x" * 256}},
    {"type": "identify"},
    {"type": "identify", "userId": ""},
    {"type": "identify", "userId": "x" * 256},
    {"type": "pageLeave"},
    {"type": ["track"]},
]


def test_one_bad_event_costs_no_other(collected):
    """Each bad one is told of, whatever whoever is told does, and the others are logged."""
    errors = []

    def complain(error):
        errors.append(error)
        raise RuntimeError("nobody cares")

    good = [track(f"good_{number}") for number in range(len(BAD))]
    made = collected(*[event for pair in zip(BAD, good, strict=True) for event in pair], on_error=complain)
    assert [event.kind[0] for event in made] == [f"good_{number}" for number in range(len(BAD))]
    assert len(errors) == len(BAD)
    assert all(isinstance(error, PayloadError) and str(error) for error in errors)


def test_bad_events_are_quiet_by_default(collected, caplog):
    """Strangers cannot fill the log: only DEBUG tells of what they got wrong."""
    caplog.set_level(logging.DEBUG, "emitkit_logging")
    collected(None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "a browser's event could not be used: an event must be an object")
    ]


@pytest.mark.parametrize(
    ("payload", "status", "reason"),
    [
        (b"", 400, "no JSON"),
        (b"\xff", 400, "no JSON"),
        (b"[" * 60_000, 400, "no JSON"),
        (b"[]", 400, "object"),
        (b"{}", 400, "no list named events"),
        ({"events": {}}, 400, "no list named events"),
        (None, 400, "object"),
        ({"events": [1] * 101}, 413, "101 events, more than 100"),
        (b" " * 65_537, 413, "more than 65536 bytes"),
        ("é" * 32_769, 413, "more than 65536 bytes"),
    ],
)
def test_bad_payloads(payload, status, reason):
    """What is no payload is refused with a reason."""
    with pytest.raises(PayloadError, match=reason) as caught:
        ingest_proxy_events(payload)
    assert caught.value.status == status


def test_limits_are_inclusive(collected):
    """100 events and 64 KB are accepted."""
    assert len(collected(*[track()] * 100)) == 100
    payload = json.dumps({"events": [track(properties={"x": ""})]})
    full = payload.replace('"x": ""', f'"x": "{"y" * (65_536 - len(payload))}"')
    assert len(full.encode()) == 65_536
    assert ingest_proxy_events(full) == 1


def test_no_level_above_info_no_channel_no_other_key(collected):
    """What chooses anything for a server's record is data here, or nothing."""
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


def test_allowed_channels(collected):
    """A channel of the list, and then whether to push; any other is as if nothing had been said."""
    said = {"__emitkit_channel": "feedback", "__emitkit_notify": False}
    allowed, other, alone = collected(
        track(properties=said),
        track(properties={**said, "__emitkit_channel": "payments"}),
        track(properties={"__emitkit_notify": False}),
        channels=["feedback"],
    )
    assert (allowed.channel, allowed.notify) == ("feedback", False)
    assert (other.channel, other.notify) == (alone.channel, alone.notify) == ("general", True)
    assert own(allowed)["clientTimestamp"]
    assert "__emitkit_channel" not in own(allowed)


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({}, ("general", "general")),
        ({"category_channel_map": {"error": "bugs"}}, ("general", "general")),
        ({"category_channel_map": {"error": "alerts", "engagement": "alerts"}}, ("general", "general")),
        ({"level_channel_map": {"DEBUG": "all"}}, ("all", "all")),
        ({"level_channel_map": {"INFO": "info", "ERROR": "alerts"}}, ("info", "info")),
        ({"channel_name": "alerts"}, ("alerts", "alerts")),
        ({"category_channel_map": {"engagement": "usage"}}, ("general", "usage")),
    ],
)
def test_no_channel_of_errors_is_filled(collected, options, channels):
    """Errors of browsers, and what they name so, go where other events go; a channel that has both stays open."""
    made = collected(track("page_crashed", category="error"), track("clicked"), options=options)
    assert tuple(event.channel for event in made) == channels
    assert made[0].metadata["category"] == "error"


def test_not_even_when_it_is_allowed(collected):
    """A channel of errors on the list of a browser's channels stays the errors'."""
    options = {"level_channel_map": {"INFO": "info", "ERROR": "alerts"}}
    (made,) = collected(track("x", {"__emitkit_channel": "alerts"}), channels=["alerts"], options=options)
    assert made.channel == "info"


def test_enriched(collected):
    """What the server knows goes over what the browser says; it is asked once for a payload."""
    visits = []

    def enrich(visit: Visit):
        visits.append(visit)
        return {
            "page": {"section": "shop"},
            "server": {"region": visit.headers["X-Region"]},
            "properties": {"ab": 1},
            "tenant": 7,
        }

    made = collected(
        track(properties={"ab": 2, "c": 3}),
        {"type": "pageView"},
        headers=[("x-region", "eu"), ("X-Region", "west"), ("user-agent", "UA")],
        enrich_context=enrich,
        client_ip="192.0.2.1",
        source="raw",
    )
    assert len(visits) == 1
    assert (visits[0].client_ip, visits[0].source, "x-REGION" in visits[0].headers) == ("192.0.2.1", "raw", True)
    for event in made:
        assert event.metadata["server"] == {"region": "eu, west", "userAgent": "UA"}
        assert event.metadata["page"]["section"] == "shop"
        assert (event.metadata["tenant"], event.metadata["ab"]) == (7, 1)
    assert (made[0].metadata["c"], made[0].metadata["page"]["path"]) == (3, "/pricing")


def test_enriched_by_a_dict_or_not_at_all(collected):
    """A dict does as well; one that raises is told of, and the events go without."""
    assert collected(track(), enrich_context={"session_id": "mine"})[0].metadata["sessionId"] == "mine"
    errors = []
    assert len(collected(track(), enrich_context=lambda visit: 1 / 0, on_error=errors.append)) == 1
    assert isinstance(errors[0], ZeroDivisionError)


def test_enriched_with_what_logging_forbids(collected):
    """A key that no record can have costs the events, each told of, and nothing more."""
    errors = []
    assert collected(track(), track(), enrich_context={"message": "x"}, on_error=errors.append) == []
    assert [type(error) for error in errors] == [KeyError, KeyError]


CLAIM = {**CONTEXT, "user": {"userId": "admin", "traits": {"email": "evil@example.com"}}}


@pytest.mark.parametrize("known", [{"user_id": "u-1"}, {"user": {"id": "u-1", "email": "a@x"}}])
@pytest.mark.parametrize("by_context", [True, False])
def test_who_the_server_knows_is_believed(collected, known, by_context):
    """Whomever a browser names, who is logged in did it, and nobody else is identified."""
    errors = []
    events = [track(userId="admin", context=CLAIM), {"type": "pageView"}, {"type": "identify", "userId": "admin"}]
    with event_context(page={"path": "/api/analytics"}, **(known if by_context else {})):
        made = collected(*events, enrich_context=None if by_context else known, on_error=errors.append)
    assert [event.user_id for event in made] == ["u-1", "u-1"]
    assert "evil@example.com" not in str([event.identities for event in made])
    assert [str(error) for error in errors] == ["an identify names another user than the one who is logged in"]
    assert "page" not in made[1].metadata


def test_nobody_else_beside_the_user(collected):
    """Who is logged in by id, and claims to be somebody else in a context, is who is logged in."""
    claim = {"userId": "victim", "email": "evil@x", "traits": {"plan": "x"}}
    (made,) = collected(track(userId="u-1", context={"user": claim}), enrich_context={"user_id": "u-1"})
    assert (made.user_id, made.identities) == ("u-1", ())


def failing(visit):
    raise KeyError("no session store")


@pytest.mark.parametrize(
    ("known", "user_id"),
    [
        ({"user_id": uuid.UUID(int=7)}, str(uuid.UUID(int=7))),
        ({"user": {"email": "me@x"}}, "me@x"),
        ({"user": {"username": "me"}}, "me"),
        (failing, None),
        (lambda visit: ["no dict"], None),
    ],
)
def test_in_doubt_nobody_is_who_he_says(collected, known, user_id):
    """A user without an id that could be compared, and an application that cannot tell, let no claim pass."""
    told = []
    (made,) = collected(
        {"type": "identify", "userId": "victim", "traits": {"email": "evil@x"}},
        track(userId="victim", context={"user": {"userId": "victim", "email": "evil@x"}}),
        enrich_context=known,
        on_error=told.append,
    )
    assert made.user_id == user_id
    assert "victim" not in {person.user_id for person in made.identities}
    assert "an identify names another user than the one who is logged in" in list(map(str, told))


@pytest.mark.parametrize("known", [{"user_id": None}, {"user": {}}, {"user_id": ""}, {}, None])
def test_nobody_is_logged_in(collected, known):
    """Where the application says that nobody is logged in, browsers are believed."""
    identified, made = collected(
        {"type": "identify", "userId": "u-1", "traits": {"plan": "x"}}, track(userId="u-1"), enrich_context=known
    )
    assert (identified.identities[0].user_id, made.user_id) == ("u-1", "u-1")


def test_what_cannot_be_waited_for(logger):
    """An asynchronous function is refused at once, where it is given."""

    async def known(visit):
        return {}

    for take in (lambda **given: ingest_proxy_events({"events": []}, logger=logger, **given), Gate):
        with pytest.raises(TypeError, match="enrich_context: must be a plain function"):
            take(enrich_context=known)


def test_of_the_server_browsers_say_nothing(collected):
    """What a page says of the server is not told."""
    (made,) = collected(track(context={"server": {"requestId": "forged", "route": "/admin"}}))
    assert "server" not in made.metadata


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("x\nERROR database down\x1b[2J", "x ERROR database down [2J"),
        ("half \ud83d of it", "half   of it"),
        ("turned\u202e around", "turned  around"),
        ("👩\u200d💻 works", "👩\u200d💻 works"),
    ],
)
def test_a_name_is_one_line(collected, logger, action, message):
    """Nothing in a name breaks a line or steers a terminal where other handlers write it."""
    collected(track(action))
    assert [taken.attributes["msg"] for taken in logger.handlers[0].records] == [message]


def test_the_same_user_may_say_more(collected):
    """What a browser tells of the user who is logged in is told."""
    context = {**CONTEXT, "user": {"userId": "u-1", "traits": {"plan": "pro"}}}
    tracked, identify = collected(
        track(context=context),
        {"type": "identify", "userId": "u-1", "traits": {"a": 1}},
        enrich_context={"user_id": "u-1"},
    )
    assert dict(tracked.identities[0].properties) == {"plan": "pro"}
    assert dict(identify.identities[0].properties) == {"a": 1}


def test_endless_traits(collected):
    """Of a user with more than a little, only the names are kept: users are remembered."""
    (made,) = collected({"type": "identify", "userId": "u-1", "traits": {"email": "a@x", "blob": "x" * 5_000}})
    assert dict(made.identities[0].properties) == {"email": "a@x"}


def test_filtered_like_others(logger):
    """`EventFilter` chooses among them as among the server's own."""
    collector = Collector()
    collector.addFilter(EventFilter(exclude=["pageView"], event_patterns=["button_*"]))
    logger.addHandler(collector)
    ingest_proxy_events({"events": [track(), track("x"), {"type": "pageView"}]}, logger=logger)
    assert [event.title for event in collector.events] == ["Button Clicked"]


def test_loggers(caplog):
    """By name, by itself, or the package's own; anything else is a mistake."""
    caplog.set_level(logging.INFO)
    for name in ("web.analytics", logging.getLogger("web.analytics"), None):
        ingest_proxy_events({"events": [track()]}, logger=name)
    assert [record.name for record in caplog.records] == ["web.analytics", "web.analytics", "emitkit_logging.proxy"]
    with pytest.raises(TypeError, match="logger"):
        ingest_proxy_events({"events": []}, logger=7)


def test_they_yield(server, handler, logger):
    """When the budget is short, all that the server says itself goes first, and nothing folds together."""
    logger.addHandler(emitkit := handler(rate_limit=3, alert_reserve=0.34, shutdown_timeout=2))
    for _ in range(20):
        ingest_proxy_events({"events": [track("clicked")] * 2}, logger=logger)
        logger.info("x", extra={"event": "clicked"})
    emitkit.close()
    bodies = [seen.body for seen in server.requests if seen.path.endswith("/events")]
    waited = [body for body in bodies if "samples" in body["metadata"] or "digest" in body["metadata"]]
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 60
    assert len(waited) >= 1
    first = waited[0]["metadata"]
    if "samples" in first:
        assert "clientTimestamp" not in first["samples"][0]


def test_a_spool_keeps_them_apart(collected):
    """What came from a browser is known as such after it was on disk: it yields, and fills no channel of errors."""
    formatter = EmitKitFormatter()
    collected(track("page_crashed", category="error"))
    (taken,) = logging.getLogger("test.test_a_spool_keeps_them_apart").handlers[0].records
    back = codec.read_record(codec.write_record(taken, formatter.json_converter))
    made = formatter.event(restore(back))
    assert (made.channel, made.metadata["category"], made.level) == ("general", "error", UNTRUSTED_PRIORITY)
    assert formatter.fold_key(back) is None


def test_a_flood_of_identifies_pushes_nobody_out(server, handler, logger):
    """Strangers' users never take the place of one whom the server names."""
    server.script = lambda seen: None if seen.path.endswith("/events") else Reply(503)
    logger.addHandler(emitkit := handler(queue_size=20))
    logger.info("x", extra={"event": "x", "user": {"id": "own", "email": "own@x"}})
    for number in range(100):
        event = {"type": "identify", "userId": f"u-{number}", "traits": {"a": 1}}
        ingest_proxy_events({"events": [event]}, logger=logger)
    deadline = time.monotonic() + 10
    while emitkit.stats.dropped.get("overflow", 0) < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    server.script = []
    assert emitkit.flush(20)
    told = [seen.body["user_id"] for seen in server.requests if seen.path.endswith("/identify")]
    assert "own" in told[-40:]
    stats = emitkit.stats
    assert stats.accepted == stats.delivered + sum(stats.dropped.values()) == 101
    assert stats.dropped["overflow"] >= 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ODD = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "pageView", "reset"]) | JSON},
    optional={
        "event": st.fixed_dictionaries(
            {"action": st.text() | JSON},
            optional=dict.fromkeys(("category", "properties", "timestamp", "userId", "sessionId"), JSON),
        )
        | JSON,
        "context": st.dictionaries(st.sampled_from(["page", "device", "user", "utm", "server", "x"]), JSON) | JSON,
        "userId": JSON,
        "traits": JSON,
        "properties": st.dictionaries(st.sampled_from(["__emitkit_channel", "__emitkit_notify", "a"]), JSON) | JSON,
    },
)


@settings(max_examples=120)
@given(st.lists(ODD | JSON, max_size=5))
def test_anything(events):
    """Whatever stands in a payload: nothing raises, and each event is logged, as one that can be sent, or told of."""
    logger = logging.getLogger("test.anything")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    collector, errors = Collector(), []
    logger.handlers[:] = [collector]
    text = json.dumps({"events": events})
    told = ingest_proxy_events(text, logger=logger, on_error=errors.append, channels=["ok"])
    resets = sum(isinstance(event, dict) and event.get("type") == "reset" for event in events)
    assert told == len(collector.records)
    assert told + len(errors) + resets == len(events)
    for made in collector.events:
        assert made.channel in ("general", "ok")
        made.encode()


# The gate


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def visit(method="POST", client="192.0.2.1", peer=None, host="shop.example", **headers):
    pairs = [("host", host), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Visit(Headers(pairs), client, None, method, peer)


def reason(answer):
    return json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("logger", 7, TypeError),
        ("channels", "alerts", TypeError),
        ("channels", [""], ValueError),
        ("rate_limit", -1, ValueError),
        ("rate_limit", "many", TypeError),
        ("trusted_proxies", ["10.0.0.0/99"], ValueError),
        ("trusted_proxies", "10.0.0.1", TypeError),
        ("allowed_origins", ["www.example.com"], ValueError),
        ("allowed_origins", ["https://www.example.com/path"], ValueError),
        ("no_such_option", 1, TypeError),
    ],
)
def test_options(option, value, error):
    """A wrong option fails at once, by name."""
    with pytest.raises(error, match=option):
        Gate(**{option: value})


@pytest.mark.parametrize(
    ("host", "origin", "is_ours"),
    [
        ("shop.example", "https://shop.example", True),
        ("shop.example:8000", "http://shop.example:8000", True),
        ("shop.example", "http://shop.example:80", True),
        ("shop.example:443", "https://SHOP.example", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("shop.example", "https://shop.example:444", False),
        ("shop.example", "https://evil.example", False),
        ("shop.example", "https://shop.example.evil.example", False),
        ("shop.example", "https://evil.example/shop.example", False),
        ("shop.example", "https://evil.example@shop.example", False),
        ("shop.example", "null", False),
        ("shop.example", "", False),
        ("shop.example", "file://shop.example", False),
        ("shop.example", "https://shop.example:http", False),
        ("shop.example", "https://friend.example", True),
        ("shop.example", "http://friend.example", False),
    ],
)
def test_origin(host, origin, is_ours):
    """Pages of the same host and port, and of the listed origins; the scheme is a proxy's business."""
    gate = Gate(allowed_origins=["https://friend.example"])
    refused = gate.refusal(visit(host=host, origin=origin))
    assert (refused is None) is is_ours
    assert refused is None or (refused.status, reason(refused)) == (
        403,
        "events are taken from this site's own pages only",
    )


def test_no_origin():
    """What is no browser has no origin; a browser that says it comes from elsewhere is believed."""
    gate = Gate()
    assert gate.refusal(visit()) is None
    assert gate.refusal(visit(sec_fetch_site="same-origin")) is None
    assert gate.refusal(visit(sec_fetch_site="cross-site")).status == 403


def test_a_rewritten_host():
    """The host that browsers see is a trusted proxy's to tell, nobody else's."""
    gate = Gate(trusted_proxies=["10.0.0.0/8"])
    asked = {"host": "backend:8000", "origin": "https://shop.example", "x_forwarded_host": "shop.example"}
    assert gate.refusal(visit(peer="10.1.2.3", **asked)) is None
    assert gate.refusal(visit(peer="192.0.2.9", **asked)).status == 403


def test_another_origin_is_answered_as_browsers_need():
    """The question before, with what may be sent; and each answer says who may read it."""
    gate = Gate(allowed_origins=["https://friend.example"])
    asked = visit("OPTIONS", origin="https://friend.example", access_control_request_headers="content-type,x-a")
    answer = gate.refusal(asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers == {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Max-Age": "600",
        "Access-Control-Allow-Headers": "content-type,x-a",
        "Access-Control-Allow-Origin": "https://friend.example",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    taken = gate.take(visit(origin="https://friend.example"), b"{}")
    assert (taken.status, taken.headers["Access-Control-Allow-Origin"]) == (400, "https://friend.example")
    assert "Access-Control-Allow-Origin" not in gate.take(visit(), b"{}").headers


def test_method_and_size():
    """Only POST, and no body that says or shows that it is too long."""
    gate = Gate()
    refused = gate.refusal(visit("GET"))
    assert (refused.status, refused.headers["Allow"]) == (405, "POST, OPTIONS")
    assert gate.refusal(visit(content_length="65536")) is None
    assert gate.refusal(visit(content_length="65537")).status == 413
    assert gate.refusal(visit(content_length="9" * 5_000)).status == 413
    assert gate.take(visit(), b" " * 65_537).status == 413


def payload(*events):
    return json.dumps({"events": list(events)}).encode()


def test_rate_limit():
    """So many events a minute, or KB; then 429 until the minute is over; each client for itself."""
    clock = Clock()
    gate = Gate(rate_limit=10, clock=clock, logger="test.rate")
    small = payload({"type": "reset"})
    assert [gate.take(visit(), small).status for _ in range(11)] == [200] * 10 + [429]
    clock.now += 20
    refused = gate.refusal(visit())
    assert (refused.status, refused.headers["Retry-After"]) == (429, "40")
    assert reason(refused) == "more than 10 events in a minute"
    assert gate.refusal(visit(client="192.0.2.2")) is None
    clock.now += 40
    assert gate.refusal(visit()) is None
    assert gate.take(visit(), payload(*[{"type": "reset"}] * 100)).status == 200
    assert gate.take(visit(), small).status == 429
    assert gate.take(visit(client="192.0.2.3"), b" " * 20_000).status == 400
    assert gate.refusal(visit(client="192.0.2.3")).status == 429


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100), st.floats(0, 30)), max_size=40))
def test_rate_limit_holds(requests):
    """Whatever comes when: nobody is refused who has not had the limit in the last minute, or for longer than that."""
    clock = Clock()
    gate = Gate(rate_limit=50, clock=clock, logger="test.rate")
    taken = {"a": [], "b": []}
    for client, events, pause in requests:
        clock.now += pause
        answer = gate.take(visit(client=client), payload(*[{"type": "reset"}] * events))
        recent = [number for at, number in taken[client] if clock.now - at < 60]
        if answer.status == 200:
            taken[client].append((clock.now, max(1, events)))
        else:
            assert sum(recent) >= 50
            assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_no_rate_limit():
    """0: none."""
    gate = Gate(rate_limit=0)
    assert {gate.take(visit(), payload()).status for _ in range(3_000)} == {200}


def test_clients():
    """An IPv6 network is one client; what is remembered of clients has an end."""
    gate = Gate(rate_limit=1, clock=Clock())
    assert gate.take(visit(client="2001:db8::1"), payload()).status == 200
    assert gate.refusal(visit(client="2001:db8::2")).status == 429
    assert gate.refusal(visit(client="2001:db8:0:1::1")) is None
    for number in range(MOST_CLIENTS + 10):
        gate.refusal(visit(client=f"10.0.{number // 250}.{number % 250}"))
    assert len(gate._counts) == MOST_CLIENTS


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "6.6.6.6", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7:1234", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::7]:1234", "2001:db8::7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "192.0.2.7", "fe80::1"),
        ("", "192.0.2.7", "192.0.2.7"),
        (None, None, None),
    ],
)
def test_whose_address(peer, forwarded, client):
    """The last hop that no trusted proxy vouches for; what stands before it anybody can write."""
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert Gate(trusted_proxies=["10.0.0.0/8", "unix"]).client(peer, headers) == client


def test_nobody_is_trusted_unless_told():
    """Without `trusted_proxies` the header is what anybody writes."""
    for peer in ("127.0.0.1", "10.0.0.1"):
        assert Gate().client(peer, {"x-forwarded-for": "6.6.6.6"}) == peer
    assert Gate().client("", {"x-forwarded-for": "6.6.6.6"}) is None
    assert Gate().client("testclient", {}) == "testclient"


def test_a_deaf_logger(caplog):
    """Where INFO gets nowhere, one warning says so."""
    logging.getLogger("test.deaf").setLevel(logging.WARNING)
    gate = Gate(logger="test.deaf")
    for _ in range(3):
        assert gate.take(visit(), payload(track())).status == 200
    assert [record.getMessage() for record in caplog.records] == [
        "what browsers send is logged at INFO on 'test.deaf', whose level is higher: none of it gets anywhere"
    ]


# The endpoints, where real servers do not lead


def wsgi_answer(body=b"", **environ):
    """Return the status and the body of an answer of the WSGI application."""
    began = []
    asked = {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(body),
    }
    (said,) = wsgi_app(logger="test.wsgi")({**asked, **environ}, lambda *given: began.append(given))
    ((status, headers),) = began
    assert dict(headers)["Content-Length"] == str(len(said))
    return status, said


def test_wsgi_bodies():
    """A body with a length, one that the server ends, and one without either, which is none (PEP 3333)."""
    body = payload({"type": "reset"})
    assert wsgi_answer(body, CONTENT_LENGTH=str(len(body))) == ("200 OK", b"OK")
    assert wsgi_answer(body, **{"wsgi.input_terminated": True}) == ("200 OK", b"OK")
    assert wsgi_answer(body)[0] == "400 Bad Request"
    assert wsgi_answer(body, CONTENT_LENGTH="")[0] == "400 Bad Request"
    assert wsgi_answer(b" " * 70_000, **{"wsgi.input_terminated": True})[0].startswith("413 ")
    assert wsgi_answer(body, CONTENT_LENGTH="99")[0] == "200 OK"
    assert wsgi_answer(body, CONTENT_LENGTH="0" * 5_000 + "5")[0] == "400 Bad Request"
    assert wsgi_answer(**{"wsgi.input": Broken(), "CONTENT_LENGTH": "9"}) == (
        "400 Bad Request",
        b'{"error": "the payload could not be read"}',
    )
    assert wsgi_answer(REQUEST_METHOD="HEAD") == ("405 Method Not Allowed", b"")


class Broken(io.BytesIO):
    def read(self, size=-1, /):
        raise ConnectionResetError


def test_wsgi_without_a_host():
    """An old request names no host: the server's own counts."""
    body = payload()
    length = {"CONTENT_LENGTH": str(len(body))}
    assert wsgi_answer(body, HTTP_ORIGIN="http://shop.example", **length)[0] == "200 OK"
    assert wsgi_answer(body, HTTP_ORIGIN="http://evil.example", **length)[0] == "403 Forbidden"


def asgi_answer(*messages, kind="http", headers=(), **options):
    """Return what the ASGI application sends."""
    coming, sent = list(messages), []

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "method": "POST", "headers": list(headers), "server": ("shop.example", 8000), "client": None}
    asyncio.run(asgi_app(logger="test.asgi", **options)(scope, receive, send))
    return [sent[0]["status"], sent[1]["body"]] if sent else []


def test_asgi_bodies():
    """A body in pieces, one that never seems to end, and one whose browser has gone."""
    body = payload({"type": "reset"})
    pieces = [{"type": "http.request", "body": body[at : at + 5], "more_body": True} for at in range(0, len(body), 5)]
    assert asgi_answer(*pieces, {"type": "http.request"}) == [200, b"OK"]
    assert asgi_answer(*[{"type": "http.request", "body": b" " * 40_000, "more_body": True}] * 2)[0] == 413
    assert asgi_answer({"type": "http.disconnect"})[0] == 400
    with pytest.raises(RuntimeError, match="takes http, not lifespan"):
        asgi_answer(kind="lifespan")
    sent = []
    asyncio.run(asgi_app()({"type": "websocket"}, None, functools.partial(_append, sent)))
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def _append(sent, message):
    sent.append(message)


def test_asgi_without_a_host():
    """An old request names no host: the server's own counts."""
    body = {"type": "http.request", "body": payload()}
    assert asgi_answer(body, headers=[(b"origin", b"http://shop.example:8000")])[0] == 200
    assert asgi_answer(body, headers=[(b"origin", b"http://shop.example")])[0] == 403


def test_flask_app():
    """The blueprint answers every method itself."""
    app = flask.Flask(__name__)
    app.register_blueprint(flask_blueprint("/api/analytics", logger="test.flask"))
    client = app.test_client()
    answer = client.post("/api/analytics", data=payload({"type": "reset"}), headers={"Origin": "http://localhost"})
    assert (answer.status_code, answer.data, answer.content_length) == (200, b"OK", 2)
    assert client.options("/api/analytics", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.delete("/api/analytics").status_code == 405
    broken = client.post("/api/analytics", input_stream=Broken(), environ_overrides={"CONTENT_LENGTH": "9"})
    assert (broken.status_code, broken.json) == (400, {"error": "the payload could not be read"})


def test_flask_has_read_it_before():
    """A body that something else has asked Flask for is still there."""
    app = flask.Flask(__name__)
    app.before_request(lambda: flask.request.get_data() and None)
    app.register_blueprint(flask_blueprint("/api/analytics", logger="test.flask"))
    answer = app.test_client().post("/api/analytics", data=payload({"type": "reset"}))
    assert (answer.status_code, answer.data) == (200, b"OK")


def test_starlette_route():
    """The route is one, at its path."""
    route = starlette_route("/api/analytics", logger="test.starlette")
    assert (route.path, route.methods) == ("/api/analytics", None)
