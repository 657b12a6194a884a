"""The unread counts of channels."""

from __future__ import annotations

from emitkit_logging.inbox.store.feed import Feed

from .feeds import add


def counts(feed):
    return {each["name"]: (each["events"], each["unread"]) for each in feed.counts()}


def test_events_are_unread_until_they_are_marked():
    """A channel counts its own events, and its unread events since it was last marked."""
    feed = Feed()
    for name in ("b", "a", "b"):
        add(feed, channelName=name)
    assert list(counts(feed)) == ["a", "b"]
    feed.mark_read("b")
    assert counts(feed) == {"a": (1, 1), "b": (2, 0)}
    add(feed, channelName="b")
    feed.mark_read("nowhere")
    assert counts(feed) == {"a": (1, 1), "b": (3, 1)}
    feed.mark_read()
    assert counts(feed) == {"a": (1, 0), "b": (3, 0)}


def test_removed_events_are_counted_no_longer():
    """The counts are those of the events that are kept, whether they were read or not."""
    feed = Feed(keep=2)
    for _ in range(3):
        add(feed)
    feed.mark_read()
    add(feed)
    assert counts(feed) == {"general": (2, 1)}
    feed.clear()
    assert counts(feed) == {}
