"""Processes that log through a spool, and a server that keeps account."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emitkit_logging._spool import listing
from tests.conftest import KEY
from tests.server import Reply, Seen, Server

EVENT = {"event": "spooled"}


DONE = {"success": True, "data": {}}


class Account:
    """What a server has that keeps its promise: the same key is the same event, and must be the same bytes.

    Attributes:
        stored: the events by key.
        repeats: the events that a server stores once more that ignores keys, as the open-source one does.
    """

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.repeats: list[bytes] = []
        self.before = lambda: None
        self.after = lambda: None
        self.waits = 0.0

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("identify"):
            return Reply(200, DONE)
        assert seen.key is not None
        self.before()
        if seen.key in self.stored:
            self.repeats.append(seen.raw)
        assert self.stored.setdefault(seen.key, seen.raw) == seen.raw
        self.after()
        return Reply(201, DONE, waits=self.waits)

    @property
    def events(self) -> list[dict]:
        return [json.loads(raw) for raw in list(self.stored.values())]

    def numbers(self) -> Counter:
        return Counter(event["metadata"]["number"] for event in self.events if "number" in event["metadata"])

    def total(self) -> int:
        return sum(event["metadata"].get("occurrences", 1) for event in self.events)


PROGRAM = """
import logging, os, sys, time
import emitkit_logging
handler = emitkit_logging.EmitKitHandler(spool=os.environ["SPOOL"], **eval(os.environ.get("OPTIONS", "{}")))
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
def check(is_so):
    "Raise where it is not so, also under -O."
    if not is_so:
        raise AssertionError
def say(text):
    os.write(1, f"{text}\\n".encode())
"""


@contextlib.contextmanager
def running(code: str, server: Server, path: Path, before: Sequence[str] = (), **options):
    """Run `code` behind `PROGRAM`, and that behind a command; killed at the end if it still runs."""
    environment = {
        **os.environ,
        "EMITKIT_API_KEY": KEY,
        "EMITKIT_BASE_URL": server.url,
        "SPOOL": str(path),
        "OPTIONS": repr({"rate_limit": 0, "shutdown_timeout": 0.5, **options}),
    }
    with subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM + code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(is_so, timeout: float = 15.0) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def records_waiting(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        return database.execute("SELECT coalesce(sum(records), 0) FROM waiting").fetchone()[0]


def waits(path: Path) -> bool:
    """Whether anything waits in a spool, its journals included."""
    return any(not row.answer for row in listing.rows(path))


class SlowRelay:
    """Passes connections on to a server, each after a pause, as if the server were far away.

    Args:
        server: where the connections go.
        pause: seconds before each connection goes through.
    """

    def __init__(self, server: Server, pause: float) -> None:
        self._target = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self._pause = pause
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> SlowRelay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=self._listener.accept()[:1], daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._ended.wait(self._pause)
        with contextlib.suppress(OSError), near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
            back.start()
            _pass_on(near, far)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


ANSWERING = """
for line in sys.stdin if False else iter(lambda: os.read(0, 1), b""):
    if line == b"e":
        log.error("it failed", extra={"event": "failed", "at": time.time()})
    elif line == b"i":
        log.info("x", extra={"event": "x"})
    elif line == b"f":
        handler.flush(10)
    else:
        continue
    say(f"{handler.stats.accepted} {handler.stats.delivered} {handler.stats.pending}")
"""


class Other:
    """Another process, which logs one record for each letter that it gets."""

    def __init__(self, server: Server, path: Path, **options) -> None:
        environment = {
            **os.environ,
            "EMITKIT_API_KEY": KEY,
            "EMITKIT_BASE_URL": server.url,
            "SPOOL": str(path),
            "OPTIONS": repr({"rate_limit": 0, "shutdown_timeout": 0.5, **options}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + ANSWERING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, what: str) -> list[int]:
        self.process.stdin.write(what.encode())
        self.process.stdin.flush()
        return [int(number) for number in self.process.stdout.readline().split()]
