"""From the logging call to the server, through the public interface, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import logging.config
import signal
import socket
import sys
import threading
import time
import weakref

import pytest

from emitkit_logging import EmitKitFormatter, EmitKitHandler
from emitkit_logging._outbox import budget
from emitkit_logging.inbox import Inbox
from tests.conftest import KEY
from tests.server import Reply, Server, occurrences

EVENT = {"event": "user_signed_up"}


def balanced(stats) -> bool:
    return stats.accepted == stats.delivered + stats.pending + sum(stats.dropped.values())


def test_whole_way(server, handler, logger):
    """A logging call becomes one request with its own key; plain INFO records stay where they are."""
    made = handler()
    logger.addHandler(made)
    logger.info("user_signed_up", extra=EVENT)
    logger.info("nothing")
    logger.error("it broke")
    assert made.flush(10)
    assert sorted(server.titles) == ["User Signed Up", "it broke"]
    keys = {seen.key for seen in server.requests}
    assert len(keys) == 2
    headers = server.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert (made.stats.accepted, made.stats.delivered, made.stats.events) == (2, 2, 2)


def test_one_connection(server, handler, logger):
    """Requests share one kept connection."""
    logger.addHandler(made := handler(rate_limit=0))
    for _ in range(50):
        logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert len(server.requests) == 50


def test_path_prefix(server, handler, logger):
    """A base URL may carry a path."""
    logger.addHandler(made := handler(base_url=f"{server.url}/api/"))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert server.requests[0].path == "/api/v1/events"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(503, headers={"Retry-After": "0"}),
        Reply(408),
        Reply(409),
        Reply(429, headers={"Retry-After": "0"}),
        Reply(breaks=True),
        Reply(201, b"<html>"),
        Reply(200, b"<html>welcome</html>"),
        Reply(201, {"success": False}),
        Reply(502, b"\xff" * 100),
        Reply(waits=5.0, status=201),
    ],
    ids=lambda reply: f"{reply.status}-{reply.breaks}-{reply.waits}",
)
def test_tried_again(server, handler, logger, reply):
    """Whatever goes wrong on the way, the same request is sent again, with the same key and bytes."""
    server.script = [reply]
    logger.addHandler(made := handler(timeout=0.5))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    first, second = server.requests
    assert (first.key, first.raw) == (second.key, second.raw)
    assert (made.stats.delivered, made.stats.retries) == (1, 1)


def test_poison(server, handler, logger, caplog):
    """An event that the server refuses is dropped, counted and reported; the others pass."""
    details = {"success": False, "error": "Validation error", "details": [{"path": ["title"], "message": "too odd"}]}
    server.script = lambda seen: Reply(400, details) if seen.body["title"] == "Bad" else None
    logger.addHandler(made := handler())
    with caplog.at_level(logging.WARNING, "emitkit_logging"):
        for name in ("good", "bad", "fine"):
            logger.info("x", extra={"event": name})
        assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {"rejected": 1})
    assert "title: too odd" in caplog.text


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, {"code": "unauthorized", "error": "no"}),
        Reply(401, {"error": "no"}),
        Reply(403, b"no"),
        Reply(404, b"<html>"),
        Reply(302, headers={"Location": "/login"}),
    ],
    ids=lambda reply: str(reply.status),
)
def test_wrong_key(server, handler, logger, caplog, capfd, reply):
    """A wrong key or address: one warning, no storm of requests, one more try at the exit, and never the key."""
    server.script = lambda _: reply
    logger.addHandler(made := handler())
    with caplog.at_level(logging.WARNING, "emitkit_logging"):
        for _ in range(20):
            logger.info("x", extra=EVENT)
        server.wait_for(1)
        assert made.flush(0.5) is False
        assert len(server.requests) == 1
        made.close()
    assert len(server.requests) == 2
    assert all(seen.path == "/v1/events" for seen in server.requests)
    warnings = [record for record in caplog.records if record.name == "emitkit_logging"]
    assert len(warnings) == 1
    assert KEY not in caplog.text
    assert "20 log records could not be delivered" in capfd.readouterr().err
    assert made.stats.dropped == {"shutdown": 20}


def test_against_the_inbox(monkeypatch, logger):
    """On both generations all events arrive, alerts first, without a refused request."""
    monkeypatch.setattr(budget, "WINDOW", 2.2)
    for generation in ("current", "self-hosted"):
        with Inbox(generation=generation, rate_limit=10, window=2.0) as inbox:
            made = EmitKitHandler(inbox.api_key, base_url=inbox.url)
            logger.addHandler(made)
            for number in range(15):
                logger.info("x", extra={"event": "step_taken", "number": number})
            logger.error("it broke")
            inbox.wait_for(title="it broke", timeout=1.0)
            assert made.flush(15)
            assert sum(map(occurrences, inbox.events)) == 16
            assert len(inbox.events) >= 8  # of a window of 10, two are kept for folds
            assert sum(seen["status"] in (401, 429) for seen in inbox.requests) == 0
            made.close()
        logger.handlers.clear()


def test_identify(server, handler, logger):
    """Users are made known once, before their event; `identify` does it without one."""
    logger.addHandler(made := handler())
    for _ in range(2):
        logger.info("x", extra={**EVENT, "user": {"id": "u", "email": "a@b.c"}})
    made.identify("v", {"plan": "pro"}, ["w"])
    made.identify("v", {"plan": "pro"}, ["w"])
    assert made.flush(10)
    sent = [seen.body for seen in server.requests if seen.path == "/v1/identify"]
    assert sent == [
        {"user_id": "u", "properties": {"email": "a@b.c"}, "aliases": ["u", "a@b.c"]},
        {"user_id": "v", "properties": {"plan": "pro"}, "aliases": ["v", "w"]},
    ]
    assert (made.stats.accepted, made.stats.identifies) == (2, 2)
    with pytest.raises(ValueError, match="user_id"):
        made.identify("")


def test_hanging_identify(server, handler, logger):
    """An identify that hangs costs its event at most `timeout`."""
    server.script = lambda seen: Reply(waits=30.0, status=500) if seen.path == "/v1/identify" else None
    logger.addHandler(handler(timeout=0.5))
    began = time.monotonic()
    logger.info("x", extra={**EVENT, "user": {"id": "u", "email": "a@b.c"}})
    server.wait_for(2)
    assert server.titles == ["User Signed Up"]
    assert time.monotonic() - began < 3


def test_slow_server_does_not_slow_the_call(server, handler, logger):
    """A server that answers slowly, or never, is not felt by who logs; not in an event loop either."""
    server.script = lambda _: Reply(waits=30.0, status=500)
    logger.addHandler(made := handler(timeout=30.0, queue_size=100, shutdown_timeout=0.2))

    async def main() -> float:
        began = time.perf_counter()
        for _ in range(2_000):
            logger.info("x", extra=EVENT)
        await asyncio.sleep(0)
        return time.perf_counter() - began

    assert asyncio.run(main()) < 2
    stats = made.stats
    assert (stats.accepted, stats.pending, stats.dropped) == (2_000, 2_000, {})
    assert made._worker._store._outbox.held <= 100


def test_call_does_little_of_the_work(server, handler, logger):
    """While a request hangs, the calls do the work of the thread, each for a few records."""
    server.script = lambda _: Reply(waits=30.0, status=500)
    logger.addHandler(made := handler(timeout=30.0, rate_limit=0, queue_size=400, shutdown_timeout=0.2))
    logger.info("x", extra=EVENT)
    server.wait_for(1)
    taken = []
    for number in range(2_000):
        logger.info("x", extra={"event": f"name_{number % 50}"})
        taken.append(made._worker._store._outbox._backlog.taken)
    assert taken[-1] > 1_500
    assert max(after - before for before, after in itertools.pairwise(taken)) <= 10


@pytest.mark.parametrize("dripping", ["body", "headers"])
def test_dripping_answer(handler, logger, dripping):
    """An answer that comes byte by byte does not outlast the timeout."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopped = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head + (b"\r\n" if dripping == "body" else b"X-Slow: "))
                while not stopped.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        made = handler(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.5)
        logger.addHandler(made)
        logger.info("x", extra=EVENT)
        thread.join(5)
        assert not thread.is_alive()
        stopped.set()
        made.close()


def test_stats_always_balance(server, handler, logger):
    """At every moment each accepted record is in exactly one position."""
    logger.addHandler(made := handler(rate_limit=0, queue_size=50))
    threads = [threading.Thread(target=lambda: [logger.info("x", extra=EVENT) for _ in range(500)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert balanced(made.stats)
    for thread in threads:
        thread.join()
    assert made.flush(10)
    stats = made.stats
    assert (stats.accepted, stats.pending) == (1_500, 0)
    assert stats.delivered == server.occurrences() == 1_500


def test_own_records(server, handler):
    """The library's own requests, logged by urllib3 at DEBUG, never become events, of no handler."""
    logger = logging.getLogger("urllib3.connectionpool")
    level = logger.level
    made = [handler(plain_level="DEBUG", debug=True), handler(plain_level="DEBUG")]
    logger.setLevel(logging.DEBUG)
    try:
        for each in made:
            logger.addHandler(each)
        logger.error("from the application")
        for each in made:
            assert each.flush(10)
        assert server.titles == ["from the application"] * 2
    finally:
        logger.setLevel(level)
        for each in made:
            logger.removeHandler(each)
        logging.getLogger("emitkit_logging").setLevel(logging.NOTSET)


def test_filters(server, handler, logger):
    """Filters of the handler choose, and may replace the record on newer Pythons."""
    logger.addHandler(made := handler())
    made.addFilter(lambda record: record.getMessage() != "no")
    if sys.version_info >= (3, 12):
        made.addFilter(lambda record: logging.makeLogRecord({**vars(record), "event": "replaced"}))
    logger.info("no", extra=EVENT)
    logger.info("yes", extra=EVENT)
    assert made.flush(10)
    assert server.titles == ["Replaced" if sys.version_info >= (3, 12) else "User Signed Up"]


def test_filter_that_raises(handler, logger, capsys):
    """What a filter raises does not reach the application."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("in the filter")

    logger.addHandler(made := handler())
    made.addFilter(broken)
    logger.info("x", extra=EVENT)
    assert "in the filter" in capsys.readouterr().err


def test_formatter(server, handler, logger):
    """An `EmitKitFormatter` of the user's own shapes events, a foreign one nothing."""
    logger.addHandler(made := handler())
    made.setFormatter(logging.Formatter("%(levelname)s"))
    logger.info("x", extra=EVENT)
    made.setFormatter(EmitKitFormatter(channel_name="own", plain_level="INFO"))
    logger.info("plain")
    assert made.flush(10)
    assert [seen.body["channelName"] for seen in server.requests] == ["general", "own"]


def test_disabled(server, logger):
    """A disabled handler has no thread and no queue."""
    made = EmitKitHandler(enabled=False, base_url=server.url)
    logger.addHandler(made)
    before = threading.active_count()
    logger.error("x")
    made.identify("u", {"a": 1})
    assert made.flush()
    made.close()
    assert threading.active_count() == before
    assert made.stats.accepted == 0


def test_closed(server, handler, logger):
    """After `close` records are counted and dropped, and everything else returns at once."""
    logger.addHandler(made := handler())
    logger.info("x", extra=EVENT)
    made.close()
    assert server.titles == ["User Signed Up"]
    logger.info("x", extra=EVENT)
    made.identify("u", {"a": 1})
    began = time.monotonic()
    assert made.flush(30)
    made.close()
    assert time.monotonic() - began < 1
    stats = made.stats
    assert (stats.accepted, stats.delivered, stats.pending, stats.dropped) == (2, 1, 0, {"shutdown": 1})


def test_flush_and_close_share_a_deadline(server, handler, logger):
    """One shutdown takes `shutdown_timeout`, not twice that."""
    server.script = lambda _: Reply(waits=30.0, status=500)
    logger.addHandler(made := handler(timeout=30.0, shutdown_timeout=1.0))
    logger.info("x", extra=EVENT)
    server.wait_for(1)
    began = time.monotonic()
    assert made.flush() is False
    made.close()
    assert 0.9 < time.monotonic() - began < 1.6


def test_flush_that_cannot_succeed(server, handler, logger):
    """When nothing can be sent in time, `flush` returns False at once."""
    server.script = lambda _: Reply(429, headers={"Retry-After": "60"})
    logger.addHandler(made := handler())
    logger.info("x", extra=EVENT)
    server.wait_for(1)
    began = time.monotonic()
    assert made.flush(20) is False
    assert time.monotonic() - began < 5


def test_dict_config_again(server, logger):
    """Configuring again while all records, urllib3's too, pass the handler neither deadlocks nor loses anything."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "emitkit": {
                "class": "emitkit_logging.EmitKitHandler",
                "api_key": KEY,
                "base_url": server.url,
                "rate_limit": 0,
            }
        },
        "root": {"level": "DEBUG", "handlers": ["emitkit"]},
    }
    began = time.monotonic()
    made = []
    try:
        for number in range(10):
            logging.config.dictConfig(config)
            made.append(next(each for each in root.handlers if isinstance(each, EmitKitHandler)))
            logging.getLogger(f"fresh.{number}.{began}").error("number %d", number)
        for each in made:
            each.close()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert time.monotonic() - began < 10
    server.wait_for(10)
    assert sorted(server.titles) == sorted(f"number {number}" for number in range(10))


def test_close_under_the_module_lock(server, handler, logger):
    """Under logging's lock `close` leaves to the thread what would need that lock, and it is delivered after."""
    server.script = [Reply(waits=0.8, status=503)]
    logger.addHandler(made := handler(shutdown_timeout=5.0))
    logger.info("x", extra=EVENT)
    server.wait_for(1)
    began = time.monotonic()
    with logging._lock:
        made.close()
        assert time.monotonic() - began < 2
    server.wait_for(2)


class Finalized:
    """Logs when it is collected, wherever that may be."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.itself = self

    def __del__(self) -> None:
        self.logger.info("collected", extra=EVENT)


def test_garbage_collector_logs(handler, logger):
    """The collector may run a `__del__` that logs in the middle of a log call."""
    logger.addHandler(made := handler(queue_size=20))
    thresholds = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        for _ in range(300):
            Finalized(logger)
            logger.info("x", extra={**EVENT, "nested": {"a": [1]}})
    finally:
        gc.set_threshold(*thresholds)
    assert balanced(made.stats)


def test_signal_handler_logs(handler, logger):
    """A signal handler may log, flush and read the counts in the middle of a log call."""
    logger.addHandler(made := handler(rate_limit=0, queue_size=20))
    interrupted = []
    # a tool that measures coverage takes a lock of its own where a file is first met, and would wait in there for ever
    logger.info("x", extra=EVENT)
    assert made.flush(5)
    assert balanced(made.stats)

    def interrupt(*_: object) -> None:
        logger.info("x", extra=EVENT)
        made.flush(0.01)
        interrupted.append(balanced(made.stats))
        signal.setitimer(signal.ITIMER_REAL, 0.005)  # only now: signals that overtake one another would never end

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        while len(interrupted) < 20:
            logger.info("x", extra=EVENT)
            assert balanced(made.stats)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert all(interrupted)


class _Interrupt(BaseException):
    """What a signal handler raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised where Python ignores errors
def test_signal_handler_raises(server, handler, logger):
    """Wherever in a call a signal handler raises, the next calls find no lock that this thread seems to hold."""
    made = handler(queue_size=50, rate_limit=6_000, shutdown_timeout=5)
    logger.handlers[:] = [made]  # without pytest's own handlers, whose locks a signal handler may leave locked
    logger.info("x", extra=EVENT)
    completed, interrupted, calling = 1, 0, threading.Event()

    def interrupt(*_: object) -> None:
        if calling.is_set():
            calling.clear()
            raise _Interrupt

    def call_until_interrupted() -> None:  # a function: where it is raised, no `with` of the caller begins or ends
        nonlocal completed
        calling.set()
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + interrupted % 20 / 100_000)
        while calling.is_set():  # what was raised may be lost where Python itself ignores errors
            logger.info("x", extra=EVENT)
            completed += 1

    previous = signal.signal(signal.SIGALRM, interrupt)
    end = time.monotonic() + 2
    try:
        while time.monotonic() < end:
            with contextlib.suppress(_Interrupt):
                call_until_interrupted()
            interrupted += 1
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert made.flush(10)
    assert balanced(made.stats)
    assert made.stats.accepted <= completed + interrupted


def test_collected(server, logger):
    """A handler that nobody closed is collected; its thread delivers what it has and ends."""
    made = EmitKitHandler(KEY, base_url=server.url)
    record = logging.makeLogRecord({"event": "user_signed_up", "levelno": 20, "levelname": "INFO"})
    made.handle(record)
    listener = made._worker
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
    listener._thread.join(5)
    assert not listener._thread.is_alive()
    assert server.titles == ["User Signed Up"]


def test_tls(logger, tmp_path, monkeypatch):
    """https is verified against the bundle that the environment names, and the key is ours whatever ~/.netrc says."""
    import ssl

    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / ".netrc").write_text("machine localhost login ada password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Server() as server:
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        distrusting = EmitKitHandler(KEY, base_url=url, shutdown_timeout=0.1)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        trusting = EmitKitHandler(KEY, base_url=url)
        logger.addHandler(trusting)
        logger.info("x", extra=EVENT)
        assert trusting.flush(10)
        trusting.close()
        logger.handlers[:] = [distrusting]
        logger.info("x", extra=EVENT)
        distrusting.close()
        assert [seen.headers["authorization"] for seen in server.requests] == [f"Bearer {KEY}"]


def test_flood(logger):
    """However much else is logged, alerts arrive within a second, and in the end every record is counted."""
    with Inbox(rate_limit=10, window=2.0) as inbox:
        made = EmitKitHandler(inbox.api_key, base_url=inbox.url)
        logger.addHandler(made)

        def flood(thread: int) -> None:
            for number in range(5_000):
                logger.info("x", extra={"event": f"name_{(number + thread) % 50}"})

        threads = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        logger.error("it broke")
        inbox.wait_for(title="it broke", timeout=1.0)
        for thread in threads:
            thread.join()
        assert made.flush(30)
        stats = made.stats
        assert (stats.accepted, stats.delivered, stats.dropped) == (20_001, 20_001, {})
        assert sum(map(occurrences, inbox.events)) == 20_001
        for name in range(50):
            assert sum(occurrences(event, f"name_{name}") for event in inbox.events) == 400
        assert sum(seen["status"] != 201 for seen in inbox.requests) <= 2
        made.close()
