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


def test_events_are_read_one_by_one(tmp_path):
    """An event that was read by itself counts once, also when all are read later, and in the next inbox of the file."""
    path = tmp_path / "inbox.db"
    feed = Feed(path=path)
    first, second, third = (add(feed)["id"] for _ in range(3))
    for event_id in (second, second, "event_of_nobody"):
        feed.mark_event_read(event_id)
    assert counts(feed) == {"general": (3, 2)}
    assert [feed.is_unread(*feed.event(each)) for each in (first, second, third)] == [True, False, True]
    feed.close()
    feed = Feed(path=path)
    assert counts(feed) == {"general": (3, 2)}
    assert not feed.is_unread(*feed.event(second))
    feed.mark_read("general")
    feed.mark_event_read(first)
    assert counts(feed) == {"general": (3, 0)}
    feed.close()


def test_read_events_that_are_removed():
    """The counts stay right when events go that were read one by one."""
    feed = Feed(keep=2)
    ids = [add(feed)["id"] for _ in range(2)]
    feed.mark_event_read(ids[0])
    add(feed)
    assert counts(feed) == {"general": (2, 2)}
    feed.mark_event_read(ids[1])
    assert counts(feed) == {"general": (2, 1)}
    feed.clear()
    assert counts(feed) == {}
