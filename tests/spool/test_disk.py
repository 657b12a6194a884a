"""The files of a spool are bounded, together and at any moment."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from tests.spool.processes import running, until, waits

IS_LONG = bool(os.environ.get("CHAOS"))
SECONDS = 20.0 if IS_LONG else 3.0

FULL_SPEED = """
import threading
def work(thread):
    while time.monotonic() < ends:
        log.info("x" * 300, extra={"event": f"name_{thread}"})
say("up")
ends = time.monotonic() + float(os.environ["SECONDS"])
threads = [threading.Thread(target=work, args=(each,)) for each in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
handler.close()
stats = handler.stats
check(stats.accepted == stats.delivered + stats.pending + sum(stats.dropped.values()))
say(f"{stats.accepted} {sum(stats.dropped.values())}")
"""


def used(path: Path) -> int:
    """Return the bytes of all files of a spool."""
    total = 0
    for each in path.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


@pytest.mark.parametrize("size", [2_000_000, 16_000_000] if IS_LONG else [2_000_000])
@pytest.mark.parametrize("processes", [1, 3] if IS_LONG else [1])
def test_full_speed(account, server, handler, path, monkeypatch, size, processes):
    """While threads and processes log at full speed, all files together have at most twice `spool_size`."""
    monkeypatch.setenv("SECONDS", str(SECONDS))
    logged = 0
    most = 0
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(running(FULL_SPEED, server, path, spool_size=size, shutdown_timeout=20.0, rate_limit=0))
            for _ in range(processes)
        ]
        for process in made:
            assert process.stdout.readline() == "up\n"
        while any(process.poll() is None for process in made):
            most = max(most, used(path))
            time.sleep(0.05)
        for process in made:
            accepted, lost = map(int, process.stdout.read().split())
            logged += accepted - lost
            assert process.wait() == 0
    assert most <= 2 * size
    if IS_LONG:  # the account takes minutes on a small machine: make chaos
        handler(spool=path, rate_limit=0, queue_size=200)
        until(lambda: not waits(path), 90)
        assert account.total() == logged
        assert not account.repeats
