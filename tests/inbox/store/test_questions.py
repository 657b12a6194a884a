"""When events stop to wait for an answer."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox.emulation.refusals import Invalid, NotPending, NotWaiting
from emitkit_logging.inbox.store.feed import Feed
from emitkit_logging.inbox.store.questions import Questions

from .feeds import add

FIELDS = [{"id": "n", "type": "text", "label": "N"}]
NOW = 1_800_000_000.9876


@pytest.fixture
def asked(clock):
    """The questions of a feed with one event that waits for a minute, its id, what has ended, and the feed."""
    feed, ended = Feed(), []
    clock.now = NOW
    event_id = add(feed, fields=FIELDS, expiresIn=60)["id"]
    return Questions(feed, ended.append, clock), event_id, ended, feed


def test_an_answer_ends_the_question(asked):
    """The event has the answer, and ends once."""
    questions, event_id, ended, _ = asked
    event = questions.answer(event_id, "submit", {"n": "x"})
    assert (event["answer"]["status"], event["answer"]["values"]) == ("answered", {"n": "x"})
    with pytest.raises(NotPending, match="answered already"):
        questions.cancel(event_id)
    assert ended == [event]


def test_a_wrong_answer_changes_nothing(asked):
    """The question waits until an answer fits."""
    questions, event_id, ended, _ = asked
    with pytest.raises(Invalid):
        questions.answer(event_id, "submit", {"n": 1})
    assert ended == []
    assert questions.answer(event_id, "submit", None)["answer"]["values"] == {}


def test_a_question_expires_when_its_time_is_over(asked, clock):
    """A question expires at its time, not before, and only once."""
    questions, _, ended, _ = asked
    clock.now += 59.9
    questions.expire()
    assert ended == []
    clock.now += 0.1
    questions.expire()
    questions.expire()
    assert [event["answer"]["status"] for event in ended] == ["expired"]


def test_other_events_do_not_wait(asked):
    """An unknown event is `None`; one that asks nothing is an error."""
    questions, _, ended, feed = asked
    assert questions.cancel("event_none") is None
    with pytest.raises(NotWaiting, match="does not wait"):
        questions.cancel(add(feed)["id"])
    assert ended == []
