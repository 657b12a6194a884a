"""Servers that are stopped by a signal while records wait for the next rate-limit window."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox
from tests.server import occurrences
from tests.slow_link import slow_link

HERE = Path(__file__).parent
UVICORN = ("uvicorn", "server_app:asgi", "--port", "{port}", "--log-level", "warning")
GUNICORN = ("gunicorn", "-b", "127.0.0.1:{port}", "--log-level", "critical", "--graceful-timeout", "10")
HYPERCORN = ("hypercorn", "server_app:asgi", "-b", "127.0.0.1:{port}", "--log-level", "critical")
DAPHNE = ("daphne", "-p", "{port}", "-v", "0", "server_app:asgi")
GRANIAN = ("granian", "--port", "{port}", "--log-level", "critical")
UVICORN_WORKER = ("-k", "uvicorn_worker.UvicornWorker", "server_app:asgi")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"emitkit": {"class": "emitkit_logging.EmitKitHandler"}},
    "root": {"level": "INFO", "handlers": ["emitkit"]},
}

CASES = {
    "uvicorn": UVICORN,
    "uvicorn --workers 2": (*UVICORN, "--workers", "2"),
    "uvicorn --log-config": (*UVICORN[:4], "--log-config", "{log_config}"),
    "uvicorn, middleware": (*UVICORN, "MIDDLEWARE=1"),
    "gunicorn -k uvicorn": (*GUNICORN, *UVICORN_WORKER),
    "gunicorn -k uvicorn --preload": (*GUNICORN, "--preload", *UVICORN_WORKER),
    "gunicorn -k sync": (*GUNICORN, "server_app:wsgi"),
    "gunicorn -k sync --preload": (*GUNICORN, "--preload", "server_app:wsgi"),
    "gunicorn -k gthread": (*GUNICORN, "-k", "gthread", "server_app:wsgi"),
    "gunicorn -k gthread --preload": (*GUNICORN, "-k", "gthread", "--preload", "server_app:wsgi"),
    "gunicorn -k gevent": (*GUNICORN, "-k", "gevent", "server_app:wsgi"),
    "gunicorn -k gevent --preload": (*GUNICORN, "-k", "gevent", "--preload", "server_app:wsgi"),
    "hypercorn": HYPERCORN,
    # without hypercorn --workers 2: when one of its workers has ended, it ends the other by SIGTERM
    "daphne": DAPHNE,
    "granian asgi": (*GRANIAN, "--interface", "asgi", "server_app:asgi"),
    "granian wsgi": (*GRANIAN, "--interface", "wsgi", "server_app:wsgi"),
    "granian asgi --workers 2": (*GRANIAN, "--interface", "asgi", "--workers", "2", "server_app:asgi"),
}

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT

WITHOUT_HOOKS = {
    *((case, TERM) for case in CASES if "uvicorn" in case),
    ("uvicorn --workers 2", INT),
    # children of multiprocessing run them since Python 3.13
    *((case, number) for case in CASES if "granian" in case for number in (TERM, INT) if sys.version_info < (3, 13)),
}
"""Where the process that served requests ends without exit hooks of Python; docs/background/exits.md has the same."""

SIGNALS = [
    (case, number)
    for case in CASES
    for number in (TERM, INT, QUIT)
    # uvicorn's worker goes on after gunicorn's quick shutdown, until gunicorn kills it
    if (number == TERM if case.startswith("gunicorn -k uvicorn") else number != QUIT or "gunicorn" in case)
]


@dataclass
class Ended:
    """How a server ended: its exit status and output, the records delivered, and whether exit hooks ran."""

    status: int
    output: str
    delivered: int
    has_run_hooks: bool
    titles: list[str]


def run(case: str, number: signal.Signals, folder: Path, delay: float) -> Ended:
    """Start a server, send it a request and then a signal, and return how it ended."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log_config = folder / "logging.json"
    log_config.write_text(json.dumps(LOGGING))
    values = {"port": port, "log_config": log_config}
    words = [word.format(**values) for word in CASES[case]]
    settings = [word for word in words if "=" in word and word[0].isupper()]
    arguments = [word for word in words if word not in settings]
    with Inbox(rate_limit=100) as inbox, slow_link(inbox.url, delay) as url:
        environment = {
            **os.environ,
            "EMITKIT_API_KEY": inbox.api_key,
            "EMITKIT_BASE_URL": url,
            "NO_PROXY": "*",
            "PYTHONWARNINGS": "ignore",
            "HOOKS": str(folder / "hooks"),
            **dict(word.split("=") for word in settings),
            **({"LOG_CONFIG": "1"} if "{log_config}" in CASES[case] else {}),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # a shell starts what runs in the background with SIGINT ignored, and Python leaves that as it is
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        try:
            request(f"http://127.0.0.1:{port}/")
            inbox.wait_for(title="Order Placed", count=50, timeout=10.0)
            server.send_signal(number)
            output = server.communicate(timeout=20)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):  # its processes have ended by themselves
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        delivered = sum(occurrences(event, "order_placed") for event in inbox.events)
        titles = [event["title"] for event in inbox.events]
    return Ended(server.returncode, output, delivered, (folder / "hooks").exists(), titles)


def request(url: str) -> None:
    """Send a request once the server listens."""
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                response.read()
                return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def check(case: str, number: signal.Signals, folder: Path, delay: float) -> None:
    """Stop a server by a signal, and check that all records arrived and whether exit hooks ran."""
    ended = run(case, number, folder, delay)
    assert (ended.delivered, ended.output) == (300, "")
    assert ended.has_run_hooks == ((case, number) not in WITHOUT_HOOKS)
    has_lifespan = "server_app:asgi" in CASES[case] and case != "daphne"
    assert ("shutting down" in ended.titles) == has_lifespan


@pytest.mark.parametrize("delay", [0.0, 0.15])
@pytest.mark.parametrize(("case", "number"), SIGNALS)
def test_signal(tmp_path, case, number, delay):
    """What waits at the signal arrives, and so does what the application logs while it shuts down."""
    check(case, number, tmp_path, delay)
