"""Children of multiprocessing, by start method, place of the handler, store and distance of the server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox
from tests.slow_link import slow_link

PROGRAM = Path(__file__).with_name("multiprocessing_program.py")
PROCESSES = ["process0", "process1", "threada", "threadb"]
POOLS = [f"{kind}{n}" for kind in ("executor", "pool") for n in range(4)]

PLACES = [
    (method, place)
    for method in ("fork", "forkserver", "spawn")
    for place in ("parent", "top", "child", "initializer")
    if method == "fork" or place != "parent"  # a handler of the parent alone is not in a child that is not forked
]


def names(inbox: Inbox) -> list[str]:
    return sorted(event["metadata"]["event"] for event in inbox.events)


def check(method: str, place: str, delay: float, spool: Path | None = None) -> None:
    """Run the program, and check that each of its records arrived once."""
    with Inbox(rate_limit=0) as inbox, slow_link(inbox.url, delay) as url:
        environment = {**os.environ, "EMITKIT_API_KEY": inbox.api_key, "EMITKIT_BASE_URL": url, "NO_PROXY": "*"}
        if spool is not None:
            environment["SPOOL"] = str(spool)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(PROGRAM), method, place],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        if spool is not None:  # what the last child left, the next process delivers
            command = [sys.executable, "-m", "emitkit_logging", "spool", str(spool), "--flush"]
            subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True)
        expected = [*POOLS, *(["begin"] if place == "parent" else []), *(PROCESSES if place != "initializer" else [])]
        assert names(inbox) == sorted(expected)


@pytest.mark.parametrize("delay", [0.0, 0.15])
@pytest.mark.parametrize("has_spool", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize(("method", "place"), PLACES)
def test_children(tmp_path, method, place, has_spool, delay):
    """Each record of each child arrives once, however the child and its handler came to be."""
    check(method, place, delay, tmp_path / "spool" if has_spool else None)
