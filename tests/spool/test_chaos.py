"""Processes that are killed at any moment: each record whose call returned arrives once."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from tests.spool.processes import running, until, waits


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


@pytest.mark.parametrize("seed", range(20 if os.environ.get("CHAOS") else 2))
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
    handler(spool=path, rate_limit=0)
    until(lambda: not waits(path), 60)
    arrived = account.numbers()
    lost = acknowledged - set(arrived)
    unknown = set(arrived) - acknowledged
    assert not lost
    assert set(arrived.values()) == {1}
    assert len(unknown) <= 25  # written, but killed before it could say so: at most one each
    assert len(account.repeats) <= 25  # what a server without keys has twice: what was under way at a kill


SHORT = """
number = int(os.environ["START"]) + 60
log.error("it failed", extra={"event": "failed", "number": number})
say(number)
"""


@pytest.mark.parametrize("seed", range(20 if os.environ.get("CHAOS") else 1))
def test_short_runs_after_kills(account, server, path, seed, monkeypatch):
    """After each kill a process that logs one record delivers what is left before it ends; each record arrives once."""
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    for number in range(6):
        monkeypatch.setenv("START", str(number * 100_000))
        last = chance.randrange(60)
        with running(LOOP, server, path) as process:
            for line in process.stdout:
                acknowledged.add(int(line))
                if int(line) - number * 100_000 >= last:
                    break
            process.kill()
            acknowledged.update(int(line) for line in process.stdout if line.endswith("\n"))
        with running(SHORT, server, path, shutdown_timeout=20.0) as process:
            acknowledged.add(int(process.stdout.readline()))
            assert process.wait(30) == 0
        assert not waits(path)
    arrived = account.numbers()
    assert acknowledged <= set(arrived)
    assert set(arrived.values()) == {1}
    assert len(account.repeats) <= 6  # as above
