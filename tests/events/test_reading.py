"""Messages that hold more than text are read as what they are."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import pickle
import queue
import traceback

import pytest
import structlog
from loguru import logger as loguru_logger

from emitkit_logging import EmitKitFormatter
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.reading import opened, rendered

from ..records import event, make


def fail() -> None:
    raise ValueError("card declined")


def traceback_text() -> str:
    try:
        fail()
    except ValueError:
        return traceback.format_exc()


def test_traceback_alone():
    """`logger.error(traceback.format_exc())` is an alert of the exception, with a title that can be read."""
    made = event(traceback_text(), level=logging.ERROR)
    assert (made.title, made.description) == ("ValueError: card declined", "ValueError: card declined")
    exception = made.metadata["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "card declined")
    assert "in fail" in exception["stacktrace"]


@pytest.mark.parametrize("args", [(), ("x",)])
def test_traceback_in_text(args):
    """The title is the first line that is no part of the traceback."""
    template = "order failed " + ("%s" if args else "x") + "\n"
    made = event(template + traceback_text().replace("%", "%%"), *args, level=logging.ERROR)
    assert (made.title, made.description) == ("order failed x", "ValueError: card declined")
    assert made.metadata["exception"]["type"] == "ValueError"


def test_long_traceback():
    """A traceback longer than any message that is kept still names its exception, and keeps its end."""
    frames = '  File "/srv/app.py", line 1, in f\n    g()\n' * 1_000
    made = event(f"order failed\nTraceback (most recent call last):\n{frames}KeyError: 'x'\n", level=logging.ERROR)
    assert (made.title, made.metadata["exception"]["type"]) == ("order failed", "KeyError")
    assert made.metadata["exception"]["stacktrace"].rstrip().endswith("KeyError: 'x'")
    assert made.encode()


def test_other_traceback():
    """With an exception of the record's own, a traceback of another one stays in the text."""
    try:
        raise KeyError("other")
    except KeyError:
        made = event(f"failed\n{traceback_text()}", level=logging.ERROR, exc_info=True)
    assert made.metadata["exception"]["type"] == "KeyError"
    assert "card declined" in made.description


def test_queue_handler():
    """The standard library's QueueHandler puts the traceback into the message."""
    handler = logging.handlers.QueueHandler(queue.Queue())
    try:
        fail()
    except ValueError:
        record = handler.prepare(make("order failed", level=logging.ERROR, exc_info=True))
    made = EmitKitFormatter().event(record)
    assert (made.title, made.description) == ("order failed", "ValueError: card declined")
    assert made.metadata["exception"]["type"] == "ValueError"


def test_socket_handler():
    """SocketHandler leaves the text of the traceback alone."""
    try:
        fail()
    except ValueError:
        record = make("order failed", level=logging.ERROR, exc_info=True)
    sent = logging.handlers.SocketHandler("localhost", 1).makePickle(record)
    made = EmitKitFormatter().event(logging.makeLogRecord(pickle.loads(sent[4:])))
    assert (made.title, made.metadata["exception"]["type"]) == ("order failed", "ValueError")
    assert made.metadata["exception"]["message"] == "card declined"


@pytest.mark.parametrize(("error", "title"), [(TimeoutError(), "TimeoutError"), (ValueError("bad"), "bad")])
def test_exception_as_message(error, title):
    """An exception logged as the message is the record's exception; without a text its type is the title."""
    made = event(error, level=logging.ERROR)
    assert made.title == title
    assert made.metadata["exception"]["type"] == type(error).__name__


@pytest.mark.parametrize("exc_info", [True, "error", "tuple"])
def test_structlog_exc_info(exc_info):
    """`exc_info` in the dict that is the message is the exception, in each of its forms."""
    try:
        fail()
    except ValueError as error:
        given = {"error": error, "tuple": (ValueError, error, error.__traceback__)}.get(exc_info, exc_info)
        made = event({"event": "payment failed", "exc_info": given, "amount": 5}, level=logging.ERROR)
    assert (made.title, made.description) == ("payment failed", "ValueError: card declined")
    assert "in fail" in made.metadata["exception"]["stacktrace"]
    assert made.metadata["amount"] == 5
    assert "exc_info" not in made.metadata


def test_structlog_formatted_exception():
    """A traceback that structlog has formatted already is the exception too."""
    made = event({"event": "payment failed", "exception": traceback_text()}, level=logging.ERROR)
    assert (made.description, made.metadata["exception"]["type"]) == ("ValueError: card declined", "ValueError")
    assert "extra" not in made.metadata


VALUES = {"event": "payment failed", "plan": "a b", "amount": 5, "note": 'he said "x"', "vip": True}


@pytest.mark.parametrize(
    "renderer",
    [
        structlog.processors.JSONRenderer(),
        structlog.processors.KeyValueRenderer(),
        structlog.processors.LogfmtRenderer(),
    ],
    ids=lambda renderer: type(renderer).__name__,
)
def test_rendered(renderer):
    """A line that structlog has rendered has the same event as the dict."""
    made = event(renderer(None, "error", dict(VALUES)), level=logging.ERROR)
    plain = event(dict(VALUES), level=logging.ERROR)
    assert (made.title, made.kind) == ("payment failed", plain.kind)
    assert {**made.metadata, "timestamp": 0} == {**plain.metadata, "timestamp": 0}


def test_rendered_event():
    """A rendered line may be an event, as the dict may."""
    record = make('{"event": "signed up", "emitkit_event": "user_signed_up", "user_id": "u"}')
    formatter = EmitKitFormatter()
    assert formatter.accepts(record)
    assert (formatter.event(record).title, formatter.event(record).user_id) == ("User Signed Up", "u")
    assert not formatter.accepts(make('{"event": "signed up"}'))


def test_rendered_is_not_trusted_with_users():
    """Text may come from anybody: it neither identifies a user nor chooses a channel or an address."""
    line = '{"event": "x", "user": {"id": "victim", "email": "e"}, "channel": "alerts", "callback_url": "https://h/"}'
    made = event(line, level=logging.ERROR, options={"level_channel_map": None})
    assert (made.channel, made.user_id, made.identities, made.questions) == ("general", None, (), {})
    assert made.metadata["channel"] == "alerts"


def test_rendered_secrets():
    """Secrets in a rendered line are withheld by their names."""
    assert "hunter2" not in str(event('{"event": "x", "password": "hunter2"}', level=logging.ERROR).body())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"a": 1}',
        '{"event": 1}',
        "[1]",
        "event=",
        "the event=x is",
        "event='x' and",
        "{" * 5000,
        "event=" * 900,
    ],
)
def test_not_rendered(text):
    """Other text stays text."""
    captured = CapturedRecord({"msg": text})
    assert rendered(text) is None
    assert opened(captured) is captured


def test_loguru():
    """Loguru's default format is taken apart, with its own traceback."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record):
            records.append(record)

    sink = loguru_logger.add(Keeping())
    try:
        loguru_logger.error("payment failed\nsecond line")
        try:
            fail()
        except ValueError:
            loguru_logger.exception("order failed")
    finally:
        loguru_logger.remove(sink)
    first, second = (EmitKitFormatter().event(record) for record in records)
    assert (first.title, first.description) == ("payment failed", "second line")
    assert (second.title, second.description) == ("order failed", "ValueError: card declined")


class Raising:
    def __bool__(self):
        raise RuntimeError

    __len__ = __iter__ = __eq__ = __str__ = __repr__ = __bool__
    __hash__ = object.__hash__


@pytest.mark.parametrize("key", ["event", "emitkit_event", "category", "title", "tags", "user", "channel", "msg"])
def test_no_truth_test(key):
    """A value of any type is not asked for its truth, nor evaluated, before its type is known."""
    record = make("payment failed", level=logging.ERROR)
    record.__dict__[key] = Raising()
    made = EmitKitFormatter().event(record)
    assert made.level == logging.ERROR
    assert EmitKitFormatter(plain_level=None).accepts(record) is False


def test_message_of_a_subclass_inside_a_context():
    """A record subclass's `getMessage` is used wherever the record is formatted."""
    from emitkit_logging import event_context

    class Braces(logging.LogRecord):
        def getMessage(self):  # noqa: N802
            return self.msg.format(*self.args)

    record = Braces("app", logging.ERROR, "/srv/app.py", 7, "order {} failed", (7,), None, "work")
    stream = io.StringIO()
    printing = logging.StreamHandler(stream)
    printing.setFormatter(EmitKitFormatter("%(message)s"))
    with event_context(tenant="t"):
        assert EmitKitFormatter().event(record).title == "order 7 failed"
        printing.handle(record)
    assert '"title": "order 7 failed"' in stream.getvalue()
    assert '"message": "order 7 failed"' in stream.getvalue()


@pytest.mark.parametrize("where", ["top", "nested", "deep"])
@pytest.mark.parametrize("is_of_the_same", [True, False])
def test_repeated_traceback(where, is_of_the_same):
    """The traceback that a record has as its exception stands once in its event; another one stays."""
    try:
        {}["missing"]
    except KeyError:
        text = traceback.format_exc() if is_of_the_same else traceback.format_exc().replace("KeyError", "OSError", 1)
        if not is_of_the_same:
            text = text.replace("test_repeated_traceback", "elsewhere")
        value = {"top": text, "nested": {"traceback": text, "id": 7}, "deep": [{"traceback": text}]}[where]
        made = event("failed", level=logging.ERROR, exc_info=True, data=value)
    is_left_out = is_of_the_same and where != "deep"
    assert json.dumps(made.metadata).count("Traceback (most") == (1 if is_left_out else 2)
    assert where != "nested" or made.metadata["data"]["id"] == 7


@pytest.mark.parametrize(
    ("message", "args", "title"),
    [
        ("%s", (TimeoutError(),), "TimeoutError"),
        ("failed: %s", (TimeoutError(),), "failed: TimeoutError"),
        ("%s of %d: %s", ("a", 2, OSError()), "a of 2: OSError"),
        ("failed: %r", (TimeoutError(),), "failed: TimeoutError()"),
        ("failed: %s", (ValueError("x"),), "failed: x"),
        ("failed: %s", (json.JSONDecodeError("x", "", 0),), "failed: x: line 1 column 1 (char 0)"),
    ],
)
def test_exception_without_text_as_an_argument(message, args, title):
    """An exception that has no text is named by its type in the message, too."""
    assert event(message, *args, level=logging.ERROR).title == title
