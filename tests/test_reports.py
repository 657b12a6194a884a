"""One exception object that several loggers report is one alert."""

from __future__ import annotations

import json
import logging
import pickle
import traceback

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging._outbox import reports

from .server import Reply, Server


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Reports may be far apart on a busy machine; `flush` waits for no more of them."""
    monkeypatch.setattr(reports, "GRACE", 60.0)


@pytest.fixture
def log(handler, request):
    """Log to loggers by name, whose records go to one handler."""
    made: dict[str, logging.Logger] = {}

    class Log:
        emitkit: EmitKitHandler = handler(shutdown_timeout=10.0)

        def __getitem__(self, name: str) -> logging.Logger:
            logger = made[name] = logging.getLogger(f"test.reports.{name}")
            logger.propagate = False
            if self.emitkit not in logger.handlers:
                logger.addHandler(self.emitkit)
            return logger

    yield Log()
    for logger in made.values():
        logger.handlers.clear()


def alerts(server: Server) -> list[tuple[str, int]]:
    """Return the title of each event, and how many records it stands for."""
    events = [each.body for each in server.requests if each.path.endswith("/events")]
    return [(each["title"], each["metadata"].get("occurrences", 1)) for each in events]


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_several_loggers(server, log):
    """Reports by several loggers, in all forms, are one event that counts them and has the first one's title."""
    error = raised(ValueError("no such order"))
    log["structlog"].error("request_failed", exc_info=error)
    log["django.request"].error("Internal Server Error: %s", "/orders/7", exc_info=error)
    log["uvicorn"].error(error)
    log["structured"].error({"event": "failed", "exc_info": error})
    assert log.emitkit.flush(10)
    assert alerts(server) == [("request_failed", 4)]
    assert server.requests[0].body["metadata"]["samples"][1]["title"] == "Internal Server Error: /orders/7"
    assert log.emitkit.stats.delivered == 4


@pytest.mark.parametrize("form", ["format_exc", "rendered", "dict", "exc_text"])
def test_text_of_a_traceback(server, log, form):
    """A report that has only the text of the traceback is one of the exception that is handled at the time."""
    try:
        raise ValueError("no such order")
    except ValueError as error:
        text = traceback.format_exc()
        record = logging.LogRecord(log["a"].name, logging.ERROR, "a.py", 7, "failed", (), None)
        if form == "exc_text":
            record.exc_text = text
        else:
            line = {"event": "failed", "exception": text}
            record.msg = {"format_exc": f"failed\n{text}", "rendered": json.dumps(line), "dict": line}[form]
        log["a"].handle(record)
        log["b"].error("Internal Server Error", exc_info=error)
        log["c"].error("another text\nTraceback (most recent call last):\nKeyError: 'x'")
    assert log.emitkit.flush(10)
    assert sorted(alerts(server)) == [("another text", 1), ("failed", 2)]


def test_after_it_was_sent(server, log):
    """A report that comes when the alert has been sent makes no other one, and is counted as delivered."""
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error)
    assert log.emitkit.flush(10)
    log["b"].error("second", exc_info=error)
    assert log.emitkit.flush(10)
    assert alerts(server) == [("first", 1)]
    stats = log.emitkit.stats
    assert (stats.accepted, stats.delivered, stats.pending) == (2, 2, 0)


def test_while_it_is_sent(server, log, monkeypatch):
    """A report that comes while the alert is on its way shares its fate."""
    monkeypatch.setattr(reports, "GRACE", 0.01)
    server.script = lambda _: Reply(503, {"success": False, "error": "down"})
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error)
    server.wait_for(1)
    log["b"].error("second", exc_info=error)
    log.emitkit.flush(0.2)
    assert log.emitkit.stats.pending == 2
    server.script = []
    log.emitkit.close()
    stats = log.emitkit.stats
    assert stats.accepted == 2 == stats.delivered + sum(stats.dropped.values())
    assert {title for title, _ in alerts(server)} == {"first"}


def test_the_same_logger(server, log):
    """A logger that reports the object again has seen it happen again: each is an alert of its kind."""
    error = raised(ValueError("created once, raised often"))
    for _ in range(3):
        log["a"].error("failed", exc_info=error)
        log["b"].error("reported", exc_info=error)
        assert log.emitkit.flush(10)
    assert len(alerts(server)) == 3
    assert {title for title, _ in alerts(server)} == {"failed"}
    assert log.emitkit.stats.delivered == 6


def test_storm(server, log):
    """In a storm of one exception object, every record is counted."""
    error = raised(ValueError("x"))
    for number in range(500):
        log[f"logger{number % 3}"].error("failed %d", number, exc_info=error)
    assert log.emitkit.flush(20)
    assert log.emitkit.stats.delivered == 500
    assert log.emitkit.stats.pending == 0


@pytest.mark.parametrize(
    "second",
    [
        {"msg": "payment_failed", "extra": {"event": "payment_failed"}},
        {"msg": "other", "extra": {"channel": "payments"}},
        {"msg": "other", "extra": {"fingerprint": "mine"}},
        {"msg": "other", "extra": {"idempotency_key": "k-1"}},
    ],
)
def test_what_says_more(server, log, second):
    """An event, another channel, a fingerprint or an idempotency key say more than the exception: an alert each."""
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error)
    log["b"].error(**second, exc_info=error)
    assert log.emitkit.flush(10)
    assert len(alerts(server)) == 2


def test_other_exceptions(server, log):
    """Another exception object is another alert, also one that is equal or has the first as its cause."""
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error)
    log["b"].error("second", exc_info=raised(ValueError("x")))
    other = RuntimeError("y")
    other.__cause__ = error
    log["c"].error("third", exc_info=raised(other))
    assert log.emitkit.flush(10)
    assert sorted(alerts(server)) == [("first", 1), ("second", 1), ("third", 1)]


def test_warning_first(server, log):
    """A warning does not swallow the alert that follows it."""
    log.emitkit.setFormatter(None)
    error = raised(ValueError("x"))
    log["a"].warning("retrying", exc_info=error, extra={"event": "retrying"})
    log["b"].error("gave up", exc_info=error)
    assert log.emitkit.flush(10)
    assert ("gave up", 1) in alerts(server)


def test_several_handlers(server, handler, log):
    """Each handler counts for itself."""
    second = handler()
    error = raised(ValueError("x"))
    for name in ("a", "b"):
        log[name].addHandler(second)
        log[name].error("failed", exc_info=error)
    assert log.emitkit.flush(10)
    assert second.flush(10)
    assert alerts(server) == [("failed", 2)] * 2


def test_user_of_a_later_report(server, log):
    """What a later report says of a user is told, and the event keeps the user that the first one names."""
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error, extra={"user_id": "u-1"})
    log["b"].error("second", exc_info=error, extra={"user": {"id": "u-1", "email": "ada@example.com"}})
    log["c"].error("third", exc_info=error)
    assert log.emitkit.flush(10)
    events = [each.body for each in server.requests if each.path.endswith("/events")]
    assert [each["userId"] for each in events] == ["u-1"]
    assert any(each.path.endswith("/identify") for each in server.requests)


def test_spool(server, handler, log, tmp_path):
    """The same with a spool."""
    log.emitkit = handler(spool=tmp_path / "spool.db", shutdown_timeout=10.0)
    error = raised(ValueError("x"))
    log["a"].error("first", exc_info=error)
    log["b"].error("second", exc_info=error)
    assert log.emitkit.flush(20)
    log["c"].error("third", exc_info=error)
    assert log.emitkit.flush(20)
    assert alerts(server) == [("first", 2)]
    assert log.emitkit.stats.delivered == 3


class Slotted(Exception):  # noqa: N818
    @property
    def __dict__(self):
        raise RuntimeError("no attributes")


def test_exception_without_attributes(server, log):
    """An exception that cannot be marked is reported each time; a marked one can be pickled."""
    error = raised(Slotted("x"))
    log["a"].error("first", exc_info=error)
    log["b"].error("second", exc_info=error)
    marked = raised(ValueError("y"))
    log["a"].error("third", exc_info=marked)
    assert str(pickle.loads(pickle.dumps(marked))) == "y"
    assert log.emitkit.flush(10)
    assert len(alerts(server)) == 3
