"""Faults as a client sees them, and the log of requests."""

from __future__ import annotations

import socket
import time

import pytest
import requests

from emitkit_logging.inbox import Inbox


def test_each_kind_of_fault(connect):
    """A client sees each kind of fault; of those that fail, only a dropped response stores the event."""
    with Inbox(faults=["503 times 1"]) as inbox:
        client = connect(inbox)
        response = client.event()
        assert (response.status_code, response.json()["code"]) == (503, "internal_error")
        assert client.event().status_code == 201
        inbox.faults = ["html"]
        assert client.event().headers["content-type"].startswith("text/html")
        inbox.faults = ["hang 200ms"]
        began = time.monotonic()
        assert client.event().status_code == 201
        assert time.monotonic() - began >= 0.2
        assert len(inbox.events) == 2
        for fault, stored in (("drop-request", 2), ("drop-response", 3)):
            inbox.faults = [fault]
            with pytest.raises(requests.ConnectionError):
                client.event()
            assert len(inbox.events) == stored
        inbox.faults = []
        assert client.event().status_code == 201


def test_faults_are_set_over_http(connect):
    """Tests in any language can set faults at runtime, which does not count towards the rate limit."""
    with Inbox(rate_limit=2) as inbox:
        client, url = connect(inbox), f"{inbox.url}/_inbox/faults"
        assert requests.post(url, json={"faults": ["500 times 1"]}, timeout=10).json() == {"faults": ["500 times 1"]}
        assert requests.get(url, timeout=10).json() == {"faults": ["500 times 1"]}
        assert client.event().status_code == 500
        for wrong in ({"faults": ["never"]}, {"faults": "503"}, {"faults": [1]}, {"faults": None}):
            assert requests.post(url, json=wrong, timeout=10).status_code == 400
        assert requests.post(url, json={}, timeout=10).json() == {"faults": []}
        assert client.event().status_code == 201


def test_errors_of_the_open_source_server(connect):
    """A fault of the open-source server has no code."""
    with Inbox(generation="self-hosted", faults=["503"]) as inbox:
        response = connect(inbox).event()
        assert (response.status_code, "code" in response.json()) == (503, False)


def test_logs_every_request(client):
    """The log has the method, path, headers, body and status of each request, refused ones too."""
    client.event(title="Remembered")
    client.send(b'{"not": "found"}', path="/v1/remembered")
    event, missing = (
        next(each for each in client.inbox.requests if text in each["body"]) for text in (b"Remembered", b'"not"')
    )
    assert (event["method"], event["path"], event["status"]) == ("POST", "/v1/events", 201)
    assert event["headers"]["authorization"] == f"Bearer {client.inbox.api_key}"
    assert event["headers"]["content-type"] == "application/json"
    assert missing["status"] == 404
    assert event["at"] <= missing["at"] <= time.monotonic()


def test_logs_an_incomplete_request(client):
    """A request whose client disconnects in the middle is logged, without a status."""
    port = int(client.inbox.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /v1/broken HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        broken = [each for each in client.inbox.requests if each["path"] == "/v1/broken"]
        if broken:
            break
        time.sleep(0.002)
    assert (broken[0]["body"], broken[0]["status"]) == (b"half", None)
