"""Events per second to a fast sink, and the CPU they take, beside a bare loop of `requests.Session().post`."""

from __future__ import annotations

import logging
import statistics
import time

import requests

from benchmarks import sink
from emitkit_logging import EmitKitFormatter, EmitKitHandler

KEY = "emitkit_0123456789abcdef"
ROUNDS = 9
EVENTS = 1_000


def bare(url: str, body: bytes) -> tuple[float, float]:
    """Post the same body, and return wall and CPU seconds."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with requests.Session() as session:
        session.post(f"{url}/v1/events", data=body, headers=headers)
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(EVENTS):
            answer = session.post(f"{url}/v1/events", data=body, headers={**headers, "Idempotency-Key": str(number)})
            assert answer.json()["success"]
        return time.perf_counter() - wall, time.process_time() - cpu


def ours(url: str, logger: logging.Logger) -> tuple[float, float]:
    """Log as many events and flush, and return wall and CPU seconds, the logging calls included."""
    handler = EmitKitHandler(KEY, base_url=url, rate_limit=0)
    logger.handlers[:] = [handler]
    logger.info("warm", extra={"event": "warm"})
    handler.flush()
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(EVENTS):
        logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": "user-123", "number": number})
    assert handler.flush(60)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    handler.close()
    return spent


def main() -> dict[str, float]:
    """Print and return the ratios: `throughput` and `cpu`."""
    logger = logging.getLogger("benchmark.delivery")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    record = logger.makeRecord("app", 20, __file__, 1, "user_signed_up", (), None, "main", {"event": "user_signed_up"})
    body = EmitKitFormatter().event(record).encode()
    throughput, cpu, rates = [], [], []
    with sink.running() as url:
        for _ in range(ROUNDS):
            (their_wall, their_cpu), (our_wall, our_cpu) = bare(url, body), ours(url, logger)
            throughput.append(their_wall / our_wall)
            cpu.append(our_cpu / their_cpu)
            rates.append((EVENTS / their_wall, EVENTS / our_wall))
    theirs, own = (statistics.median(rate) for rate in zip(*rates, strict=True))
    print(f"  requests.Session().post: {theirs:,.0f} events/s; EmitKitHandler: {own:,.0f} events/s")
    return {"throughput": statistics.median(throughput), "cpu": statistics.median(cpu)}
