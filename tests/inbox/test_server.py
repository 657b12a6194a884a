"""The inbox as an object: what it remembers, how one waits for it, and that it keeps to itself."""

from __future__ import annotations

import builtins
import logging
import re
import socket
import threading
import time

import pytest
import requests
import uvicorn

from emitkit_logging.inbox import Inbox


@pytest.fixture
def root_records():
    """Everything that reaches the root logger at any level."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(1)
    yield records
    root.setLevel(level)
    root.removeHandler(handler)


def test_remembers_every_request(client):
    """Method, path, headers, body and status of each, also of those that were refused."""
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


def test_remembers_a_request_that_broke_off(client):
    """A client that dies in the middle of its request was there all the same."""
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


def test_waits_for_an_event_or_for_several(client):
    """By any field, with `channel` as a short name; in the order in which they were stored."""
    sending = threading.Thread(target=lambda: [client.event(channelName="waited", title=name) for name in "abc"])
    sending.start()
    assert client.inbox.wait_for(channel="waited", title="b")["channelName"] == "waited"
    assert [event["title"] for event in client.inbox.wait_for(3, channel="waited")] == ["a", "b", "c"]
    sending.join()


def test_a_failed_wait_says_what_is_there(connect):
    """The events, the refused requests, and no API key."""
    with Inbox() as inbox:
        client = connect(inbox)
        client.event(title=f"Has the key {inbox.api_key}")
        client.event(title="")
        with pytest.raises(AssertionError) as caught:
            inbox.wait_for(2, timeout=0.01, channel="tests")
        shown = str(caught.value)
        assert shown.startswith("1 of 2 events with channelName='tests' after 0.01 s")
        assert "Has the key [api key]" in shown
        assert "1 events, 2 requests, 1 of them refused\n  POST /v1/events: 400" in shown
        with pytest.raises(AssertionError, match="0 of 1 events with title='x'"):
            inbox.wait_for(timeout=0.0, title="x")
        with pytest.raises(AssertionError, match="1 of 9 events after"):
            inbox.wait_for(9, timeout=0.0)


def test_waiting_for_a_field_that_no_event_has(inbox):
    """A misspelt field is an error at once, not a wait in vain."""
    with pytest.raises(TypeError, match="no field chanel, name; it has actions"):
        inbox.wait_for(name="x", chanel="y")


def test_tells_its_events_to_loopback_names_only(client):
    """Whoever is on this machine may read them, without keys in them; a page of another name may not."""
    client.event(title=f"Listed {client.inbox.api_key}")
    url = f"{client.inbox.url}/_inbox/events"
    listed = requests.get(url, timeout=10)
    assert "Listed [api key]" in [event["title"] for event in listed.json()["events"]]
    assert client.inbox.api_key not in listed.text
    for host, status in (("localhost:1", 200), ("[::1]", 200), ("evil.example", 403)):
        assert requests.get(url, headers={"Host": host}, timeout=10).status_code == status


def test_says_each_event_and_identify_in_a_line(connect):
    """The echo is called with lines in which no key is readable."""
    lines: list[str] = []
    with Inbox(echo=lines.append) as inbox:
        client = connect(inbox)
        client.event(title=f"Key {inbox.api_key}", description="First\nSecond", metadata={"occurrences": 3})
        client.identify(user_id="u-1", properties={"plan": "pro"})
        client.event(title="")
    assert [line[10:] for line in lines] == [
        "tests             Key [api key] ×3 · First",
        "identify          u-1 · plan",
    ]


def test_makes_up_a_key():
    """Long enough to be masked as an EmitKit key, and another one each time."""
    with Inbox() as one, Inbox() as other:
        assert re.fullmatch(r"emitkit_[A-Za-z0-9]{24,}", one.api_key)
        assert one.api_key != other.api_key
        assert one.url != other.url


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "loopback"),
        ({"host": "192.168.1.1"}, "loopback"),
        ({"host": "example.com"}, "loopback"),
        ({"host": ""}, "loopback"),
        ({"generation": "next"}, "current, self-hosted"),
        ({"scopes": ["events:all"]}, "scopes"),
        ({"other_api_keys": {"emitkit_b": ["all"]}}, "scopes must be .*not all"),
        ({"faults": ["sometimes"]}, "fault"),
        ({"faults": "503"}, "list"),
        ({"rate_limit": -1}, "rate_limit"),
        ({"window": 0}, "window"),
        ({"keep": 0}, "keep"),
        ({"prefix": "api"}, "prefix"),
        ({"prefix": "/api/"}, "prefix"),
    ],
)
def test_refuses_wrong_options(options, message):
    """At construction, naming what would be right; above all any address that others can reach."""
    with pytest.raises(ValueError, match=message):
        Inbox(**options)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_listens_on_ipv6():
    """The other loopback."""
    try:
        inbox = Inbox(host="::1")
    except OSError:
        pytest.skip("this machine has no ::1")
    with inbox:
        assert inbox.url.startswith("http://[::1]:")
        assert requests.get(f"{inbox.url}/_inbox/events", timeout=10).json() == {"events": []}


def test_a_taken_port_is_an_error(inbox):
    """Raised where the inbox is made, not in its thread."""
    with pytest.raises(OSError, match="in use"):
        Inbox(port=int(inbox.url.rpartition(":")[2]))


def test_without_the_extra(monkeypatch):
    """The package can be imported; making an inbox says what to install."""
    importing = builtins.__import__

    def without_uvicorn(name, *args, **kwargs):
        if name == "uvicorn":
            raise ModuleNotFoundError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_uvicorn)
    with pytest.raises(ImportError, match=r"pip install 'emitkit-logging\[inbox\]'"):
        Inbox()


def test_a_server_that_does_not_start_is_an_error(monkeypatch):
    """It is said at once, and the port is free again."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    with pytest.raises(RuntimeError, match="did not start"):
        Inbox()


def test_closing_ends_the_thread_and_the_port(connect):
    """Within a second, even with a connection kept alive; what was received stays readable."""
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
    """A client that still waits is cut off after about a second."""
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
    """Not when it starts, answers, is sent nonsense or closes; while the application's own uvicorn may."""
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


def test_is_fast_enough(client):
    """A thousand events a second is the aim; a tenth of it is a fault on any machine."""
    started = time.perf_counter()
    for _ in range(100):
        assert client.event().status_code == 201
    assert time.perf_counter() - started < 1.0
