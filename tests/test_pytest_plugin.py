"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import importlib.metadata
import logging
import os

import pytest
import requests

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox
from emitkit_logging.pytest_plugin.report import MOST_SHOWN, account
from tests.docs.pages import program

pytest_plugins = ["pytester"]

PLUGIN = "emitkit_logging.pytest_plugin"


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a test file, in a process of its own."""
    for name in ("EMITKIT_API_KEY", "EMITKIT_BASE_URL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other installed plugins are slow, or interfere

    def running(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", *arguments)

    return running


def post(inbox: Inbox, body: object, *, key: str = "", path: str = "/v1/events") -> int:
    headers = {"Authorization": f"Bearer {key or inbox.api_key}"}
    return requests.post(inbox.url + path, json=body, headers=headers, timeout=10).status_code


def test_environment(emitkit_inbox):
    """The key and the address are in the environment, where the application's configuration reads them."""
    assert os.environ["EMITKIT_API_KEY"] == emitkit_inbox.api_key
    assert os.environ["EMITKIT_BASE_URL"] == emitkit_inbox.url


def test_delivery(emitkit_inbox, logger):
    """A handler without options sends to the inbox, without a rate limit."""
    logger.addHandler(handler := EmitKitHandler())
    for number in range(150):
        logger.info("x", extra={"event": "file_uploaded", "number": number})
    assert handler.flush(10)
    handler.close()
    assert len(emitkit_inbox.wait_for(title="File Uploaded", count=150)) == 150


def test_proxy(logger, monkeypatch, request):
    """A proxy of the environment is not used for loopback, and its own exceptions stay."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.com")
    inbox = request.getfixturevalue("emitkit_inbox")
    assert os.environ["no_proxy"] == "example.com,127.0.0.1"
    logger.addHandler(handler := EmitKitHandler())
    logger.error("it failed")
    assert handler.flush(10)
    handler.close()
    assert inbox.wait_for(channel="alerts")["title"] == "it failed"


def test_documentation(run):
    """The examples of the guide pass."""
    source = program("guides/tests.md")
    run(source).assert_outcomes(passed=source.count("\ndef test_"))


def test_passing(run):
    """A test that passes has no section; the environment is restored, and each test has its own inbox."""
    result = run(
        """
import logging, os
from emitkit_logging import EmitKitHandler

def test_one(emitkit_inbox, caplog):
    handler = EmitKitHandler()
    logging.getLogger().addHandler(handler)
    logging.getLogger("app").error("it failed")
    logging.getLogger().removeHandler(handler)
    handler.close()
    assert emitkit_inbox.wait_for(title="it failed", channel="alerts", timeout=5)

def test_two():
    assert "EMITKIT_API_KEY" not in os.environ
    assert "EMITKIT_BASE_URL" not in os.environ

def test_three(emitkit_inbox):
    assert emitkit_inbox.events == []
""",
        "-rA",
    )
    result.assert_outcomes(passed=3)
    assert "EmitKit inbox" not in result.stdout.str()


FAILING = """
import logging, os
import pytest, requests
from emitkit_logging import EmitKitHandler

def test_it(emitkit_inbox):
    handler = EmitKitHandler(channel_name="general")
    handler.handle(logging.makeLogRecord({"levelno": 20, "msg": "user_signed_up", "event": "user_signed_up"}))
    handler.close()
    key = {"Authorization": f"Bearer {emitkit_inbox.api_key}"}
    url = f"{emitkit_inbox.url}/v1/events"
    requests.post(url, json={"channelName": "x", "title": emitkit_inbox.api_key}, headers=key)
    requests.post(url, json={"channelName": "x", "description": emitkit_inbox.api_key}, headers=key)
    count = len(emitkit_inbox.events)
    assert count == 3

def test_other():
    assert False
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "xdist"])
def test_failing(run, arguments):
    """The report of a failed test has the events and the refused requests, without the key; other reports do not."""
    result = run(FAILING, *arguments)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*- EmitKit inbox -*", "*general  *User Signed Up*", "*  x  *[[]api key]", "refused*"])
    shown = result.stdout.str()
    assert shown.count("- EmitKit inbox -") == 1
    assert 'refused with 400 (title: Invalid input: expected string, received undefined): POST /v1/events {"' in shown
    assert "emitkit_" not in shown.replace("emitkit_inbox", "").replace("emitkit_logging", "")


def test_failing_beside_the_test(run):
    """A fixture that fails after the inbox was made has the section too, even when nothing has arrived."""
    result = run(
        """
import pytest

@pytest.fixture
def broken(emitkit_inbox):
    raise RuntimeError("no")

@pytest.fixture
def breaks(emitkit_inbox):
    yield
    raise RuntimeError("no")

def test_one(broken): pass
def test_two(breaks): pass
"""
    )
    result.assert_outcomes(errors=2, passed=1)
    assert result.stdout.str().count("no events") == 2


def test_without_the_extra(run):
    """Without starlette and uvicorn the fixture names the extra, in one line."""
    result = run(
        """
import sys

def test_it(monkeypatch, request):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    request.getfixturevalue("emitkit_inbox")
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["emitkit_inbox: the inbox needs*pip install 'emitkit-logging[[]inbox]'"])


def test_is_light(run):
    """A run of pytest that does not use the fixture loads the plugin and nothing more."""
    result = run(
        """
import sys

def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("emitkit_logging.pytest_plugin")
    ours = sorted(name for name in sys.modules if name.partition(".")[0] == "emitkit_logging")
    assert ours == ["emitkit_logging", "emitkit_logging.pytest_plugin"]
    assert not sys.modules.keys() & {"requests", "starlette", "uvicorn", "urllib3"}
"""
    )
    result.assert_outcomes(passed=1)


def test_is_found():
    """The installed library registers the plugin with pytest."""
    (found,) = importlib.metadata.entry_points(group="pytest11", name="emitkit_logging")
    assert found.value == PLUGIN


def test_account(emitkit_inbox):
    """Refused requests are listed with a reason, and of many only the latest."""
    assert account(emitkit_inbox) == ["no events"]
    assert post(emitkit_inbox, {"channelName": "a", "title": "b"}, key="emitkit_other") == 401
    assert post(emitkit_inbox, {"user_id": ""}, path="/v1/identify") == 400
    assert post(emitkit_inbox, {"title": "x" * 1000}, path=f"/v1/{emitkit_inbox.api_key}") == 404
    shown = account(emitkit_inbox)
    assert shown[0] == "no events"
    assert shown[1].startswith("refused with 401 (another key than the inbox's): POST /v1/events {")
    assert shown[2].startswith("refused with 400 (user_id: ")
    assert shown[3].startswith("refused with 404: POST /v1/[api key] {")
    assert shown[3].endswith("xxx…")
    with requests.Session() as session:
        for number in range(MOST_SHOWN + 2):
            body = {"channelName": "a", "title": f"event {number}", "description": "x" * 150}
            key = {"Authorization": f"Bearer {emitkit_inbox.api_key}"}
            session.post(f"{emitkit_inbox.url}/v1/events", json=body, headers=key, timeout=10)
    shown = account(emitkit_inbox)
    assert shown[0] == "… 2 events before"
    assert "event 2 " in shown[1]
    assert len(shown) == 1 + MOST_SHOWN + 3


def test_quiet(emitkit_inbox, caplog):
    """The fixture's server logs nothing, so the records of a test are its own."""
    with caplog.at_level(logging.DEBUG):
        post(emitkit_inbox, {"channelName": "a", "title": "b"})
    assert [record.name for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_attach(emitkit_inbox, logger, monkeypatch):
    """A handler is added to a logger that was configured before, also where handlers are disabled; it takes options."""
    monkeypatch.setenv("EMITKIT_ENABLED", "0")
    monkeypatch.setenv("EMITKIT_BASE_URL", "https://api.emitkit.com")
    made = emitkit_inbox.attach(logger, category_channel_map={"user": "user-activity"})
    assert made in logger.handlers
    logger.info("user_signed_up", extra={"event": "user_signed_up"})
    assert made.flush(10)
    assert emitkit_inbox.wait_for(title="User Signed Up")["channelName"] == "user-activity"


def test_attach_by_name(emitkit_inbox):
    """A logger may be given by its name; without one it is the root logger."""
    by_name, of_root = emitkit_inbox.attach("test.by.name"), emitkit_inbox.attach()
    assert by_name in logging.getLogger("test.by.name").handlers
    assert of_root in logging.getLogger().handlers


def test_detached(run):
    """Attached handlers are removed and closed after the test, which delivers what waits; other handlers stay."""
    result = run(
        """
import logging
import pytest

other = logging.NullHandler()
logging.getLogger().addHandler(other)
found = []

@pytest.fixture
def later():
    yield
    (handler, inbox) = found
    logging.getLogger().error("after the test")
    assert handler not in logging.getLogger().handlers
    assert other in logging.getLogger().handlers
    assert handler.stats.accepted == handler.stats.delivered == 1
    assert [event["title"] for event in inbox.events] == ["it failed"]

def test_it(later, emitkit_inbox):
    found[:] = emitkit_inbox.attach(), emitkit_inbox
    logging.getLogger("app").error("it failed")
"""
    )
    result.assert_outcomes(passed=1)


def test_handlers_elsewhere(run):
    """When nothing has arrived, the report names the handlers that send elsewhere, and what to do."""
    result = run(
        """
import logging, logging.config

logging.config.dictConfig({
    "version": 1,
    "handlers": {
        "emitkit": {
            "class": "emitkit_logging.EmitKitHandler", "api_key": "emitkit_0123456789abcdef", "level": "INFO",
            "base_url": "http://127.0.0.1:9", "shutdown_timeout": 0,
        },
        "off": {"class": "emitkit_logging.EmitKitHandler", "enabled": False},
        "buffer": {"class": "logging.handlers.MemoryHandler", "capacity": 9, "target": "emitkit"},
    },
    "loggers": {"shop": {"handlers": ["off"]}, "stock": {"handlers": ["buffer"]}},
    "root": {"level": "INFO", "handlers": ["emitkit"]},
})

def test_it(emitkit_inbox):
    logging.getLogger("app").error("it failed")
    emitkit_inbox.wait_for(title="it failed", timeout=0.1)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- EmitKit inbox -*",
            "no events",
            "these handlers do not send to it:",
            "  <EmitKitHandler http://127.0.0.1:9 (INFO)> of the root logger",
            "  <EmitKitHandler disabled (NOTSET)> of the logger 'shop'",
            "  <EmitKitHandler http://127.0.0.1:9 (INFO)> of the logger 'stock'",
            "emitkit_inbox.attach(logger) adds a handler*",
        ]
    )
    assert "emitkit_0123456789abcdef" not in result.stdout.str().partition("EmitKit inbox")[2]


def test_no_handler(run):
    """When nothing has arrived and no logger has a handler, the report says so."""
    result = run("def test_it(emitkit_inbox):\n    assert emitkit_inbox.events\n")
    result.stdout.fnmatch_lines(["no events", "no logger has an EmitKitHandler", "emitkit_inbox.attach(logger) adds*"])


def test_handler_that_sends_here(run):
    """When a handler sends to the inbox and nothing has arrived, the report has the handler's counts."""
    result = run(
        """
import logging

def test_it(emitkit_inbox):
    emitkit_inbox.attach("app")
    logging.getLogger("app").debug("nobody sees it")
    assert emitkit_inbox.events
"""
    )
    result.stdout.fnmatch_lines(["no events", "<EmitKitHandler http://127*of the logger 'app' sends to it: 0 records*"])
    assert "attach(logger) adds" not in result.stdout.str()


@pytest.mark.parametrize(
    "mistake",
    [
        "emitkit_inbox.wait_for(title='it failed', timeout=0.05)",
        "emitkit_inbox.wait_for(titel='it failed')",
        "emitkit_inbox.attach(chanel_name='general')",
        "emitkit_inbox.attach(timeout=0)",
        "emitkit_inbox.faults = ['sometimes']",
    ],
)
def test_no_source_of_the_library(run, mistake):
    """The report of a failed test shows the test's own line, and no source of this library."""
    result = run(f"def test_it(emitkit_inbox):\n    {mistake}\n")
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    assert f">       {mistake}" in shown or f">   {mistake}" in shown
    assert "emitkit_logging/" not in shown
    assert "def wait_for" not in shown
