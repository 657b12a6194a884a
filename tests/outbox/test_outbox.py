"""What is sent next, and that each record is counted, under a clock of the tests' own."""

from __future__ import annotations

import itertools
import json
import logging
from collections import deque

import pytest

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.budget import REFUSED_PAUSE
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._outbox.outbox import NEVER
from tests.outbox.support import ACCEPTED, FAILED, FAULT, INVALID, REFUSED, Harness, identity, name_of, record, spent


def test_order():
    """The highest priority goes first, within a priority the oldest record."""
    harness = Harness()
    harness.put("a", "b")
    harness.put("c", priority=logging.ERROR)
    harness.put("d", priority=logging.WARNING)
    assert [harness.send() for _ in range(4)] == ["c", "d", "a", "b"]
    assert harness.wait() == NEVER
    assert harness.outbox.is_empty


def test_reserve_for_alerts():
    """An alert goes out at once, whatever else waits."""
    harness = Harness(rate_limit=10)
    harness.put(*"abcdefghi")
    for _ in range(9):
        harness.send()
    assert harness.wait() > 50
    assert harness.outbox.wake_level() == logging.ERROR
    harness.put("alert", priority=logging.ERROR)
    assert harness.send() == "alert"
    assert harness.outbox.wake_level() == NEVER


def test_overflow():
    """When the memory is full records fold, then the least important are digested; what never folds is dropped."""
    harness = Harness(size=3)
    harness.put("a", "b", "a")
    harness.put("w", priority=logging.WARNING)
    harness.put("e", priority=logging.ERROR)
    harness.put("a", "c")
    stats = harness.outbox.stats()
    assert (stats.accepted, stats.pending, stats.dropped) == (7, 7, {})
    assert [harness.send() for _ in range(3)] == ["e", "w", "5 more events of 3 kinds"]
    for number in range(6):
        harness.put(f"own {number}", key=f"key {number}", priority=logging.DEBUG + number)
    stats = harness.outbox.stats()
    assert (stats.pending, stats.dropped) == (3, {"overflow": 3})
    assert [harness.send() for _ in range(3)] == ["own 5", "own 4", "own 3"]
    assert "dropped" in harness.outbox.notices()[0]


def test_take_at_most():
    """A caller that may not wait long moves as many records as it asks for, the oldest first."""
    harness = Harness()
    queue = deque(record(title) for title in "abc")
    harness.outbox.take(queue, 2)
    assert [captured.attributes["title"] for captured in queue] == ["c"]
    assert [harness.send(), harness.send()] == ["a", "b"]


def test_halve():
    """A store that is full can ask for half of the memory, again and again, until one entry is left."""
    harness = Harness()
    harness.put(*(f"n{number}" for number in range(64)))
    held = [harness.outbox.held]
    while harness.outbox.halve():
        held.append(harness.outbox.held)
    assert all(after <= max(before // 2, 1) for before, after in itertools.pairwise(held))
    assert harness.outbox.held == 1
    assert harness.outbox.stats().pending == 64


def test_expire():
    """What waited too long is dropped and counted; a request that was started is still tried."""
    harness = Harness()
    harness.put("started", "old", "old too")
    harness.start()
    harness.clock.now += 100
    harness.put("new")
    harness.outbox.expire(harness.clock.now - 50)
    assert harness.outbox.stats().dropped == {"expired": 2}
    harness.outbox.settle(ACCEPTED)
    assert harness.send() == "new"


def test_started_request_is_frozen():
    """Records that come in after a request was started wait for the next one."""
    harness = spent()
    harness.put("a", "a")
    harness.clock.now += 100
    request = harness.start()
    harness.put("a", "a", "a")
    harness.outbox.settle(FAILED)
    harness.clock.now += 10
    assert harness.outbox.next() is request
    harness.outbox.settle(ACCEPTED)
    assert sum(body["metadata"].get("occurrences", 1) for body in harness.send_all()) == 3


def test_retry_is_the_same_request():
    """A retry has the same idempotency key and the same bytes."""
    harness = Harness()
    harness.put("a")
    first = harness.start()
    for answer in (FAILED, ApiResponse(Verdict.CONFLICT), ApiResponse(Verdict.LIMITED, retry_after=1.0)):
        harness.outbox.settle(answer)
        harness.clock.now += 100
        assert harness.outbox.next() is first
    harness.outbox.settle(ACCEPTED)
    stats = harness.outbox.stats()
    assert (stats.delivered, stats.events, stats.requests, stats.retries) == (1, 1, 4, 3)


def test_one_bad_event_does_not_hold_up_others():
    """While a failed event waits for its retry others are sent; after five faults it is dropped."""
    harness = Harness()
    harness.put("bad", priority=logging.ERROR)
    others = (f"other {n}" for n in itertools.count())
    tries = 0
    while harness.outbox.stats().pending:
        harness.put(next(others))
        for _ in range(2):
            step = harness.outbox.next()
            if isinstance(step, ApiRequest):
                tries += name_of(step) == "bad"
                harness.outbox.settle(FAULT if name_of(step) == "bad" else ACCEPTED)
        harness.clock.now += 20
    assert tries == 5
    assert harness.outbox.stats().dropped == {"rejected": 1}


def test_outage_drops_nothing():
    """When every request fails no event is at fault."""
    harness = Harness()
    harness.put("a", "b", "c")
    for _ in range(200):
        step = harness.outbox.next()
        if isinstance(step, ApiRequest):
            harness.outbox.settle(FAULT)
        else:
            harness.clock.now += step
    stats = harness.outbox.stats()
    assert (stats.pending, stats.dropped) == (3, {})
    assert stats.requests < 250


def test_formatter_that_raises():
    """A record that cannot be made an event is counted, and the others are sent."""
    harness = Harness()
    harness.put("a", raises=True)
    harness.put("b")
    assert harness.send() == "b"
    assert harness.outbox.stats().dropped == {"rejected": 1}


def test_formatter_whose_event_is_not_json():
    """An event that cannot be encoded is counted, and the others are sent."""
    harness = Harness()
    harness.put("a", metadata={"bad": object()})
    harness.put("b")
    assert harness.send() == "b"
    assert harness.outbox.stats().dropped == {"rejected": 1}
    assert "TypeError" in harness.outbox.notices()[0]


# Identify requests and events


def test_identify_before_its_event():
    """A user is identified before the event that names it, once."""
    harness = Harness()
    harness.put("a", "b", identities=(identity(),))
    assert [harness.send() for _ in range(3)] == ["identify u", "a", "b"]
    assert harness.outbox.stats().identifies == 1


def test_alert_before_its_identify():
    """An alert does not wait for an identify request."""
    harness = Harness()
    harness.put("alert", priority=logging.ERROR, identities=(identity(),))
    assert [harness.send() for _ in range(2)] == ["alert", "identify u"]


def test_event_takes_the_last_request():
    """With one request left in the window, the event has it."""
    harness = Harness(rate_limit=10)
    harness.put(*"abcdefgh")
    for _ in range(8):
        harness.send()
    harness.put("i", identities=(identity(),))
    assert harness.send() == "i"
    harness.clock.now += 100
    assert harness.send() == "identify u"


def test_failing_identify():
    """An identify request that fails delays no event, and is sent again when nothing else waits."""
    harness = Harness()
    harness.put("a", "b", identities=(identity(),))
    assert harness.send(FAILED) == "identify u"
    assert [harness.send(), harness.send()] == ["a", "b"]
    harness.clock.now += harness.wait()
    assert harness.send() == "identify u"


def test_refused_identify():
    """A key that may not identify can send events all the same; the log says so."""
    harness = Harness()
    harness.put("a", identities=(identity(),))
    assert harness.send(REFUSED) == "identify u"
    assert harness.send() == "a"
    assert harness.wait() == pytest.approx(REFUSED_PAUSE)
    assert len(harness.outbox.notices()) == 1


def test_only_identifies():
    """A record that only identifies is delivered with its request, or at once when the server has the facts."""
    harness = Harness()
    harness.put("x", "y", identities=(identity(),), only_identifies=True)
    assert harness.outbox.stats().pending == 2
    assert harness.send() == "identify u"
    assert harness.wait() == NEVER
    stats = harness.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.events, stats.identifies) == (2, 2, 0, 1)


def test_folding_keeps_identities():
    """The users that folded records name are identified all the same, also those of an event that never folds."""
    harness = spent()
    harness.put("a", identities=(identity("u"),))
    harness.put("a", identities=(identity("v"),))
    harness.put("x", identities=(identity("w"),), only_identifies=True)
    harness.put("k", identities=(identity("k"),), key="own key")
    harness.put("y", raises=True)
    bodies = [body for body in harness.send_all() if "dropped" not in body.get("metadata", ())]
    assert sorted(body.get("title") or body["user_id"] for body in bodies) == ["a (×2)", "k", "k", "u", "v", "w"]
    assert harness.outbox.stats().dropped == {"rejected": 1}


def test_untrusted_users_have_half_of_the_places():
    """Browsers cannot push out the users that the server names; the record that they cost is counted."""
    harness = Harness(size=4)
    for user in "abc":
        harness.put(user, priority=UNTRUSTED_PRIORITY, identities=(identity(user),), only_identifies=True)
    harness.send(REFUSED)
    harness.wait()
    assert harness.outbox.stats().dropped == {"overflow": 1}
    harness.put("own", identities=(identity("own"),), only_identifies=True)
    harness.wait()
    harness.clock.now += REFUSED_PAUSE
    assert [harness.send() for _ in range(3)] == ["identify own", "identify a", "identify b"]


def test_user_named_by_the_server_too():
    """A user that a browser named first has the server's priority as soon as the server names it, too."""
    harness = Harness()
    for user in ("browser", "both"):
        harness.put(user, priority=UNTRUSTED_PRIORITY, identities=(identity(user),), only_identifies=True)
    harness.send(REFUSED)
    harness.wait()
    for user in ("both", "own"):
        harness.put(user, identities=(identity(user, plan="max"),), only_identifies=True)
    harness.wait()
    harness.clock.now += REFUSED_PAUSE
    assert [harness.send() for _ in range(3)] == ["identify both", "identify own", "identify browser"]


def test_failed_aliases():
    """Aliases that the server could not register are in the log, and are tried again with the next record."""
    harness = Harness()
    harness.outbox.identify(Identity("u", {}, ("b",)))
    assert harness.send(ApiResponse(Verdict.ACCEPTED, failed_aliases=("b",))) == "identify u"
    assert "aliases" in harness.outbox.notices()[0]
    harness.outbox.identify(Identity("u", {}, ("b",)))
    assert harness.send() == "identify u"


def test_identifies_are_bounded():
    """As many identify requests wait as the outbox is large; the oldest are dropped."""
    harness = Harness(size=3)
    for n in range(10):
        harness.outbox.identify(identity(str(n)))
    assert [harness.send() for _ in range(3)] == ["identify 7", "identify 8", "identify 9"]
    assert harness.outbox.stats().identifies_lost == 7
    assert harness.wait() == NEVER


# The end


def test_identifies_at_exit():
    """Identify requests that wait at exit go as long as the window lasts; how many are lost is returned and counted."""
    harness = Harness(rate_limit=10)
    for n in range(15):
        harness.outbox.identify(identity(str(n)))
    harness.outbox.hurry(5.0)
    for _ in range(10):
        harness.send()
    assert harness.wait() > 5.0
    assert harness.outbox.give_up("shutdown") == Undelivered(0, 5, "the rate limit is used up")
    stats = harness.outbox.stats()
    assert (stats.identifies, stats.identifies_lost, stats.accepted) == (10, 5, 0)
    assert "5 identifies lost" in str(stats)


def test_refused_at_exit():
    """A wrong key: one warning, a try a minute, nothing dropped, and one try at exit."""
    harness = Harness()
    harness.put("a")
    for _ in range(5):
        harness.send(REFUSED)
        assert harness.wait() == pytest.approx(REFUSED_PAUSE)
        harness.clock.now += REFUSED_PAUSE
    assert len(harness.outbox.notices()) == 1
    harness.send(REFUSED)
    harness.outbox.hurry(5.0)
    assert harness.send(REFUSED) == "a"
    assert harness.wait() > 0
    assert harness.outbox.give_up("shutdown").records == 1
    assert harness.outbox.stats().dropped == {"shutdown": 1}


def test_closed():
    """After it gave up an outbox counts what comes in, and holds nothing."""
    harness = Harness()
    harness.outbox.next()
    harness.outbox.give_up("shutdown")
    harness.put("a")
    harness.outbox.identify(identity())
    harness.outbox.refuse()
    stats = harness.outbox.stats()
    assert (stats.accepted, stats.dropped) == (2, {"shutdown": 2})
    assert str(stats).startswith("2 records accepted: 0 delivered, 0 pending, 2 dropped (shutdown 2); 0 events")


def test_given_up_under_way():
    """A record whose request is under way when the outbox gives up is counted once."""
    harness = Harness()
    harness.put("a")
    harness.start()
    assert harness.outbox.give_up("shutdown").records == 1
    harness.outbox.settle(ACCEPTED)
    stats = harness.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.dropped) == (1, 0, {"shutdown": 1})


# What another outbox left


def test_resume():
    """An outbox takes over records, folds, identify requests and started requests, and sends those to the byte."""
    first = Harness()
    first.put("started")
    request = first.start()
    harness = Harness()
    harness.outbox.begin_at(7, first.outbox.budget())
    fold = Fold(FoldKey("c", logging.INFO, ("f",)), 2)
    for number in range(3):
        fold.add(record("f", metadata={"number": number}), None)
    harness.outbox.resume(1, record("started"), priority=20, first_position=1, records=1, request=request)
    harness.outbox.resume(2, fold)
    harness.outbox.resume(5, record("r"))
    harness.outbox.resume(6, IdentifyCall("u", {"plan": "pro"}, ("u",)), priority=20, first_position=5.5, records=2)
    assert harness.outbox.newest == 7
    assert harness.outbox.stats().pending == 7
    assert not harness.outbox.is_settled(1)
    assert harness.outbox.next() is request
    harness.outbox.settle(ACCEPTED)
    assert harness.outbox.stats().retries == 1
    assert [harness.send() for _ in range(3)] == ["f (×3)", "r", "identify u"]
    assert harness.outbox.stats().delivered == 7


def test_remember():
    """Facts that another process sent are not sent again before their time is over."""
    harness = Harness()
    facts = IdentifyCall("u", {"plan": "pro"}, ("u",))
    harness.outbox.remember(facts, 10.0)
    harness.outbox.identify(identity())
    assert harness.wait() == NEVER
    harness.outbox.remember(facts, 4_000.0)
    harness.outbox.identify(identity("v"))
    assert json.loads(harness.start().body)["user_id"] == "v"


def test_answers_are_settled_once():
    """A second answer to one request changes nothing."""
    harness = Harness()
    harness.put("a")
    harness.send(INVALID)
    harness.outbox.settle(ACCEPTED)
    stats = harness.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.dropped) == (1, 0, {"rejected": 1})


def test_identify_before_later_events():
    """What is logged after `identify` is sent after it, alerts excepted, as long as that delays no event."""
    harness = Harness()
    harness.outbox.identify(identity())
    harness.put("i")
    harness.put("e", priority=logging.ERROR)
    assert [harness.send() for _ in range(3)] == ["e", "identify u", "i"]


def test_kinds_in_stats():
    """The stats say how many kinds are known, and which are storming."""
    harness = Harness()
    harness.put(*["a"] * 1_200, "b", priority=logging.ERROR)
    while isinstance(harness.outbox.next(), ApiRequest):
        harness.outbox.settle(ACCEPTED)
    stats = harness.outbox.stats()
    assert (stats.kinds, stats.storming) == (2, {"a": 1_200})
    assert str(stats).endswith("2 kinds of alerts known; storming: a ×1,200")


def test_each_record_of_a_storm_is_counted_once():
    """Whether the record or only its event says of which kind it is, a storm has each of its records once."""
    harness = Harness()
    for number in range(40):
        more = {} if number % 2 else {"identities": (identity(f"u{number}"),)}
        harness.put("a", "a", priority=logging.ERROR, **more)
    while isinstance(harness.outbox.next(), ApiRequest):
        harness.outbox.settle(ACCEPTED)
    assert harness.outbox.stats().storming == {"a": 80}
