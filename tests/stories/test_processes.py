"""The guide for several processes: the workers of a server share a spool, and one of them is killed."""

from __future__ import annotations

import os
import signal
import urllib.request

from tests.docs.pages import program
from tests.programs import started
from tests.stories.project import PATH, PATIENCE, free_port, listening

SHOP = """
import os

logger = logging.getLogger("shop")


def app(environ, start_response):
    logger.info("order_placed", extra={"event": "order_placed", "order": environ["PATH_INFO"]})
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_spool(project, inbox):
    """Each record arrives once, also those of a worker that was killed; the spool is empty afterwards."""
    project.add("shop.py", program("guides/processes.md") + SHOP)
    port = free_port()
    command = ["gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "shop:app"]
    with started("", ["/usr/bin/env", *command], project.folder, project.output, PATIENCE, PATH=PATH):
        listening(url := f"http://127.0.0.1:{port}")
        for order in range(20):
            with urllib.request.urlopen(f"{url}/{order}", timeout=PATIENCE) as response:
                worker = int(response.read())
        os.kill(worker, signal.SIGKILL)
        inbox.wait_for(count=20, title="Order Placed", timeout=PATIENCE)
    assert sorted(event["metadata"]["order"] for event in inbox.events) == sorted(f"/{order}" for order in range(20))
    assert "nothing waits" in project.do("guides/processes.md", "emitkit-logging spool emitkit.db")
