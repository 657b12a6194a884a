"""The server thread: it listens, ends in time, and logs nothing in the process it runs in."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest
import requests
import uvicorn

from emitkit_logging.inbox import Inbox


@pytest.fixture
def root_records():
    """The records that reach the root logger, at any level."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(1)
    yield records
    root.setLevel(level)
    root.removeHandler(handler)


def test_a_server_that_does_not_start_is_an_error(monkeypatch):
    """The error is raised at construction."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    with pytest.raises(RuntimeError, match="did not start"):
        Inbox()


def test_closing_ends_the_thread_and_the_port(connect):
    """An inbox closes within a second, even with an open connection; what was received stays readable."""
    before = set(threading.enumerate())
    with Inbox() as inbox:
        client = connect(inbox)
        client.event()
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    inbox.close()
    assert len(inbox.events) == 1
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.ConnectionError):
        client.event()


def test_closing_does_not_wait_for_a_request_that_hangs(connect):
    """A client that still waits is disconnected after about a second."""
    inbox = Inbox(latency=60.0)
    outcome = []
    client = connect(inbox)

    def hang():
        try:
            outcome.append(client.event().status_code)
        except requests.RequestException:
            outcome.append(None)

    hanging = threading.Thread(target=hang)
    hanging.start()
    deadline = time.monotonic() + 5
    while not inbox.requests and time.monotonic() < deadline:
        time.sleep(0.001)
    started = time.monotonic()
    inbox.close()
    assert time.monotonic() - started < 3.0
    hanging.join(5.0)
    assert outcome in ([None], [500])
    assert inbox.events == []


def test_logs_nothing_in_the_process_it_runs_in(root_records, connect):
    """The inbox logs nothing, not even for invalid requests; the application's own uvicorn logs as before."""
    with Inbox() as inbox:
        client = connect(inbox)
        assert client.event().status_code == 201
        with socket.create_connection(("127.0.0.1", int(inbox.url.rpartition(":")[2]))) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            connection.recv(1000)
        logging.getLogger("uvicorn.error").info("of the application")
    mine = [each for each in root_records if not each.name.startswith("urllib3")]
    assert [each.getMessage() for each in mine] == ["of the application"]
    assert logging.getLogger("uvicorn.access").propagate


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_listens_on_ipv6(host):
    """The loopback address of IPv6 is accepted, with or without brackets."""
    try:
        inbox = Inbox(host=host)
    except OSError:
        pytest.skip("this machine has no ::1")
    with inbox:
        assert inbox.url.startswith("http://[::1]:")
        assert requests.get(f"{inbox.url}/_inbox/events", timeout=10).json() == {"events": []}


def test_a_taken_port_is_an_error(inbox):
    """The error is raised at construction, not in the server's thread."""
    with pytest.raises(OSError, match="in use"):
        Inbox(port=int(inbox.url.rpartition(":")[2]))


def test_is_fast_enough(client):
    """An inbox stores a hundred events in a second on any machine, a tenth of what is usual."""
    started = time.perf_counter()
    for _ in range(100):
        assert client.event().status_code == 201
    assert time.perf_counter() - started < 1.0
