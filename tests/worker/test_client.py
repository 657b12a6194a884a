"""What a request becomes that gets no response."""

from __future__ import annotations

import socket

import pytest

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import Verdict
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


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_a_proxy(server, monkeypatch, variable, host):
    """Plain http to this machine never goes through a proxy, which would read the key."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    client = Client(base_url=server.url.replace("127.0.0.1", host), api_key=KEY, timeout=5.0, user_agent="test")
    assert client.proxy is None
    assert client.send(ApiRequest("/v1/events", 201, b"{}", "k")).verdict is Verdict.ACCEPTED
    client.close()
