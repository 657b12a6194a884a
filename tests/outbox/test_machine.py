"""Any traffic and any answers: state machines under a clock of the tests' own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.observer import Changes, Knowledge
from tests.outbox.support import Clock, Harness, identity

VERDICTS = [Verdict.ACCEPTED] * 8 + list(Verdict)
SECONDS = [0.1, 1.0, 30.0, 61.0, 700.0]


class Traffic(RuleBasedStateMachine):
    """Every record is counted once, requests keep their bytes, the rate limit and the reserve hold.

    Alerts of new kinds go before all else, the reserve is theirs alone, and each kind pushes once in an interval.
    """

    SIZE = 20

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(size=self.SIZE, rate_limit=10)
        self.put: Counter[str] = Counter()
        self.under_way: ApiRequest | None = None
        self.bodies: dict[str, bytes] = {}
        self.delivered: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.starts: list[float] = []
        self.seen: set[str] = set()
        self.pushed_at: dict[str, float] = {}
        self.was_full = False

    @rule(
        priority=st.sampled_from([10, 20, 30, 40, 40, 50]),
        count=st.integers(1, 30),
        name=st.sampled_from("abcdefgh"),
        user=st.sampled_from([None, None, "u", "v"]),
        has_key=st.sampled_from([False, False, False, True]),
    )
    def log(self, priority: int, count: int, name: str, user: str | None, has_key: bool) -> None:
        more = {"identities": (identity(user, n=self.put.total()),)} if user else {}
        for _ in range(count):
            self.put[f"{priority}{name}"] += 1
            key = {"key": f"key {self.put.total()}"} if has_key else {}
            self.harness.put(f"{priority}{name}", priority=priority, **more, **key)

    @precondition(lambda self: self.under_way is None)
    @rule()
    def start(self) -> None:
        step = self.harness.outbox.next()
        if isinstance(step, ApiRequest):
            now = self.harness.clock.now
            self.under_way = step
            self.starts = [start for start in self.starts if now - start < 60] + [now]
            assert len(self.starts) <= 10
            if step.key is not None:
                assert self.bodies.setdefault(step.key, step.body) == step.body
            delivery = self.harness.outbox._deliveries._under_way
            if not delivery.is_new:
                assert len(self.starts) <= 9
                assert not self.harness.outbox._backlog.news()
            if delivery.tries == 1 and delivery.priority >= 40 and delivery.records:
                self.alert(json.loads(step.body), now)
        elif self.harness.budget.wait(alert=True, kept=2) <= 0:
            assert not self.harness.outbox._backlog.news()

    def alert(self, body: dict[str, Any], now: float) -> None:
        """The first request of an alert starts."""
        title = body["metadata"].get("event")
        if title is None:
            return  # a digest
        if not self.was_full:
            assert self.harness.outbox._deliveries._under_way.is_new == (title not in self.seen)
        self.seen.add(title)
        if body["notify"]:
            assert now - self.pushed_at.get(title, -1_000.0) >= 300.0
            self.pushed_at[title] = now
        elif not self.was_full:
            assert now - self.pushed_at[title] < 300.0

    @precondition(lambda self: self.under_way is not None)
    @rule(verdict=st.sampled_from(VERDICTS), fault=st.booleans())
    def answer(self, verdict: Verdict, fault: bool) -> None:
        dropped = self.harness.outbox.stats().dropped.get("rejected", 0)
        self.harness.outbox.settle(ApiResponse(verdict, is_event_at_fault=fault and verdict is Verdict.FAILED))
        if self.under_way.key is not None:
            if verdict is Verdict.ACCEPTED:
                self.delivered.update(names(self.under_way))
            elif self.harness.outbox.stats().dropped.get("rejected", 0) > dropped:
                self.rejected.update(names(self.under_way))
        self.under_way = None

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: float) -> None:
        self.harness.clock.now += seconds

    @rule()
    def flush(self) -> None:
        self.harness.outbox.release()

    @invariant()
    def counted(self) -> None:
        stats = self.harness.outbox.stats()
        assert stats.accepted == self.put.total() == stats.delivered + stats.pending + sum(stats.dropped.values())
        assert stats.delivered == self.delivered.total()
        # what is digested or dropped is no longer new
        is_digested = any(isinstance(entry, Digest) for entry in self.harness.outbox._backlog._folds)
        self.was_full = self.was_full or is_digested or "overflow" in stats.dropped
        assert stats.dropped.get("rejected", 0) == self.rejected.total()
        assert self.harness.outbox.held <= self.SIZE + 1

    def teardown(self) -> None:
        """In the end each name was delivered, rejected or dropped as often as it was logged."""
        while not self.harness.outbox.is_empty:
            if self.under_way is None:
                step = self.harness.outbox.next()
                if isinstance(step, ApiRequest):
                    self.under_way = step
                else:
                    self.harness.clock.now += step
            else:
                self.answer(Verdict.ACCEPTED, fault=False)
        stats = self.harness.outbox.stats()
        lost = self.put - self.delivered - self.rejected
        assert lost.total() == stats.dropped.get("overflow", 0)
        assert not self.delivered + self.rejected - self.put


def names(request: ApiRequest) -> Counter[str]:
    """How many records of each name a request stands for."""
    metadata = json.loads(request.body)["metadata"]
    if "digest" in metadata:
        return Counter(metadata["digest"])
    return Counter({metadata.get("event", ""): metadata.get("occurrences", 1)})


@dataclass
class Row:
    """What a store has of a position."""

    entry: CapturedRecord | Fold | Digest | IdentifyCall
    records: set[int] = field(default_factory=set)
    priority: int = 0
    first_position: float = 0.0
    request: ApiRequest | None = None


class Replay:
    """Applies changes as a store does, and knows at each moment at which position each record is."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.ended: Counter[str] = Counter()
        self.ended_records: set[int] = set()
        self.known: dict[Knowledge, dict[str, Json]] = {of: {} for of in Knowledge}
        self._reports: set[int] = set()

    def apply(self, changes: Changes) -> None:
        for position, captured in changes.came_at.items():
            assert position not in self.rows
            self.rows[position] = Row(captured, {position})
        for position, delivery in changes.deliveries.items():
            if delivery.facts is not None:
                row = self.rows.setdefault(position, Row(delivery.facts))
                row.entry = delivery.facts
            elif not delivery.records:
                self._reports.add(position)
        for position, into in changes.joins:
            self.rows[into].records |= self.rows.pop(position).records
        for position, entry in changes.entries.items():
            if position in self.rows:
                self.rows[position].entry = copy_of(entry)
        for position, delivery in changes.deliveries.items():
            if position in self.rows:
                row = self.rows[position]
                row.priority, row.first_position, row.request = (
                    delivery.priority,
                    delivery.first_position,
                    delivery.request,
                )
        for end in changes.ends:
            if end.position not in self._reports:
                row = self.rows.pop(end.position)
                assert not row.records & self.ended_records
                self.ended_records |= row.records
                self.ended[end.reason or "delivered"] += len(row.records)
        for (of, name), value in changes.knowledge.items():
            self.known[of].pop(name, None)
            if value is not None:
                self.known[of][name] = json.loads(json.dumps(value, allow_nan=False))

    def resume(self, harness: Harness) -> None:
        """Hand all rows to another outbox, in the order of positions."""
        harness.outbox.know_kinds(self.known[Knowledge.KIND])
        harness.outbox.know_templates(self.known[Knowledge.TEMPLATE])
        for position, row in sorted(self.rows.items()):
            harness.outbox.resume(
                position,
                row.entry,
                priority=row.priority,
                first_position=row.first_position,
                records=len(row.records),
                request=row.request,
            )


def copy_of(entry: Fold | Digest) -> Fold | Digest:
    state: dict[str, Any] = entry.state()
    if isinstance(entry, Fold):
        return Fold.of({**state, "samples": list(state["samples"])})
    return Digest.of(state)


class Store(RuleBasedStateMachine):
    """By the changes alone each record is at one position, or has ended once, and another outbox can take over."""

    SIZE = 6

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.changes = Changes()
        self.replay = Replay()
        self.accepted = 0
        self.gone: Counter[str] = Counter()
        self.harness = self.fresh()

    def fresh(self) -> Harness:
        return Harness(size=self.SIZE, rate_limit=10, observer=self.changes, clock=self.clock)

    @rule(
        priority=st.sampled_from([UNTRUSTED_PRIORITY, 10, 20, 40]),
        count=st.integers(1, 15),
        name=st.sampled_from("abc"),
        channel=st.sampled_from("cd"),
        users=st.sampled_from([(), (), *"stuvwxyz", "uv", "xyz"]),
        kind=st.sampled_from(["event", "event", "only_identifies", "only_identifies", "key", "raises"]),
    )
    def log(self, priority: int, count: int, name: str, channel: str, users: Iterable[str], kind: str) -> None:
        for _ in range(count):
            self.accepted += 1
            more: dict[str, Any] = {} if kind == "event" else {kind: f"key {self.accepted}"}
            if users or kind == "only_identifies":
                more["identities"] = tuple(identity(user, n=self.accepted) for user in users or ("u",))
            self.harness.put(name, priority=priority, channel=channel, **more)

    @rule(priority=st.sampled_from([20, 40]), names=st.lists(st.sampled_from("abcdefghijkl"), max_size=12))
    def log_plain(self, priority: int, names: list[str]) -> None:
        self.accepted += len(names)
        self.harness.put_texts(*(f"user {name * 3} cannot log in" for name in names), priority=priority)

    @rule(user=st.sampled_from("stuvwxyz"))
    def identify(self, user: str) -> None:
        self.harness.outbox.identify(identity(user, n=self.accepted))

    @rule()
    def start(self) -> None:
        if self.harness.outbox._deliveries._under_way is None:
            self.harness.outbox.next()

    @rule(verdict=st.sampled_from([Verdict.FAILED, Verdict.REFUSED] * 3 + VERDICTS), fault=st.booleans())
    def answer(self, verdict: Verdict, fault: bool) -> None:
        self.harness.outbox.settle(ApiResponse(verdict, is_event_at_fault=fault and verdict is Verdict.FAILED))

    @rule()
    def halve(self) -> None:
        self.harness.outbox.halve()

    @rule(age=st.sampled_from([50.0, 1_000.0]))
    def expire(self, age: float) -> None:
        self.harness.outbox.expire(self.clock.now - age)

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take_over(self) -> None:
        """Another process goes on with what the store has; a request under way may have been sent."""
        old = self.harness.outbox
        self.count(old)
        self.harness = self.fresh()
        self.harness.outbox.begin_at(old.newest, json.loads(json.dumps(old.budget(), allow_nan=False)))
        self.replay.resume(self.harness)

    def count(self, outbox: Any) -> None:
        stats = outbox.stats()
        self.gone.update({"delivered": stats.delivered, **stats.dropped})

    @invariant()
    def each_record_is_at_one_place(self) -> None:
        changes = Changes()
        for name in ("came_at", "joins", "entries", "deliveries", "ends", "knowledge"):
            # the outbox keeps its observer, so what it collected is moved out of it
            setattr(changes, name, type(getattr(changes, name))(getattr(self.changes, name)))
            getattr(self.changes, name).clear()
        self.replay.apply(changes)
        held = [number for row in self.replay.rows.values() for number in row.records]
        assert len(held) == len(set(held))
        assert not set(held) & self.replay.ended_records
        assert len(held) + len(self.replay.ended_records) == self.accepted
        assert len(held) == self.harness.outbox.stats().pending
        for row in self.replay.rows.values():
            count = 1 if isinstance(row.entry, CapturedRecord) else getattr(row.entry, "count", len(row.records))
            assert count == len(row.records)
        delivery = self.harness.outbox._deliveries._under_way
        if delivery is not None and (delivery.records or delivery.facts is not None):
            assert self.replay.rows[delivery.position].request is delivery.request
        gone = Counter(self.gone)
        stats = self.harness.outbox.stats()
        gone.update({"delivered": stats.delivered, **stats.dropped})
        assert gone == self.replay.ended


class Memory(Traffic):
    """The same, with a memory that is never full."""

    SIZE = 2_000


class Generalising(RuleBasedStateMachine):
    """Names in texts are kinds, five at most; from the sixth on they are one, which is not new and pushes as one."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(size=2_000, rate_limit=30)
        self.logged = 0
        self.names: set[str] = set()
        self.pushes: list[float] = []
        self.delivered = 0

    @rule(names=st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=20))
    def log(self, names: list[str]) -> None:
        self.logged += len(names)
        self.names.update(names)
        self.harness.put_texts(*(f"user {name * 3} cannot log in" for name in names))

    @rule()
    def send(self) -> None:
        if isinstance(step := self.harness.outbox.next(), ApiRequest):
            self.note(json.loads(step.body))
            self.harness.outbox.settle(ApiResponse(Verdict.ACCEPTED))

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: float) -> None:
        self.harness.clock.now += seconds

    def note(self, body: dict[str, Any]) -> None:
        now, is_one = self.harness.clock.now, len(self.names) > 5
        self.delivered += body["metadata"].get("occurrences", 1)
        if body["notify"]:
            lately = [at for at in self.pushes if now - at < 300.0]
            assert len(lately) < (1 if is_one else 5)
            self.pushes.append(now)

    def teardown(self) -> None:
        """In the end all are delivered, and there is one kind where there were more than five names."""
        for body in self.harness.send_all():
            self.note(body)
        assert self.delivered == self.logged == self.harness.outbox.stats().delivered
        assert self.harness.outbox.stats().kinds == (1 if len(self.names) > 5 else len(self.names))


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=50)
TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=50)
TestGeneralising = Generalising.TestCase
TestGeneralising.settings = settings(max_examples=60, stateful_step_count=40)
TestStore = Store.TestCase
TestStore.settings = settings(max_examples=150, stateful_step_count=50)
