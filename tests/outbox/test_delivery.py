"""One request, and what its answers mean for it."""

from __future__ import annotations

import json
import logging

import pytest

from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.event import SHRUNK_BYTES, Event
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.delivery import (
    CONFLICT_SECONDS,
    MOST_CONFLICTS,
    MOST_FAULTS,
    EventDelivery,
    IdentifyDelivery,
    Outcome,
)
from tests.outbox.support import ACCEPTED, FAILED, FAULT, INVALID, REFUSED

CONFLICT = ApiResponse(Verdict.CONFLICT)
TOO_LARGE = ApiResponse(Verdict.TOO_LARGE)
NOW = 1_000.0


def of_event(key: str | None = None, **metadata) -> EventDelivery:
    event = Event("c", "title", idempotency_key=key, metadata=metadata)
    return EventDelivery(logging.INFO, 1, position=1, event=event, records=1)


def of_identify(priority: int = logging.INFO) -> IdentifyDelivery:
    return IdentifyDelivery(priority, 1, position=1, facts=IdentifyCall("u", {"a": 1}, ("u",)))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (ACCEPTED, Outcome.DONE),
        (INVALID, Outcome.REJECTED),
        (CONFLICT, Outcome.RETRY),
        (FAILED, Outcome.RETRY),
        (FAULT, Outcome.RETRY),
        (REFUSED, Outcome.RETRY),
        (ApiResponse(Verdict.LIMITED), Outcome.RETRY),
        (ApiResponse(Verdict.AMBIGUOUS_401), Outcome.RETRY),
    ],
)
@pytest.mark.parametrize("make", [of_event, of_identify])
def test_first_answer(make, answer, outcome):
    """A 400 drops the request; all other failures are tried again."""
    delivery = make()
    delivery.start(NOW)
    assert delivery.settle(answer, NOW, 0) is outcome


def test_the_same_request():
    """Each try has the same key and the same bytes, and is counted."""
    delivery = of_event()
    first = delivery.start(NOW)
    assert delivery.start(NOW + 1) is first
    assert (delivery.tries, delivery.started_at) == (2, NOW + 1)
    assert len(first.key) == 32
    assert of_event("own").prepare().key == "own"


def test_failure_waits():
    """After a failure the request waits by itself, longer each time."""
    delivery = of_event()
    pauses = []
    for _ in range(4):
        delivery.start(NOW)
        delivery.settle(FAILED, NOW, 0)
        pauses.append(delivery.not_before - NOW)
    assert pauses == sorted(pauses)
    assert pauses[0] > 0


def test_faults_while_others_succeed():
    """Five answers of 500 drop a request, but only those count between which others succeeded."""
    delivery = of_event()
    for _ in range(MOST_FAULTS * 2):
        assert delivery.settle(FAULT, NOW, 7) is Outcome.RETRY
    outcomes = [delivery.settle(FAULT, NOW, 8 + number) for number in range(MOST_FAULTS - 1)]
    assert outcomes == [Outcome.RETRY] * (MOST_FAULTS - 2) + [Outcome.REJECTED]


def test_conflict_is_survived():
    """A 409 is tried again for ten seconds and at least six times; one that stays drops the request."""
    delivery = of_event()
    for _ in range(MOST_CONFLICTS + 2):
        assert delivery.settle(CONFLICT, NOW + CONFLICT_SECONDS - 0.1, 0) is Outcome.RETRY
    assert delivery.settle(CONFLICT, NOW + 2 * CONFLICT_SECONDS, 0) is Outcome.REJECTED
    delivery = of_event()
    for number in range(MOST_CONFLICTS - 1):
        assert delivery.settle(CONFLICT, NOW + 100 * number, 0) is Outcome.RETRY


def test_conflict_waits_as_asked():
    """A server that says when to come back after a 409 is heard."""
    delivery = of_event()
    delivery.settle(ApiResponse(Verdict.CONFLICT, retry_after=9.0), NOW, 0)
    assert delivery.not_before == NOW + 9.0


@pytest.mark.parametrize("key", [None, "given"])
def test_too_large(key):
    """A 413 makes the event smaller, once, and sends it under another key; a given key always gives the same one."""
    keys = set()
    for _ in range(2):
        delivery = of_event(key, x=["y" * 90] * 90)
        first = delivery.prepare()
        assert delivery.settle(TOO_LARGE, NOW, 0) is Outcome.RETRY
        second = delivery.prepare()
        assert len(second.body) <= SHRUNK_BYTES < len(first.body)
        assert second.key != first.key
        assert delivery.settle(TOO_LARGE, NOW, 0) is Outcome.REJECTED
        keys.add(second.key)
    assert len(keys) == (1 if key else 2)


def test_taken_over_event_cannot_shrink():
    """A request of another process whose event cannot be made any more is dropped when it is too large."""
    delivery = EventDelivery(logging.INFO, 1, position=1, event=None)
    assert delivery.settle(TOO_LARGE, NOW, 0) is Outcome.REJECTED
    assert delivery.label == "an event"


def test_identify():
    """An identify request has no key, is never an alert, and is not shrunk."""
    delivery = of_identify(logging.CRITICAL)
    request = delivery.prepare()
    assert (request.path, request.success, request.key) == ("/v1/identify", 200, None)
    assert json.loads(request.body) == {"user_id": "u", "properties": {"a": 1}, "aliases": ["u"]}
    assert delivery.priority < logging.ERROR
    assert delivery.settle(TOO_LARGE, NOW, 0) is Outcome.REJECTED
    assert "u'" not in delivery.label


def test_failed_identify_goes_last():
    """An identify request that failed waits behind the events; newer facts from an important record move it up."""
    delivery = of_identify()
    delivery.settle(FAILED, NOW, 0)
    assert delivery.priority < logging.NOTSET
    delivery.renew(IdentifyCall("u", {"a": 2}, ("u",)), logging.CRITICAL)
    assert logging.WARNING < delivery.priority < logging.ERROR
    assert json.loads(delivery.prepare().body)["properties"] == {"a": 2}


def test_rank():
    """The higher priority goes first, then the earlier position."""
    important, old, new = (
        EventDelivery(p, first_position, position=1, event=None) for p, first_position in ((30, 9), (20, 1), (20, 2))
    )
    assert sorted([new, important, old], key=lambda delivery: delivery.rank) == [important, old, new]
