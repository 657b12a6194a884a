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
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging import EmitKitHandler, notation
from emitkit_logging.record import Raised
from emitkit_logging.redaction import Redactor
from emitkit_logging.values import Frozen, Plain

from .conftest import KEY
from .server import Reply, Seen, Server

EVENT = {"event": "spooled"}
DONE = {"success": True, "data": {}}


class Account:
    """What a server has that keeps its promise: the same key is the same event, and must be the same bytes."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.before = lambda: None
        self.after = lambda: None

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("identify"):
            return Reply(200, DONE)
        assert seen.key is not None
        self.before()
        assert self.stored.setdefault(seen.key, seen.raw) == seen.raw
        self.after()
        return Reply(201, DONE)

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
def running(code: str, server: Server, path: Path, **options):
    """Run `code` behind `PROGRAM`; killed at the end if it still runs."""
    environment = {
        **os.environ,
        "EMITKIT_API_KEY": KEY,
        "EMITKIT_BASE_URL": server.url,
        "SPOOL": str(path),
        "OPTIONS": repr({"rate_limit": 0, "shutdown_timeout": 0.5, **options}),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code], env=environment, stdout=subprocess.PIPE, text=True
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


PLAIN = Plain(Redactor())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
HASHABLE = SCALARS | st.tuples(SCALARS)
CAPTURED = st.recursive(
    SCALARS | st.builds(Frozen, SCALARS),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.sets(HASHABLE)
        | st.frozensets(HASHABLE)
        | st.dictionaries(HASHABLE, values)
    ),
)


def same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Frozen):
        return one.value == other.value
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(st.dictionaries(st.text(), CAPTURED))
def test_notation_keeps_types(value):
    """What is read back is what was written, of the same types, on one line."""
    line = notation.write(value, PLAIN)
    assert b"\n" not in line
    assert same(notation.read(line), value)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b'{"__emitkit_kind": "os.system", "of": 1}', b"[" * 9999])
def test_notation_refuses(line):
    """Whatever else stands in a file is an error of one kind."""
    with pytest.raises(ValueError, match="no notation of ours"):
        notation.read(line)


def test_notation_of_others():
    """What JSON has no word for becomes what it would be in an event."""
    value = {"at": datetime.date(2026, 1, 2), "id": uuid.UUID(int=1), "raised": Raised("E", "m", "trace")}
    read = notation.read(notation.write(value, PLAIN))
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
