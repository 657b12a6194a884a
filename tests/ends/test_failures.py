"""Exceptions that no application catches, under the servers of the extra `ends`: each is one alert."""

from __future__ import annotations

import pytest

from tests.servers.test_servers import the_alert

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
    the_alert(arguments)
