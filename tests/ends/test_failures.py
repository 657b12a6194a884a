"""Exceptions that no application catches, under the servers of the extra `ends`: each is one alert."""

from __future__ import annotations

import pytest
import requests

from emitkit_logging.inbox import Inbox
from tests.servers.test_servers import PATIENCE, serving

BIND = ("-b", "127.0.0.1:{port}")
WORKER = ("-k", "uvicorn_worker.UvicornWorker")
SERVERS = {
    "gunicorn -k uvicorn": ("-m", "gunicorn", *BIND, *WORKER, "failing_app:asgi"),
    "gunicorn -k uvicorn --preload": ("-m", "gunicorn", "--preload", *BIND, *WORKER, "failing_app:asgi"),
    "hypercorn": ("-m", "hypercorn", *BIND, "failing_app:asgi"),
    "daphne": ("-m", "daphne", "-p", "{port}", "failing_app:asgi"),
}


@pytest.mark.parametrize("arguments", SERVERS.values(), ids=SERVERS)
def test_failing_application(arguments):
    """It arrives with the README's configuration as it is, and once."""
    with Inbox() as inbox:
        with serving(inbox, arguments) as url:
            assert requests.get(url, timeout=PATIENCE).status_code == 500
        (alert,) = inbox.events
    assert alert["channelName"] == "alerts"
    assert alert["metadata"]["exception"]["message"] == "no such order"
