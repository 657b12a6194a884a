"""What a spool costs: beside memory, the standard library's QueueHandler, a FileHandler, and ways that were tried."""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from benchmarks import sink
from benchmarks.producer import KEY, log
from emitkit_logging import EmitKitFormatter, EmitKitHandler
from emitkit_logging._context.capture import capture
from emitkit_logging._spool import codec

ROUNDS = 31
CALLS = 500
ROWS = 100_000


class Inserting(logging.Handler):
    """Tried: each call inserts its row into SQLite by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._converter = EmitKitFormatter().json_converter
        self._database = sqlite3.connect(path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "CREATE TABLE rows (row BLOB)"):
            self._database.execute(statement)

    def emit(self, record: logging.LogRecord) -> None:
        """Insert a record."""
        line = codec.write_record(capture(record, self._converter), self._converter)
        self._database.execute("INSERT INTO rows VALUES (?)", (line,))


def _standard(_: Path) -> logging.Handler:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    QueueListener(records, logging.NullHandler()).start()
    return QueueHandler(records)


def _file(directory: Path) -> logging.Handler:
    handler = logging.FileHandler(directory / "lines.log")
    handler.setFormatter(JsonFormatter("%(name)s %(levelname)s %(pathname)s %(lineno)s %(funcName)s %(message)s"))
    return handler


def costs(url: str, directory: Path) -> dict[str, float]:
    """Print what a call costs in each way, in microseconds more than with a NullHandler; return them."""

    def ours(**options: object) -> logging.Handler:
        return EmitKitHandler(KEY, base_url=url, shutdown_timeout=0.0, **options)  # type: ignore[arg-type]

    ways: dict[str, Callable[[Path], logging.Handler]] = {
        "NullHandler": lambda _: logging.NullHandler(),
        "QueueHandler": _standard,
        "FileHandler, as JSON": _file,
        "SQLite, a row a call": lambda directory: Inserting(directory / "tried.db"),
        "EmitKitHandler, memory": lambda _: ours(),
        "EmitKitHandler, spool": lambda directory: ours(spool=directory / "spool.db"),
    }
    loggers = {}
    for name, make in ways.items():
        loggers[name] = logging.getLogger(f"benchmark.spool.{name}")
        loggers[name].setLevel(logging.INFO)
        loggers[name].propagate = False
        loggers[name].handlers[:] = [make(directory)]
    nothing = loggers.pop("NullHandler")
    spent: dict[str, list[float]] = {name: [] for name in loggers}
    for _ in range(ROUNDS):
        for name, logger in loggers.items():
            time.sleep(0.05)  # so that what one leaves to read is not paid for by the next
            log(nothing, CALLS)
            without = log(nothing, CALLS)
            spent[name].append((log(logger, CALLS) - without) * 1e6)
    medians = {name: statistics.median(each) for name, each in spent.items()}
    for name, median in medians.items():
        print(f"  {name:24} {median:7.2f} µs, × QueueHandler {median / medians['QueueHandler']:.2f}")
    for logger in loggers.values():
        with contextlib.redirect_stderr(None):
            logger.handlers[0].close()
    return medians


def recovery(url: str, directory: Path) -> tuple[float, float]:
    """Return the seconds in which the records that a dead process has left are taken over, and bytes of one on disk."""
    path = directory / "left.db"
    dead = EmitKitHandler(KEY, base_url="http://127.0.0.1:9", spool=path, spool_size=2**30, shutdown_timeout=0.0)
    logger = logging.getLogger("benchmark.spool.left")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    worker = dead._worker
    assert worker is not None
    # as if the process had been killed before it took anything from its journal
    worker.is_started = True
    worker._store.on_long = lambda: None
    logger.handlers[:] = [dead]
    log(logger, ROWS)
    left = [(each, each.stat().st_size) for each in directory.glob("left.db.*.journal")]
    size = sum(each for _, each in left)
    dead.close()
    began = time.perf_counter()
    successor = EmitKitHandler(KEY, base_url=url, spool=path, shutdown_timeout=0.0)
    while any(each.exists() for each, _ in left):  # deleted once all that they say is in the spool
        time.sleep(0.01)
    spent = time.perf_counter() - began
    successor.close()
    return spent, size / ROWS


def main() -> dict[str, float]:
    """Print and return the figures."""
    with tempfile.TemporaryDirectory() as name, sink.running(0.2) as url:
        directory = Path(name)
        medians = costs(url, directory)
        seconds, size = recovery(url, directory)
    print(f"  {ROWS:,} records taken over in {seconds:.1f} s; {size:.0f} bytes a record on disk")
    spool = medians["EmitKitHandler, spool"]
    return {
        "spool": spool / medians["EmitKitHandler, memory"],
        "spool file": spool / medians["FileHandler, as JSON"],
        "recovery": seconds,
    }


if __name__ == "__main__":
    main()
