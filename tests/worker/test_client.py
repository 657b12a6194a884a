"""What a request becomes that gets no response."""

from __future__ import annotations

import socket

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._worker.client import Client
from tests.conftest import KEY

REQUEST = ApiRequest("/v1/events", 201, b"{}", "key")


def client(port: int) -> Client:
    return Client(base_url=f"http://127.0.0.1:{port}", api_key=KEY, timeout=0.2, user_agent="test")


def test_no_connection():
    """Where no connection is made, the request cannot have reached the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert not client(port).send(REQUEST).reached_server


def test_no_response():
    """A request that was sent and not answered may have reached the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert client(listening.getsockname()[1]).send(REQUEST).reached_server
