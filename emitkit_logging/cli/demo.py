"""Demo: the main job, end to end: uvicorn and gunicorn, configured to log to EmitKit, in front of a small shop.

It starts a local EmitKit on a free port, then each server with nothing but a log configuration file, sends real
requests, one of which raises inside the application, and checks what arrived. It needs the extra ``demo``.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds for whatever is waited for."""

NEEDED = ("starlette", "uvicorn", "gunicorn")
"""What the extra installs."""

SHIPPED = Path("share", "emitkit-logging", "examples")
"""Where the wheel puts the shop and its log configuration, below an installation's data (setup.cfg)."""

LOOPBACK = "127.0.0.1"

SERVERS: Mapping[str, tuple[str, ...]] = {
    "uvicorn": ("--port", "0", "--log-config", "logging.json", "shop:asgi"),
    "gunicorn": ("--bind", f"{LOOPBACK}:0", "--log-config-json", "logging.json", "--workers", "2", "shop:wsgi"),
}
"""Each server's module and its arguments, below the folder of the examples."""

# A proxy of the environment has no way to this machine's loopback, and installed examples are not ours to write to.
_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NO_PROXY": LOOPBACK,
    "no_proxy": LOOPBACK,
}


def demo(*, keep: bool = False) -> int:
    """Run the demo, and print what the programs say, statistics and what is missing.

    Args:
        keep: whether the local EmitKit stays up afterwards, until Ctrl-C.

    Returns:
        The exit status: 0 when everything arrived, once, else 1.
    """
    unable = hindrance(sys.platform, [name for name in NEEDED if importlib.util.find_spec(name) is None])
    folder = examples(installations())
    if unable is None and folder is None:
        unable = f"the demo's shop is not installed: no {SHIPPED} in {sys.prefix}"
    if unable is not None or folder is None:
        print(unable, file=sys.stderr)
        return 1
    # Whoever ends this process means its children, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(folder, keep=keep)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def hindrance(platform: str, missing: Iterable[str]) -> str | None:
    """Return why the demo cannot run on a `platform` where the modules `missing` are, or `None`."""
    if platform == "win32":
        return "the demo needs gunicorn, which does not run on Windows"
    lacking = ", ".join(missing)
    return f"the demo needs {lacking}: pip install 'emitkit-logging[demo]'" if lacking else None


def installations() -> list[Path]:
    """Return the folders where the examples may be: a clone's, then those of what pip installs."""
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    installed = [Path(sysconfig.get_path("data", scheme)) / SHIPPED for scheme in schemes]
    return [Path(__file__).parents[2] / "examples", *installed]


def examples(folders: Iterable[Path]) -> Path | None:
    """Return the first of the folders that has the shop and its log configuration."""
    return next((each for each in folders if (each / "shop.py").is_file() and (each / "logging.json").is_file()), None)


def problems_of(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is missing or too much among the events that the customers of `SERVERS` cause, as sentences."""
    events = list(events)
    found: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for event in events:
        who = event.get("userId") or ""
        found[event["channelName"], event["title"], who.partition("-")[0]] += 1
    expected = collections.Counter({("general", "Page View", ""): 2})
    for server in SERVERS:
        expected["user-activity", "User Signed Up", server] += 2
        expected["revenue", "Purchase Completed", server] += 1
    problems = [f"{count} × {what} missing" for what, count in (expected - found).items()]
    problems += [f"{count} × {what} too many" for what, count in (found - expected).items() if what[0] != "alerts"]
    alerts = [event["metadata"] for event in events if event["channelName"] == "alerts"]
    traces = [alert["exception"]["stacktrace"] for alert in alerts if "exception" in alert]
    if len(alerts) != len(SERVERS) or sum("in charge" in trace for trace in traces) != len(SERVERS):
        problems.append(f"{len(alerts)} alerts, {len(traces)} with a traceback, instead of {len(SERVERS)}")
    return problems


def summary(events: Iterable[Mapping[str, Any]], seconds: float) -> list[str]:
    """Return as lines how many events came in, in all and in each channel, and what is wrong with them."""
    events = list(events)
    channels = sorted(collections.Counter(event["channelName"] for event in events).items())
    problems = problems_of(events)
    return [
        f"{len(events)} events in {seconds:.1f} s",
        *(f"{count:8} in {channel}" for channel, count in channels),
        *(f"PROBLEM: {problem}" for problem in problems),
        "something is missing" if problems else "everything arrived, once",
    ]


def _run(folder: Path, *, keep: bool) -> int:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:

        def run(name: str, module: str, *arguments: str, **environment: str) -> _Program:
            with _uninterrupted():  # a program that nobody knows of yet would be left behind
                program = _Program(name, module, *arguments, folder=folder, **environment)
                stack.callback(program.stop)
            return program

        inbox = run("emitkit", "emitkit_logging.inbox", "--port", "0")
        url = inbox.wait_for(r"listening on (http\S+)")
        key = inbox.wait_for(r"EMITKIT_API_KEY=(\S+)")
        for name, arguments in SERVERS.items():
            server = run(name, name, *arguments, EMITKIT_BASE_URL=url, EMITKIT_API_KEY=key)
            _visit(name, server.wait_for(r"(?:running on|Listening at:) (http://[\d.:]+)"))
            server.stop()  # its exit delivers what still waits
        events = json.loads(_get(f"{url}/_inbox/events")[1])["events"]
        seconds = time.monotonic() - began
        if not keep:
            inbox.stop()
        print("", *summary(events, seconds), sep="\n", flush=True)
        if keep:
            with contextlib.suppress(KeyboardInterrupt):
                print(f"\nsee them at {url}/ until Ctrl-C", flush=True)
                inbox.process.wait()
    return 1 if problems_of(events) else 0


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    came: list[int] = []
    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: came.append(1)) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _visit(server: str, address: str) -> None:
    """Be a few customers of the shop, one of whom cannot pay."""
    for path in ("/", f"/signup?user={server}-ada", f"/signup?user={server}-bob", "/nowhere"):
        _get(address + path)
    _get(f"{address}/buy?user={server}-ada&amount=42.5")
    status, _ = _get(f"{address}/buy?user={server}-bob&amount=5000")
    if status != 500:
        raise SystemExit(f"{server} answered {status} to the request that raises")


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(url: str) -> tuple[int, str]:
    """Return the status and the text of an answer, whatever the status."""
    try:
        with _opener.open(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class _Program:
    """A running program whose output is shown, line by line, behind its name."""

    def __init__(self, name: str, module: str, *arguments: str, folder: Path, **environment: str) -> None:
        self.name = name
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._is_silent = False
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
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._is_silent = True
            self._news.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Return what the first group of `pattern` matches in a line of the output."""

        def found() -> str | None:
            matches = (re.search(pattern, line) for line in self._lines)
            return next((match.group(1) for match in matches if match), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._is_silent, PATIENCE)
            said = found()
        if said is None:
            raise SystemExit(f"{self.name} did not say {pattern!r} within {PATIENCE:g} s, or ended before")
        return said

    def stop(self) -> None:
        """Ask the program to end, and wait until it has."""
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
