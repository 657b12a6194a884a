"""`emitkit-logging demo`: run uvicorn and gunicorn with a local EmitKit, and check what arrives.

The demo starts a local EmitKit on a free port. It then starts each server, which is configured by a log configuration
file alone, sends it real requests, one of which raises in the application, and checks which events arrive. It needs the
extra ``demo``.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds to wait for a line of output, an answer or the end of a program."""

NEEDED = ("starlette", "uvicorn", "gunicorn")
"""The modules that the extra installs."""

FOLDER = Path(__file__).parent / "demo_app"
"""The application that the servers run, and its log configuration."""

LOOPBACK = "127.0.0.1"

SERVERS: Mapping[str, tuple[str, ...]] = {
    "uvicorn": ("--port", "0", "--log-config", "logging.json", "shop:asgi"),
    "gunicorn": ("--bind", f"{LOOPBACK}:0", "--log-config-json", "logging.json", "--workers", "2", "shop:wsgi"),
}
"""The module of each server and its arguments. They run in `FOLDER`."""

# a proxy of the environment cannot reach this machine's loopback; an installed package's folder may be read-only
_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NO_PROXY": LOOPBACK,
    "no_proxy": LOOPBACK,
}


def demo(*, keep: bool = False) -> int:
    """Run the demo, and print the output of the programs, a summary and what is missing.

    Args:
        keep: whether the local EmitKit runs on afterwards, until Ctrl-C.

    Returns:
        The exit status: 0 when everything arrived exactly once, else 1.
    """
    reason = obstacle(sys.platform, [name for name in NEEDED if importlib.util.find_spec(name) is None])
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    # a SIGTERM must also stop the programs that the demo started
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(keep=keep)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def obstacle(platform: str, missing: Iterable[str]) -> str | None:
    """Return why the demo cannot run, or `None`.

    Args:
        platform: as `sys.platform` names it.
        missing: the modules of `NEEDED` that are not installed.
    """
    if platform == "win32":
        return "the demo needs gunicorn, which does not run on Windows"
    names = ", ".join(missing)
    return f"the demo needs {names}: pip install 'emitkit-logging[demo]'" if names else None


def problems_of(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is missing or too much among the events that the requests to `SERVERS` cause, as sentences."""
    events = list(events)
    found: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for event in events:
        user = event.get("userId") or ""
        found[event["channelName"], event["title"], user.partition("-")[0]] += 1
    expected = collections.Counter({("general", "Page View", ""): 2})
    for server in SERVERS:
        expected["user-activity", "User Signed Up", server] += 2
        expected["revenue", "Purchase Completed", server] += 1
    problems = [f"{count} × {kind} missing" for kind, count in (expected - found).items()]
    problems += [f"{count} × {kind} too many" for kind, count in (found - expected).items() if kind[0] != "alerts"]
    alerts = [event["metadata"] for event in events if event["channelName"] == "alerts"]
    traces = [alert["exception"]["stacktrace"] for alert in alerts if "exception" in alert]
    if len(alerts) != len(SERVERS) or sum("in charge" in trace for trace in traces) != len(SERVERS):
        problems.append(f"{len(alerts)} alerts, {len(traces)} with a traceback, instead of {len(SERVERS)}")
    return problems


def summary(events: Iterable[Mapping[str, Any]], seconds: float) -> list[str]:
    """Return as lines how many events arrived, in total and in each channel, and the problems.

    Args:
        events: as the local EmitKit stored them.
        seconds: the duration of the demo.
    """
    events = list(events)
    channels = sorted(collections.Counter(event["channelName"] for event in events).items())
    problems = problems_of(events)
    return [
        f"{len(events)} events in {seconds:.1f} s",
        *(f"{count:8} in {channel}" for channel, count in channels),
        *(f"PROBLEM: {problem}" for problem in problems),
        "something is missing" if problems else "everything arrived, once",
    ]


def next_steps(command: str, *, keeps: bool) -> list[str]:
    """Return as lines what to do after the demo.

    Args:
        command: how `emitkit-logging` is called here.
        keeps: whether the local EmitKit runs on.
    """
    steps = [
        ("inbox", "a local EmitKit for your own application"),
        ("check --send", "with EMITKIT_API_KEY set: is the key right?"),
        ("--help", "all commands"),
    ]
    if not keeps:
        steps.insert(0, ("demo --keep", "the same, and a page with the events"))
    width = max(len(arguments) for arguments, _ in steps)
    return ["next:", *(f"  {command} {arguments:{width}}  {purpose}" for arguments, purpose in steps)]


def _command() -> str:
    """Return how a person calls `emitkit-logging` from here."""
    program = Path(sys.executable).with_name("emitkit-logging")
    found = shutil.which("emitkit-logging")
    if found is not None and Path(found) == program:
        return "emitkit-logging"
    with contextlib.suppress(ValueError):
        program = program.relative_to(Path.cwd())
    return str(program) if program.is_file() else f"{sys.executable} -m emitkit_logging"


def _run(*, keep: bool) -> int:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:

        def run(name: str, module: str, *arguments: str, **environment: str) -> _Program:
            with _delayed_interrupt():  # between its start and the callback nothing would stop the program
                program = _Program(name, module, *arguments, folder=FOLDER, **environment)
                stack.callback(program.stop)
            return program

        inbox = run("emitkit", "emitkit_logging.inbox", "--port", "0")
        url = inbox.wait_for(r"listening on (http\S+)")
        key = inbox.wait_for(r"EMITKIT_API_KEY=(\S+)")
        for name, arguments in SERVERS.items():
            server = run(name, name, *arguments, EMITKIT_BASE_URL=url, EMITKIT_API_KEY=key)
            _send_requests(name, server.wait_for(r"(?:running on|Listening at:) (http://[\d.:]+)"))
            server.stop()  # its exit delivers what still waits
        events = json.loads(_get(f"{url}/_inbox/events")[1])["events"]
        seconds = time.monotonic() - began
        if not keep:
            inbox.stop()
        print("", *summary(events, seconds), sep="\n", flush=True)
        print("", *next_steps(_command(), keeps=keep), sep="\n", flush=True)
        if keep:
            with contextlib.suppress(KeyboardInterrupt):
                print(f"\nsee them at {url}/ until Ctrl-C", flush=True)
                inbox.process.wait()
    return 1 if problems_of(events) else 0


@contextlib.contextmanager
def _delayed_interrupt() -> Iterator[None]:
    """Delay SIGINT and SIGTERM to the end of the block; a signal that is ignored stays ignored."""
    received: list[int] = []
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: received.append(1)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


def _send_requests(server: str, address: str) -> None:
    """Send the requests of a few customers, one of whose cards is declined."""
    for path in ("/", f"/signup?user={server}-ada", f"/signup?user={server}-bob", "/nowhere"):
        _get(address + path)
    _get(f"{address}/buy?user={server}-ada&amount=42.5")
    status, _ = _get(f"{address}/buy?user={server}-bob&amount=5000")
    if status != 500:
        raise SystemExit(f"{server} answered {status} to the request that raises")


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(url: str) -> tuple[int, str]:
    """Return the status and the text of a response, also of an error."""
    try:
        with _opener.open(url, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class _Program:
    """A running program. Its output is printed line by line, each after the program's name."""

    def __init__(self, name: str, module: str, *arguments: str, folder: Path, **environment: str) -> None:
        self.name = name
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self.process = subprocess.Popen(  # noqa: S603 - programs of this module
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            print(f"{self.name:>8} | {line}", end="", flush=True)
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Return what the first group of `pattern` matches in a line of the output.

        Raises:
            SystemExit: when no line matches within `PATIENCE`, or before the program ends.
        """

        def found() -> str | None:
            matches = (re.search(pattern, line) for line in self._lines)
            return next((match.group(1) for match in matches if match), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._has_ended, PATIENCE)
            match = found()
        if match is None:
            raise SystemExit(f"{self.name} printed no line with {pattern!r} within {PATIENCE:g} s, or ended before")
        return match

    def stop(self) -> None:
        """End the program, by SIGKILL if it does not end within `PATIENCE` after SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
