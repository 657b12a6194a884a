"""Each example, run as its first lines say, against a local EmitKit."""

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

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 30.0


@pytest.fixture
def inbox(emitkit_inbox: Inbox) -> Inbox:
    """The inbox that the environment of each program names."""
    return emitkit_inbox


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
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
    )
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := re.search(pattern, line):
                break
        else:
            pytest.fail("".join(said))
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would stop the server
        reader.start()
        yield found.group(1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        watchdog.cancel()
        reader.join()
        process.stdout.close()


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def seen(inbox: Inbox) -> list[tuple[str, str, str | None]]:
    return sorted((event["channelName"], event["title"], event.get("userId")) for event in inbox.events)


def test_legacy_unchanged(inbox):
    """Without a configuration a program that knows nothing of EmitKit behaves as ever."""
    done = run("examples/legacy.py")
    assert done.stdout == "3 invoices\n"
    assert inbox.events == []


@pytest.mark.parametrize("configuration", ["examples/logging.json"])
def test_legacy_configured(inbox, configuration):
    """With a configuration and no other change its errors are alerts; what it prints stays the same."""
    done = run("examples/legacy.py", configuration)
    assert done.stdout == "3 invoices\n"
    assert seen(inbox) == [("alerts", "invoice A-2 could not be collected", None)]
    exception = inbox.events[0]["metadata"]["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "negative amount")
    assert "in collect" in exception["stacktrace"]


def test_file_config(inbox):
    """`logging.config.fileConfig` configures the handler too."""
    code = (
        "import logging, logging.config; logging.config.fileConfig('examples/logging.ini');"
        "logging.getLogger('app').info('x', extra={'event': 'user_signed_up'})"
    )
    run("-c", code)
    assert seen(inbox) == [("user-activity", "User Signed Up", None)]


def test_loguru(inbox):
    """What is bound to a loguru logger becomes the event."""
    run("examples/loguru_app.py")
    assert seen(inbox) == [
        ("alerts", "the division failed", None),
        ("user-activity", "User Signed Up", "user-123"),
    ]
    event = inbox.wait_for(title="User Signed Up")
    assert (event["description"], event["metadata"]["plan"]) == ("Ada signed up", "pro")
    assert inbox.wait_for(channel="alerts")["description"] == "ZeroDivisionError: division by zero"


def test_structlog(inbox):
    """structlog's dict is read: its own `event` is the message, `emitkit_event` the name."""
    run("examples/structlog_app.py")
    assert seen(inbox) == [
        ("alerts", "the payment provider is down", None),
        ("user-activity", "User Signed Up", "user-123"),
    ]
    event = inbox.wait_for(title="User Signed Up")
    assert event["description"] == "Ada signed up"
    assert set(event["metadata"]) == {"plan", "category", "event", "timestamp", "log"}


def test_serverless(inbox):
    """A function that flushes has delivered when it returns."""
    assert "200" in run("examples/serverless.py").stdout
    assert seen(inbox) == [("general", "File Uploaded", "user-123")]


@pytest.mark.parametrize("configuration", ["logging.json", "logging.ini"])
def test_uvicorn(inbox, configuration):
    """uvicorn needs nothing but a log configuration; what the application raises is an alert."""
    arguments = ("uvicorn", "--port", "0", "--app-dir", "examples", "--log-config", f"examples/{configuration}")
    with running(r"running on (http://[\d.:]+)", *arguments, "shop:asgi") as url:
        assert get(f"{url}/signup?user=ada") == 201
        assert get(f"{url}/buy?user=ada&amount=500") == 500
    assert seen(inbox) == [
        ("alerts", "Exception in ASGI application", None),
        ("user-activity", "User Signed Up", "ada"),
    ]
    assert "in charge" in inbox.wait_for(channel="alerts")["metadata"]["exception"]["stacktrace"]


@pytest.mark.parametrize(
    "options",
    [
        ("--log-config-json", "logging.json"),
        ("--log-config-json", "logging.json", "--preload"),
        ("--log-config", "logging.ini"),
    ],
    ids=["workers", "preload", "ini"],
)
def test_gunicorn(inbox, options, tmp_path):
    """gunicorn's workers, forked from a configured parent, each deliver what they logged, once."""
    arguments = ("gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--chdir", "examples")
    configured = (*arguments, *options, "shop:wsgi")
    with running(r"Listening at: (http://[\d.:]+)", *configured, HOME=str(tmp_path)) as url:
        for number in range(6):
            assert get(f"{url}/signup?user=user-{number}") == 201
        assert get(f"{url}/buy?user=ada&amount=500") == 500
    assert seen(inbox) == [
        ("alerts", "Error handling request GET /buy?user=ada&amount=500", None),
        *[("user-activity", "User Signed Up", f"user-{number}") for number in range(6)],
    ]


def test_django(inbox):
    """An exception in a Django view, which Django logs itself, is an alert with its traceback."""
    code = (
        "import sys; sys.path.insert(0, 'examples'); import django_site, django; django.setup();"
        "from django.core.wsgi import get_wsgi_application; from wsgiref.simple_server import make_server;"
        "server = make_server('127.0.0.1', 0, get_wsgi_application());"
        "print(f'http://127.0.0.1:{server.server_port}', flush=True); [server.handle_request() for _ in range(2)]"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=EXAMPLES.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        url = process.stdout.readline().strip()
        assert get(f"{url}/signup?user=ada") == 200
        assert get(f"{url}/broken") == 500
    assert seen(inbox) == [
        ("alerts", "Internal Server Error: /broken", None),
        ("user-activity", "User Signed Up", "ada"),
    ]
    metadata = inbox.wait_for(channel="alerts")["metadata"]
    assert "in broken_view" in metadata["exception"]["stacktrace"]
    assert metadata["status_code"] == 500


def test_flask(inbox):
    """What a Flask view raises is an alert."""
    arguments = ("flask", "--app", "examples/flask_app.py", "run", "--port", "0")
    with running(r"Running on (http://[\d.:]+)", *arguments) as url:
        assert get(f"{url}/signup?user=ada") == 200
        assert get(f"{url}/broken") == 500
        inbox.wait_for(count=2)  # Flask's own server does not survive a SIGTERM long enough to run exit hooks
    assert seen(inbox) == [
        ("alerts", "Exception on /broken [GET]", None),
        ("user-activity", "User Signed Up", "ada"),
    ]


def test_celery(inbox, tmp_path):
    """Prefork workers deliver what their tasks log and raise, once."""
    (tmp_path / "control").mkdir()
    send = (
        "import sys; sys.path.insert(0, 'examples'); import celery_app;"
        "celery_app.welcome.delay('ada'); celery_app.fail.delay(); celery_app.welcome.delay('bob')"
    )
    subprocess.run(
        [sys.executable, "-c", send],
        env=environment(CELERY_FOLDER=str(tmp_path)),
        cwd=EXAMPLES.parent,
        check=True,
        timeout=PATIENCE,
    )
    arguments = ("celery", "--workdir", "examples", "--app", "celery_app", "worker", "--concurrency", "2")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    with running(r"(ready)\.", *arguments, *quiet, CELERY_FOLDER=str(tmp_path)):
        inbox.wait_for(count=3, timeout=PATIENCE)
    events = seen(inbox)
    assert [event for event in events if event[0] != "alerts"] == [
        ("user-activity", "User Welcomed", "ada"),
        ("user-activity", "User Welcomed", "bob"),
    ]
    alerts = [event for event in inbox.events if event["channelName"] == "alerts"]
    assert len(alerts) == 1
    assert "in fail" in alerts[0]["metadata"]["exception"]["stacktrace"]
