"""Programs: the examples and their servers, run as their first lines say."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENCE = 30.0


GUNICORN = (r"Listening at: (http://[\d.:]+)", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2")
GUNICORN += ("--chdir", "examples", "--threads", "4")  # a browser keeps connections open that it does not use yet
UVICORN = (r"running on (http://[\d.:]+)", "uvicorn", "--port", "0", "--app-dir", "examples")
UVICORN += ("--log-config", "examples/logging.json")
SHOPS = {
    "wsgi": (*GUNICORN, "--log-config-json", "logging.json", "wsgi_app:app"),
    "flask": (*GUNICORN, "flask_app:app"),
    "django": (*GUNICORN, "django_site:application"),
    "starlette": (*UVICORN, "starlette_app:app"),
    "fastapi": (*UVICORN, "fastapi_app:app"),
}
"""The same shop in each framework, by its real server."""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**more),
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )


@contextlib.contextmanager
def running(pattern: str, *arguments: str, **more: str) -> Iterator[str]:
    """Run a server until the block ends; the value is what `pattern` found in its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment(**more),
        cwd=EXAMPLES.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    printed = []
    reader = None
    try:
        for line in process.stdout:
            printed.append(line)
            if found := re.search(pattern, line):
                break
        else:
            pytest.fail("".join(printed))
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would stop the server
        reader.start()
        yield found.group(1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        watchdog.cancel()
        if reader is not None:
            reader.join()
        process.stdout.close()


def get(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def seen(inbox: Inbox) -> list[tuple[str, str, str | None]]:
    return sorted((event["channelName"], event["title"], event.get("userId")) for event in inbox.events)
