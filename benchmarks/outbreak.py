"""A storm of one failure against real servers: how soon a new kind of alert is there, and how often the storm pushes.

`python -m benchmarks.outbreak` logs one ERROR at 20, 1,000 and 50,000 a second, and in between ten alerts of new kinds,
as many as `alert_reserve` keeps requests for, against three servers on loopback that allow 100 requests a minute: the
current one, the self-hosted one, and one that says nothing about its limit. It takes some two minutes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import requests

from emitkit_logging import EmitKitHandler

SERVERS = ("current", "self-hosted", "silent")
RATES = (20, 1_000, 50_000)
SECONDS = 12.0
NEW_KINDS = ("disk", "cache", "queue", "payment", "mail", "search", "login", "report", "import", "export")
LIMIT = 100
WINDOW = 60.0
TICK = 0.01
KEY = "emitkit_0123456789abcdef"


class Outcome(NamedTuple):
    """What became of a storm.

    Attributes:
        delays: seconds from the call to the arrival on the server, of each new kind.
        pushes: events of the storm that pushed.
        requests: requests for the storm.
        logged: records of the storm.
    """

    delays: list[float]
    pushes: int
    requests: int
    logged: int


class _Silent(BaseHTTPRequestHandler):
    """Allows `LIMIT` requests in a window, and has no headers about that."""

    protocol_version = "HTTP/1.1"
    events: list[dict[str, Any]] = []  # noqa: RUF012 - of the process
    window = 0.0

    def do_POST(self) -> None:
        """Take an event."""
        body, now = json.loads(self.rfile.read(int(self.headers["content-length"]))), time.time()
        if now - _Silent.window >= WINDOW:
            _Silent.window, self.server.used = now, 0  # type: ignore[attr-defined]
        self.server.used += 1  # type: ignore[attr-defined]
        if self.server.used > LIMIT:  # type: ignore[attr-defined]
            self._answer(429, {"success": False, "error": "Too many requests"})
            return
        created = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        self.events.append({**body, "createdAt": created.isoformat()})
        self._answer(201, {"success": True, "data": {}})

    def do_GET(self) -> None:
        """Return what came."""
        self._answer(200, {"events": self.events})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(kind: str) -> Iterator[tuple[str, str]]:
    """Run a server in a process of its own; the value is its address and the key."""
    inbox = ["emitkit_logging.inbox", "--port", "0", "--api-key", KEY]
    own = ["benchmarks.outbreak", "serve"]
    more = ["--generation", "self-hosted"] if kind == "self-hosted" else []
    command = [sys.executable, "-m", *(own if kind == "silent" else inbox), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        reader = threading.Thread(target=lambda: list(process.stdout or ()), daemon=True)
        reader.start()
        try:
            yield url, KEY
        finally:
            process.terminate()


def storm(logger: logging.Logger, rate: int, seconds: float) -> tuple[int, dict[str, float]]:
    """Log one failure at a rate, and new kinds at any time; return its records, and when each new kind was logged."""
    draw = random.Random(rate)
    times = sorted(draw.uniform(0.5, seconds) for _ in NEW_KINDS)
    coming = list(zip(times, NEW_KINDS, strict=True))
    logged_at: dict[str, float] = {}
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter() - began) < seconds:
        while count < now * rate:
            count += 1
            logger.error(f"order {count} of user{count}@example.com failed")
            if coming and coming[0][0] <= time.perf_counter() - began:
                name = coming.pop(0)[1]
                logged_at[name] = time.time()
                logger.error("%s is down", name, extra={"fingerprint": name, "which": name})
        time.sleep(TICK)
    return count, logged_at


def outbreak(kind: str, rate: int) -> Outcome:
    """Let a storm rage against a server."""
    with running(kind) as (url, key):
        handler = EmitKitHandler(key, base_url=url, shutdown_timeout=5.0)
        logger = logging.getLogger("benchmark.outbreak")
        logger.propagate = False
        logger.handlers[:] = [handler]
        count, logged_at = storm(logger, rate, SECONDS)
        handler.close()
        path = url if kind == "silent" else f"{url}/_inbox/events"
        events: list[dict[str, Any]] = requests.get(path, timeout=30).json()["events"]
    arrived = {event["metadata"].get("which"): event["createdAt"] for event in events}
    delays = [seconds(arrived[name]) - at for name, at in logged_at.items()]
    own = [event for event in events if "which" not in event["metadata"]]
    delivered = sum(event["metadata"].get("occurrences", 1) for event in own)
    assert delivered == count, (delivered, count, str(handler.stats))
    return Outcome(delays, sum(bool(event["notify"]) for event in own), len(own), count)


def seconds(text: str) -> float:
    """Return the epoch seconds of a time as the server writes it."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main() -> dict[str, float]:
    """Print and return the figures."""
    every: list[float] = []
    pushes = 0
    for kind in SERVERS:
        for rate in RATES:
            delays, pushed, sent, logged = outbreak(kind, rate)
            every += delays
            pushes = max(pushes, pushed)
            print(
                f"  {kind} server, {rate:,} a second: new kinds after {1000 * statistics.median(delays):.0f} ms in the "
                f"median, {1000 * max(delays):.0f} ms at most; {logged:,} records in {sent} requests, {pushed} pushes",
                flush=True,
            )
    return {
        "new kind": statistics.median(every),
        "new kind p99": sorted(every)[int(len(every) * 0.99)],
        "storm pushes": float(pushes),
    }


def serve() -> None:
    """Run the server that says nothing about its limit."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    server.used = 0  # type: ignore[attr-defined]
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
