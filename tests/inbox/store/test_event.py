"""A stored event: its fields, its level and its text."""

from __future__ import annotations

from emitkit_logging.inbox.store.event import EVENT_FIELDS, least_level, level_of, search_pattern, searchable_text
from emitkit_logging.inbox.store.feed import Feed

from .feeds import add


def test_an_event_has_every_field():
    """Every event has the same keys; times are in UTC with milliseconds."""
    event = add(Feed())
    assert set(event) == EVENT_FIELDS
    assert event["createdAt"] == "2027-01-15T08:00:00.987Z"
    assert (event["tags"], event["metadata"], event["source"], event["notify"]) == ([], {}, "api", True)
    assert event["answer"] is None


def test_an_event_that_waits():
    """A question has the time until which it waits, and the state of its callback."""
    question = {"fields": [{"id": "n", "type": "text", "label": "N"}]}
    event = add(Feed(), **question, expiresIn=60, callbackUrl="https://x.y")
    assert (event["answer"]["status"], event["answer"]["expiresAt"]) == ("pending", "2027-01-15T08:01:00.987Z")
    assert event["callback"] == {"url": "https://x.y", "attempts": 0, "deliveredAt": None, "lastStatus": None}
    assert add(Feed(), **question)["callback"] is None
    assert add(Feed(), **question)["expiresIn"] == 86_400


def test_the_level_is_that_of_the_log_record():
    """An event that was not made of a log record, or of one with a level of its own, has no level number."""
    assert level_of({"metadata": {"log": {"level": "ERROR"}}}) == (40, "ERROR")
    assert level_of({"metadata": {"log": {"level": "NOTICE"}}}) == (0, "NOTICE")
    for metadata in ({}, {"log": "ERROR"}, {"log": {"level": 40}}):
        assert level_of({"metadata": metadata}) == (0, None)
    assert (least_level("warning"), least_level("all")) == (30, 0)


def test_the_text_in_which_an_event_is_found():
    """It has the event's own texts and the start of its metadata, in lower case."""
    event = add(Feed(), title="Über", description="Said", userId="U-1", tags=["Beta"], metadata={"Key": "Value"})
    assert searchable_text(event) == 'über\nsaid\nu-1\ngeneral\nbeta\n{"key":"value"}'
    long = add(Feed(), title="x" * 500, description="y" * 900, metadata={"k": "z" * 900})
    assert len(searchable_text(long)) == 1001


def test_a_search_pattern_matches_text_literally():
    """The signs of SQL's LIKE mean themselves, and no text is no pattern."""
    assert search_pattern("100%_\\ A") == "%100\\%\\_\\\\ a%"
    assert search_pattern("") is None
