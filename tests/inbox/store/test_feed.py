"""What is stored, and how it is bounded."""

from __future__ import annotations

import threading

import pytest

from emitkit_logging.inbox.emulation.javascript import encode
from emitkit_logging.inbox.emulation.refusals import TooLarge
from emitkit_logging.inbox.store.feed import Feed

from .feeds import add, identify


def test_too_large_an_event_leaves_no_trace():
    """The limit is on the whole stored event, and a refused event creates no channel."""
    feed = Feed()
    fields = {"channelName": "general", "title": "T"}
    size = len(encode({name: value for name, value in add(Feed()).items() if name != "idempotencyKey"}))
    feed.add_event(fields, now=1_800_000_000.0, most_bytes=size)
    with pytest.raises(TooLarge):
        feed.add_event({**fields, "channelName": "another"}, now=0.0, most_bytes=size - 1)
    assert [channel["name"] for channel in feed.channels] == ["general"]
    assert len(feed.events) == 1


def test_a_channel_is_created_with_its_first_event():
    """The channel keeps the icon and the description of its first event."""
    feed = Feed()
    first, second = add(feed, icon="👤", description="First"), add(feed, icon="💥")
    assert first["channelId"] == second["channelId"] == feed.channels[0]["id"]
    assert (feed.channels[0]["icon"], feed.channels[0]["description"]) == ("👤", "First")


def test_everything_is_bounded():
    """The oldest are removed first: events, identify calls, channels, and identities with their aliases."""
    feed = Feed(keep=2)
    for name in "abc":
        add(feed, channelName=name, title=name)
        identify(feed, name, f"{name}@example.com")
    assert [event["title"] for event in feed.events] == ["b", "c"]
    assert [channel["name"] for channel in feed.channels] == ["b", "c"]
    assert [call["user_id"] for call in feed.identifies] == ["b", "c"]
    assert list(feed.identities) == ["b", "c"]
    assert add(feed, userId="a@example.com")["userId"] == "a@example.com"


def test_subscribers_get_what_is_stored():
    """A subscriber, such as the terminal, gets each event and identify call."""
    feed, received = Feed(), []
    feed.subscribe(lambda kind, stored: received.append((kind, stored.get("title", stored.get("user_id")))))
    add(feed, title="An event")
    identify(feed, "u")
    assert received == [("event", "An event"), ("identify", "u")]


def test_waiting_ends_with_a_result_or_in_time():
    """A waiting thread is woken by each change, and gives up after its timeout."""
    feed = Feed()
    storing = threading.Thread(target=lambda: [add(feed, title=name) for name in "abc"])
    storing.start()
    found = feed.wait(lambda: feed.events if len(feed.events) == 3 else None, timeout=5.0)
    storing.join()
    assert found is not None
    assert [event["title"] for event in found] == ["a", "b", "c"]
    assert feed.wait(lambda: None, timeout=0.01) is None
