"""With the root logger at DEBUG, the HTTP libraries log nothing about this library's own requests."""

from __future__ import annotations

import logging
import ssl
import threading

import pytest
import requests

from tests.server import Reply, Server

LIBRARIES = ("urllib3", "requests", "charset_normalizer", "socks")


class Console(logging.Handler):
    """What the application's other handlers get."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def of_libraries(self) -> list[str]:
        return [record.getMessage() for record in self.records if record.name.partition(".")[0] in LIBRARIES]


@pytest.fixture
def console():
    """A console at the root logger, whose level is DEBUG."""
    root, console = logging.getLogger(), Console()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(console)
    yield console
    root.removeHandler(console)
    root.setLevel(before)


def test_own_requests(server, handler, console):
    """Neither the connection nor a request is logged, whatever the server answers."""
    answers = [Reply(302, {}, {"Location": "https://example.com/"}), Reply(503), Reply(429), Reply(breaks=True)]
    server.script = [*answers[1:], None, answers[0]]
    made = handler(rate_limit=0)
    logging.getLogger().addHandler(made)
    try:
        for number in range(5):
            logging.getLogger("app").error("it failed", extra={"event": "failed", "number": number})
        server.wait_for(4)
        made.flush(10)
    finally:
        logging.getLogger().removeHandler(made)
        made.close()
    assert len(server.requests) > 4
    assert console.of_libraries == []
    assert [record.name for record in console.records if record.name != "emitkit_logging"] == ["app"] * 5


def test_requests_of_the_application(server, handler, logger, console):
    """What the application's own requests log is in its console as before, also at the same moment."""
    server.script = lambda seen: Reply(200, {}, waits=0.02) if seen.path == "/own" else None
    logger.addHandler(made := handler(rate_limit=0))
    is_over = threading.Event()

    def log() -> None:
        number = 0
        while not is_over.is_set():
            logger.error("it failed", extra={"event": "failed", "number": (number := number + 1)})
            is_over.wait(0.002)

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for _ in range(10):
            requests.get(f"{server.url}/own", timeout=10)
    finally:
        is_over.set()
        thread.join()
    assert made.flush(20)
    shown = console.of_libraries
    assert len([line for line in shown if '"GET /own HTTP/1.1" 200' in line]) == 10
    assert [line for line in shown if "/v1/events" in line] == []


def test_through_a_proxy(server, handler, logger, console, monkeypatch):
    """Requests through a proxy are as quiet."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    logger.addHandler(made := handler(base_url="http://emitkit.test", allow_http=True))
    logger.error("it failed")
    assert made.flush(10)
    assert server.requests[0].path == "http://emitkit.test/v1/events"
    assert console.of_libraries == []


def test_through_a_proxy_that_refuses(server, handler, logger, console, monkeypatch):
    """A proxy that opens no tunnel is no line in the console either, except the library's own."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", server.url)  # it answers 501 to CONNECT
    logger.addHandler(made := handler(base_url="https://emitkit.test"))
    logger.error("it failed")
    assert not made.flush(0.5)
    assert console.of_libraries == []


def test_over_tls(logger, handler, console, monkeypatch, tmp_path):
    """Requests over TLS are as quiet, also when the certificate is not trusted."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server() as server:
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        distrusting = handler(base_url=url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        logger.addHandler(trusting := handler(base_url=url))
        logger.error("it failed")
        assert trusting.flush(10)
        logger.handlers[:] = [distrusting]
        logger.error("it failed again")
        distrusting.flush(0.3)
    assert console.of_libraries == []


def test_names_stay(server, handler, logger, console):
    """The filter is added once, however often a connection is made."""
    for _ in range(3):
        made = handler()
        logger.addHandler(made)
        logger.error("it failed")
        assert made.flush(10)
        made.close()
    assert len({id(each) for each in logging.getLogger("urllib3.connectionpool").filters}) == 1
    assert len(logging.getLogger("urllib3.connectionpool").filters) == 1
