"""Records that were folded elsewhere: by the applications of a fleet."""

from __future__ import annotations

import json

import pytest

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.folding import Fold
from tests.outbox.support import ACCEPTED, Harness


def fold(title: str, level: int, count: int) -> Fold:
    made = Fold(FoldKey("c", level, (title,)), 1)
    for _ in range(count):
        made.add(CapturedRecord({"title": title, "msg": title, "levelno": level, "created": 1.0}), None)
    return made


def send(harness: Harness) -> dict | None:
    """Send what goes next, and return its metadata."""
    step = harness.outbox.next()
    if not isinstance(step, ApiRequest):
        return None
    harness.outbox.settle(ACCEPTED)
    return json.loads(step.body) | json.loads(step.body)["metadata"]


def test_merge():
    """Folds of one kind become one event with all records, and each is counted."""
    harness = Harness(rate_limit=10)
    for count in (3, 4):
        harness.outbox.take_fold(fold("a", 20, count))
    assert harness.outbox.pending == 7
    assert send(harness)["occurrences"] == 7
    assert harness.outbox.stats().delivered == 7


def test_new_alert():
    """A fold of a kind that is not known goes first and pushes; the next ones have positions and do not push."""
    harness = Harness(rate_limit=100)
    harness.outbox.take_fold(fold("a", 20, 2))
    harness.outbox.take_fold(fold("boom", 40, 2))
    first = send(harness)
    assert (first["occurrences"], first["notify"], first["title"]) == (2, True, "boom (×2)")
    for _ in range(4):
        harness.outbox.take_fold(fold("boom", 40, 3))
        again = send(harness)
        assert (again["occurrences"], again["notify"]) == (3, False)
    harness.outbox.take_fold(fold("boom", 40, 3))
    assert send(harness)["title"] == "a (×2)"
    assert send(harness) is None  # the kind has no place left
    harness.clock.now += 61
    assert send(harness)["occurrences"] == 3


def test_behind_a_single():
    """A fold behind the first alert of its kind is no first."""
    harness = Harness(rate_limit=100)
    harness.put("boom", priority=40)
    harness.outbox.take_fold(fold("boom", 40, 5))
    assert "occurrences" not in send(harness)
    assert send(harness)["occurrences"] == 5


@pytest.mark.parametrize("level", [20, 40])
def test_too_many(level):
    """More kinds than can be held are digested; every record is counted."""
    harness = Harness(rate_limit=100, size=10)
    for number in range(50):
        harness.outbox.take_fold(fold(f"kind {number}", level, 2))
    stats = harness.outbox.stats()
    assert stats.accepted == 100 == stats.pending
    assert harness.outbox.held <= 10
