"""Which records are of the library's own work, and so never become events."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from emitkit_logging._worker import own_calls
from tests.records import make


def logged_in_a_call(name: str) -> bool:
    """Return whether a record of the logger `name`, logged in the middle of a call of ours, is the library's own."""
    record = make("x")
    record.name = name
    with own_calls.inside():
        return own_calls.is_own(record)


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "requests", "my.instrumentation"])
def test_inside_a_call(name):
    """What is logged in the middle of a request is the library's own, whichever logger it has."""
    assert logged_in_a_call(name)


def test_outside_of_a_call():
    """The same loggers are the application's everywhere else, in this thread and in others."""
    record = make("x")
    record.name = "urllib3.connectionpool"
    assert not own_calls.is_own(record)
    with own_calls.inside(), own_calls.inside():
        pass
    assert not own_calls.under_way


class Finalized:
    """Logs when it is collected."""

    def __init__(self, note) -> None:
        self.cycle, self.note = self, note

    def __del__(self) -> None:
        self.note()


class Plain:
    """Has no finalizer of its own."""

    def __init__(self) -> None:
        self.cycle = self


@pytest.mark.parametrize("kind", ["__del__", "weakref.finalize"])
def test_finalizers(kind):
    """What a finalizer logs is the application's, although the collector runs it in the middle of a request."""
    results = []

    def note() -> None:
        results.append(own_calls.is_own(make("collected")))

    if kind == "__del__":
        Finalized(note)
    else:
        weakref.finalize(Plain(), note)
    with own_calls.inside():
        gc.collect()
    assert results == [False]


def test_records_of_finalizers_are_delivered(server, handler, logger):
    """All records that finalizers log arrive, whichever thread the collector runs in; each once."""
    made = handler(base_url=server.url, rate_limit=0, level=logging.ERROR)
    logger.addHandler(made)
    count = 300
    for number in range(count):
        Finalized(lambda number=number: logger.error("collected %d", number, extra={"number": number}))
        if number % 10 == 0:
            logger.error("ordinary", extra={"filler": [number] * 50})
    gc.collect()
    assert made.flush(20)
    stats = made.stats
    assert (stats.accepted, stats.delivered, stats.pending, stats.dropped) == (count + 30, count + 30, 0, {})
