"""What is sent next, and what becomes of it: without threads, under a clock of our own."""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emitkit_logging.answers import Answer, Verdict
from emitkit_logging.event import Event
from emitkit_logging.outbox import NEVER, Outbox, Request
from emitkit_logging.pace import REFUSED_PAUSE, Pace
from emitkit_logging.users import Person, Users

OK = Answer(Verdict.ACCEPTED)
FAILED = Answer(Verdict.FAILED)
FAULT = Answer(Verdict.FAILED, "HTTP 500", is_event_at_fault=True)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def shape(captured: dict) -> Event:
    if captured.get("raises"):
        raise RuntimeError
    return Event(
        "c",
        captured["title"],
        level=captured["levelno"],
        people=captured.get("people", ()),
        only_identifies=captured.get("only_identifies", False),
        idempotency_key=captured.get("key"),
    )


class Desk:
    """An outbox with all it needs."""

    def __init__(self, size: int = 100, rate_limit: int | None = 0) -> None:
        self.clock = Clock()
        self.pace = Pace(rate_limit=rate_limit, alert_reserve=0.1, clock=self.clock)
        users = Users(ttl=3_600.0, size=100, clock=self.clock)
        self.outbox = Outbox(size=size, pace=self.pace, users=users, shape=shape, clock=self.clock)

    def put(self, *titles: str, level: int = logging.INFO, **more) -> None:
        self.outbox.take(deque({"levelno": level, "title": title, **more} for title in titles))

    def send(self, answer: Answer = OK) -> str:
        """Start what is next, settle it with `answer`, and return its title, or who is identified."""
        request = self.outbox.next()
        assert isinstance(request, Request), request
        self.outbox.settle(answer)
        return name_of(request)

    def wait(self) -> float:
        step = self.outbox.next()
        assert not isinstance(step, Request), step
        return step


def name_of(request: Request) -> str:
    import json

    body = json.loads(request.body)
    return body.get("title") or f"identify {body['user_id']}"


def person(user_id: str = "u", **properties) -> Person:
    return Person(user_id, properties or {"plan": "pro"})


def test_order():
    """The most important goes first, of them the oldest."""
    desk = Desk()
    desk.put("a", "b")
    desk.put("c", level=logging.ERROR)
    desk.put("d", level=logging.WARNING)
    assert [desk.send() for _ in range(4)] == ["c", "d", "a", "b"]
    assert desk.wait() == NEVER
    assert desk.outbox.is_empty


def test_reserve_for_alerts():
    """Whatever else waits, an alert goes out at once."""
    desk = Desk(rate_limit=10)
    desk.put(*"abcdefghijkl")
    for _ in range(9):
        desk.send()
    assert desk.wait() > 50
    assert desk.outbox.wake_level() == logging.ERROR
    desk.put("alert", level=logging.ERROR)
    assert desk.send() == "alert"
    assert desk.outbox.wake_level() == NEVER


def test_overflow():
    """When there is no room the least important go, the oldest of them first."""
    desk = Desk(size=3)
    desk.put("a", "b")
    desk.put("w", level=logging.WARNING)
    desk.put("e", level=logging.ERROR)
    desk.put("c")
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.pending, stats.dropped) == (5, 3, {"overflow": 2})
    assert [desk.send() for _ in range(3)] == ["e", "w", "c"]
    assert "dropped" in desk.outbox.notices()[0]


def test_same_request_again():
    """A retry has the same key and the same bytes."""
    desk = Desk()
    desk.put("a")
    first = desk.outbox.next()
    for answer in (FAILED, Answer(Verdict.CONFLICT), Answer(Verdict.LIMITED, retry_after=1.0)):
        desk.outbox.settle(answer)
        desk.clock.now += 100
        assert desk.outbox.next() is first
    desk.outbox.settle(OK)
    stats = desk.outbox.stats()
    assert (stats.delivered, stats.events, stats.requests, stats.retries) == (1, 1, 4, 3)


def test_one_bad_event_holds_up_nobody():
    """While a failed event waits for its turn, others pass; five faults and it is given up."""
    desk = Desk()
    desk.put("bad", level=logging.ERROR)
    others = (f"other {n}" for n in itertools.count())
    tries = 0
    while desk.outbox.stats().pending:
        desk.put(next(others))
        for _ in range(2):
            step = desk.outbox.next()
            if isinstance(step, Request):
                tries += name_of(step) == "bad"
                desk.outbox.settle(FAULT if name_of(step) == "bad" else OK)
        desk.clock.now += 20
    assert tries == 5
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_outage_drops_nothing():
    """When everything fails no event is at fault."""
    desk = Desk()
    desk.put("a", "b", "c")
    for _ in range(200):
        step = desk.outbox.next()
        if isinstance(step, Request):
            desk.outbox.settle(FAULT)
        else:
            desk.clock.now += step
    stats = desk.outbox.stats()
    assert (stats.pending, stats.dropped) == (3, {})
    assert stats.requests < 250


def test_invalid():
    """A 400 drops that event, with the server's reason in the log."""
    desk = Desk()
    desk.put("a", "b")
    desk.send(Answer(Verdict.INVALID, "HTTP 400; title: no"))
    assert desk.outbox.stats().dropped == {"rejected": 1}
    assert "title: no" in desk.outbox.notices()[0]
    assert desk.send() == "b"


def test_notices_once_a_minute():
    """The log hears of each reason at most once a minute."""
    desk = Desk()
    for expected in (1, 0):
        desk.put("a")
        desk.send(Answer(Verdict.INVALID))
        assert len(desk.outbox.notices()) == expected
    desk.clock.now += 60
    desk.put("a")
    desk.send(Answer(Verdict.INVALID))
    assert len(desk.outbox.notices()) == 1


@pytest.mark.parametrize("key", [None, "given"])
def test_too_large(key):
    """A 413 is shrunk once more, under another key, then given up."""
    desk = Desk()
    desk.outbox._shape = lambda captured: Event(
        "c", "t", metadata={"x": ["y" * 90] * 90}, level=20, idempotency_key=key
    )
    desk.put("a")
    first = desk.outbox.next()
    desk.outbox.settle(Answer(Verdict.TOO_LARGE))
    second = desk.outbox.next()
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert len(second.body) <= 4_096 < len(first.body)
    assert second.key != first.key
    desk.outbox.settle(Answer(Verdict.TOO_LARGE))
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_conflict():
    """A 409 is survived for ten seconds; one that stays drops the event."""
    desk = Desk()
    desk.put("a")
    began = desk.clock.now
    while desk.outbox.stats().pending:
        step = desk.outbox.next()
        if isinstance(step, Request):
            desk.outbox.settle(Answer(Verdict.CONFLICT))
        else:
            desk.clock.now += step
    assert 10 <= desk.clock.now - began < 30
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_refused():
    """A wrong key: one warning, a try a minute, nothing lost, and one try at the exit."""
    desk = Desk()
    desk.put("a")
    refused = Answer(Verdict.REFUSED, "HTTP 401; unauthorized")
    for _ in range(5):
        desk.send(refused)
        assert desk.wait() == pytest.approx(REFUSED_PAUSE)
        desk.clock.now += REFUSED_PAUSE
    assert len(desk.outbox.notices()) == 1
    desk.send(refused)
    desk.outbox.hurry()
    assert desk.send(refused) == "a"
    assert desk.wait() > 0
    assert desk.outbox.give_up("shutdown") == 1
    assert desk.outbox.stats().dropped == {"shutdown": 1}


def test_wrong_key_of_an_old_server():
    """A 401 without a code, before any success, is a warning once."""
    desk = Desk()
    desk.put("a")
    desk.send(Answer(Verdict.DISGUISED))
    assert "key" in desk.outbox.notices()[0]


def test_formatter_that_raises():
    """A record that cannot be made an event is counted, and holds up nobody."""
    desk = Desk()
    desk.put("a", raises=True)
    desk.put("b")
    assert desk.send() == "b"
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_identify_before_its_event():
    """A user is made known before the event, once."""
    desk = Desk()
    desk.put("a", "b", people=(person(),))
    assert [desk.send() for _ in range(3)] == ["identify u", "a", "b"]
    assert desk.outbox.stats().identifies == 1


def test_alert_before_its_identify():
    """An alert does not wait for anybody to be made known."""
    desk = Desk()
    desk.put("alert", level=logging.ERROR, people=(person(),))
    assert [desk.send() for _ in range(2)] == ["alert", "identify u"]


def test_event_takes_the_last_request():
    """With one request left in the window, the event has it."""
    desk = Desk(rate_limit=10)
    desk.put(*"abcdefgh")
    for _ in range(8):
        desk.send()
    desk.put("i", people=(person(),))
    assert desk.send() == "i"
    desk.clock.now += 100
    assert desk.send() == "identify u"


def test_failing_identify():
    """An identify that fails holds nothing up, and comes back when nothing else waits."""
    desk = Desk()
    desk.put("a", "b", people=(person(),))
    assert desk.send(FAILED) == "identify u"
    assert [desk.send(), desk.send()] == ["a", "b"]
    desk.clock.now += desk.wait()
    assert desk.send() == "identify u"


def test_refused_identify():
    """A key that may not identify can send events all the same."""
    desk = Desk()
    desk.put("a", people=(person(),))
    assert desk.send(Answer(Verdict.REFUSED, "HTTP 403")) == "identify u"
    assert desk.send() == "a"
    assert desk.wait() == pytest.approx(REFUSED_PAUSE)
    assert len(desk.outbox.notices()) == 1


def test_only_identifies():
    """A record that only identifies is delivered with its identify, or at once when the server knows."""
    desk = Desk()
    desk.put("x", "y", people=(person(),), only_identifies=True)
    assert desk.outbox.stats().pending == 2
    assert desk.send() == "identify u"
    assert desk.wait() == NEVER
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.events, stats.identifies) == (2, 2, 0, 1)


def test_failed_aliases():
    """Aliases that could not be registered are said, and tried again with the next record."""
    desk = Desk()
    desk.outbox.tell(Person("u", {}, ("b",)))
    assert desk.send(Answer(Verdict.ACCEPTED, failed_aliases=("b",))) == "identify u"
    assert "aliases" in desk.outbox.notices()[0]
    desk.outbox.tell(Person("u", {}, ("b",)))
    assert desk.send() == "identify u"


def test_identifies_are_bounded():
    """Users who cannot be made known do not pile up."""
    desk = Desk(size=3)
    for n in range(10):
        desk.outbox.tell(person(str(n)))
    assert [desk.send() for _ in range(3)] == ["identify 7", "identify 8", "identify 9"]
    assert desk.wait() == NEVER


def test_closed():
    """After it gave up an outbox counts what comes in, and takes nothing."""
    desk = Desk()
    desk.outbox.next()
    desk.outbox.give_up("shutdown")
    desk.put("a")
    desk.outbox.tell(person())
    desk.outbox.refuse()
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.dropped) == (2, {"shutdown": 2})
    assert str(stats).startswith("2 records accepted: 0 delivered, 0 pending, 2 dropped (shutdown 2); 0 events")


def test_given_up_under_way():
    """What was under way when it gave up is counted once."""
    desk = Desk()
    desk.put("a")
    assert isinstance(desk.outbox.next(), Request)
    assert desk.outbox.give_up("shutdown") == 1
    desk.outbox.settle(OK)
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.dropped) == (1, 0, {"shutdown": 1})


class Delivery(RuleBasedStateMachine):
    """Any traffic and any answers: every record is counted once, requests keep their bytes, the budget holds."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(size=20, rate_limit=10)
        self.put = 0
        self.under_way: Request | None = None
        self.bodies: dict[str, bytes] = {}
        self.delivered: Counter[str] = Counter()
        self.starts: list[float] = []

    @rule(level=st.sampled_from([10, 20, 30, 40, 50]), count=st.integers(1, 8), who=st.sampled_from([None, "u", "v"]))
    def log(self, level: int, count: int, who: str | None) -> None:
        people = (person(who, n=self.put),) if who else ()
        for _ in range(count):
            self.put += 1
            self.desk.put(f"{level}-{self.put}", level=level, people=people)

    @precondition(lambda self: self.under_way is None)
    @rule()
    def start(self) -> None:
        step = self.desk.outbox.next()
        if isinstance(step, Request):
            now = self.desk.clock.now
            self.under_way = step
            self.starts = [start for start in self.starts if now - start < 60] + [now]
            assert len(self.starts) <= 10
            if step.key is not None:
                assert self.bodies.setdefault(step.key, step.body) == step.body
                if name_of(step)[:2] in ("10", "20", "30"):
                    assert len(self.starts) <= 9

    @precondition(lambda self: self.under_way is not None)
    @rule(verdict=st.sampled_from(Verdict), fault=st.booleans())
    def answer(self, verdict: Verdict, fault: bool) -> None:
        self.desk.outbox.settle(Answer(verdict, is_event_at_fault=fault and verdict is Verdict.FAILED))
        if verdict is Verdict.ACCEPTED:
            self.delivered[name_of(self.under_way)] += self.under_way.key is not None
        self.under_way = None

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 61.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.desk.clock.now += seconds

    @invariant()
    def counted(self) -> None:
        stats = self.desk.outbox.stats()
        assert stats.accepted == self.put == stats.delivered + stats.pending + sum(stats.dropped.values())
        assert stats.delivered == sum(self.delivered.values())
        assert all(count == 1 for name, count in self.delivered.items() if not name.startswith("identify"))
        assert self.desk.outbox._count <= 20


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
