"""Version 2 of the proxy protocol: payloads as the client of `trakoo` makes them."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.proxy import PayloadError, ingest_proxy_events, version2, wsgi_app
from emitkit_logging.proxy.payload import MAX_EVENTS, parse_payload, take_events
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.proxy.helpers import CHROME, Clock, Collector, browser_request, own

NOW = 1_790_000_000_123
CONTEXT = {
    "page": {"path": "/pricing", "title": "Pricing", "referrer": "", "url": "https://shop.example/pricing"},
    "device": {"userAgent": CHROME, "language": "en-US", "timezone": "UTC", "screen": {"width": 1, "height": 1}},
}


def track(name="button_clicked", context=CONTEXT, **event):
    """Return a track as the client sends it: what is undefined is not in its JSON."""
    given = {"inputProvided": "input" in event, "occurredAt": NOW, "sessionId": "s-1", "context": context}
    return {"type": "track", "name": name, **given, **event}


def body(*events):
    """Return a payload as the client's `JSON.stringify` writes it."""
    return json.dumps({"version": 2, "events": list(events)}, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def collector():
    """A handler that collects what the events of browsers become."""
    logger, handler = logging.getLogger("test.version2"), Collector()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def accept(collector):
    """Accept a body as the endpoint does, with a clock that the test moves."""
    clock = Clock()
    policy = EndpointPolicy(logger="test.version2", clock=clock, rate_limit=1_200)

    def accepting(payload):
        return policy.accept(browser_request(user_agent=CHROME), payload).status

    accepting.clock = clock
    return accepting


def test_a_track(accept, collector):
    """Name, input, session and page become those of the event; `occurredAt` is when it occurred."""
    assert accept(body(track(input={"plan": "pro"}))) == 200
    (event,) = collector.events
    assert event.title == "Button Clicked"
    metadata = own(event)
    assert (metadata["plan"], metadata["sessionId"]) == ("pro", "s-1")
    assert metadata["page"]["path"] == "/pricing"
    (extra,) = [record.attributes for record in collector.records]
    assert extra["occurred_at"] == NOW / 1000


def test_page_views_users_and_resets(accept, collector):
    """A page view has its page and its time, an identify its user, and a reset is nothing."""
    view = {"type": "pageView", "properties": {"tab": 1}, "occurredAt": NOW, "context": CONTEXT}
    identify = {"type": "identify", "userId": "user-1", "traits": {"plan": "pro"}}
    assert accept(body(view, identify, {"type": "reset"})) == 200
    viewed, identified = (record.attributes for record in collector.records)
    assert (viewed["event"], viewed["occurred_at"], viewed["properties"]) == ("page_view", NOW / 1000, {"tab": 1})
    assert identified["identify"]["id"] == "user-1"


@pytest.mark.parametrize(
    ("given", "properties"),
    [
        ({}, {}),
        ({"inputProvided": True}, {}),
        ({"input": None}, {}),
        ({"input": {"a": 1}}, {"a": 1}),
        ({"input": {"a": 1}, "inputProvided": False}, {}),
        ({"input": [1]}, {"input": [1]}),
        ({"input": "text"}, {"input": "text"}),
    ],
)
def test_the_input_of_a_track(given, properties, accept, collector):
    """An object is the properties; any other input is the property of that name."""
    assert accept(body(track(**given))) == 200
    assert collector.records[0].attributes["properties"] == properties


def test_a_track_names_no_user(accept, collector):
    """A user in the context or the event of a track is not believed: the server knows who it is."""
    claimed = {**CONTEXT, "user": {"userId": "admin"}, "server": {"host": "x"}, "more": 1}
    assert accept(body(track(context=claimed, userId="admin"))) == 200
    attributes = collector.records[0].attributes
    assert not {"user", "user_id", "identify"} & attributes.keys()
    assert "more" not in attributes["properties"]


@pytest.mark.parametrize("at", [None, "now", True, 0, -1, 1e300, version2._LATEST + 1])
def test_times_that_are_none(at, accept, collector):
    """A time that cannot be one is left out, and the event is logged."""
    assert accept(body(track(occurredAt=at))) == 200
    assert "occurred_at" not in collector.records[0].attributes


def test_an_invalid_event_leaves_the_others(accept, collector):
    """One event that is none does not affect the others."""
    assert accept(body(track("a"), 5, {"type": "other"}, track(""), track("b"))) == 200
    assert [record.attributes["event"] for record in collector.records] == ["a", "b"]


@pytest.mark.parametrize(
    ("event", "is_logged"),
    [
        ({"type": "track", "name": "a"}, True),
        ({**track(), "inputProvided": "no", "occurredAt": "now", "sessionId": {"a": 1}, "context": 5}, True),
        ({**track(), "context": {"page": 5, "device": [], "utm": "x"}}, True),
        ({**track(), "context": {"page": {"path": {}}, "device": {"screen": 5}}}, True),
        ({"type": "pageView"}, True),
        ({"type": "pageView", "properties": 5, "occurredAt": None}, True),
        ({"type": "identify", "userId": "u", "traits": 5}, True),
        ({"type": "track"}, False),
        ({"type": "track", "name": 5}, False),
        ({"type": "track", "name": ["a"]}, False),
        ({"type": "identify"}, False),
        ({"type": "identify", "userId": ""}, False),
        ({"type": ["track"], "name": "a"}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
def test_missing_fields_and_other_types(event, is_logged, accept, collector):
    """An event needs its type, and a name or a user; whatever else is wrong is left out of it. No page jams."""
    assert accept(body(event, track("after"))) == 200
    assert len(collector.records) == 1 + is_logged
    assert [made.title for made in collector.events][-1] == "After"


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", "a/b", ""])
def test_any_content_type(content_type, collector):
    """A beacon may have any type; a 415 would jam the page."""
    policy = EndpointPolicy(logger="test.version2")
    request = browser_request(content_type=content_type)
    assert policy.check(request) is None
    assert policy.accept(request, body(track())).status == 200
    assert len(collector.records) == 1


@pytest.mark.parametrize("version", [0, 3, "1", "2", None, True, False, [2], {}, 2.5])
def test_unknown_versions(accept, version):
    """A version that is neither 1 nor 2 is a 400."""
    assert accept(json.dumps({"version": version, "events": []}).encode()) == 400
    with pytest.raises(PayloadError, match="version must be 1 or 2"):
        parse_payload({"version": version, "events": []})


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"version":2}', b'{"version":2,"events":{}}', b'{"version":2,"events":[']
)
def test_what_is_no_payload(accept, payload):
    """Only what is no payload at all is refused."""
    assert accept(payload) == 400


def test_more_bytes_than_version_1_has(accept, collector):
    """A payload of version 2 may have 256 KiB, wherever its version stands."""
    events = [track(input={"text": "x" * 2_000}) for _ in range(60)]
    assert 64 * 1024 < len(body(*events)) < version2.MAX_BYTES
    assert accept(body(*events)) == 200
    assert accept(json.dumps({"events": events, "version": 2}).encode()) == 200
    assert len(collector.records) == 120


def test_too_many_events_are_taken_as_far_as_it_goes(accept, collector, caplog):
    """Of a queue that grew the first hundred events are logged, and the number of the others is."""
    events = [track(f"e{number}") for number in range(250)]
    assert accept(body(*events)) == 200
    assert [record.attributes["event"] for record in collector.records] == [
        f"e{number}" for number in range(MAX_EVENTS)
    ]
    assert "at least 150 events of browsers were left out" in caplog.text
    accept(body(*events))
    assert "300" not in caplog.text  # a report a minute
    accept.clock.now += 60
    accept(body(*events))
    assert "at least 300 events" in caplog.text


def test_too_many_bytes_are_taken_as_far_as_they_go(accept, collector, caplog):
    """Of a payload over 256 KiB the complete events at its beginning are logged."""
    whole = body(*[track(f"e{number}", input={"text": "é" * 5_000}) for number in range(50)])
    assert accept(whole[: version2.MAX_BYTES + 1]) == 200
    names = [record.attributes["event"] for record in collector.records]
    assert names == [f"e{number}" for number in range(len(names))]
    assert 20 <= len(names) < 50
    assert "left out" in caplog.text


def test_an_event_that_is_too_large_jams_nothing(accept, collector, caplog):
    """A single event over 256 KiB is left out, and the page goes on."""
    assert accept(body(track(input={"text": "x" * 300_000}))[: version2.MAX_BYTES + 1]) == 200
    assert collector.records == []
    assert "at least 1 events" in caplog.text


def test_too_fast_is_taken_as_far_as_it_goes(collector, caplog):
    """Over the rate limit of its address a client gets a 200 all the same, and its events are counted."""
    clock = Clock()
    policy = EndpointPolicy(logger="test.version2", clock=clock, rate_limit=15)
    events = body(*[track(f"e{number}", context={}) for number in range(10)])
    assert [policy.accept(browser_request(), events).status for _ in range(3)] == [200] * 3
    assert len(collector.records) == 15
    assert "at least 5 events" in caplog.text
    clock.now += 60
    assert policy.accept(browser_request(), events).status == 200
    assert len(collector.records) == 25
    assert "at least 10 events" in caplog.text


def test_without_a_request(collector, caplog):
    """`ingest_proxy_events` takes version 2 as a dict, as text and as bytes, and reports what it leaves out."""
    events = [track(f"e{number}", context={}) for number in range(101)]
    for payload in ({"version": 2, "events": events}, body(*events), body(*events).decode()):
        assert ingest_proxy_events(payload, logger="test.version2") == MAX_EVENTS
    assert caplog.text.count("at least 1 events of a browser were left out") == 3


@given(st.integers(0, 400_000))
def test_any_beginning_of_a_payload(length):
    """Wherever a payload over the limit is cut, its complete events are found."""
    whole = body(*[track(f"e{number}", input={"text": '\\"}],[{é' * 900}) for number in range(60)])
    cut = whole[: max(length, version2.MAX_BYTES + 1)]
    events, left_out = take_events(cut)
    assert left_out == 1
    assert [event["event"]["action"] for event in events] == [f"e{number}" for number in range(len(events))]
    assert events


def test_a_server_reads_to_the_end(collector):
    """The endpoint takes the beginning of a body and reads the rest, so that the browser gets the response."""
    whole = body(*[track(f"e{number}", input={"text": "x" * 10_000}) for number in range(100)])
    stream, started = io.BytesIO(whole), []
    environ = {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "CONTENT_LENGTH": str(len(whole)),
        "wsgi.input": stream,
    }
    assert wsgi_app(logger="test.version2")(environ, lambda *given: started.append(given)) == [b"OK"]
    assert started[0][0] == "200 OK"
    assert stream.tell() == len(whole)
    assert len(collector.records) > 20
