"""Logging the events of browsers: errors, channels, and how they wait beside the server's own records."""

from __future__ import annotations

import json
import logging
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter, EventFilter
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, restore
from emitkit_logging._spool import codec
from emitkit_logging.proxy import PayloadError, ingest_proxy_events
from tests.proxy.helpers import Collector, track
from tests.server import Reply

# Invalid events


INVALID = [
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


def test_invalid_events_do_not_affect_others(collected):
    """Each invalid event is reported, also when the callback raises, and all other events are logged."""
    errors = []

    def report(error):
        errors.append(error)
        raise RuntimeError("the callback is broken")

    valid = [track(f"valid_{number}") for number in range(len(INVALID))]
    made = collected(*[event for pair in zip(INVALID, valid, strict=True) for event in pair], on_error=report)
    assert [event.kind[0] for event in made] == [f"valid_{number}" for number in range(len(INVALID))]
    assert len(errors) == len(INVALID)
    assert all(isinstance(error, PayloadError) and str(error) for error in errors)


def test_invalid_events_are_logged_at_debug(collected, caplog):
    """By default invalid events are reported at DEBUG only, so that browsers cannot fill the log."""
    caplog.set_level(logging.DEBUG, "emitkit_logging")
    collected(None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "error in browser events: an event must be an object")
    ]


def test_reset_is_not_counted(logger):
    """A reset logs no record and is not counted."""
    collector = Collector()
    logger.addHandler(collector)
    assert ingest_proxy_events({"events": [{"type": "reset"}, track()]}, logger=logger) == 1
    assert len(collector.records) == 1


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
def test_any_payload(events):
    """For any payload nothing raises, and each event is either logged, as one that can be sent, or reported."""
    logger = logging.getLogger("test.anything")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    collector, errors = Collector(), []
    logger.handlers[:] = [collector]
    text = json.dumps({"events": events})
    logged = ingest_proxy_events(text, logger=logger, on_error=errors.append, channels=["ok"])
    resets = sum(isinstance(event, dict) and event.get("type") == "reset" for event in events)
    assert logged == len(collector.records)
    assert logged + len(errors) + resets == len(events)
    for made in collector.events:
        assert made.channel in ("general", "ok")
        made.encode()


# The logger


def test_loggers(caplog):
    """The logger is given by name or by itself, or is the package's own. Anything else is an error."""
    caplog.set_level(logging.INFO)
    for name in ("web.analytics", logging.getLogger("web.analytics"), None):
        ingest_proxy_events({"events": [track()]}, logger=name)
    assert [record.name for record in caplog.records] == ["web.analytics", "web.analytics", "emitkit_logging.proxy"]
    with pytest.raises(TypeError, match="logger"):
        ingest_proxy_events({"events": []}, logger=7)


def test_filters_apply(logger):
    """`EventFilter` applies to the events of browsers as to the server's own."""
    collector = Collector()
    collector.addFilter(EventFilter(exclude=["pageView"], event_patterns=["button_*"]))
    logger.addHandler(collector)
    ingest_proxy_events({"events": [track(), track("x"), {"type": "pageView"}]}, logger=logger)
    assert [event.title for event in collector.events] == ["Button Clicked"]


# Channels and priority


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
def test_channels_for_errors_are_closed(collected, options, channels):
    """Browsers' errors go where other events go. A channel for errors is closed to them unless it has both."""
    made = collected(track("page_crashed", category="error"), track("clicked"), options=options)
    assert tuple(event.channel for event in made) == channels
    assert made[0].metadata["category"] == "error"


def test_allowed_channel_for_errors_is_closed(collected):
    """A channel for errors stays closed even when `channels` names it."""
    options = {"level_channel_map": {"INFO": "info", "ERROR": "alerts"}}
    (made,) = collected(track("x", {"__emitkit_channel": "alerts"}), channels=["alerts"], options=options)
    assert made.channel == "info"


def test_server_records_go_first(server, handler, logger):
    """With a small budget the server's own records go first, and never fold together with those of browsers."""
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


def test_spool_keeps_the_mark(collected, logger):
    """A record from a browser is still untrusted after it was on disk: it has low priority and no error channel."""
    formatter = EmitKitFormatter()
    collected(track("page_crashed", category="error"))
    (taken,) = logger.handlers[0].records
    back = codec.read_record(codec.write_record(taken, formatter.json_converter))
    made = formatter.event(restore(back))
    assert (made.channel, made.metadata["category"], made.level) == ("general", "error", UNTRUSTED_PRIORITY)
    assert formatter.fold_key(back) is None


def test_identifies_of_browsers_do_not_displace_others(server, handler, logger):
    """Many users that browsers name never push out a user that the server names."""
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
    identified = [seen.body["user_id"] for seen in server.requests if seen.path.endswith("/identify")]
    assert "own" in identified[-40:]
    stats = emitkit.stats
    assert stats.accepted == stats.delivered + sum(stats.dropped.values()) == 101
    assert stats.dropped["overflow"] >= 60
