"""The guide for gunicorn: a worker that is killed because it does not answer is an alert."""

from __future__ import annotations

import contextlib

from tests.docs.pages import blocks
from tests.programs import get
from tests.stories.project import PATIENCE

SHOP = """
import time


def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/slow":
        time.sleep(60)
    return [b"welcome"]
"""


def test_gunicorn(project, inbox):
    """The master process logs the timeout, and its record arrives, too."""
    (configuration,) = blocks("guides/gunicorn.md", "json")
    project.add("logging.json", configuration.text)
    project.add("shop.py", SHOP)
    command = "gunicorn --log-config-json logging.json --workers 2 --timeout 30 shop:app"
    further = ("--bind", "127.0.0.1:0", "--timeout", "1")
    with project.serve("guides/gunicorn.md", command, r"Listening at: (http://[\d.:]+)", *further) as url:
        with contextlib.suppress(OSError):
            get(f"{url}/slow")
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert "WORKER TIMEOUT" in alert["title"]
    assert alert["metadata"]["log"]["level"] == "CRITICAL"
