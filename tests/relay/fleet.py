"""A fleet on this machine: a real Redis server, relays as processes, applications as processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import KEY
from tests.server import Server

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
PATIENCE = 60.0


def until(is_so: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < ends, "it did not come to be so"
        time.sleep(0.02)


class RedisServer:
    """A Redis server on a port of its own.

    Args:
        folder: for its files.
        arguments: further ones of its command line.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        if PROGRAM is None and not os.environ.get("EMITKIT_TEST_RELAY"):
            pytest.skip("redis-server is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, **options)

    def start(self, *more: str) -> None:
        """Start it, with what its files hold, and wait until it answers."""
        assert PROGRAM is not None, "redis-server is not installed"
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
            + [*self._arguments, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.answers)

    def start_with(self, other: RedisServer) -> None:
        """Start it with what another one has saved, as a replica that takes its position has it."""
        shutil.copy(other.folder / "dump.rdb", self.folder)
        self.start()

    def answers(self) -> bool:
        try:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), timeout=2)) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Remove its files."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class RelayProcess:
    """A relay as a process; its lines are kept.

    Args:
        url: of Redis.
        server: stands for EmitKit.
        arguments: further ones of its command line.
    """

    def __init__(self, url: str, server: Server, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emitkit_logging", "relay", "--redis", url, *arguments],
            env={**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": server.url},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def says(self, text: str) -> bool:
        return any(text in line for line in list(self.lines))

    def wait_for(self, text: str) -> None:
        until(lambda: self.says(text) or self.process.poll() is not None)
        assert self.says(text), self.lines

    @property
    def leads(self) -> bool:
        """Whether the last that it said of it is that it leads."""
        said = [line for line in list(self.lines) if " leads" in line or "stands by" in line]
        return bool(said) and " leads: " in said[-1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()


APPLICATION = """
import json, logging, os, sys, time
import emitkit_logging
handler = emitkit_logging.EmitKitHandler(**json.loads(os.environ["OPTIONS"]))
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
def say(text):
    os.write(1, f"{text}\\n".encode())
"""


@contextlib.contextmanager
def application(code: str, url: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run `code` in a process whose records go through a relay; killed at the end if it still runs."""
    environment = {name: value for name, value in os.environ.items() if name != "EMITKIT_API_KEY"}
    environment["OPTIONS"] = json.dumps({"relay": url, **options})
    with subprocess.Popen(
        [sys.executable, "-c", APPLICATION + code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def counts(client: redis.Redis) -> dict[str, int]:
    """What the relays have counted."""
    return {name.decode(): int(number) for name, number in client.hgetall("emitkit:relay:counts").items()}


def is_relayed(client: redis.Redis) -> bool:
    """Whether nothing waits in Redis."""
    waiting = client.hlen("emitkit:relay:waiting") + client.hlen("emitkit:relay:requests")
    return not waiting and not client.xlen("emitkit:in:alerts") and not client.xlen("emitkit:in:records")
