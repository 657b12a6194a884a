"""`EventFilter`: which records a handler gets."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from emitkit_logging import EventFilter

from .records import make

CASES = json.loads((Path(__file__).parent / "data" / "routing_reference.json").read_text(encoding="utf-8"))["cases"]
NAMES = {"excludeEvents": "exclude_events", "eventPatterns": "event_patterns"}


def record(method: str, name: str | None):
    if method == "identify":
        return make("x", identify={"id": "u"})
    return make("x", event="page_view" if method == "pageView" else name)


@pytest.mark.parametrize("case", CASES, ids=[json.dumps(case["routing"]) for case in CASES])
def test_reference(case):
    """The filter accepts the same calls as the npm package does."""
    options = {NAMES.get(name, name): value for name, value in case["routing"].items()}
    if not {"initialize", "reset", "pageLeave"}.isdisjoint([*options.get("methods", ()), *options.get("exclude", ())]):
        pytest.skip("methods that logging does not have")
    chosen = EventFilter(**options)
    for call in case["calls"]:
        if call["method"] in ("track", "identify", "pageView") and call.get("event") != "page_view":
            assert chosen.filter(record(call["method"], call.get("event"))) is call["called"], call


def test_plain_records():
    """A plain record has no name: `events` and `event_patterns` reject it, `exclude_events` does not."""
    plain = make("x", level=logging.ERROR)
    assert EventFilter().filter(plain)
    assert EventFilter(exclude_events=["x"]).filter(plain)
    assert not EventFilter(events=["x"]).filter(plain)
    assert not EventFilter(event_patterns=["*"]).filter(plain)
    assert not EventFilter(methods=["identify"]).filter(plain)


def test_category_names():
    """The name of an event that has only a category is its message."""
    assert EventFilter(events=["paid 5"]).filter(make("paid %d", 5, category="conversion"))


def test_excluded_page_view():
    """`exclude_events` rejects page views that it names."""
    assert not EventFilter(exclude_events=["page_view"]).filter(make("x", event="page_view"))


def test_invalid_options():
    """An invalid option raises an error that names it."""
    with pytest.raises(ValueError, match="methods"):
        EventFilter(methods=["trak"])
    with pytest.raises(TypeError, match="events"):
        EventFilter(events="user_signed_up")
    with pytest.raises(TypeError, match="event"):
        EventFilter(event=["x"])


def test_overridden_options(caplog):
    """A warning names each option that another option overrides."""
    EventFilter(events=["a"], exclude_events=["b"], methods=["track"], exclude=["identify"])
    assert "exclude_events: ignored, since events is given" in caplog.text
    assert "exclude: ignored, since methods is given" in caplog.text
