"""A fleet with a real Redis: what a relay takes in, and what it costs the applications.

`python -m benchmarks.fleet` prints the figures; it needs redis-server. The relay gets folded entries and single records
while the budget is used up. An application logs the same with and without a relay, part by part in turn.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import redis

from benchmarks import producer, sink
from emitkit_logging import EmitKitHandler
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._assembly import Formatting
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import BacklogObserver
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._relay import wire
from emitkit_logging._relay.connection import address_of
from emitkit_logging._relay.relay_store import RelayStore
from emitkit_logging._relay.shaping import MOST_SAMPLES, ShapedFactory
from emitkit_logging.formatter import EmitKitFormatter

PARTS = 64
PAIRS = 30
PLAIN = CapturedRecord({"msg": ""})


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis server and yield its address."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program is not None, "redis-server is not installed"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            while True:
                with contextlib.suppress(redis.RedisError):
                    if client.ping():
                        break
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


def shaped(kind: int, number: int, level: int = 20) -> bytes:
    """Return the line of a record of an ordinary size."""
    metadata = {"category": "user", "event": f"kind_{kind}", "timestamp": 1.0, "number": number, "text": "x" * 150}
    metadata["log"] = {"level": "INFO", "logger": "app", "file": "/app/shop.py", "line": 10, "function": "buy"}
    event = Event("general", f"Kind {kind}", "An event", metadata=metadata, level=level, created=time.time())
    event.kind = (f"kind_{kind}",)
    return wire.write_record(event, PLAIN)


def single(kind: int, number: int) -> bytes:
    """Return a part with one record."""
    return b"r" + shaped(kind, number)


def fold(kind: int, number: int) -> bytes:
    """Return a part with a fold of 100 records and the samples that an application sends."""
    made = Fold(FoldKey("general", 20, (f"kind_{kind}",)), 1)
    lines = [shaped(kind, number + each) for each in range(MOST_SAMPLES)]
    for line in lines:
        made.add(wire.ShapedRecord(line), None)
    made.count = 100
    return wire.write_fold(made, lines)


def make_store(url: str) -> RelayStore:
    """Return a relay whose budget is used up."""
    factory = ShapedFactory(Formatting(EmitKitFormatter()))

    def make_outbox(observer: BacklogObserver, clock: Callable[[], float]) -> Outbox:
        budget = RateBudget(rate_limit=2, alert_reserve=0.1, clock=clock)
        users = KnownUsers(ttl=3600, size=10_000, clock=clock)
        kinds = KindMemory(notify_interval=300, clock=clock)
        return Outbox(
            size=10_000, budget=budget, users=users, kinds=kinds, factory=factory, clock=clock, observer=observer
        )

    return RelayStore(
        address_of("url", url, 5.0),
        make_outbox,
        size=1_000_000,
        most_users=10_000,
        timeout=5.0,
        shown={},
        on_line=_ignore,
    )


def _ignore(_: str) -> None:
    """Do nothing: nobody reads the relay's lines here."""


def measure(name: str, parts: list[bytes], total: int, records: int) -> None:
    """Print how many parts a second a relay takes in."""
    with redis_server() as url:
        client = redis.Redis.from_url(url)
        batches = [parts[at : at + PARTS] for at in range(0, len(parts), PARTS)]
        with client.pipeline(transaction=False) as pipe:
            for number in range(total // PARTS):
                batch = batches[number % len(batches)]
                fields = {"v": 1, "p": "x", "l": len(batch), "n": len(batch) * records, "d": wire.write_batch(batch)}
                pipe.xadd("emitkit:in:records", fields)
            pipe.execute()
        store = make_store(url)
        began, cpu = time.perf_counter(), time.process_time()
        slowest = 0.0
        while client.xlen("emitkit:in:records"):
            before = time.perf_counter()
            step = store.next()
            slowest = max(slowest, time.perf_counter() - before)
            if isinstance(step, ApiRequest):
                store.settle(ApiResponse(Verdict.ACCEPTED))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        held = sum(each["usec"] for name_, each in client.info("commandstats").items() if "eval" in name_)
        calls = client.info("commandstats")["cmdstat_eval"]["calls"]
        waiting = client.hlen("emitkit:relay:waiting")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name}: {total / seconds:,.0f}/s ({total / cpu:,.0f} a second of CPU), "
            f"slowest look {slowest * 1000:.0f} ms, {held / calls / 1000:.2f} ms a script, "
            f"{waiting:,} rows, {memory:.0f} MB"
        )
        store.close()


@contextlib.contextmanager
def relay(url: str, server: str) -> Iterator[None]:
    """Run a relay that may send ten requests a minute."""
    command = [sys.executable, "-m", "emitkit_logging", "relay", "--redis", url, "--rate-limit", "10"]
    environment = {**os.environ, "EMITKIT_API_KEY": producer.KEY, "EMITKIT_BASE_URL": server}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _logger(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"benchmark.fleet.{name}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def measure_applications() -> None:
    """Print what a call costs with a relay, relative to one without, and the CPU time of all threads likewise."""
    with redis_server() as url, sink.running(0.0) as server, relay(url, server):
        bare = _logger("bare", logging.NullHandler())
        without = _logger("without", EmitKitHandler(producer.KEY, base_url=server, rate_limit=10, shutdown_timeout=0.0))
        through = _logger("through", EmitKitHandler(relay=url, shutdown_timeout=0.0))
        for _ in range(3):  # until the relay has said that the budget does not last
            for logger in (without, through):
                producer.measure("bursts", logger, 5_000)
            time.sleep(1.0)
        for regime in ("sustained", "bursts"):
            calls, cpu = [], []
            for _ in range(PAIRS):
                costs = {logger: producer.measure(regime, logger, 5_000) for logger in (bare, without, through)}
                null = costs[bare]
                calls.append((costs[through].wall - null.wall) / (costs[without].wall - null.wall))
                cpu.append((costs[through].cpu - null.cpu) / (costs[without].cpu - null.cpu))
            print(
                f"an application, {regime}: a call costs {statistics.median(calls):.2f} of one without a relay, "
                f"all threads together {statistics.median(cpu):.2f}"
            )
        with contextlib.redirect_stderr(None):
            logging.shutdown()


def main() -> None:
    """Print the figures."""
    measure_applications()
    measure("folded entries, 1,000 kinds", [fold(kind, 1) for kind in range(1_000)], 100_000, 100)
    measure("single records, 100 kinds", [single(kind % 100, kind) for kind in range(6_400)], 200_000, 1)


if __name__ == "__main__":
    main()
