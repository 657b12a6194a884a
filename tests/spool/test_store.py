"""The spool: what was accepted survives the process, and is delivered once, whoever delivers it."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging._events.captured import CapturedException
from emitkit_logging._events.converter import Converted, JsonConverter
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._spool import codec
from tests.conftest import KEY
from tests.server import Reply, Seen, Server

EVENT = {"event": "spooled"}
DONE = {"success": True, "data": {}}


class Account:
    """What a server has that keeps its promise: the same key is the same event, and must be the same bytes."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.before = lambda: None
        self.after = lambda: None
        self.waits = 0.0

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("identify"):
            return Reply(200, DONE)
        assert seen.key is not None
        self.before()
        assert self.stored.setdefault(seen.key, seen.raw) == seen.raw
        self.after()
        return Reply(201, DONE, waits=self.waits)

    @property
    def events(self) -> list[dict]:
        return [json.loads(raw) for raw in list(self.stored.values())]

    def numbers(self) -> Counter:
        return Counter(event["metadata"]["number"] for event in self.events if "number" in event["metadata"])

    def total(self) -> int:
        return sum(event["metadata"].get("occurrences", 1) for event in self.events)


@pytest.fixture
def account(server):
    server.script = account = Account()
    return account


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "spool.db"


PROGRAM = """
import logging, os, sys, time
import emitkit_logging
handler = emitkit_logging.EmitKitHandler(spool=os.environ["SPOOL"], **eval(os.environ.get("OPTIONS", "{}")))
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
def say(text):
    os.write(1, f"{text}\\n".encode())
"""


@contextlib.contextmanager
def running(code: str, server: Server, path: Path, before: Sequence[str] = (), **options):
    """Run `code` behind `PROGRAM`, and that behind a command; killed at the end if it still runs."""
    environment = {
        **os.environ,
        "EMITKIT_API_KEY": KEY,
        "EMITKIT_BASE_URL": server.url,
        "SPOOL": str(path),
        "OPTIONS": repr({"rate_limit": 0, "shutdown_timeout": 0.5, **options}),
    }
    with subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM + code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(is_so, timeout: float = 15.0) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def waits(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        return database.execute("SELECT coalesce(sum(records), 0) FROM waiting").fetchone()[0]


PLAIN = JsonConverter(Redactor())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
HASHABLE = SCALARS | st.tuples(SCALARS)
CAPTURED = st.recursive(
    SCALARS | st.builds(Converted, SCALARS),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.sets(HASHABLE)
        | st.frozensets(HASHABLE)
        | st.dictionaries(HASHABLE, values)
    ),
    max_leaves=6,
)


def same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Converted):
        return one.value == other.value
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@settings(max_examples=50)
@given(st.dictionaries(st.text(), CAPTURED, max_size=4))
def test_notation_keeps_types(value):
    """What is read back is what was written, of the same types, on one line."""
    line = codec.write(value, PLAIN)
    assert b"\n" not in line
    value.pop("__emitkit_kind", None)
    assert same(codec.read(line), value)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b'{"__emitkit_kind": "os.system", "of": 1}', b"[" * 9999])
def test_notation_refuses(line):
    """Whatever else stands in a file is an error of one kind."""
    with pytest.raises(ValueError, match="no notation of ours"):
        codec.read(line)


def test_notation_of_others():
    """What JSON has no word for becomes what it would be in an event."""
    value = {"at": datetime.date(2026, 1, 2), "id": uuid.UUID(int=1), "raised": CapturedException("E", "m", "trace")}
    read = codec.read(codec.write(value, PLAIN))
    assert (read["at"].value, read["id"].value) == ("2026-01-02", str(uuid.UUID(int=1)))
    assert (read["raised"].type, read["raised"].stacktrace) == ("E", "trace")


def test_delivery(account, handler, logger, path):
    """With a spool events arrive as without one."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info(
        "user_signed_up", extra={"event": "user_signed_up", "number": 1, "tags": ("a", "b"), "at": uuid.UUID(int=1)}
    )
    try:
        raise ValueError("what")
    except ValueError:
        logger.exception("it failed: %s", {"a": 1})
    assert made.flush(10)
    failed, signed = sorted(account.events, key=lambda event: event["channelName"])
    assert signed["tags"] == ["user", "a", "b"]
    assert signed["metadata"]["at"] == str(uuid.UUID(int=1))
    assert failed["channelName"] == "alerts"
    assert "in test_delivery" in failed["metadata"]["exception"]["stacktrace"]
    stats = made.stats
    assert (stats.accepted, stats.delivered, stats.pending, stats.dropped) == (2, 2, 0, {})
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in path.parent.iterdir())
    made.close()
    assert made.stats == stats
    assert [entry.name for entry in path.parent.iterdir()] == ["spool.db"]


def test_left_for_the_next(account, server, handler, logger, path):
    """What cannot be delivered stays, and the next process that opens the spool delivers it without being asked."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.2)
    logger.addHandler(made)
    for number in range(20):
        logger.info("x", extra={**EVENT, "number": number})
    made.identify("ada", {"plan": "pro"})
    made.close()
    assert (made.stats.accepted, made.stats.pending) == (20, 20)
    handler(spool=path, rate_limit=0)
    server.wait_for(21)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(20)]
    until(lambda: waits(path) == 0)
    assert [seen.body["user_id"] for seen in server.requests if seen.path.endswith("identify")] == ["ada"]


def test_killed_at_once(account, server, handler, path):
    """A record whose call has returned outlives SIGKILL."""
    code = "import signal\nlog.info('x', extra={'event': 'x', 'number': 7})\nos.kill(os.getpid(), signal.SIGKILL)"
    with running(code, server, path, base_url="http://127.0.0.1:9") as process:
        assert process.wait(20) == -signal.SIGKILL
    handler(spool=path, rate_limit=0)
    server.wait_for(1)
    assert account.numbers() == {7: 1}


def test_killed_while_writing(account, server, handler, path):
    """Half a line, which a process was killed in the middle of, holds up nothing; what stands before it arrives."""
    code = """
import signal
log.info('x', extra={'event': 'x', 'number': 7})
(journal,) = [name for name in os.listdir(os.path.dirname(os.environ['SPOOL'])) if name.endswith('.journal')]
with open(os.path.join(os.path.dirname(os.environ['SPOOL']), journal), 'ab') as file:
    file.write(b'[["app","half of a li')
os.kill(os.getpid(), signal.SIGKILL)
"""
    with running(code, server, path, base_url="http://127.0.0.1:9") as process:
        assert process.wait(20) == -signal.SIGKILL
    made = handler(spool=path, rate_limit=0)
    server.wait_for(1)
    until(lambda: not made._listener.waits())
    assert account.numbers() == {7: 1}
    made.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["spool.db"]


def test_killed_while_opening(server, handler, logger, path):
    """What is left of a journal that was never used goes away; one that is being made does not."""
    old, new = (path.with_name(f"spool.db.1-{name}.0.making") for name in ("old", "new"))
    for each in (old, new):
        each.touch()
    os.utime(old, (0, 0))
    logger.addHandler(handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    until(lambda: not old.exists())
    assert new.exists()


def test_every_kind_of_record(account, handler, logger, path):
    """Whatever can be in a record comes through the spool as it comes through memory."""
    records = [
        logging.makeLogRecord({"msg": {"event": "asked", "fields": ({"a": 1},)}, "event": "x", "lineno": {1}}),
        logging.makeLogRecord({"msg": "%s", "args": (object,), "event": "y", "__emitkit_kind": "set", "s": {1, 2}}),
        logging.makeLogRecord(
            {"msg": "x" * 20_000, "event": "z", "surrogate": "\ud800", "big": 2**70, "nan": float("nan")}
        ),
        logging.makeLogRecord({"msg": "plain", "levelno": 40, "levelname": "ERROR", "exc_text": "E: what"}),
    ]
    memory, spooled = handler(rate_limit=0), handler(rate_limit=0, spool=path)
    bodies = []
    for made in (memory, spooled):
        account.stored.clear()
        for record in records:
            made.handle(record)
        assert made.flush(10)
        assert made.stats.delivered == len(records)
        bodies.append(sorted((event["title"], event) for event in account.events))
    assert bodies[0] == bodies[1]


LOOP = """
start = int(os.environ["START"])
for number in range(start, start + 60):
    log.info("x", extra={"event": f"name_{number % 3}", "number": number})
    say(number)
time.sleep(60)
"""


@pytest.mark.parametrize("seed", range(4))
def test_chaos(account, server, handler, path, seed, monkeypatch):
    """Twenty-five processes in turn, each killed at some moment; every record whose call returned arrives once."""
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    victim: list[subprocess.Popen] = []
    countdown = [0]

    def strike() -> None:
        countdown[0] -= 1
        if countdown[0] == 0 and victim:
            victim[0].kill()
            victim[0].wait()

    for number in range(25):
        monkeypatch.setenv("START", str(number * 100_000))
        moment = chance.choice(("logging", "before storing", "before answering"))
        countdown[0] = chance.randrange(1, 60)
        account.before = strike if moment == "before storing" else lambda: None
        account.after = strike if moment == "before answering" else lambda: None
        last = chance.randrange(60) if moment == "logging" else 100_000
        with running(LOOP, server, path) as process:
            victim[:] = [process]
            for line in process.stdout:
                acknowledged.add(int(line))
                if int(line) - number * 100_000 >= last:
                    break
            process.kill()
            acknowledged.update(int(line) for line in process.stdout if line.endswith("\n"))
        victim.clear()
    account.before = account.after = lambda: None
    made = handler(spool=path, rate_limit=0)
    until(lambda: not made._listener.waits(), 60)
    arrived = account.numbers()
    lost = acknowledged - set(arrived)
    unknown = set(arrived) - acknowledged
    assert not lost
    assert set(arrived.values()) == {1}
    assert len(unknown) <= 25  # written, but killed before it could say so: at most one each


def test_folds_survive(account, server, handler, logger, path):
    """Folds and digests go on in the next process, and the sums are exact."""
    made = handler(spool=path, rate_limit=4, shutdown_timeout=0.1)
    logger.addHandler(made)
    for number in range(3_000):
        logger.info("x", extra={"event": f"name_{number % 7}", "channel": f"channel-{number % 2}"})
    server.wait_for(1)
    until(lambda: waits(path) + account.total() == 3_000)
    made._listener.give_up()  # as if it had ended here: nothing is folded for an exit
    again = handler(spool=path, rate_limit=0)
    logger.handlers[:] = [again]
    logger.info("x", extra={"event": "name_0", "channel": "channel-0"})
    until(lambda: account.total() == 3_001)
    until(lambda: not again._listener.waits())
    assert (made.stats.accepted, again.stats.accepted) == (3_000, 1)
    names: Counter = Counter()
    for event in account.events:
        metadata = event["metadata"]
        names.update(metadata.get("digest") or {metadata["event"]: metadata.get("occurrences", 1)})
    assert names == Counter(f"name_{number % 7}" for number in range(3_000)) + Counter(["name_0"])


def test_budget_survives(account, server, handler, logger, path):
    """The next process knows what the one before it has sent in this minute."""
    for _ in range(3):
        made = handler(spool=path, rate_limit=6, shutdown_timeout=0.1)
        logger.handlers[:] = [made]
        for number in range(10):
            logger.info("x", extra={"event": f"name_{number}"})
        made.flush(0.5)
        made.close()
    assert len(server.requests) <= 6


def test_users_survive(server, handler, logger, path):
    """One alias cache: the next process does not identify the same user again."""
    for _ in range(2):
        made = handler(spool=path, rate_limit=0)
        logger.handlers[:] = [made]
        logger.info("x", extra={**EVENT, "user": {"id": "ada", "email": "ada@example.com"}})
        assert made.flush(10)
        made.close()
    assert [seen.path.rpartition("/")[2] for seen in server.requests] == ["identify", "events", "events"]


ANSWERING = """
for line in sys.stdin if False else iter(lambda: os.read(0, 1), b""):
    if line == b"e":
        log.error("it failed", extra={"event": "failed", "at": time.time()})
    elif line == b"i":
        log.info("x", extra={"event": "x"})
    elif line == b"f":
        handler.flush(10)
    else:
        continue
    say(f"{handler.stats.accepted} {handler.stats.delivered} {handler.stats.pending}")
"""


class Other:
    """Another process that logs as it is told."""

    def __init__(self, server: Server, path: Path, **options) -> None:
        environment = {
            **os.environ,
            "EMITKIT_API_KEY": KEY,
            "EMITKIT_BASE_URL": server.url,
            "SPOOL": str(path),
            "OPTIONS": repr({"rate_limit": 0, "shutdown_timeout": 0.5, **options}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + ANSWERING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, what: str) -> list[int]:
        self.process.stdin.write(what.encode())
        self.process.stdin.flush()
        return [int(number) for number in self.process.stdout.readline().split()]


@pytest.fixture
def others(server, path):
    """Start other processes on the same spool; all are ended with the test."""
    made: list[Other] = []

    def start(**options) -> Other:
        made.append(Other(server, path, **options))
        made[-1]("i")  # it is up
        return made[-1]

    yield start
    for other in made:
        other.process.kill()
        other.process.communicate()


def test_alert_of_another(account, server, path, others):
    """While one process sends and waits for the budget, the alert of another is there within a second."""
    first, second = others(rate_limit=10), others(rate_limit=10)
    for _ in range(40):
        first("i")
        second("i")
    until(lambda: len(server.requests) == 9)
    began = time.time()
    second("e")
    until(lambda: any(event["channelName"] == "alerts" for event in account.events))
    assert time.time() - began < 1
    assert len(server.requests) == 10


def test_stats_of_each(account, path, others):
    """Each process knows of its own records, whoever delivers them."""
    first, second = others(), others()
    for _ in range(5):
        first("i")
    assert second("i")[0] == 2
    assert first("f") == [6, 6, 0]
    assert second("f") == [2, 2, 0]
    assert account.total() == 8


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_sender_falls_out(account, server, path, others, how):
    """When the sender dies or stands still, in the middle of a request, another takes over; nothing is sent twice."""
    sender = others(timeout=2.0)
    assert sender("f")[2] == 0
    account.waits = 1.5
    sender("i")
    until(lambda: account.total() == 2)
    sender.process.send_signal(how)
    account.waits = 0.0
    other = others(timeout=2.0)
    other("e")
    until(lambda: account.total() == 4, 20)
    sender.process.send_signal(signal.SIGCONT)
    if how == signal.SIGSTOP:
        assert sender("i")[0] == 3
        assert sender("f") == [3, 3, 0]
        assert account.total() == 5
    assert other("f") == [2, 2, 0]
    assert len({seen.key for seen in server.requests}) == account.total()


def test_fork(account, handler, logger, path):
    """A forked child has a journal of its own, and neither loses nor doubles what the parent holds."""
    made = handler(spool=path, rate_limit=0, shutdown_timeout=5.0)
    logger.addHandler(made)
    context = multiprocessing.get_context("fork")

    def work(first: int) -> None:
        for number in range(first, first + 20):
            logger.info("x", extra={**EVENT, "number": number})
        made.close()

    logger.info("x", extra={**EVENT, "number": 0})
    children = [context.Process(target=work, args=(100 * child,)) for child in (1, 2, 3)]
    for child in children:
        child.start()
        logger.info("x", extra={**EVENT, "number": child.pid * 1000})
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    assert made.flush(10)
    until(lambda: len(account.numbers()) == 64)
    assert set(account.numbers().values()) == {1}
    assert made.stats.accepted == 4


def corrupt(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(8_000))


def truncated(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")
    os.truncate(path, 1_000)


def of_something_else(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")


def of_the_future(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def a_directory(path: Path) -> None:
    path.mkdir()


def nowhere(path: Path) -> None:
    path.parent.joinpath("file").touch()


@pytest.mark.parametrize(
    ("make", "is_set_aside"),
    [(corrupt, True), (truncated, True), (of_something_else, True), (of_the_future, False), (a_directory, False)],
)
def test_trouble_at_the_start(account, handler, logger, path, caplog, make, is_set_aside):
    """A spool that cannot be used is one warning; what is unreadable is renamed, never deleted; records arrive."""
    make(path)
    before = path.read_bytes() if path.is_file() else None
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert account.total() == 1
    assert [str(path) in record.getMessage() for record in caplog.records if record.name == "emitkit_logging"] == [True]
    kept = [each for each in path.parent.iterdir() if ".unusable-" in each.name and "wal" not in each.name]
    assert len(kept) == is_set_aside
    if is_set_aside:
        assert kept[0].read_bytes() == before


def test_no_place(account, handler, logger, path, caplog):
    """A path where nothing can be made is one warning."""
    logger.addHandler(made := handler(spool=path / "missing" / "spool.db", rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert account.total() == 1
    assert len(caplog.records) == 2


def test_trouble_later(account, handler, logger, path, caplog):
    """A spool that becomes unreadable is set aside, and nothing is lost or doubled."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 0})
    assert made.flush(10)
    made.before_fork()  # the file is closed
    path.write_bytes(os.urandom(50_000))
    made.after_fork()
    for number in range(1, 6):
        logger.info("x", extra={**EVENT, "number": number})
    until(lambda: len(account.numbers()) == 6)
    assert set(account.numbers().values()) == {1}
    assert any("set aside" in record.getMessage() for record in caplog.records)


def test_stuck_process(account, handler, logger, path, caplog):
    """A process that holds the file's lock for ever holds nobody up: calls return, and it goes on when it can."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        for number in range(100):
            logger.info("x", extra={**EVENT, "number": number})
        assert time.monotonic() - began < 0.5
        until(lambda: any("cannot be used at the moment" in record.getMessage() for record in caplog.records))
        stuck.execute("ROLLBACK")
    assert made.flush(10)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(100)]


def test_journal_takes_nothing(account, handler, logger, path, monkeypatch):
    """Where the journal takes nothing any more, records go on from memory."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    monkeypatch.setattr(made._listener._spool.journal, "append", lambda _: False)
    for number in range(10):
        logger.info("x", extra={**EVENT, "number": number})
    made.identify("ada", {"plan": "pro"})
    assert made.flush(10)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(10)]
    assert (made.stats.accepted, made.stats.delivered, made.stats.identifies) == (10, 10, 1)


FULL = """
for number in range(1_500):
    log.info("x", extra={"event": "x", "number": number, "text": "x" * 100})
assert os.statvfs(os.path.dirname(os.environ["SPOOL"])).f_bavail == 0
assert handler.flush(30)
say(handler.stats.delivered)
"""


def test_full_disk(account, server, path):
    """On a disk that is full, everything accepted is delivered once, from memory."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=300k none "$0" && exec "$@"']
    mount.append(str(path.parent))
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    with running(FULL, server, path, before=mount) as process:
        assert process.stdout.read() == "1500\n"
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(1_500)]


def test_size(account, handler, logger, path):
    """More bytes than may wait fold, then the least important are given up, counted."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", spool_size=100_000, shutdown_timeout=0.1)
    logger.addHandler(made)
    for number in range(2_000):
        logger.info("x", extra={"event": f"name_{number}", "channel": f"channel-{number}", "text": "x" * 200})
    logger.error("it matters", extra={**EVENT, "number": 1})
    until(lambda: made.stats.dropped.get("overflow", 0) > 0)
    made.close()
    stats = made.stats
    assert stats.accepted == 2_001
    with contextlib.closing(sqlite3.connect(path)) as database:
        size, kept = database.execute("SELECT sum(length(data)), sum(records) FROM waiting").fetchone()
        assert database.execute("SELECT count(*) FROM waiting WHERE priority = 40").fetchone()[0] == 1
    assert size <= 100_000
    assert kept == stats.pending


def test_old_rows(account, handler, logger, path):
    """What has waited longer than `spool_ttl` is given up, counted."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.1)
    logger.addHandler(made)
    old = logger.makeRecord("app", 20, __file__, 1, "old", (), None, "f", {**EVENT, "number": 1})
    old.created -= 100
    made.handle(old)
    logger.info("new", extra={**EVENT, "number": 2})
    made.close()
    handler(spool=path, rate_limit=0, spool_ttl=50.0)
    until(lambda: waits(path) == 0)
    assert account.numbers() == {2: 1}


def test_clock_set_back(account, handler, logger, path, monkeypatch):
    """A wall clock that jumps changes nothing of who sends, or when."""
    now = time.time()
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for number, shift in enumerate((0, -86_400, 86_400, -10 * 365 * 86_400)):
        monkeypatch.setattr(time, "time", lambda shift=shift: now + shift)
        logger.info("x", extra={**EVENT, "number": number})
        assert made.flush(10)
    assert len(account.numbers()) == 4


def test_rejected_are_kept(server, handler, logger, path):
    """An event that the server refuses is kept with its answer, and counts as dropped."""
    server.script = [
        Reply(400, {"success": False, "error": "Invalid", "details": [{"path": ["title"], "message": "bad"}]})
    ]
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (0, {"rejected": 1})
    with contextlib.closing(sqlite3.connect(path)) as database:
        records, body, answer = database.execute("SELECT records, body, answer FROM rejected").fetchone()
    assert (records, json.loads(body)["metadata"]["number"]) == (1, 1)
    assert "title: bad" in answer


def test_not_in_the_way(server, handler, logger, path):
    """No row, journal or thread is left behind by a process that has logged nothing."""
    made = handler(spool=path)
    assert not made._listener.is_started
    made.close()
    assert [each.name for each in path.parent.iterdir() if each.suffix == ".journal"] == []


def command(*arguments: object, url: str = "") -> tuple[int, str]:
    environment = {**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": url}
    whole = [sys.executable, "-m", "emitkit_logging", "spool", *map(str, arguments)]
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_command(account, server, handler, logger, path):
    """`emitkit-logging spool` tells what waits, exports it, and delivers it."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.0, rate_limit=1, plain_level="INFO")
    logger.addHandler(made)
    logger.info("x", extra={"event": "user_signed_up", "channel": "users"})
    made.identify("ada", {"plan": "pro"})
    logger.error("it failed")
    made.close()
    status, told = command(path)
    assert status == 0
    assert told.startswith("2 log records in 2 events since 20")
    assert [line.split()[:2] for line in told.splitlines()[1:3]] == [["alerts", "ERROR"], ["users", "INFO"]]
    assert "1 user to identify" in told
    status, exported = command(path, "--export")
    assert status == 0
    assert {json.loads(line).get("title") for line in exported.splitlines()} == {"it failed", "User Signed Up", None}
    assert command(path, "--flush", "--timeout", "0.5", url="http://127.0.0.1:9")[0] == 1
    assert command(path, "--flush", url=server.url) == (0, "nothing waits\n")
    assert account.total() == 2
    assert command(path) == (0, "nothing waits\n")


def test_command_requeue(account, server, handler, logger, path):
    """Rejected events are shown with the answer, put back, and sent as new requests."""
    server.script = lambda seen: Reply(400, {"success": False, "error": "Invalid"})
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    made.close()
    assert "1 rejected event:" in command(path)[1]
    assert "HTTP 400; Invalid" in command(path)[1]
    assert command(path, "--requeue") == (0, "1 event put back\n")
    server.script = account
    assert command(path, "--flush", url=server.url) == (0, "nothing waits\n")
    assert account.total() == 1
    assert server.requests[0].key != server.requests[1].key
    assert command(path) == (0, "nothing waits\n")


def test_command_without_a_spool(path):
    """What is no spool is said in one line."""
    assert command(path)[0] == 2
    path.write_text("no")
    status, said = command(path)
    assert (status, len(said.splitlines())) == (1, 1)
