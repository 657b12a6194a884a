"""Which users the server knows, and the identify requests that wait."""

from __future__ import annotations

import math

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._outbox.budget import REFUSED_PAUSE
from emitkit_logging._outbox.delivery import IdentifyDelivery
from emitkit_logging._outbox.identifies import MOST_ALIASES, MOST_PROPERTIES, IdentifyQueue, KnownUsers
from emitkit_logging._outbox.losses import Losses
from emitkit_logging._outbox.observer import Changes, Ended
from emitkit_logging._outbox.queues import Positions
from tests.outbox.support import ACCEPTED, FAILED, REFUSED, Clock, Harness, identity


class StartOfTime(Clock):
    now = 0.0


def users(clock=None, size=10, ttl=100.0) -> KnownUsers:
    return KnownUsers(ttl=ttl, size=size, clock=clock or StartOfTime())


def send(known: KnownUsers, created: float = 0.0, aliases: tuple = (), **properties):
    """Add what a record says, let the server accept what is due, and return the properties that were sent."""
    facts = known.learn(Identity("u", properties, aliases, created))
    if facts is not None:
        known.succeeded(facts)
    return facts and dict(facts.properties)


def test_union_and_cache():
    """The same facts are sent once; new ones together with all that is known."""
    known = users()
    assert send(known, plan="pro") == {"plan": "pro"}
    assert send(known, plan="pro") is None
    assert send(known, seats=2) == {"plan": "pro", "seats": 2}
    assert send(known, plan="pro") is None


def test_back_and_forth():
    """Facts count as new when they differ from those sent last."""
    known = users()
    assert [send(known, n, plan=plan) for n, plan in enumerate(["pro", "basic", "pro"])] == [
        {"plan": "pro"},
        {"plan": "basic"},
        {"plan": "pro"},
    ]


def test_older_record():
    """A record that was logged earlier does not overwrite what a later one says."""
    known = users()
    send(known, 2.0, plan="basic")
    assert send(known, 1.0, plan="pro") is None


def test_ttl():
    """After the TTL the same facts are sent again."""
    clock = StartOfTime()
    known = users(clock)
    send(known, plan="pro")
    clock.now = 99.0
    assert send(known, plan="pro") is None
    clock.now = 101.0
    assert send(known, plan="pro") == {"plan": "pro"}


def test_only_success_counts():
    """Facts that the server did not accept are due again."""
    known = users()
    assert known.learn(Identity("u", {"a": 1})) == known.learn(Identity("u", {"a": 1}))


def test_failed_alias():
    """A failed alias is tried with the next record, then at most once a minute."""
    clock = StartOfTime()
    known = users(clock)
    named = Identity("u", {}, ("a", "b"))
    known.succeeded(known.learn(named), ["b"])
    facts = known.learn(named)
    assert facts.aliases == ("u", "a", "b")
    known.succeeded(facts, ["b"])
    assert known.learn(named) is None
    clock.now = 61.0
    facts = known.learn(named)
    known.succeeded(facts)
    clock.now = 99.0
    assert known.learn(named) is None


def test_bounds():
    """Users, aliases and properties that are remembered are bounded; the id is always among the aliases."""
    known = users(size=2)
    for n in range(5):
        known.learn(Identity(str(n), {"n": n}))
    facts = known.learn(Identity("4", {}, tuple(f"a{n}" for n in range(80))))
    assert (len(facts.aliases), facts.aliases[0], facts.aliases[-1]) == (MOST_ALIASES, "4", "a79")
    assert known.learn(Identity("0", {"m": 1})).properties == {"m": 1}
    facts = known.learn(Identity("4", {str(n): n for n in range(500)}))
    assert len(facts.properties) == MOST_PROPERTIES


def test_body():
    """The request uses the one spelling that every server accepts."""
    facts = users().learn(Identity("u", {"a": 1}, ("b",)))
    assert facts.body() == {"user_id": "u", "properties": {"a": 1}, "aliases": ["u", "b"]}


def test_remember():
    """Facts that another process sent count as sent until their time is over, and are known after it, too."""
    known = users()
    facts = IdentifyCall("u", {"plan": "pro"}, ("u",))
    known.remember(facts, 99.0)
    assert send(known, plan="pro") is None
    known = users()
    known.remember(facts, 100.0)
    assert send(known, seats=2) == {"plan": "pro", "seats": 2}


# Requests that wait


class Queue:
    """A queue of identify requests, what it reported, and what was dropped."""

    def __init__(self, size: int = 10) -> None:
        self.changes = Changes()
        self.losses = Losses(Clock())
        self.positions = Positions()
        self.waiting = IdentifyQueue(
            users(), size=size, positions=self.positions, losses=self.losses, observer=self.changes
        )

    def add(self, user: str, priority: int = 20, first_position: float = 1.0, **properties) -> IdentifyDelivery:
        delivery = self.waiting.add(identity(user, **properties), priority, first_position)
        assert delivery is not None
        return delivery

    def start(self) -> IdentifyDelivery:
        delivery = self.waiting.first(0.0)
        assert delivery is not None
        delivery.start(0.0)
        self.waiting.started(delivery)
        return delivery


def test_one_request_for_each_user():
    """What a second record says is added to the request that waits, and the more important record moves it up."""
    queue = Queue()
    first = queue.add("u", a=1)
    queue.add("v")
    assert queue.add("u", 30, 2.0, b=2) is first
    assert first.facts.properties == {"a": 1, "b": 2}
    assert first.priority == 30
    assert queue.waiting.first(0.0) is first
    assert list(queue.changes.deliveries.values()) == list(queue.waiting)


def test_nothing_is_due():
    """A record that says what the server has adds no request, and does not wait."""
    queue = Queue()
    delivery = queue.add("u")
    queue.start()
    queue.waiting.users.succeeded(delivery.facts)
    queue.waiting.remove(delivery)
    assert queue.waiting.add(identity("u"), 20, 1.0) is None
    assert not queue.waiting.add_record([identity("u")], 20, 7)
    assert list(queue.waiting) == []


def test_records_wait_with_their_request():
    """A record that only identifies joins the request, and ends with it."""
    queue = Queue()
    for position in (101, 102):
        assert queue.waiting.add_record([identity("u"), identity("v")], 20, position)
    assert [delivery.records for delivery in queue.waiting] == [2, 0]
    assert queue.changes.joins == [(101, 1), (102, 1)]


def test_newer_facts_while_under_way():
    """Facts that come while the user's request is under way have a request of their own; both are counted."""
    queue = Queue()
    queue.waiting.add_record([identity("u", a=1)], 20, 101)
    old = queue.start()
    queue.waiting.add_record([identity("u", a=2)], 20, 102)
    old_again, new = sorted(queue.waiting, key=lambda delivery: delivery.position)
    assert old_again is old
    assert (old.records, new.records) == (1, 1)
    queue.waiting.remove(old)
    assert list(queue.waiting) == [new]


def test_retry_behind_newer_facts():
    """A request that failed while newer facts came is not sent again; its records wait with the newer request."""
    queue = Queue()
    queue.waiting.add_record([identity("u", a=1)], 20, 101)
    old = queue.start()
    queue.waiting.add_record([identity("u", a=2)], 20, 102)
    queue.waiting.retry(old)
    (new,) = queue.waiting
    assert (new.records, new.facts.properties) == (2, {"a": 2})
    assert queue.changes.joins[-1] == (old.position, new.position)


def test_retry():
    """A request that failed waits again; after a refusal all of them wait for a while."""
    queue = Queue()
    queue.add("u")
    queue.add("v", 10)
    delivery = queue.start()
    queue.waiting.retry(delivery)
    assert queue.waiting.first(0.0) is delivery
    queue.waiting.retry(delivery, 60.0)
    assert queue.waiting.first(59.0) is None
    assert list(queue.waiting.retry_times()) == [60.0, 60.0]
    queue.waiting.retry_now()
    assert queue.waiting.first(0.0) is delivery
    assert list(queue.waiting.retry_times()) == [-math.inf, -math.inf]


def test_bound():
    """Beyond the size the oldest request is dropped and its records are counted, but not the one under way."""
    queue = Queue(size=2)
    queue.waiting.add_record([identity("a")], 20, 101)
    old = queue.start()
    queue.waiting.add_record([identity("b")], 10, 102)
    queue.add("c", 10)
    assert [delivery.facts.user_id for delivery in queue.waiting] == ["a", "c"]
    assert queue.changes.ends == [Ended(2, "overflow", "")]
    assert queue.losses.dropped == {"overflow": 1}
    assert old.records == 1


def test_record_whose_first_request_is_dropped():
    """A record that names more users than fit waits with a request that is still there."""
    queue = Queue(size=1)
    assert queue.waiting.add_record([identity("a"), identity("b")], 20, 101)
    assert [(delivery.facts.user_id, delivery.records) for delivery in queue.waiting] == [("b", 1)]


def test_untrusted_half():
    """Untrusted records may use half of the places."""
    queue = Queue(size=4)
    queue.add("a", UNTRUSTED_PRIORITY)
    assert not queue.waiting.is_full_for(UNTRUSTED_PRIORITY)
    queue.add("b", UNTRUSTED_PRIORITY)
    assert queue.waiting.is_full_for(UNTRUSTED_PRIORITY)
    assert not queue.waiting.is_full_for(0)


def test_resume_two_of_one_user():
    """Where a request was under way and newer facts waited, the newer request takes over the records of both."""
    queue = Queue()
    for position, plan in ((4, "pro"), (9, "max")):
        facts = IdentifyCall("u", {"plan": plan}, ("u",))
        queue.waiting.resume(IdentifyDelivery(20, 1, position=position, facts=facts, records=1))
    (delivery,) = queue.waiting
    assert (delivery.position, delivery.records, delivery.facts.properties) == (9, 2, {"plan": "max"})
    assert queue.changes.joins == [(4, 9)]


def test_no_record_is_lost_with_a_failing_identify():
    """Records that only identify are counted exactly, also when the request fails while a newer one waits."""
    for answer in (FAILED, REFUSED, ApiResponse(Verdict.LIMITED)):
        harness = Harness()
        harness.put("a", identities=(identity("u", n=1),), only_identifies=True)
        assert isinstance(harness.outbox.next(), ApiRequest)
        harness.put("b", identities=(identity("u", n=2),), only_identifies=True)
        harness.outbox.hurry(0.0)
        while (rank := harness.outbox._backlog.rank()) is not None:
            harness.outbox._pop(rank)
        assert harness.outbox.stats().pending == 2
        harness.outbox.settle(answer)
        assert harness.outbox.stats().pending == 2
        harness.clock.now += REFUSED_PAUSE
        assert harness.send(ACCEPTED) == "identify u"
        assert harness.outbox.stats().delivered == 2
