"""The tutorial, typed step by step."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.docs.pages import commands
from tests.programs import environment
from tests.stories.project import PATH, PATIENCE, Project, free_port, listening

PAGE = "tutorial.md"


@pytest.fixture
def typed(project: Project, inbox):
    """Run a command of the tutorial in a shell, and return what it prints."""
    port = str(free_port())
    listed = commands(PAGE)

    def run(start: str) -> str:
        (command,) = [each for each in listed if each.startswith(start)]
        local = command.replace("8000", port)
        if local.endswith("&"):
            local = local.replace("&", "> server.log 2>&1 &")
        done = subprocess.run(
            ["bash", "-c", local],
            cwd=project.folder,
            env=environment(PATH=PATH),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        if local.endswith("&"):
            listening(f"http://127.0.0.1:{port}")
        return done.stdout

    yield run
    if (project.folder / "shop.pid").exists():
        run("kill $(cat shop.pid)")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_tutorial(project, inbox, typed):
    """An event, an alert, a storm with a new failure in it, and the fold when the shop is stopped."""
    project.write(PAGE, "shop.py")
    # the last block belongs to a later section of the page
    text = (project.folder / "shop.py").read_text("utf-8")
    (project.folder / "shop.py").write_text(text.partition("# shop.py, at the end")[0], "utf-8")
    typed("gunicorn --bind 127.0.0.1:8000 --pid shop.pid shop:app &")
    assert typed("curl -d amount=20 ") == "thank you\n"
    event = inbox.wait_for(title="Purchase Completed", channel="revenue", timeout=PATIENCE)
    assert (event["metadata"]["amount"], event["metadata"]["currency"]) == (20, "EUR")
    assert "page" not in event["metadata"]
    assert typed("curl -d amount=500 ") == "try again later\n"
    alert = inbox.wait_for(title="payment of order 2 failed", channel="alerts", timeout=PATIENCE)
    assert alert["metadata"]["exception"]["type"] == "ConnectionError"
    typed("for order in $(seq 3 42)")
    typed("curl -s -d amount=twenty ")
    new = inbox.wait_for(title="Exception on /orders/43 [POST]", channel="alerts", timeout=PATIENCE)
    assert new["metadata"]["exception"]["type"] == "ValueError"
    assert [each for each in inbox.events if "occurrences" in each["metadata"]] == []
    typed("kill $(cat shop.pid)")
    fold = inbox.wait_for(title="payment of order … failed (×36)", timeout=PATIENCE)
    assert fold["metadata"]["occurrences"] == 36
    storm = [each for each in inbox.events if each["title"].startswith("payment of order")]
    assert sum(each["metadata"].get("occurrences", 1) for each in storm) == 41
    assert [each["notify"] for each in reversed(storm)].count(True) == 1


def test_context_of_the_request(project, inbox, typed):
    """With the last block, events have their requests."""
    project.write(PAGE, "shop.py")
    typed("gunicorn --bind 127.0.0.1:8000 --pid shop.pid shop:app &")
    typed("curl -d amount=20 ")
    event = inbox.wait_for(title="Purchase Completed", timeout=PATIENCE)
    assert (event["metadata"]["page"]["path"], event["metadata"]["server"]["method"]) == ("/orders/1", "POST")
