"""What one logging call costs, beside the standard library's QueueHandler and beside peers.

*own* is what a handler adds to a logger that has only a NullHandler.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener

from benchmarks import sink
from emitkit_logging import EmitKitHandler

KEY = "emitkit_0123456789abcdef"
IN_THREADS = 10_000
"""Records that four threads log in each of `ROUNDS`; a tenth of them for peers."""

ROUNDS = 10


def log(logger: logging.Logger, calls: int) -> float:
    """Log `calls` records of five scalars, and return the seconds for one."""
    began = time.perf_counter()
    for number in range(calls):
        logger.info(
            "user_signed_up",
            extra={
                "event": "user_signed_up",
                "category": "user",
                "user_id": "user-123",
                "plan": "pro",
                "seats": number,
            },
        )
    return (time.perf_counter() - began) / calls


def log_in_threads(logger: logging.Logger, calls: int) -> float:
    """Log from four threads at once, and return the seconds for one call of the whole."""
    ready = threading.Barrier(5)

    def work() -> None:
        ready.wait()
        log(logger, calls // 4)
        ready.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    ready.wait()
    spent = time.perf_counter() - began
    for thread in threads:
        thread.join()
    return spent / calls


def _standard() -> logging.Handler:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    QueueListener(records, logging.NullHandler()).start()
    return QueueHandler(records)


def _sentry() -> logging.Handler:
    import sentry_sdk
    from sentry_sdk.integrations.logging import SentryLogsHandler

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        default_integrations=False,
        enable_logs=True,
        shutdown_timeout=0,
        transport=_Nowhere(),
    )
    return SentryLogsHandler()


def _Nowhere() -> Callable[[object], None]:  # noqa: N802 - stands for a transport
    return lambda _: None


def _posthog() -> logging.Handler:
    import posthog

    client = posthog.Posthog("key", host="http://127.0.0.1:9", send=False)

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.capture(record.event, distinct_id=record.user_id, properties={"plan": record.plan})  # type: ignore[attr-defined]

    return Capture()


def _watchtower() -> logging.Handler:
    import watchtower

    class Nowhere:
        def __getattr__(self, name: str) -> Callable[..., dict[str, object]]:
            return lambda **_: {"logStreams": [], "logGroups": []}

    made: logging.Handler = watchtower.CloudWatchLogHandler(boto3_client=Nowhere(), create_log_group=False)
    return made


def _logtail() -> logging.Handler:
    from logtail import LogtailHandler

    made: logging.Handler = LogtailHandler("token", host="http://127.0.0.1:9", raise_exceptions=False)
    return made


def _opentelemetry() -> logging.Handler:
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogExporter

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(InMemoryLogExporter()))
    made: logging.Handler = LoggingHandler(logger_provider=provider)
    return made


PEERS: dict[str, Callable[[], logging.Handler]] = {
    "sentry-sdk (logs)": _sentry,
    "posthog": _posthog,
    "watchtower": _watchtower,
    "logtail-python": _logtail,
    "opentelemetry-sdk": _opentelemetry,
}


def loggers(url: str) -> Iterator[tuple[str, logging.Logger]]:
    """Yield a logger for each handler that can be made here."""
    made: dict[str, Callable[[], logging.Handler]] = {
        "NullHandler": logging.NullHandler,
        "QueueHandler": _standard,
        "EmitKitHandler": lambda: EmitKitHandler(KEY, base_url=url, shutdown_timeout=0.0),
        **PEERS,
    }
    for name, make in made.items():
        try:
            handler = make()
        except Exception as error:  # a peer that is not installed, or that changed, is left out
            print(f"  {name}: left out ({type(error).__name__}: {error})")
            continue
        logger = logging.getLogger(f"benchmark.{name}")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        yield name, logger


REGIMES = {"first": 1_000, "sustained": 300_000, "bursts": 30_000}
"""How many records each regime logs: the first of a handler, at full speed, and bursts of 100 with pauses of 3 ms."""

INTERLEAVED = 30
"""Parts in which a regime is measured, each handler in turn, so that other work on the machine meets all of them."""

PEERS_INTERLEAVED = 3
"""The same for peers. They are measured after the others: some still work in the background when a part is over."""


@dataclass(frozen=True)
class Cost:
    """What one call costs.

    Attributes:
        wall: seconds until it returns.
        cpu: seconds of CPU time of all threads, those in the background included.
    """

    wall: float
    cpu: float


def measure(regime: str, logger: logging.Logger, calls: int) -> Cost:
    """Log records in the way of a regime, wait for the work in the background, and return the cost of a call."""
    began = time.process_time()
    if regime == "bursts":
        wall = 0.0
        for _ in range(calls // 100):
            wall += log(logger, 100) * 100
            time.sleep(0.003)
        wall /= calls
    else:
        wall = log(logger, calls)
    _settle(logger.handlers[0])
    return Cost(wall, (time.process_time() - began) / calls)


def _settle(handler: logging.Handler) -> None:
    if isinstance(handler, QueueHandler):
        while not handler.queue.empty():
            time.sleep(0.001)
    elif isinstance(handler, EmitKitHandler):
        assert handler.stats.accepted  # takes what is in the queue
    time.sleep(0.01)


def regimes(made: list[tuple[str, logging.Logger]]) -> dict[str, dict[str, list[Cost]]]:
    """Return the costs in each regime, by handler."""
    found: dict[str, dict[str, list[Cost]]] = {}
    for _, logger in made:
        log(logger, 20)  # the very first record starts a thread
        _settle(logger.handlers[0])
    for regime, calls in REGIMES.items():
        costs = found[regime] = {name: [] for name, _ in made}
        parts = 1 if regime == "first" else INTERLEAVED
        for _ in range(parts):
            for name, logger in made:
                if name not in PEERS:
                    costs[name].append(measure(regime, logger, calls // parts))
        for _ in range(min(parts, PEERS_INTERLEAVED)):
            for name, logger in made:
                if name in PEERS:
                    costs[name].append(measure(regime, logger, calls // parts // min(parts, 10)))
    return found


def _own(costs: dict[str, list[Cost]], name: str) -> float:
    """Return the median of a handler's cost beyond a NullHandler's, in seconds."""
    pairs = zip(costs[name], costs["NullHandler"], strict=name not in PEERS)
    return statistics.median(ours.wall - null.wall for ours, null in pairs)


def _print_regime(regime: str, costs: dict[str, list[Cost]]) -> dict[str, float]:
    print(f"  {regime}: {REGIMES[regime]:,} records")
    print(f"  {'handler':20} {'own µs':>8} {'ratio':>6} {'CPU µs':>8} {'ratio':>6}")
    standard = _own(costs, "QueueHandler"), statistics.median(cost.cpu for cost in costs["QueueHandler"])
    ours = {}
    for name, each in costs.items():
        own, cpu = _own(costs, name), statistics.median(cost.cpu for cost in each)
        print(f"  {name:20} {own * 1e6:8.2f} {own / standard[0]:6.2f} {cpu * 1e6:8.2f} {cpu / standard[1]:6.2f}")
        if name == "EmitKitHandler":
            ours = {f"own {regime}": own / standard[0], f"cpu {regime}": cpu / standard[1]}
    return ours


def main() -> dict[str, float]:
    """Print the costs in all regimes, and return the ratios to the standard library's and the p99.9 in seconds."""
    with sink.running(0.2) as url:
        made = list(loggers(url))
        measured: dict[str, float] = {}
        for regime, costs in regimes(made).items():
            measured.update(_print_regime(regime, costs))
        threaded: dict[str, list[float]] = {name: [] for name, _ in made}
        for _ in range(ROUNDS):
            for name, logger in made:
                threaded[name].append(log_in_threads(logger, IN_THREADS // (10 if name in PEERS else 1)))
        print(f"  four threads\n  {'handler':20} {'call µs':>8} {'ratio':>6}")
        for name, spent in threaded.items():
            ratio = _ratio(spent, threaded["QueueHandler"])
            print(f"  {name:20} {statistics.median(spent) * 1e6:8.2f} {ratio:6.2f}")
        emitkit = dict(made)["EmitKitHandler"]
        handler = EmitKitHandler(KEY, base_url=url, rate_limit=0, shutdown_timeout=0.0)
        emitkit.handlers[:] = [handler]
        calls = sorted(log(emitkit, 1) for _ in range(20_000))
        worst = calls[int(len(calls) * 0.999)]
        print(f"  p99.9 of a call while every request takes 200 ms: {worst * 1e6:.0f} µs")
        with contextlib.redirect_stderr(None):
            handler.close()
    threads = _ratio(threaded["EmitKitHandler"], threaded["QueueHandler"])
    return {**measured, "threads": threads, "p99.9": worst}


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
