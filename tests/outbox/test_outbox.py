"""What is sent next, and what becomes of it: without threads, under a clock of our own."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.budget import REFUSED_PAUSE, RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.outbox import NEVER, Outbox

OK = ApiResponse(Verdict.ACCEPTED)
FAILED = ApiResponse(Verdict.FAILED)
FAULT = ApiResponse(Verdict.FAILED, "HTTP 500", is_event_at_fault=True)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Shape:
    """Makes events of a few attributes; records with the same title have the same name."""

    def event(self, record: CapturedRecord) -> Event:
        captured = record.attributes
        if captured.get("raises"):
            raise RuntimeError
        return Event(
            captured.get("channel", "c"),
            captured["title"],
            level=record.priority,
            identities=captured.get("people", ()),
            only_identifies=captured.get("only_identifies", False),
            idempotency_key=captured.get("key"),
            user_id=captured.get("user_id"),
            metadata={"event": captured["title"], **captured.get("metadata", {})},
            kind=(captured["title"],),
        )

    def fold_key(self, captured: CapturedRecord) -> FoldKey | None:
        if captured.attributes.keys() & {"raises", "people", "key"}:
            return None
        return self.event(captured).fold_key

    def summary(self, channel: str | None, level: int, title: str, description: str, metadata: dict) -> Event:
        return Event(channel or "alerts", title, description, level=level, metadata=metadata)


class Desk:
    """An outbox with all it needs."""

    def __init__(self, size: int = 100, rate_limit: int | None = 0) -> None:
        self.clock = Clock()
        self.pace = RateBudget(rate_limit=rate_limit, alert_reserve=0.1, clock=self.clock)
        users = KnownUsers(ttl=3_600.0, size=100, clock=self.clock)
        self.outbox = Outbox(size=size, budget=self.pace, users=users, factory=Shape(), clock=self.clock)

    def put(self, *titles: str, level: int = logging.INFO, **more) -> None:
        self.outbox.take(deque(self.record(title, level, more) for title in titles))

    def record(self, title: str, level: int, more: dict) -> CapturedRecord:
        captured = CapturedRecord({"levelno": level, "title": title, "created": self.clock.now, **more})
        captured.is_trusted = level != UNTRUSTED_PRIORITY
        return captured

    def send(self, answer: ApiResponse = OK) -> str:
        """Start what is next, settle it with `answer`, and return its title, or who is identified."""
        request = self.outbox.next()
        assert isinstance(request, ApiRequest), request
        self.outbox.settle(answer)
        return name_of(request)

    def wait(self) -> float:
        step = self.outbox.next()
        assert not isinstance(step, ApiRequest), step
        return step


def name_of(request: ApiRequest) -> str:
    body = json.loads(request.body)
    return body.get("title") or f"identify {body['user_id']}"


def person(user_id: str = "u", **properties) -> Identity:
    return Identity(user_id, properties or {"plan": "pro"})


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
    """When there is no room records fold, then the least important are digested; what cannot be is dropped."""
    desk = Desk(size=3)
    desk.put("a", "b", "a")
    desk.put("w", level=logging.WARNING)
    desk.put("e", level=logging.ERROR)
    desk.put("a", "c")
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.pending, stats.dropped) == (7, 7, {})
    assert [desk.send() for _ in range(3)] == ["e", "w", "5 events"]
    for number in range(6):
        desk.put(f"own {number}", key=f"key {number}", level=logging.DEBUG + number)
    stats = desk.outbox.stats()
    assert (stats.pending, stats.dropped) == (3, {"overflow": 3})
    assert [desk.send() for _ in range(3)] == ["own 5", "own 4", "own 3"]
    assert "dropped" in desk.outbox.notices()[0]


def spent(**options) -> Desk:
    """A desk whose budget for what is less than an alert is used up."""
    desk = Desk(rate_limit=10, **options)
    desk.put(*(f"first {number}" for number in range(9)))
    for _ in range(9):
        desk.send()
    assert desk.wait() > 50
    return desk


def sent(desk: Desk) -> list[dict]:
    """What is sent until nothing waits."""
    bodies = []
    while not desk.outbox.is_empty:
        step = desk.outbox.next()
        if isinstance(step, ApiRequest):
            bodies.append(json.loads(step.body))
            desk.outbox.settle(OK)
        else:
            desk.clock.now += step
    return bodies


def test_nothing_folds_while_the_budget_lasts():
    """Ten records in a window for ten are ten events, whatever they have in common."""
    desk = Desk(rate_limit=20)
    desk.put(*["same"] * 18)
    assert [body["title"] for body in sent(desk)] == ["same"] * 18


def test_fold():
    """What waits when the budget is used up becomes one event, with its first and latest records as samples."""
    desk = spent()
    began = desk.clock.now
    for number in range(37):
        desk.put("a", user_id="u", metadata={"number": number})
        desk.clock.now += 1
    desk.put("b")
    desk.put("a", channel="other")
    desk.put("a", level=logging.WARNING)
    warning, a, b, other = sent(desk)
    assert a["title"] == "a (×37)"
    assert a["userId"] == "u"
    metadata = a["metadata"]
    assert (metadata["occurrences"], metadata["event"]) == (37, "a")
    assert (metadata["first_seen"], metadata["last_seen"]) == (int(began * 1000), int((began + 36) * 1000))
    assert [sample["number"] for sample in metadata["samples"]] == [0, 1, 2, 3, 36]
    assert "number" not in metadata
    assert [body["title"] for body in (warning, b, other)] == ["a", "b", "a"]
    assert other["channelName"] == "other"


@pytest.mark.parametrize("users", [["u", "v"], ["u", None], [None, "u"]])
def test_fold_over_users(users):
    """A fold over several users has none; its samples have."""
    desk = spent()
    for user in users:
        desk.put("a", user_id=user)
    (body,) = sent(desk)
    assert "userId" not in body
    assert [sample.get("userId") for sample in body["metadata"]["samples"]] == users


def test_never_folds():
    """What has an idempotency key of its own goes by itself."""
    desk = spent()
    desk.put("a", key="1")
    desk.put("a", key="2")
    desk.put("a", "a")
    assert [body["title"] for body in sent(desk)] == ["a", "a", "a (×2)"]


def test_started_is_frozen():
    """What comes in after a request was started waits for the next one."""
    desk = spent()
    desk.put("a", "a")
    desk.clock.now += 100
    request = desk.outbox.next()
    desk.put("a", "a", "a")
    desk.outbox.settle(FAILED)
    desk.clock.now += 10
    assert desk.outbox.next() is request
    desk.outbox.settle(OK)
    assert sum(body["metadata"].get("occurrences", 1) for body in sent(desk)) == 3


def test_digest():
    """What is too much even folded becomes one event for each channel, with the count of each name."""
    desk = spent()
    for number in range(30):
        desk.put(*[f"n{number}"] * 2, channel="even" if number % 2 == 0 else "odd")
    desk.put("important", "important", level=logging.WARNING)
    bodies = sent(desk)
    assert len(bodies) == 9
    assert bodies[0]["title"] == "important (×2)"
    assert [body["title"] for body in bodies[1:7]] == [f"n{number} (×2)" for number in range(6)]
    even, odd = sorted(bodies[7:], key=lambda body: body["channelName"])
    assert (even["channelName"], odd["channelName"]) == ("even", "odd")
    assert even["metadata"]["digest"] == {f"n{number}": 2 for number in range(28, 4, -2)}
    assert even["metadata"]["occurrences"] == 24
    assert "24" in even["title"]


def test_digest_of_many_names():
    """A digest names a hundred, and counts the rest."""
    desk = spent()
    desk.put(*(f"n{number}" for number in range(300)))
    digest = sent(desk)[-1]["metadata"]
    assert len(digest["digest"]) == 101
    assert sum(digest["digest"].values()) == digest["occurrences"] == 292


def test_browsers_are_digested_by_themselves():
    """What strangers call their events takes no name's place in the digest of the server's own."""
    desk = spent()
    desk.put(*(f"stranger{number}" for number in range(300)), level=UNTRUSTED_PRIORITY)
    desk.put(*(f"n{number}" for number in range(20)))
    digests = [list(body["metadata"]["digest"]) for body in sent(desk) if "digest" in body["metadata"]]
    own, strange = sorted(digests, key=len)
    assert all(name.startswith("n") for name in own)
    assert all(name.startswith("stranger") or name == "…" for name in strange)


def test_lost_strangers_are_no_alert():
    """What browsers' events are lost is counted, and pushed to nobody."""
    desk = Desk()
    desk.put("bad", level=UNTRUSTED_PRIORITY)
    desk.put("good")
    desk.send()
    desk.send(ApiResponse(Verdict.INVALID))
    desk.put("good")
    desk.send()
    assert desk.wait() == NEVER
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_a_stranger_becomes_known():
    """A user whom a browser named first goes when the server's own do, once the server names that user, too."""
    desk = Desk()
    for user in ("stranger", "both"):
        desk.put(user, level=UNTRUSTED_PRIORITY, people=(person(user),), only_identifies=True)
    desk.send(ApiResponse(Verdict.REFUSED))
    desk.wait()
    for user in ("both", "own"):
        desk.put(user, people=(person(user, plan="max"),), only_identifies=True)
    desk.wait()
    desk.clock.now += REFUSED_PAUSE
    assert [desk.send() for _ in range(3)] == ["identify both", "identify own", "identify stranger"]


def test_lesser_ones_leave_room_once_it_is_scarce():
    """After a window was used up what is less than an alert is spread over the next, so that alerts find room."""
    desk = spent()
    desk.put(*(f"n{number}" for number in range(8)))
    desk.clock.now += desk.wait()
    assert desk.send() == "n0"
    assert 0 < desk.wait() < 20
    for number in range(3):
        desk.put(f"alert {number}", level=logging.ERROR)
        assert desk.send() == f"alert {number}"


def test_hopeless_backlog_folds_at_once():
    """What would take a hundred windows one by one does not wait for the first to be used up."""
    desk = Desk(rate_limit=10, size=10_000)
    desk.put(*["a"] * 2_000)
    assert desk.send() == "a (×2000)"


def test_alerts_fold():
    """Alerts that are too many fold, too."""
    desk = Desk(rate_limit=10)
    desk.put(*["alert"] * 30, level=logging.ERROR)
    assert [body["title"] for body in sent(desk)] == ["alert"] * 10 + ["alert (×20)"]


def test_exit_folds():
    """At the exit what does not fit into the time or the window is folded, and the reserve is for all."""
    desk = Desk(rate_limit=10)
    for number in range(8):
        desk.put(*[f"n{number}"] * 5)
    desk.outbox.hurry(5.0)
    began = desk.clock.now
    bodies = sent(desk)
    assert desk.clock.now == began
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 40
    assert len(bodies) == 8


def test_exit_before_a_slow_server():
    """A server that takes a second for each request gets no more of them than there is time for."""
    desk = Desk()
    desk.put("a")
    desk.outbox.next()
    desk.clock.now += 1.0
    desk.outbox.settle(OK)
    desk.put(*["b"] * 50, *["c"] * 50)
    desk.outbox.hurry(5.0)
    assert [body["title"] for body in sent(desk)] == ["b (×50)", "c (×50)"]


def test_folding_makes_users_known():
    """Whom a folded record named is made known all the same."""
    desk = spent()
    desk.put("a", people=(person("u"),))
    desk.put("a", people=(person("v"),))
    desk.put("x", people=(person("w"),), only_identifies=True)
    desk.put("y", raises=True)
    titles = [body.get("title") or body["user_id"] for body in sent(desk) if "dropped" not in body.get("metadata", ())]
    assert sorted(titles) == ["a (×2)", "u", "v", "w"]
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_drops_are_reported():
    """What was dropped is told in one event to the alerts when the server takes something again, once a minute."""
    desk = Desk()
    desk.put("bad", "bad", "good")
    desk.send(ApiResponse(Verdict.INVALID))
    desk.send(ApiResponse(Verdict.INVALID))
    desk.send()
    assert desk.wait() == pytest.approx(2.0)
    desk.clock.now += 2.0
    (report,) = [json.loads(desk.outbox.next().body)]
    desk.outbox.settle(OK)
    assert (report["channelName"], report["title"]) == ("alerts", "2 log records were dropped")
    assert report["metadata"] == {"occurrences": 0, "dropped": {"rejected": 2}}
    desk.put("bad", "good")
    desk.send(ApiResponse(Verdict.INVALID))
    desk.send()
    assert desk.wait() == pytest.approx(60.0)
    assert desk.outbox.stats().delivered == 2


def test_same_request_again():
    """A retry has the same key and the same bytes."""
    desk = Desk()
    desk.put("a")
    first = desk.outbox.next()
    for answer in (FAILED, ApiResponse(Verdict.CONFLICT), ApiResponse(Verdict.LIMITED, retry_after=1.0)):
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
            if isinstance(step, ApiRequest):
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
        if isinstance(step, ApiRequest):
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
    desk.send(ApiResponse(Verdict.INVALID, "HTTP 400; title: no"))
    assert desk.outbox.stats().dropped == {"rejected": 1}
    assert "title: no" in desk.outbox.notices()[0]
    assert desk.send() == "b"


def test_notices_once_a_minute():
    """The log hears of each reason at most once a minute."""
    desk = Desk()
    for expected in (1, 0):
        desk.put("a")
        desk.send(ApiResponse(Verdict.INVALID))
        assert len(desk.outbox.notices()) == expected
    desk.clock.now += 60
    desk.put("a")
    desk.send(ApiResponse(Verdict.INVALID))
    assert len(desk.outbox.notices()) == 1


@pytest.mark.parametrize("key", [None, "given"])
def test_too_large(key):
    """A 413 is shrunk once more, under another key, then given up."""
    desk = Desk()
    desk.put("a", metadata={"x": ["y" * 90] * 90}, **({"key": key} if key else {}))
    first = desk.outbox.next()
    desk.outbox.settle(ApiResponse(Verdict.TOO_LARGE))
    second = desk.outbox.next()
    assert isinstance(first, ApiRequest)
    assert isinstance(second, ApiRequest)
    assert len(second.body) <= 4_096 < len(first.body)
    assert second.key != first.key
    desk.outbox.settle(ApiResponse(Verdict.TOO_LARGE))
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_conflict():
    """A 409 is survived for ten seconds; one that stays drops the event."""
    desk = Desk()
    desk.put("a")
    began = desk.clock.now
    while desk.outbox.stats().pending:
        step = desk.outbox.next()
        if isinstance(step, ApiRequest):
            desk.outbox.settle(ApiResponse(Verdict.CONFLICT))
        else:
            desk.clock.now += step
    assert 10 <= desk.clock.now - began < 30
    assert desk.outbox.stats().dropped == {"rejected": 1}


def test_refused():
    """A wrong key: one warning, a try a minute, nothing lost, and one try at the exit."""
    desk = Desk()
    desk.put("a")
    refused = ApiResponse(Verdict.REFUSED, "HTTP 401; unauthorized")
    for _ in range(5):
        desk.send(refused)
        assert desk.wait() == pytest.approx(REFUSED_PAUSE)
        desk.clock.now += REFUSED_PAUSE
    assert len(desk.outbox.notices()) == 1
    desk.send(refused)
    desk.outbox.hurry(5.0)
    assert desk.send(refused) == "a"
    assert desk.wait() > 0
    assert desk.outbox.give_up("shutdown") == 1
    assert desk.outbox.stats().dropped == {"shutdown": 1}


def test_wrong_key_of_an_old_server():
    """A 401 without a code, before any success, is a warning once."""
    desk = Desk()
    desk.put("a")
    desk.send(ApiResponse(Verdict.AMBIGUOUS_401))
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
    assert desk.send(ApiResponse(Verdict.REFUSED, "HTTP 403")) == "identify u"
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
    desk.outbox.identify(Identity("u", {}, ("b",)))
    assert desk.send(ApiResponse(Verdict.ACCEPTED, failed_aliases=("b",))) == "identify u"
    assert "aliases" in desk.outbox.notices()[0]
    desk.outbox.identify(Identity("u", {}, ("b",)))
    assert desk.send() == "identify u"


def test_identifies_are_bounded():
    """Users who cannot be made known do not pile up."""
    desk = Desk(size=3)
    for n in range(10):
        desk.outbox.identify(person(str(n)))
    assert [desk.send() for _ in range(3)] == ["identify 7", "identify 8", "identify 9"]
    assert desk.wait() == NEVER


def test_closed():
    """After it gave up an outbox counts what comes in, and takes nothing."""
    desk = Desk()
    desk.outbox.next()
    desk.outbox.give_up("shutdown")
    desk.put("a")
    desk.outbox.identify(person())
    desk.outbox.refuse()
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.dropped) == (2, {"shutdown": 2})
    assert str(stats).startswith("2 records accepted: 0 delivered, 0 pending, 2 dropped (shutdown 2); 0 events")


def test_given_up_under_way():
    """What was under way when it gave up is counted once."""
    desk = Desk()
    desk.put("a")
    assert isinstance(desk.outbox.next(), ApiRequest)
    assert desk.outbox.give_up("shutdown") == 1
    desk.outbox.settle(OK)
    stats = desk.outbox.stats()
    assert (stats.accepted, stats.delivered, stats.dropped) == (1, 0, {"shutdown": 1})


class Delivery(RuleBasedStateMachine):
    """Any traffic and any answers: every record is counted once, requests keep their bytes, the budget holds."""

    SIZE = 20

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(size=self.SIZE, rate_limit=10)
        self.put: Counter[str] = Counter()
        self.under_way: ApiRequest | None = None
        self.bodies: dict[str, bytes] = {}
        self.delivered: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.starts: list[float] = []

    @rule(
        level=st.sampled_from([10, 20, 30, 40, 50]),
        count=st.integers(1, 30),
        name=st.sampled_from("abcdefgh"),
        who=st.sampled_from([None, None, "u", "v"]),
        has_key=st.sampled_from([False, False, False, True]),
    )
    def log(self, level: int, count: int, name: str, who: str | None, has_key: bool) -> None:
        more = {"people": (person(who, n=self.put.total()),)} if who else {}
        for _ in range(count):
            self.put[f"{level}{name}"] += 1
            key = {"key": f"key {self.put.total()}"} if has_key else {}
            self.desk.put(f"{level}{name}", level=level, **more, **key)

    @precondition(lambda self: self.under_way is None)
    @rule()
    def start(self) -> None:
        alerts = self.desk.outbox._backlog.events() - self.desk.outbox._backlog.events(below=40)
        step = self.desk.outbox.next()
        if isinstance(step, ApiRequest):
            now = self.desk.clock.now
            self.under_way = step
            self.starts = [start for start in self.starts if now - start < 60] + [now]
            assert len(self.starts) <= 10
            if step.key is not None:
                assert self.bodies.setdefault(step.key, step.body) == step.body
            level = self.desk.outbox._deliveries._under_way.priority
            if level < 40:
                assert len(self.starts) <= 9
                assert not alerts

    @precondition(lambda self: self.under_way is not None)
    @rule(verdict=st.sampled_from([Verdict.ACCEPTED] * 8 + list(Verdict)), fault=st.booleans())
    def answer(self, verdict: Verdict, fault: bool) -> None:
        dropped = self.desk.outbox.stats().dropped.get("rejected", 0)
        self.desk.outbox.settle(ApiResponse(verdict, is_event_at_fault=fault and verdict is Verdict.FAILED))
        if self.under_way.key is not None:
            if verdict is Verdict.ACCEPTED:
                self.delivered.update(counts(self.under_way))
            elif self.desk.outbox.stats().dropped.get("rejected", 0) > dropped:
                self.rejected.update(counts(self.under_way))
        self.under_way = None

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 61.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.desk.clock.now += seconds

    @invariant()
    def counted(self) -> None:
        stats = self.desk.outbox.stats()
        assert stats.accepted == self.put.total() == stats.delivered + stats.pending + sum(stats.dropped.values())
        assert stats.delivered == self.delivered.total()
        assert stats.dropped.get("rejected", 0) == self.rejected.total()
        assert self.desk.outbox.held <= self.SIZE + 1

    def teardown(self) -> None:
        """In the end each name has been delivered, rejected or dropped as often as it was logged."""
        while not self.desk.outbox.is_empty:
            if self.under_way is None:
                step = self.desk.outbox.next()
                if isinstance(step, ApiRequest):
                    self.under_way = step
                else:
                    self.desk.clock.now += step
            else:
                self.answer(Verdict.ACCEPTED, fault=False)
        stats = self.desk.outbox.stats()
        lost = self.put - self.delivered - self.rejected
        assert lost.total() == stats.dropped.get("overflow", 0)
        assert not self.delivered + self.rejected - self.put


def counts(request: ApiRequest) -> Counter[str]:
    """How many records of each name a request stands for."""
    body = json.loads(request.body)
    metadata = body["metadata"]
    if "digest" in metadata:
        return Counter(metadata["digest"])
    return Counter({metadata.get("event", ""): metadata.get("occurrences", 1)})


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=50)
