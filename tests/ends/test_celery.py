"""Celery's worker processes: replaced after some tasks or too much memory, and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox
from tests.slow_link import slow_link

HERE = Path(__file__).parent
COUNT = 6
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
SEND = f"from celery_app import job\nfor number in range({COUNT}): job.delay(number)"
CASES = {
    "one process": ((), 1),
    "--max-tasks-per-child": (("--max-tasks-per-child", "1"), COUNT),
    "--max-memory-per-child": (("--max-memory-per-child", "60000"), COUNT),
}


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Return the lines of a file as soon as there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    raise AssertionError(f"{len(lines)} tasks of {count} ran")


def check(folder: Path, case: str, installed: str, delay: float) -> None:
    """Run a worker until all tasks ran, stop it, and check that each record arrived once."""
    options, processes = CASES[case]
    (folder / "queue").mkdir()
    (folder / "control").mkdir()
    with Inbox(rate_limit=0) as inbox, slow_link(inbox.url, delay) as url:
        environment = {
            **os.environ,
            "FOLDER": str(folder),
            "INSTALL": installed,
            "EMITKIT_API_KEY": inbox.api_key,
            "EMITKIT_BASE_URL": url,
            "NO_PROXY": "*",
        }
        subprocess.run([sys.executable, "-c", SEND], cwd=HERE, env=environment, check=True, timeout=60)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--concurrency", "1", *QUIET, *options],
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            pids = wait_for_lines(folder / "ran", COUNT)
            worker.terminate()
            output = worker.communicate(timeout=30)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):  # its processes have ended by themselves
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        titles = sorted(event["metadata"]["event"] for event in inbox.events)
    assert titles == [f"job{number}" for number in range(COUNT)], output
    assert len(set(pids)) == processes
    assert "emitkit-logging" not in output


@pytest.mark.parametrize("delay", [0.0, 0.15])
@pytest.mark.parametrize("installed", ["", "1"], ids=["without install", "with install"])
@pytest.mark.parametrize("case", CASES)
def test_worker(tmp_path, case, installed, delay):
    """Each task's record arrives once: its process is replaced, or the worker is stopped right after the last task."""
    check(tmp_path, case, installed, delay)
