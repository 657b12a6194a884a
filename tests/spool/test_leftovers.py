"""What processes that are gone have left: delivered by a process that is there, and by a short one before it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.server import Reply, Server
from tests.spool.processes import DONE, EVENT, SlowRelay, running, until

KILLED = """
import signal
for number in range(int(os.environ["START"]), int(os.environ["START"]) + int(os.environ["COUNT"])):
    log.info("x", extra={"event": "left", "number": number})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def leave(server, path, monkeypatch):
    """Let a process log, and be killed before it could send anything."""

    def killed(start: int, count: int) -> None:
        monkeypatch.setenv("START", str(start))
        monkeypatch.setenv("COUNT", str(count))
        with running(KILLED, server, path, base_url="http://127.0.0.1:9") as process:
            assert process.wait(20) == -signal.SIGKILL

    return killed


class OpenSource:
    """The open-source server: it stores each request that it gets, whatever the key."""

    def __init__(self) -> None:
        self.stored: list[dict] = []

    def __call__(self, seen) -> Reply:
        self.stored.append(json.loads(seen.raw))
        return Reply(201, DONE)

    def numbers(self) -> Counter:
        return Counter(event["metadata"]["number"] for event in self.stored if "number" in event["metadata"])


SHORT = """
log.error("it failed", extra={"event": "failed", "number": int(os.environ["NUMBER"])})
"""


def short_run(server: Server, path: Path, url: str):
    """Run a program that logs one record and ends."""
    return running(SHORT, server, path, base_url=url, shutdown_timeout=10.0)


@pytest.mark.parametrize("pause", [0.0, 0.15])
def test_short_run(server: Server, path: Path, leave, monkeypatch, pause):
    """A run that logs one record delivers what a dead process left, each record once, also on a server without keys."""
    server.script = stored = OpenSource()
    leave(0, 30)
    monkeypatch.setenv("NUMBER", "100")
    with SlowRelay(server, pause) as relay, short_run(server, path, relay.url) as run:
        assert run.wait(20) == 0
    assert stored.numbers() == Counter([*range(30), 100])
    assert [each.name for each in path.parent.iterdir()] == ["spool.db"]


@pytest.mark.parametrize("pause", [0.0, 0.15])
def test_several_short_runs(server: Server, path: Path, leave, monkeypatch, pause):
    """The exit waits for the response to a request that was started: no run sends again what the one before sent."""
    server.script = stored = OpenSource()
    for number in range(4):
        leave(number * 10, 3)
        monkeypatch.setenv("NUMBER", str(100 + number))
        with SlowRelay(server, pause) as relay, short_run(server, path, relay.url) as run:
            assert run.wait(20) == 0
    assert stored.numbers() == Counter(number * 10 + each for number in range(4) for each in range(3)) + Counter(
        range(100, 104)
    )


def test_exit_without_a_server(server, path, leave, monkeypatch):
    """What cannot be sent within the time of the exit stays, and the exit takes no longer."""
    leave(0, 5)
    monkeypatch.setenv("NUMBER", "100")
    with running(SHORT, server, path, base_url="http://127.0.0.1:9", shutdown_timeout=1.0) as run:
        began = time.monotonic()
        assert run.wait(20) == 0
    assert time.monotonic() - began < 5


def test_exit_leaves_it_to_others(account, server, path, others, monkeypatch):
    """A process that ends does not wait for what a living process has logged."""
    other = others(rate_limit=2, alert_reserve=0.0)
    for _ in range(5):
        other("i")
    monkeypatch.setenv("NUMBER", "100")
    began = time.monotonic()
    with running("", server, path, shutdown_timeout=30.0) as run:
        assert run.wait(25) == 0
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("pause", [0.0, 0.15])
def test_process_that_is_there(account, server, path, leave, handler, pause):
    """A process that has the spool open, and logs nothing, delivers within about a second what another one left."""
    with SlowRelay(server, pause) as relay:
        handler(spool=path, rate_limit=0, base_url=relay.url)
        leave(0, 3)
        began = time.monotonic()
        until(lambda: len(account.numbers()) == 3)
        assert time.monotonic() - began < 1.5
    assert account.numbers() == Counter(range(3))


CHILD = """
import signal
log.info("x", extra={"event": "x", "number": 1})
check(handler.flush(10))
child = os.fork()
if child == 0:
    log.info("x", extra={"event": "x", "number": 2})
    check(handler.flush(10))
    say("child")
    time.sleep(30)
log.info("x", extra={"event": "x", "number": 3})
check(handler.flush(10))
time.sleep(0.5)
say(os.getpid())
signal.pause()
"""


def test_child_that_is_there(account, server, path, leave):
    """A forked child that has logged delivers what another process left, also when its parent is gone."""
    with running(CHILD, server, path) as process:
        lines = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        assert "child" in lines
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        leave(10, 3)
        began = time.monotonic()
        until(lambda: len(account.numbers()) == 6)
        assert time.monotonic() - began < 1.5
    assert account.numbers() == Counter([1, 2, 3, 10, 11, 12])


def test_stats_count_from_the_start(account, handler, logger, path, leave):
    """The counts of requests and events go on when a process becomes the sender again."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for number in range(3):
        logger.info("x", extra={**EVENT, "number": number})
        assert made.flush(10)
        leave(100 + number, 1)
        until(lambda number=number: len(account.numbers()) == 2 * number + 2)
    until(lambda: made.stats.events == 6)
    assert (made.stats.accepted, made.stats.delivered, made.stats.events, made.stats.requests) == (3, 3, 6, 6)
