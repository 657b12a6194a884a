"""What waits in memory, and in which order it is looked at."""

from __future__ import annotations

import json
import logging

import pytest

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._worker import store as module
from emitkit_logging._worker.store import MemoryStore
from tests.outbox.support import ACCEPTED, Harness, record


@pytest.fixture
def store():
    return MemoryStore(Harness(size=20_000).outbox)


def alert(title: str, line: int, **more) -> CapturedRecord:
    return record(title, logging.ERROR, lineno=line, **more)


def first_title(store: MemoryStore) -> str:
    request = store.next()
    assert isinstance(request, ApiRequest)
    store.settle(ACCEPTED)
    return json.loads(request.body)["title"]


def test_unseen_source_goes_first(store):
    """An alert from another position in the code is taken before thousands that came in earlier."""
    for _ in range(5_000):
        store.append_alert(alert("storm", 1))
    store.append_alert(alert("new", 2))
    store.take(10)
    assert len(store.queue) == 4_989
    assert [first_title(store) for _ in range(3)] == ["storm", "new", "storm"]


def test_order_of_one_source(store):
    """Alerts of one source stay in their order, also where the first of them goes before all others."""
    for number in range(5):
        store.append(record(f"record {number}"))
    for number in range(5):
        store.append_alert(alert(f"alert {number}", 1))
    store.take()
    assert [first_title(store) for _ in range(10)] == [f"alert {n}" for n in range(5)] + [
        f"record {n}" for n in range(5)
    ]


def test_strangers_wait(store):
    """An alert that a browser sent goes before nothing."""
    captured = alert("stranger", 1)
    captured.is_trusted = False
    store.append(record("record"))
    store.append_alert(captured)
    assert [each.attributes["title"] for each in store.queue] == ["record", "stranger"]


def test_what_goes_first_is_bounded(store, monkeypatch):
    """Sources without number, such as a fingerprint for each alert, fill no memory, and each alert is sent."""
    monkeypatch.setattr(module, "_MOST_SOURCES", 150)
    for number in range(400):
        store.append_alert(alert(f"alert {number}", 1, fingerprint=str(number)))
    assert len(store._first) == module._MOST_FIRST
    store.take()
    for number in range(400, 500):
        store.append_alert(alert(f"alert {number}", 1, fingerprint=str(number)))
        store.take()
    assert len(store._sources) <= 150
    assert store.stats().pending == 500


def test_flush_counts_what_goes_first(store):
    """A flush waits for it as for all else."""
    store.append_alert(alert("new", 1))
    store.take()
    is_settled = store.mark()
    assert not is_settled()
    first_title(store)
    assert is_settled()
