"""How fast the background thread takes records and folds them, in records a second of CPU time.

`python -m benchmarks.folding` measures events by name, plain alerts of known kinds and f-strings with new ids each,
while nothing can be sent. It includes all that the thread does but requests.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from benchmarks.kinds import f_string, known, mixed_ids, records
from emitkit_logging import EmitKitFormatter
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._assembly import Formatting
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.outbox import Outbox

NAMES = 50
ROUNDS = 5
AT_ONCE = 1_000


def spent_outbox() -> Outbox:
    """Return an outbox of which nothing can be sent."""
    clock = time.monotonic
    outbox = Outbox(
        size=10_000,
        budget=RateBudget(rate_limit=1, alert_reserve=0.0, clock=clock),
        users=KnownUsers(ttl=3_600.0, size=100, clock=clock),
        kinds=KindMemory(notify_interval=300.0, clock=clock),
        factory=Formatting(EmitKitFormatter()),
        clock=clock,
    )
    outbox.take(deque(events(1)))
    assert isinstance(outbox.next(), ApiRequest)
    outbox.settle(ApiResponse(Verdict.ACCEPTED))
    outbox.next()
    return outbox


def events(count: int = 20_000) -> Iterable[CapturedRecord]:
    """Yield captured product events of a few names."""
    converter, logger = EmitKitFormatter().json_converter, logging.getLogger("benchmark.folding")
    for number in range(count):
        extra = {"event": f"name_{number % NAMES}", "number": number}
        record = logger.makeRecord("app", logging.INFO, __file__, 1, "x", (), None, "events", extra)
        yield capture(record, converter)


def rate(make: Callable[[], Iterable[CapturedRecord]]) -> float:
    """Return how many records a second are taken and folded: the median of a few rounds."""
    outbox, rates = spent_outbox(), []
    for _ in range(ROUNDS):
        queue = deque(make())
        count, began = len(queue), time.process_time()
        while queue:
            outbox.take(queue, AT_ONCE)
            outbox.next()
        rates.append(count / (time.process_time() - began))
    return sorted(rates)[ROUNDS // 2]


def main() -> dict[str, float]:
    """Print and return the figures."""
    measured = {
        "folded events": rate(events),
        "folded alerts": rate(lambda: records(known)),
        "folded f-strings": rate(lambda: records(f_string)),
        "folded ids": rate(lambda: records(mixed_ids)),
    }
    for name, value in measured.items():
        print(f"  {name}: {value:,.0f} records/s")
    return measured


if __name__ == "__main__":
    main()
