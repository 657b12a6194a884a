"""What goes to Redis and when, and what is dropped: any traffic under a clock of the tests' own."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emitkit_logging import EmitKitFormatter
from emitkit_logging._assembly import Formatting
from emitkit_logging._context.capture import capture, capture_brief
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.factory import EventFactory, SafeEventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._relay.batches import Batch, Receipt, Reply, Shipment
from emitkit_logging._relay.edge import FOLD_SECONDS, EdgeBacklog
from emitkit_logging._relay.edge_store import EdgeStore
from emitkit_logging._relay.trouble import TroubleLog
from tests.outbox.support import Clock, Factory, identity

CONVERTER = EmitKitFormatter().json_converter


class Redis:
    """What the script `append` does, for one process."""

    def __init__(self) -> None:
        self.last: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.entries = 0
        self.signal = ""

    def append(self, batch: Batch, acknowledged: int) -> Reply:
        last = self.last[batch.lane]
        if batch.number > max(last, acknowledged) + 1:
            return Reply("gap", self.signal, 0)
        if batch.number <= last:
            return Reply("again", self.signal, 0)
        self.last[batch.lane] = batch.number
        for item in batch.items:
            entry = item.entry
            if isinstance(entry, Fold):
                self.records[entry.key.name] += entry.count
            elif isinstance(entry, CapturedRecord):
                self.records[entry.attributes.get("title") or entry.attributes["event"]] += 1
            self.entries += not isinstance(entry, Identity)
        return Reply("added", self.signal, 0)


class Harness:
    """A store of an application, its clock and its Redis."""

    def __init__(self, size: int = 1_000, factory: EventFactory | None = None) -> None:
        self.clock = Clock()
        self.redis = Redis()
        users = KnownUsers(ttl=3_600.0, size=10, clock=self.clock)
        backlog = EdgeBacklog(size=size, factory=SafeEventFactory(factory or Factory()), users=users, clock=self.clock)
        self.store = EdgeStore(backlog, TroubleLog("redis", str, self.clock), self.clock)

    def log(self, title: str, level: int = 20, count: int = 1, **more: object) -> None:
        for _ in range(count):
            attributes = {"title": title, "msg": title, "levelno": level, "created": 1.0, **more}
            self.store.append(CapturedRecord(attributes))
        self.store.take()

    def call(self, name: str, **more: object) -> bool:
        """Log an event as a handler does; return whether only its time and user were captured."""
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 7, "it happened", (), None)
        record.__dict__.update(event=name, **more)
        record.created = self.clock.now
        series = self.store.series.get(name)
        brief = None if series is None else capture_brief(record, series)
        self.store.append(capture(record, CONVERTER) if brief is None else brief)
        return brief is not None

    def write(self, shipment: Shipment) -> Receipt:
        return Receipt([self.redis.append(batch, shipment.acknowledged[batch.lane]) for batch in shipment.batches])

    def work(self, seconds: float = 0.0) -> None:
        """Let time pass, and let the store write what is due."""
        ends = self.clock.now + seconds
        while True:
            self.store.take()
            step = self.store.next()
            if isinstance(step, Shipment):
                self.store.settle(self.write(step))
            elif self.clock.now + step > ends:
                self.clock.now = ends
                return
            else:
                self.clock.now += max(step, 0.001)


@pytest.fixture
def harness():
    return Harness()


def test_series():
    """Of most records of a kind that folds only time and user are captured; each is counted, the latest ones too."""
    harness = Harness(factory=Formatting(EmitKitFormatter()))
    harness.redis.signal = "scarce"
    briefs = 0
    for number in range(10_000):
        briefs += harness.call("a", user_id=f"u-{number % 3}", number=number)
        harness.clock.now += 0.002
        if number % 7 == 0:
            harness.work()
    for _ in range(20):  # behind what the thread took last
        harness.call("a")
    harness.work(FOLD_SECONDS)
    assert harness.redis.records == {"a": 10_020}
    assert briefs > 7_000


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("call"), st.sampled_from("ab"), st.integers(1, 40)),
            st.tuples(st.just("work"), st.sampled_from([0.0, 0.001, 0.1, 3.0, 11.0]), st.just(0)),
            st.tuples(st.just("signal"), st.sampled_from(["scarce", "scarce", "ample"]), st.just(0)),
            st.tuples(st.just("take"), st.integers(1, 50), st.just(0)),
            st.tuples(st.just("flush"), st.just(0), st.just(0)),
        ),
        max_size=40,
    )
)
def test_series_in_any_traffic(steps):
    """Whatever the relay says and when, each record of a series is counted once."""
    harness = Harness(size=30, factory=Formatting(EmitKitFormatter()))
    logged: Counter[str] = Counter()
    for what, value, count in steps:
        if what == "call":
            for _ in range(count):
                harness.call(value, user_id="u")
                logged[value] += 1
        elif what == "work":
            harness.work(value)
        elif what == "signal":
            harness.redis.signal = value
        elif what == "take":
            harness.store.take(value)
        else:
            harness.store.take()
            is_settled = harness.store.mark()
            harness.work(0.1)
            assert is_settled()
    harness.work(3 * FOLD_SECONDS)
    dropped = harness.store.stats().dropped
    assert harness.redis.records.total() + sum(dropped.values()) == logged.total()
    assert not harness.redis.records - logged


def test_each_by_itself(harness):
    """While the budget lasts, each record goes by itself and at once."""
    harness.log("a", count=30)
    harness.work(0.1)
    assert harness.redis.entries == 30


def test_folds(harness):
    """While it does not, the first record of a kind goes at once, and the others as one entry within ten seconds."""
    harness.redis.signal = "scarce"
    harness.log("first")
    harness.work(0.1)
    for _ in range(10):
        harness.log("a", count=100)
        harness.work(0.5)
    assert harness.redis.records == {"first": 1, "a": 1}
    harness.work(FOLD_SECONDS)
    assert harness.redis.records["a"] == 1_000
    assert harness.redis.entries == 3


def test_new_alert_waits_for_nothing(harness):
    """An alert of a new kind goes at once, also while records fold."""
    harness.redis.signal = "scarce"
    harness.log("a", count=50)
    harness.work(0.1)
    harness.log("boom", level=40)
    harness.work(0.1)
    assert harness.redis.records["boom"] == 1


def test_folds_go_when_the_budget_is_back(harness):
    """What folded goes at once when the relay says that the budget lasts again."""
    harness.redis.signal = "scarce"
    harness.log("a", count=50)
    harness.work(0.1)
    harness.log("a", count=50)
    harness.work(0.1)
    harness.redis.signal = "ample"
    harness.log("b")
    harness.work(0.2)
    assert harness.redis.records == {"a": 100, "b": 1}


def test_flush_does_not_wait_for_a_fold(harness):
    """`flush` lets everything go that came in before it."""
    harness.redis.signal = "scarce"
    harness.log("a", count=50)
    harness.work(0.1)
    harness.log("a", count=50)
    is_settled = harness.store.mark()
    assert not is_settled()
    harness.work(0.2)
    assert is_settled()
    assert harness.store.stats().delivered == 100


def test_users_of_folded_records(harness):
    """What folded records say about users is written once."""
    harness.redis.signal = "scarce"
    harness.log("x")
    harness.work(0.1)
    for _ in range(20):
        harness.log("a", identities=(identity("u", n=1),))
    harness.work(FOLD_SECONDS + 1)
    assert harness.redis.records["a"] == 20
    assert harness.redis.entries <= 4


class Traffic(RuleBasedStateMachine):
    """Every record is in Redis once, waits, or is dropped and counted, whatever is lost on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(size=30)
        self.logged = 0
        self.shipment: Shipment | None = None

    @rule(
        title=st.sampled_from("abcdefgh"),
        level=st.sampled_from([20, 30, 40]),
        count=st.integers(1, 40),
        own=st.booleans(),
    )
    def log(self, title: str, level: int, count: int, own: bool) -> None:
        self.harness.log(f"{level}{title}", level, count, **({"key": title} if own else {}))
        self.logged += count

    @rule(signal=st.sampled_from(["", "ample", "scarce"]))
    def say(self, signal: str) -> None:
        self.harness.redis.signal = signal

    @rule(seconds=st.sampled_from([0.03, 1.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.harness.clock.now += seconds

    @precondition(lambda self: self.shipment is None)
    @rule()
    def start(self) -> None:
        step = self.harness.store.next()
        if isinstance(step, Shipment):
            self.shipment = step

    @precondition(lambda self: self.shipment is not None)
    @rule(what=st.sampled_from(["arrives", "arrives", "is lost", "answer is lost", "some fail"]), data=st.data())
    def end(self, what: str, data: st.DataObject) -> None:
        shipment, self.shipment = self.shipment, None
        assert shipment is not None
        replies: list[Reply | Exception] = []
        for batch in shipment.batches:
            if what == "is lost" or (what == "some fail" and data.draw(st.booleans())):
                replies.append(ConnectionError("OOM command not allowed"))
            else:
                replies.append(self.harness.redis.append(batch, shipment.acknowledged[batch.lane]))
        receipt = Receipt(replies) if what in ("arrives", "some fail") else Receipt([], ConnectionError("gone"))
        self.harness.store.settle(receipt)

    @rule()
    def flush(self) -> None:
        self.harness.store.mark()

    @invariant()
    def counted(self) -> None:
        stats = self.harness.store.stats()
        assert stats.accepted == self.logged == stats.delivered + stats.pending + sum(stats.dropped.values())
        assert stats.delivered <= self.harness.redis.records.total() <= stats.delivered + stats.pending

    def teardown(self) -> None:
        if self.shipment is not None:
            self.harness.store.settle(self.harness.write(self.shipment))
        self.harness.store.hurry(0.0)
        self.harness.work(60.0)
        stats = self.harness.store.stats()
        assert stats.pending == 0
        assert stats.delivered == self.harness.redis.records.total()
        assert self.logged == stats.delivered + stats.dropped.get("overflow", 0)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
