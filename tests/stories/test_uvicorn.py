"""The guide for uvicorn: any ASGI application, with the server's log configuration."""

from __future__ import annotations

from tests.docs.pages import blocks
from tests.programs import get
from tests.stories.project import PATIENCE, free_port

SHOP = """
import logging


async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/broken":
        raise RuntimeError("the application is broken")
    logging.getLogger("shop").info("shop_opened", extra={"event": "shop_opened"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"welcome"})
"""


def test_uvicorn(project, inbox):
    """The application's event and the server's alert arrive; the console shows both."""
    (configuration,) = blocks("guides/uvicorn.md", "json")
    project.add("logging.json", configuration.text)
    project.add("shop.py", SHOP)
    command = "uvicorn --log-config logging.json --workers 2 shop:app"
    pattern = r"running on (http://[\d.:]+)"
    with project.serve("guides/uvicorn.md", command, pattern, "--port", str(free_port())) as url:
        assert get(f"{url}/") == 200
        assert get(f"{url}/broken") == 500
        inbox.wait_for(title="Shop Opened", timeout=PATIENCE)
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert (alert["title"], alert["metadata"]["log"]["logger"]) == ("Exception in ASGI application", "uvicorn.error")
    assert (project.printed("shop_opened"), project.printed("Exception in ASGI application")) == (1, 1)
