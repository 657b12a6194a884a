"""A fleet on one machine: a Redis server, two relays, eight applications, and a leader that is killed on the way.

Run it with `make fleet`. It needs redis-server (or valkey-server): `apt install redis-server`, `brew install redis`. At
the end it prints what became of each log record.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

APPLICATIONS = 8
RECORDS = 500
PATIENCE = 150.0
LOOPBACK = "127.0.0.1"

APPLICATION = f"""
import logging, os, time
from emitkit_logging import EmitKitHandler

handler = EmitKitHandler(relay=os.environ["RELAY"])
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for number in range({RECORDS}):
    logger.info("a page was viewed", extra={{"event": ("page_viewed", "cart_updated")[number % 2]}})
    if number in (100, 101, 300):
        logger.error("payment provider is down")
    time.sleep(0.01)
handler.close()
print(handler.stats.accepted, handler.stats.delivered, sum(handler.stats.dropped.values()))
"""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """Run the fleet and print the account; return the exit status, 0 if it is exact."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        print("redis-server is not installed: apt install redis-server, or brew install redis", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = _free_port()
        redis_url = f"redis://{LOOPBACK}:{port}/0"
        files = ["--dir", folder, "--appendonly", "yes", "--save", ""]
        _start(stack, "redis", [program, "--port", str(port), "--bind", LOOPBACK, *files], prints=False)
        inbox = _start(stack, "emitkit", [sys.executable, "-m", "emitkit_logging.inbox", "--port", "0"], prints=False)
        address = inbox.wait_for(r"listening on (http\S+)")
        key = inbox.wait_for(r"EMITKIT_API_KEY=(\S+)")
        _until(lambda: _answers(port))
        command = [sys.executable, "-m", "emitkit_logging", "relay", "--redis", redis_url]
        environment = {"EMITKIT_BASE_URL": address, "EMITKIT_API_KEY": key}
        relays = [_start(stack, f"relay {name}", command, environment) for name in "ab"]
        _until(lambda: any(relay.says(r" leads: ") for relay in relays))
        began = time.monotonic()
        applications = [
            _start(stack, f"app {number}", [sys.executable, "-c", APPLICATION], {"RELAY": redis_url}, prints=False)
            for number in range(APPLICATIONS)
        ]
        time.sleep(3.0)
        leader = next(relay for relay in relays if relay.says(r" leads: "))
        print(f"\n>>> {leader.name} is killed\n", flush=True)
        leader.process.kill()
        counts = [[int(each) for each in app.wait_for(r"^(\d+ \d+ \d+)").split()] for app in applications]
        print(
            f"\n>>> all applications have ended, after {time.monotonic() - began:.1f} s; the relay goes on\n",
            flush=True,
        )
        _until(lambda: _waiting(command, environment) == 0)
        status = _status(command, environment)
        with _opener.open(f"{address}/_inbox/events?limit=1000", timeout=10) as response:
            events = json.load(response)["events"]
    return _print_account(counts, status["counts"], status["dropped"], events)


def _print_account(
    counts: list[list[int]], relayed: dict[str, int], dropped: dict[str, int], events: list[dict[str, object]]
) -> int:
    logged, written, lost = (sum(column) for column in zip(*counts, strict=True))
    stored = sum(int(event["metadata"].get("occurrences", 1)) for event in events)  # type: ignore[attr-defined]
    pushes = sum(bool(event["notify"]) for event in events if event["channelName"] == "alerts")
    alerts = sum(event["channelName"] == "alerts" for event in events)
    print(f"{logged:>7,} log records of {len(counts)} applications")
    print(f"{written:>7,} written into Redis, {lost:,} dropped by the applications")
    print(f"{relayed.get('received', 0):>7,} read by the relays, {sum(dropped.values()):,} dropped by them")
    print(f"{stored:>7,} at the server, in {len(events):,} events; {alerts} of them alerts, of which {pushes} pushed")
    is_exact = logged == written == stored and logged == APPLICATIONS * (RECORDS + 3)
    print("the account is exact" if is_exact else "PROBLEM: the account is not exact")
    return 0 if is_exact else 1


class _Program:
    def __init__(self, name: str, command: list[str], environment: dict[str, str], *, prints: bool) -> None:
        self.name = name
        self._prints = prints
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_PROXY": LOOPBACK, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.append(line)
            if self._prints:
                print(f"{self.name:>8} | {line}", end="", flush=True)

    def _matches(self, pattern: str) -> Iterator[re.Match[str]]:
        return (match for line in list(self._lines) if (match := re.search(pattern, line)))

    def says(self, pattern: str) -> bool:
        return any(True for _ in self._matches(pattern))

    def wait_for(self, pattern: str) -> str:
        _until(lambda: self.says(pattern))
        return str(next(self._matches(pattern)).group(1))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _start(
    stack: contextlib.ExitStack,
    name: str,
    command: list[str],
    environment: dict[str, str] | None = None,
    *,
    prints: bool = True,
) -> _Program:
    program = _Program(name, command, environment or {}, prints=prints)
    stack.callback(program.stop)
    return program


def _until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > ends:
            raise SystemExit("it takes too long")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


def _status(command: list[str], environment: dict[str, str]) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [*command, "--status", "--json"], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def _waiting(command: list[str], environment: dict[str, str]) -> int:
    status = _status(command, environment)
    time.sleep(1.0)
    return len(status["waiting"]) + int(status["requests"])  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
