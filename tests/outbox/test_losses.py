"""What is dropped: counts, warnings for the log, and the event that reports it."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._outbox.factory import SafeEventFactory
from emitkit_logging._outbox.losses import NOTICE_PAUSE, REPORT_DELAY, Losses, Undelivered
from emitkit_logging._outbox.outbox import NEVER
from tests.outbox.support import INVALID, Clock, Factory, Harness

FACTORY = SafeEventFactory(Factory())


def test_report():
    """Drops are reported in one event, a little after the first of them and once the server accepts something."""
    clock = Clock()
    losses = Losses(clock)
    losses.add("rejected", {logging.INFO: 2}, "a")
    assert losses.report_at == NEVER
    losses.add("overflow", {logging.INFO: 3, logging.ERROR: 1}, "b")
    losses.sent()
    assert losses.report_at == clock.now + REPORT_DELAY
    assert losses.report(FACTORY) is None
    clock.now += REPORT_DELAY
    event = losses.report(FACTORY)
    assert (event.channel, event.title, event.description) == (
        "alerts",
        "6 log records were dropped",
        "rejected 2, overflow 4",
    )
    assert event.metadata == {"occurrences": 0, "dropped": {"rejected": 2, "overflow": 4}}
    assert losses.report(FACTORY) is None
    assert losses.dropped == {"rejected": 2, "overflow": 4}


def test_reports_once_a_minute():
    """A second report waits for a minute, and has what was dropped since the first."""
    clock = Clock()
    losses = Losses(clock)
    losses.add("rejected", {logging.INFO: 1}, "a")
    losses.sent()
    clock.now += REPORT_DELAY
    assert losses.report(FACTORY) is not None
    losses.add("rejected", {logging.INFO: 1}, "a")
    losses.sent()
    assert losses.report_at == clock.now + NOTICE_PAUSE
    clock.now += NOTICE_PAUSE
    assert losses.report(FACTORY).title == "1 log records were dropped"


def test_untrusted_losses():
    """What a browser's events are lost is counted, and does not alert anybody."""
    losses = Losses(Clock())
    losses.add("rejected", {UNTRUSTED_PRIORITY: 1}, "a")
    losses.sent()
    assert losses.report_at == NEVER
    assert losses.dropped == {"rejected": 1}


def test_notices_once_a_minute():
    """The log has one warning a minute for each reason, with the number so far and the last cause."""
    clock = Clock()
    losses = Losses(clock)
    losses.add("rejected", {logging.INFO: 1}, "title: no")
    losses.add("rejected", {logging.INFO: 1}, "b")
    losses.add("overflow", {logging.INFO: 1}, "c")
    first, second = losses.notices.take()
    assert "1 log records" in first
    assert "title: no" in first
    assert "overflow" in second
    clock.now += NOTICE_PAUSE - 1
    losses.add("rejected", {logging.INFO: 1}, "d")
    assert losses.notices.take() == []
    clock.now += 1
    losses.add("rejected", {logging.INFO: 1}, "e")
    assert "4 log records" in losses.notices.take()[0]


def test_undelivered():
    """What an exit loses is written in one line, with the reason; that of several workers is added up."""
    lost = Undelivered(2, 3, "a") + Undelivered(1_000, 0, "b")
    assert str(lost) == "1,002 log records and 3 identifies could not be delivered before the exit (a; b)"
    assert str(Undelivered(0, 3)) == "3 identifies could not be delivered before the exit"
    assert not Undelivered(reason="a")


def test_report_is_an_event_of_the_outbox():
    """The report is sent like an event, stands for no record, and the outbox wakes up for it."""
    harness = Harness()
    harness.put("bad", "bad", "good")
    harness.send(INVALID)
    harness.send(INVALID)
    harness.send()
    assert harness.wait() == pytest.approx(REPORT_DELAY)
    harness.clock.now += REPORT_DELAY
    assert harness.send() == "2 log records were dropped"
    harness.put("bad", "good")
    harness.send(INVALID)
    harness.send()
    assert harness.wait() == pytest.approx(NOTICE_PAUSE)
    stats = harness.outbox.stats()
    assert (stats.delivered, stats.events, stats.dropped) == (2, 3, {"rejected": 3})


def test_no_report_after_the_end():
    """An outbox that gave up adds no report, however long it lives."""
    harness = Harness()
    harness.put("bad", "good")
    harness.send(INVALID)
    harness.send()
    harness.outbox.give_up("shutdown")
    harness.clock.now += 100
    assert harness.outbox.is_empty
    harness.wait()
    assert harness.outbox.is_empty
