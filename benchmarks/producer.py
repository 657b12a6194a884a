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
from logging.handlers import QueueHandler, QueueListener

from benchmarks import sink
from emitkit_logging import EmitKitHandler

KEY = "emitkit_0123456789abcdef"
ROUNDS = 30
CALLS = 2_000


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


def main() -> dict[str, float]:
    """Print the costs, and return the ratios to the standard library's: `own`, `threads`, and `p99.9` in seconds."""
    with sink.running(0.2) as url:
        own: dict[str, list[float]] = {}
        threaded: dict[str, list[float]] = {}
        made = list(loggers(url))
        for _ in range(ROUNDS):
            costs = {name: log(logger, CALLS) for name, logger in made}
            for name, cost in costs.items():
                own.setdefault(name, []).append(cost - costs["NullHandler"])
        for _ in range(ROUNDS // 3):
            for name, logger in made:
                threaded.setdefault(name, []).append(log_in_threads(logger, CALLS))
        print(f"  {'handler':20} {'own µs':>8} {'ratio':>6} {'4 threads µs':>13} {'ratio':>6}")
        ratios = {}
        for name, _ in made[1:]:
            ratios[name] = (_ratio(own[name], own["QueueHandler"]), _ratio(threaded[name], threaded["QueueHandler"]))
            print(
                f"  {name:20} {statistics.median(own[name]) * 1e6:8.2f} {ratios[name][0]:6.2f} "
                f"{statistics.median(threaded[name]) * 1e6:13.2f} {ratios[name][1]:6.2f}"
            )
        emitkit = dict(made)["EmitKitHandler"]
        handler = EmitKitHandler(KEY, base_url=url, rate_limit=0, shutdown_timeout=0.0)
        emitkit.handlers[:] = [handler]
        calls = sorted(log(emitkit, 1) for _ in range(20_000))
        worst = calls[int(len(calls) * 0.999)]
        print(f"  p99.9 of a call while every request takes 200 ms: {worst * 1e6:.0f} µs")
        with contextlib.redirect_stderr(None):
            handler.close()
    return {"own": ratios["EmitKitHandler"][0], "threads": ratios["EmitKitHandler"][1], "p99.9": worst}


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
