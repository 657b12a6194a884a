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
from collections.abc import Iterator, Sequence
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


def run(*arguments: str, folder: Path = EXAMPLES.parent, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**more),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )


def running(pattern: str, *arguments: str, **more: str) -> contextlib.AbstractContextManager[str]:
    """Run a module of Python as a server until the block ends; the value is what `pattern` found in its output."""
    return started(pattern, [sys.executable, "-m", *arguments], EXAMPLES.parent, [], **more)


@contextlib.contextmanager
def started(
    pattern: str, command: Sequence[str], folder: Path, said: list[str], patience: float = PATIENCE, **more: str
) -> Iterator[str]:
    """Run a command as a server until the block ends; the value is what `pattern` found in its output.

    Args:
        pattern: its first group is the value; when it is empty, no output is awaited.
        command: the program and its arguments.
        folder: where it runs.
        said: gets the lines of its output.
        patience: seconds after which it is killed.
        more: of its environment.
    """
    process = subprocess.Popen(
        command,
        env=environment(**more),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(patience, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    reader = None
    value = ""
    try:
        for line in process.stdout if pattern else ():
            said.append(line)
            if found := re.search(pattern, line):
                value = found.group(1)
                break
        else:
            if pattern:
                pytest.fail("".join(said))
        reader = threading.Thread(
            target=said.extend, args=(process.stdout,), daemon=True
        )  # a full pipe would stop the server
        reader.start()
        yield value
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
