"""Each example, run as its docstring describes, against a local EmitKit."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox import Inbox
from tests.programs import PATIENCE, get, run, running, seen


@pytest.fixture
def inbox(emitkit_inbox: Inbox) -> Inbox:
    """The inbox that the environment of each program names."""
    return emitkit_inbox


def test_legacy_unchanged(inbox):
    """Without a configuration a program that does not use EmitKit is not affected."""
    done = run("examples/legacy.py")
    assert done.stdout == "3 invoices\n"
    assert inbox.events == []


@pytest.mark.parametrize("configuration", ["examples/logging.json"])
def test_legacy_configured(inbox, configuration):
    """With a configuration and no other change its errors are alerts, and its output stays the same."""
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
    """Values that are bound to a loguru logger become the event."""
    run("examples/loguru_app.py")
    assert seen(inbox) == [
        ("alerts", "the division failed", None),
        ("user-activity", "User Signed Up", "user-123"),
    ]
    event = inbox.wait_for(title="User Signed Up")
    assert (event["description"], event["metadata"]["plan"]) == ("Ada signed up", "pro")
    assert inbox.wait_for(channel="alerts")["description"] == "ZeroDivisionError: division by zero"


def test_structlog(inbox):
    """The dict of structlog is read: its `event` is the message, and its `emitkit_event` the name of the event."""
    run("examples/structlog_app.py")
    assert seen(inbox) == [
        ("alerts", "the payment provider is down", None),
        ("user-activity", "User Signed Up", "user-123"),
    ]
    event = inbox.wait_for(title="User Signed Up")
    assert event["description"] == "Ada signed up"
    assert set(event["metadata"]) == {"plan", "category", "event", "timestamp", "log", "server"}


def test_serverless(inbox):
    """A function that flushes has delivered its event when it returns."""
    assert "200" in run("examples/serverless.py").stdout
    assert seen(inbox) == [("general", "File Uploaded", "user-123")]


@pytest.mark.parametrize("configuration", ["logging.json", "logging.ini"])
def test_uvicorn(inbox, configuration):
    """uvicorn needs only a log configuration; an exception of the application is an alert."""
    arguments = ("uvicorn", "--port", "0", "--app-dir", "examples", "--log-config", f"examples/{configuration}")
    with running(r"running on (http://[\d.:]+)", *arguments, "shop:asgi") as url:
        assert get(f"{url}/signup?user=ada") == 201
        assert get(f"{url}/buy?user=ada&amount=500") == 500
        # on SIGTERM uvicorn ends without running exit hooks
        inbox.wait_for(count=2, timeout=PATIENCE)
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
    """Each gunicorn worker, forked from a configured parent, delivers its own records once."""
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
