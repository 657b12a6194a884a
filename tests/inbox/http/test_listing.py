"""What the query of a list asks for."""

from __future__ import annotations

import pytest

from emitkit_logging._api.moments import read_moment
from emitkit_logging.inbox.emulation.refusals import Invalid
from emitkit_logging.inbox.http.listing import read_listing
from emitkit_logging.inbox.store.events import EventQuery

NUMBERS = {"event_a": 7}


def test_no_query_lists_everything():
    """Without a limit there are 50 events."""
    listing = read_listing({}, NUMBERS.get)
    assert (listing.query, listing.most) == (EventQuery(), 50)


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ({"channel": "c"}, {"channel": "c"}),
        ({"since": "event_a"}, {"after": 7}),
        ({"before": "event_a"}, {"before": 7}),
        ({"since": "1970-01-01T00:00:10Z"}, {"since": 10.0}),
        ({"before": "1970-01-01T00:00:10Z"}, {"until": 10.0}),
    ],
)
def test_filters(query, filters):
    """A cursor is the id of an event, or a moment."""
    assert read_listing(query, NUMBERS.get).query == EventQuery(**filters)


@pytest.mark.parametrize("limit", ["1", "100", "007"])
def test_limits(limit):
    """A limit is a whole number from 1 to 100."""
    assert read_listing({"limit": limit}, NUMBERS.get).most == int(limit)


def test_names_every_wrong_parameter():
    """All problems are listed at once."""
    query = {"channel": "🚨" * 128, "since": "event_b", "before": "yesterday", "limit": "101"}
    with pytest.raises(Invalid) as caught:
        read_listing(query, NUMBERS.get)
    assert [problem["path"] for problem in caught.value.problems] == [["channel"], ["since"], ["before"], ["limit"]]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01t00:00:00.1z", 0.1),
        ("1970-01-01T02:00:00.1234567+02:00", 0.123456),
        ("1970-01-01T00:00:01", 1.0),
        ("yesterday", None),
        ("", None),
        ("9999-99-99", None),
    ],
)
def test_moments(text, seconds):
    """Any ISO 8601 date-time is read, in UTC when it has no zone."""
    assert read_moment(text) == seconds
