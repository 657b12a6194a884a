"""The stories of logging libraries and of code that stays as it is: structlog, loguru, legacy, uncaught."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.pages import Block, blocks
from tests.programs import run, seen

STRUCTLOG = [block for block in blocks("guides/structlog.md", "python") if block.file == "structlog_config.py"]
BROKEN = """
import logging

logging.getLogger("billing").info("3 invoices")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("billing").exception("the night's work failed")
"""


def files(page: str) -> dict[str, str]:
    """Return the files of a page, by name."""
    return {block.file: block.text for block in blocks(page) if block.file}


@pytest.mark.parametrize("configuration", STRUCTLOG, ids=["structlog", "logging", "formatter", "defaults"])
def test_structlog(configuration: Block, emitkit_inbox, tmp_path):
    """In each configuration of structlog's manual, the same three calls become the same three events."""
    page = files("guides/structlog.md")
    (tmp_path / "logging_config.py").write_text(page["logging_config.py"], "utf-8")
    (tmp_path / "structlog_config.py").write_text(configuration.text, "utf-8")
    (tmp_path / "shop.py").write_text(page["shop.py"], "utf-8")
    done = run("-c", "import logging_config, structlog_config, shop", folder=tmp_path)
    assert "Ada signed up" in done.stderr
    assert seen(emitkit_inbox) == [
        ("alerts", "the division failed", None),
        ("alerts", "the payment provider is down", None),
        ("general", "User Signed Up", "user-123"),
    ]
    event = emitkit_inbox.wait_for(title="User Signed Up")
    assert (event["description"], event["metadata"]["plan"]) == ("Ada signed up", "pro")
    assert emitkit_inbox.wait_for(title="the payment provider is down")["metadata"]["provider"] == "acme"
    exception = emitkit_inbox.wait_for(title="the division failed")["metadata"]["exception"]
    assert (exception["type"], exception["message"]) == ("ZeroDivisionError", "division by zero")


def test_loguru(emitkit_inbox, tmp_path):
    """What is bound becomes the event, and loguru's own sink still prints."""
    (block,) = blocks("guides/loguru.md", "python")
    done = run("-c", block.text, folder=tmp_path)
    assert "Ada signed up" in done.stderr
    assert seen(emitkit_inbox) == [
        ("alerts", "the division failed", None),
        ("user-activity", "User Signed Up", "user-123"),
    ]


def test_legacy_with_a_module(emitkit_inbox, tmp_path):
    """A program that knows nothing of EmitKit is started by another file; its error is an alert, its output stays."""
    page = files("guides/legacy.md")
    for name in ("logging_setup.py", "with_emitkit.py"):
        (tmp_path / name).write_text(page[name], "utf-8")
    (tmp_path / "nightly.py").write_text(BROKEN, "utf-8")
    done = run("with_emitkit.py", "nightly.py", folder=tmp_path)
    assert done.stderr.startswith("3 invoices\nthe night's work failed\nTraceback")
    assert seen(emitkit_inbox) == [("alerts", "the night's work failed", None)]


def test_uncaught(emitkit_inbox, tmp_path):
    """A script that crashes under cron, in a bare environment, is an alert; it ends as before."""
    (tmp_path / "nightly.py").write_text(files("guides/uncaught.md")["nightly.py"], "utf-8")
    bare = {name: os.environ[name] for name in ("EMITKIT_API_KEY", "EMITKIT_BASE_URL")}
    done = subprocess.run(
        [sys.executable, "nightly.py"], cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("No such file or directory: '/srv/shop/orders.csv'\n")
    (alert,) = emitkit_inbox.events
    assert (alert["channelName"], alert["metadata"]["exception"]["type"]) == ("alerts", "FileNotFoundError")
    assert alert["metadata"]["log"]["level"] == "CRITICAL"


def test_legacy_with_a_file(emitkit_inbox, tmp_path):
    """The same with `fileConfig`."""
    (tmp_path / "logging.ini").write_text(files("guides/legacy.md")["logging.ini"], "utf-8")
    load = "import logging.config\nlogging.config.fileConfig('logging.ini', disable_existing_loggers=False)\n"
    done = run("-c", load + BROKEN, folder=tmp_path)
    assert done.stderr.startswith("3 invoices\n")
    assert seen(emitkit_inbox) == [("alerts", "the night's work failed", None)]
