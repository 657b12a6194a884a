"""One thread at a time sends, whichever it is."""

from __future__ import annotations

import threading
import time

import pytest

from emitkit_logging import EmitKitFormatter
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._assembly import Formatting
from emitkit_logging._context.capture import capture
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.store import MemoryStore
from emitkit_logging._worker.worker import Worker
from tests.records import make


class Transport:
    """Answers each request after a moment, and notes whether two were under way at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.keys: list[str | None] = []
        self.is_busy = threading.Lock()
        self.overlaps = 0

    def send(self, request: ApiRequest) -> ApiResponse:
        if not self.is_busy.acquire(blocking=False):
            self.overlaps += 1
            return ApiResponse(Verdict.ACCEPTED)
        try:
            self.keys.append(request.key)
            time.sleep(self.seconds)
            return ApiResponse(Verdict.ACCEPTED)
        finally:
            self.is_busy.release()

    def close(self) -> None:
        pass


def worker(transport: Transport) -> Worker:
    formatter = EmitKitFormatter()
    outbox = Outbox(
        size=100,
        budget=RateBudget(rate_limit=0, alert_reserve=0.1, clock=monotonic),
        users=KnownUsers(ttl=60.0, size=10, clock=monotonic),
        kinds=KindMemory(notify_interval=300.0, clock=monotonic),
        factory=Formatting(formatter),
        clock=monotonic,
    )
    return Worker(MemoryStore(outbox), transport, size=100, debug=False)


@pytest.mark.parametrize("call", ["flush", "finish", "deliver"])
def test_while_the_thread_starts(call):
    """A flush or an exit while the first record is just starting the thread never sends beside it."""
    formatter = EmitKitFormatter()
    for _ in range(60):
        transport = Transport(0.001)
        made = worker(transport)
        for number in range(3):
            made.append(capture(make("x", event="x", number=number), formatter.json_converter))
        starting = threading.Thread(target=made.start)
        starting.start()
        assert getattr(made, call)(monotonic() + 10)
        starting.join()
        stats = made.stats()
        made.stop()
        assert transport.overlaps == 0
        assert len(transport.keys) == len(set(transport.keys)) == stats.requests == 3
        assert (stats.delivered, stats.dropped) == (3, {})


def test_several_threads_flush_without_a_thread():
    """Where no thread can start, callers of `flush` send one after the other."""
    formatter = EmitKitFormatter()
    transport = Transport(0.002)
    made = worker(transport)
    made.is_started = True  # as on an interpreter that starts no thread any more
    for number in range(10):
        made.append(capture(make("x", event="x", number=number), formatter.json_converter))
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(made.flush(monotonic() + 10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert transport.overlaps == 0
    assert len(set(transport.keys)) == made.stats().delivered == 10
