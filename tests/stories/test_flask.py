"""The guide for Flask: the application of Flask's quickstart, and what the page adds."""

from __future__ import annotations

import json

import pytest

from tests.examples.test_frameworks import post
from tests.programs import get
from tests.stories.project import PATIENCE

PAGE = "guides/flask.md"


@pytest.mark.parametrize(
    ("command", "pattern", "further"),
    [
        ("flask --app hello run", r"Running on (http://[\d.:]+)", ("--port", "0")),
        ("gunicorn --workers 2 hello:app", r"Listening at: (http://[\d.:]+)", ("--bind", "127.0.0.1:0")),
    ],
)
def test_flask(project, inbox, command, pattern, further):
    """The event, the exception and the browser's event arrive, with their requests; the console shows the log."""
    project.write(PAGE, "hello.py")
    with project.serve(PAGE, command, pattern, *further) as url:
        assert get(f"{url}/") == 200
        assert get(f"{url}/broken") == 500
        events = [{"type": "track", "event": {"action": "button_clicked"}}]
        assert post(f"{url}/api/analytics", json.dumps({"events": events}).encode(), Origin=url)[0] == 200
        event = inbox.wait_for(title="Page Viewed", timeout=PATIENCE)
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
        inbox.wait_for(title="Button Clicked", timeout=PATIENCE)
    assert event["metadata"]["server"]["route"] == "/"
    assert (alert["title"], alert["metadata"]["page"]["path"]) == ("Exception on /broken [GET]", "/broken")
    assert alert["metadata"]["exception"]["message"] == "the view is broken"
    assert len(inbox.events) == 3
    assert (project.printed("page_viewed"), project.printed("Exception on /broken [GET]")) == (1, 1)
