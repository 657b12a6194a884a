"""The guide for plain WSGI, with the configuration of the guide for gunicorn."""

from __future__ import annotations

from tests.docs.pages import blocks
from tests.programs import get
from tests.stories.project import PATIENCE


def test_wsgi(project, inbox):
    """The event and the exception that only the server logs arrive, with their requests."""
    project.write("guides/wsgi.md", "shop.py")
    (configuration,) = blocks("guides/gunicorn.md", "json")
    project.add("logging.json", configuration.text)
    command = "gunicorn --log-config-json logging.json --workers 2 --timeout 30 shop:app"
    with project.serve(
        "guides/gunicorn.md", command, r"Listening at: (http://[\d.:]+)", "--bind", "127.0.0.1:0"
    ) as url:
        assert get(f"{url}/") == 200
        assert get(f"{url}/broken") == 500
        assert inbox.wait_for(title="Shop Opened", timeout=PATIENCE)["metadata"]["page"]["path"] == "/"
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert (alert["metadata"]["log"]["logger"], alert["metadata"]["page"]["path"]) == ("gunicorn.error", "/broken")
    assert project.printed("shop_opened") == 1
