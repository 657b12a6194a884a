"""The guide for FastAPI and Starlette: the applications of their first steps, and what the page adds."""

from __future__ import annotations

import json

from tests.examples.test_frameworks import post
from tests.programs import get
from tests.stories.project import PATIENCE, free_port

PAGE = "guides/fastapi.md"
URL = r"running on (http://[\d.:]+)"


def test_fastapi(project, inbox):
    """With two workers, the exception that only uvicorn logs is an alert, with its request."""
    project.write(PAGE, "main.py")
    with project.serve(PAGE, "uvicorn main:app --workers 2", URL, "--port", str(free_port())) as url:
        assert get(f"{url}/") == 200
        assert get(f"{url}/broken") == 500
        events = [{"type": "track", "event": {"action": "button_clicked"}}]
        assert post(f"{url}/api/analytics", json.dumps({"events": events}).encode(), Origin=url)[0] == 200
        event = inbox.wait_for(title="Page Viewed", timeout=PATIENCE)
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
        inbox.wait_for(title="Button Clicked", timeout=PATIENCE)
    assert event["metadata"]["server"]["route"] == "/"
    assert (alert["title"], alert["metadata"]["page"]["path"]) == ("Exception in ASGI application", "/broken")
    assert alert["metadata"]["log"]["logger"] == "uvicorn.error"
    assert alert["metadata"]["exception"]["message"] == "the path operation is broken"
    assert len(inbox.events) == 3
    assert (project.printed("page_viewed"), project.printed("Exception in ASGI application")) == (1, 1)


def test_starlette(project, inbox):
    """The event arrives, with its request."""
    project.write(PAGE, "app.py")
    with project.serve(PAGE, "uvicorn app:app", URL, "--port", str(free_port())) as url:
        assert get(f"{url}/") == 200
        assert inbox.wait_for(title="Page Viewed", timeout=PATIENCE)["metadata"]["page"]["path"] == "/"
