"""A flood against a server that allows ten requests in two seconds: when alerts arrive, and what it costs."""

from __future__ import annotations

import array
import contextlib
import datetime
import logging
import pathlib
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Any

import requests

from benchmarks import sink
from emitkit_logging import EmitKitHandler

RECORDS = 1_000_000
THREADS = 4
ALERTS = 5
NAMES = 50
LONG = 30.0
KEY = "emitkit_0123456789abcdef"


def resident() -> float:
    """Return this process's resident memory in MB."""
    return int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def flood(logger: logging.Logger, thread: int, logged: dict[str, float]) -> None:
    """Log the share of one thread: names in turn, and in between a few alerts."""
    share = RECORDS // THREADS
    for number in range(share):
        logger.info("x", extra={"event": f"name_{(number + thread) % NAMES}", "number": number})
        if number % (share // ALERTS) == share // ALERTS // 2:
            which = f"{thread}-{number}"
            logged[which] = time.time()
            logger.error("it failed", extra={"event": f"failure_{thread}", "which": which})


def storm() -> dict[str, float]:
    """Flood a server on loopback from four threads.

    Returns:
        The longest delay of an alert in seconds, the growth of memory in MB, and the number of refused requests.
    """
    command = [sys.executable, "-m", "emitkit_logging.inbox", "--port", "0", "--rate-limit", "10", "--window", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as inbox:
        assert inbox.stdout is not None
        url = inbox.stdout.readline().split()[-1]
        key = [inbox.stdout.readline() for _ in range(2)][-1].strip().rpartition("=")[2]
        reader = threading.Thread(target=lambda: deque(inbox.stdout or (), maxlen=0), daemon=True)
        reader.start()
        handler = EmitKitHandler(key, base_url=url)
        logger = logging.getLogger("benchmark.scarcity")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers[:] = [handler]
        before = most = resident()
        logged: dict[str, float] = {}
        threads = [threading.Thread(target=flood, args=(logger, number, logged)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.05)
            most = max(most, resident())
        assert handler.flush(60)
        stats = handler.stats
        events: list[dict[str, Any]] = requests.get(f"{url}/_inbox/events", timeout=10).json()["events"]
        handler.close()
        inbox.terminate()
    counted = sum(event["metadata"].get("occurrences", 1) for event in events)
    assert counted == stats.accepted == RECORDS + THREADS * ALERTS, (counted, stats)
    latest = 0.0
    for event in events:
        if event["channelName"] == "alerts":
            arrived = datetime.datetime.fromisoformat(event["createdAt"].replace("Z", "+00:00")).timestamp()
            for sample in event["metadata"].get("samples", [event["metadata"]]):
                latest = max(latest, arrived - logged[sample["which"]])
    return {"alert": latest, "storm memory": most - before, "refused": float(stats.requests - len(events))}


def p99(url: str) -> float:
    """Log at full speed for half a minute, and return the 99th percentile of a call, in seconds."""
    handler = EmitKitHandler(KEY, base_url=url, rate_limit=0, timeout=60.0, shutdown_timeout=0.0)
    logger = logging.getLogger("benchmark.scarcity")
    logger.handlers[:] = [handler]
    took = array.array("d")
    ends = time.perf_counter() + LONG
    while (began := time.perf_counter()) < ends:
        logger.info("x", extra={"event": f"name_{len(took) % NAMES}", "number": len(took)})
        took.append(time.perf_counter() - began)
    stats = handler.stats
    assert stats.accepted == len(took) == stats.delivered + stats.pending, stats
    with contextlib.redirect_stderr(None):
        handler.close()
    return sorted(took)[int(len(took) * 0.99)]


def hang() -> dict[str, float]:
    """Return how much longer a call takes while the server accepts connections and never answers."""
    with sink.running() as fast, sink.running(3_600.0) as never:
        return {"hang": p99(never) / p99(fast)}


def main() -> dict[str, float]:
    """Print and return the figures."""
    measured = {**storm(), **hang()}
    print(
        f"  {RECORDS:,} records and {THREADS * ALERTS} alerts, all counted: the latest alert after "
        f"{measured['alert']:.2f} s, {measured['storm memory']:.0f} MB more, {measured['refused']:.0f} refused; "
        f"p99 of a call x {measured['hang']:.2f} when the server hangs"
    )
    return measured
