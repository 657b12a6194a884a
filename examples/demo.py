"""The main job, end to end: uvicorn and gunicorn, configured to log to EmitKit, in front of a small shop.

Starts a local EmitKit on a free port, then each server with nothing but a log configuration file, sends real requests,
one of which raises inside the application, and checks what arrived. Exits non-zero when anything is missing or doubled.
"""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 20.0

SERVERS = {
    "uvicorn": ["uvicorn", "--port", "0", "--log-config", str(HERE / "logging.json")]
    + ["--app-dir", str(HERE), "shop:asgi"],
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:0", "--log-config-json", str(HERE / "logging.json")]
    + ["--chdir", str(HERE), "--workers", "2", "shop:wsgi"],
}


class Program:
    """A running program whose output is shown, line by line, behind its name."""

    def __init__(self, name, module, *arguments, **environment):
        self.name = name
        self.lines = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            print(f"{self.name:>8} | {line}", end="", flush=True)
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern):
        """Return the first match of `pattern` in a line of the output."""

        def found():
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        with self._news:
            if not self._news.wait_for(found, PATIENCE):
                raise SystemExit(f"{self.name} did not say {pattern!r} within {PATIENCE:g} s")
            return found()

    def stop(self):
        """Ask the program to end, and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)


def get(url):
    """Return the status and the text of an answer, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def visit(server, address):
    """Be a few customers of the shop, one of whom cannot pay."""
    for path in ("/", f"/signup?user={server}-ada", f"/signup?user={server}-bob", "/nowhere"):
        get(address + path)
    get(f"{address}/buy?user={server}-ada&amount=42.5")
    status, _ = get(f"{address}/buy?user={server}-bob&amount=5000")
    assert status == 500, f"{server} answered {status} to the request that raises"


def problems_of(events):
    """Return what is missing or too much among the events."""
    found = collections.Counter()
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


def main():
    began = time.monotonic()
    with contextlib.ExitStack() as stack:

        def run(*arguments, **environment):
            program = Program(*arguments, **environment)
            stack.callback(program.stop)
            return program

        inbox = run("emitkit", "emitkit_logging.inbox", "--port", "0")
        url = inbox.wait_for(r"listening on (http\S+)").group(1)
        key = inbox.wait_for(r"EMITKIT_API_KEY=(\S+)").group(1)
        for name, (module, *arguments) in SERVERS.items():
            server = run(name, module, *arguments, EMITKIT_BASE_URL=url, EMITKIT_API_KEY=key)
            address = server.wait_for(r"(?:running on|Listening at:) (http://[\d.:]+)").group(1)
            visit(name, address)
            server.stop()  # its exit delivers what still waits
        events = json.loads(get(f"{url}/_inbox/events")[1])["events"]

    print(f"\n{len(events)} events in {time.monotonic() - began:.1f} s")
    for channel, count in sorted(collections.Counter(event["channelName"] for event in events).items()):
        print(f"{count:8} in {channel}")
    problems = problems_of(events)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print("something is missing" if problems else "everything arrived, once")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
