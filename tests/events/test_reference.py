"""Our events beside those of the npm package `@stacksee/analytics` 0.14.5, for the same input.

`data/provider_reference.json` holds what its `EmitKitServerProvider` sent. Where we differ it is by the design's word:
`DIFFERENT` names each such case, and `expected` what holds for all.
"""

from __future__ import annotations

import json
import logging
import pathlib

import pytest

from emitkit_logging import EmitKitFormatter
from emitkit_logging._events.extras import STANDARD
from emitkit_logging._events.identity import identify_call

REFERENCE = json.loads((pathlib.Path(__file__).parents[1] / "data" / "provider_reference.json").read_text())
CASES = {case["name"]: case for case in REFERENCE["cases"]}

OPTIONS = {
    "channelName": "channel_name",
    "categoryChannelMap": "category_channel_map",
    "notify": "notify",
    "displayAs": "display_as",
}
DIFFERENT = {
    "name: trailing_": "no blanks at the ends of a title",
    "name: _leading": "no blanks at the ends of a title",
    "server: trailing_": "no blanks at the ends of a title",
    "server: _leading": "no blanks at the ends of a title",
    "name: _": "no title of blanks",
    "name: (empty)": "no empty title",
    "category: empty": "a missing category is inferred",
    "category: missing": "a missing category is inferred",
    "tags: strings, no category": "a missing category is inferred",
    "tags: empty list, no category": "a missing category is inferred",
    "tags: repeats the category": "each tag once",
    "device: empty": "no device about which nothing is known",
    "tags: empty string inside": "no empty tag",
    "user: both": "the canonical id before the email",
    "user: traits": "the canonical id before the email",
    "user: context userId beats event userId": "the record's own id first",
    "user: email beats event userId": "the record's own id first",
    "session: beats properties": "what generated metadata displaces stands in metadata.extra",
    "timestamp: in properties only": "what generated metadata displaces stands in metadata.extra",
    "timestamp: beats properties": "what generated metadata displaces stands in metadata.extra",
    "page: empty search": "the page's keys as they are",
    "page: extra keys and null": "the page's keys as they are",
    "page: null": "what has another type is ordinary metadata",
    "page: beats properties": "the record before its context",
    "context: unknown keys": "unknown keys of the context are ordinary metadata",
    "properties: names of request fields": "title, icon and notify are keys of their own here",
    "properties: __emitkit_ others stay": "keys that begin with __emitkit_ never stand in the metadata",
    "channel: spaces only": "no channel of blanks",
    "context: all": "the record's own id first",
    "pageView: description, tags, category, date in properties": "explicit keys win over a page view's",
}
"""Cases in which the design wants another answer, and which."""


def is_event(case):
    return case["call"].endswith(("track", "pageView")) and bool(case["requests"])


def options(case):
    """The handler's options for the case's configuration; an empty or absent value is not configured."""
    given = {OPTIONS[key]: value for key, value in case["config"].items() if key in OPTIONS and value not in ("", None)}
    if "category_channel_map" in given:
        given["category_channel_map"] = {key: value for key, value in given["category_channel_map"].items() if value}
    return given


def record(case):
    """The record that says what the case's input says."""
    given = case["input"]
    event = given.get("event") or {"action": "page_view", "properties": given.get("properties")}
    context = given.get("context") or {}
    extra = {key: value for key, value in (event.get("properties") or {}).items() if key not in STANDARD}
    extra["properties"] = {key: value for key, value in (event.get("properties") or {}).items() if key in STANDARD}
    extra["context"] = {key: value for key, value in context.items() if key != "user"}
    user = context.get("user") or {}
    extra["user"] = {**user, "user_id": user.get("userId")}
    extra["event"] = event["action"]
    if "category" in event:
        extra["category"] = event["category"]
    if "userId" in event:
        extra["user_id"] = event["userId"]
    if "sessionId" in event:
        extra["session_id"] = event["sessionId"]
    return logging.getLogger("reference").makeRecord(
        "app", logging.INFO, "app.py", 1, event["action"], (), None, "main", extra
    )


def without(metadata, *keys):
    return {key: value for key, value in metadata.items() if key not in keys}


def ours(case):
    """Our request for the case, but for what is ours alone."""
    body = EmitKitFormatter(level_channel_map=None, **options(case)).event(record(case)).body()
    assert body.pop("source") == "emitkit-logging"
    assert body["metadata"]["event"] == record(case).event or not record(case).event
    assert body["metadata"]["log"]["logger"] == "app"
    assert isinstance(body["metadata"]["timestamp"], int)
    body["metadata"] = without(body["metadata"], "event", "log", "timestamp", "date")
    return body


def theirs(case):
    """The reference's request, as the design wants it everywhere."""
    body = dict(case["requests"][0]["body"])
    del body["source"]
    if body["userId"] is None:
        del body["userId"]  # absent, since null may be refused
    metadata = without(body["metadata"], "timestamp", "date")
    for consumed, kind in (("description", str), ("tags", list)):
        value = metadata.get(consumed)
        if isinstance(value, kind) and all(isinstance(part, str) for part in value):
            del metadata[consumed]  # consumed keys do not stand in the metadata again
    for context in ("device", "server"):
        if context in metadata and isinstance(metadata[context], dict):
            metadata[context] = without(metadata[context], "ip")
    if body["title"] == "Page View" and "page_view" in body.get("tags", ()):
        metadata["category"] = "navigation"
    return {**body, "metadata": metadata}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if is_event(case) and name not in DIFFERENT])
def test_same(name):
    """The same input becomes the same event."""
    assert ours(CASES[name]) == theirs(CASES[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_different(name):
    """Where the design wants another answer, there is one: the list above holds nothing that is the same."""
    assert ours(CASES[name]) != theirs(CASES[name])


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case["call"].endswith("identify") and case["requests"]]
)
def test_identify(name):
    """The same user becomes the same identify request; a user without an id becomes none."""
    case = CASES[name]
    given = case["input"]
    values = {**(given.get("traits") or {}), "id": given["userId"]}
    made = logging.makeLogRecord({"identify": values, "levelno": logging.INFO})
    people = EmitKitFormatter().event(made).identities
    bodies = [identify_call(person).body() for person in people]
    expected = [request["body"] for request in case["requests"] if request["path"] == "/v1/identify"]
    if not given["userId"]:
        assert bodies == []
        return
    assert [body["user_id"] for body in bodies] == [body["user_id"] for body in expected]
    sent = {key: value for key, value in expected[0]["properties"].items() if value not in ("", None)}
    assert [body["properties"] for body in bodies] == [sent]  # empty values are left out
    assert [sorted(body["aliases"]) for body in bodies] == [
        sorted({body["user_id"], *body.get("aliases", ())}) for body in expected
    ]
