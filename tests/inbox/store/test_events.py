"""Which events are found."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox.store.events import EventQuery
from emitkit_logging.inbox.store.feed import Feed


@pytest.fixture(scope="module")
def feed():
    """A feed of three events, one a minute."""
    feed = Feed()
    for number, (channel, level) in enumerate([("a", "INFO"), ("b", "ERROR"), ("a", "WARNING")]):
        fields = {"channelName": channel, "title": f"Number {number}", "metadata": {"log": {"level": level}}}
        feed.add_event(fields, now=60.0 * number)
    return feed


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (EventQuery(), [3, 2, 1]),
        (EventQuery(channel="a"), [3, 1]),
        (EventQuery(channel="c"), []),
        (EventQuery(level=30), [3, 2]),
        (EventQuery(text="NUMBER 1"), [2]),
        (EventQuery(text="number_1"), []),
        (EventQuery(since=60.0), [3, 2]),
        (EventQuery(until=60.0), [1]),
        (EventQuery(after=2), [3]),
        (EventQuery(before=2), [1]),
        (EventQuery(channel="a", level=30, text="number", since=0.0, until=999.0, after=0, before=9), [3]),
    ],
)
def test_conditions_are_combined(feed, query, found):
    """An event is found when it meets every condition; the newest is first."""
    assert [seq for seq, _ in feed.find(query, 10)] == found


def test_no_more_than_asked_for(feed):
    """The newest events are returned when more are found."""
    assert [seq for seq, _ in feed.find(EventQuery(), 2)] == [3, 2]
