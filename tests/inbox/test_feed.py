"""What is stored, how it is bounded, and how users and their aliases are told apart."""

from __future__ import annotations

import threading

import pytest

from emitkit_logging._api.contract import TooLarge, encode
from emitkit_logging.inbox.feed import EVENT_FIELDS, Feed, Recent


def add(feed, **fields):
    return feed.add_event({"channelName": "general", "title": "T", **fields}, now=1_800_000_000.9876)


def identify(feed, user_id, *aliases, merge=True, **properties):
    return feed.identify(user_id, properties, aliases, now=1_800_000_000.0, merge=merge)


def test_an_event_has_every_field():
    """Readers need not ask which fields there are; times are in UTC with milliseconds."""
    event = add(Feed())
    assert set(event) == EVENT_FIELDS
    assert event["createdAt"] == "2027-01-15T08:00:00.987Z"
    assert (event["tags"], event["metadata"], event["source"], event["notify"]) == ([], {}, "api", True)
    assert event["answer"] is None


def test_an_event_that_waits():
    """A question says until when it waits, and what became of its callback."""
    question = {"fields": [{"id": "n", "type": "text", "label": "N"}]}
    event = add(Feed(), **question, expiresIn=60, callbackUrl="https://x.y")
    assert (event["answer"]["status"], event["answer"]["expiresAt"]) == ("pending", "2027-01-15T08:01:00.987Z")
    assert event["callback"] == {"url": "https://x.y", "attempts": 0, "deliveredAt": None, "lastStatus": None}
    assert add(Feed(), **question)["callback"] is None
    assert add(Feed(), **question)["expiresIn"] == 86_400


def test_too_large_an_event_leaves_no_trace():
    """The limit is on the whole stored event, and a refused one creates no channel."""
    feed = Feed()
    fields = {"channelName": "general", "title": "T"}
    size = len(encode({name: value for name, value in add(Feed()).items() if name != "idempotencyKey"}))
    feed.add_event(fields, now=1_800_000_000.0, most_bytes=size)
    with pytest.raises(TooLarge):
        feed.add_event({**fields, "channelName": "another"}, now=0.0, most_bytes=size - 1)
    assert [channel["name"] for channel in feed.channels] == ["general"]
    assert len(feed.events) == 1


def test_a_channel_is_made_by_its_first_event():
    """It takes that event's icon and description and keeps them."""
    feed = Feed()
    first, second = add(feed, icon="👤", description="First"), add(feed, icon="💥")
    assert first["channelId"] == second["channelId"] == feed.channels[0]["id"]
    assert (feed.channels[0]["icon"], feed.channels[0]["description"]) == ("👤", "First")


def test_everything_is_bounded():
    """The oldest go first: events, identify calls, channels, and identities with their aliases."""
    feed = Feed(keep=2)
    for name in "abc":
        add(feed, channelName=name, title=name)
        identify(feed, name, f"{name}@example.com")
    assert [event["title"] for event in feed.events] == ["b", "c"]
    assert [channel["name"] for channel in feed.channels] == ["b", "c"]
    assert [call["user_id"] for call in feed.identifies] == ["b", "c"]
    assert list(feed.identities) == ["b", "c"]
    assert add(feed, userId="a@example.com")["userId"] == "a@example.com"


def test_recent_is_bounded_in_bytes_too():
    """Few large items count as much as many small ones; the newest always stays."""
    recent: Recent[str] = Recent(10, size=100)
    for name, size in (("a", 60), ("b", 40), ("c", 1), ("d", 500)):
        recent.append(name, size)
    assert recent.snapshot() == ["d"]
    recent.append("e", 1)
    assert recent.snapshot() == ["e"]


def test_identify_merges_or_replaces():
    """Current servers merge properties, self-hosted ones replace them; what was handed out does not change."""
    feed = Feed()
    first = identify(feed, "u", plan="pro", name="Jane")
    assert identify(feed, "u", plan="basic")["properties"] == {"plan": "basic", "name": "Jane"}
    assert first["properties"] == {"plan": "pro", "name": "Jane"}
    assert identify(feed, "u", merge=False, plan="free")["properties"] == {"plan": "free"}
    assert feed.identities["u"]["id"] == first["id"]


def test_aliases_resolve_and_move():
    """An alias is whose identity named it last; the id of another user cannot be one."""
    feed = Feed()
    identify(feed, "one", "a@example.com", "shared")
    moved = identify(feed, "two", "shared", "shared", "two", "one")
    assert moved["aliases"] == {
        "created": ["shared", "two"],
        "failed": [{"alias": "one", "reason": "This is the id of another user"}],
    }
    sent = ("a@example.com", "shared", "one", "unknown", None)
    assert [add(feed, userId=name)["userId"] for name in sent] == ["one", "two", "one", "unknown", None]
    assert feed.identities["one"]["aliases"] == ["a@example.com"]
    assert feed.identities["two"]["aliases"] == ["shared", "two"]


def test_listeners_hear_what_is_stored():
    """The terminal, and later the page, are told of each event and identify call."""
    feed, heard = Feed(), []
    feed.subscribe(lambda kind, stored: heard.append((kind, stored.get("title", stored.get("user_id")))))
    add(feed, title="An event")
    identify(feed, "u")
    assert heard == [("event", "An event"), ("identify", "u")]


def test_waiting_ends_when_it_is_found_or_in_time():
    """A waiter is woken by what is stored, and gives up on what is not."""
    feed = Feed()
    storing = threading.Thread(target=lambda: [add(feed, title=name) for name in "abc"])
    storing.start()
    found = feed.wait(lambda: feed.events if len(feed.events) == 3 else None, timeout=5.0)
    storing.join()
    assert found is not None
    assert [event["title"] for event in found] == ["a", "b", "c"]
    assert feed.wait(lambda: None, timeout=0.01) is None
