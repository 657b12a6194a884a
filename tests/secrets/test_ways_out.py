"""One record full of secrets, and every way by which anything leaves the process: none of them shows one."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import json
import logging
import subprocess
import sys
import types

import pytest

from emitkit_logging import EmitKitFormatter, EmitKitHandler, event_context
from emitkit_logging.inbox import Inbox
from emitkit_logging.middleware import celery
from tests.secrets.corpus import AWS_KEY, DIGITS, MARK, NUMBERS, SECRET_KEYS, SECRETS
from tests.server import Reply

ALL = "\n".join((*SECRETS, *NUMBERS, AWS_KEY))


@dataclasses.dataclass
class Holder:
    """Holds a text, and one that its author keeps out of its text."""

    text: str
    hidden: str = dataclasses.field(default=MARK, repr=False)


def extra(text: str) -> dict[str, object]:
    """Return values with a text in every position."""
    pair = collections.namedtuple("Pair", "user password")  # noqa: PYI024 - as applications have them
    return {
        "value": text,
        text: 1,
        "list": [text, (text, text), {text}, collections.deque([text])],
        "mapping": types.MappingProxyType({"a": text, text: "b"}),
        "object": Holder(text),
        "pair": pair("u", MARK),
        "error": ValueError(text),
        "bytes": text.encode(),
        "nested": {"a": [{"b": text}], "password": text},
        "headers": [("Authorization", f"Basic {MARK}"), ("Cookie", f"a={MARK}")],
        "tags": [text],
        "page": {"path": f"/cb?token={MARK}", "url": text, "title": text},
        "device": {text: text},
        "user": {"id": "u", "traits": {"note": text, "password": MARK}},
        "properties": {"p": text},
        "description": text,
        "title": text,
        **dict.fromkeys(SECRET_KEYS, MARK),
    }


def log_all(logger: logging.Logger) -> None:
    """Log each secret by itself and all together, in every position of a record."""
    for text in (*SECRETS, ALL):
        logger.error(text)
        logger.error("it failed: %s", text)
        logger.error("it failed: %s", {"value": text})
        logger.error("x", extra=extra(text))
        logger.info("x", extra={"event": text, "category": text, "channel": text})
        try:
            try:
                raise ValueError(text)
            except ValueError as error:
                raise RuntimeError(text) from error
        except RuntimeError:
            logger.exception("it failed")
        logger.error({"event": text, "value": text, "password": MARK})
        with event_context(note=text, page={"url": text}):
            logger.error("in a context")
        record = logger.makeRecord(logger.name, 40, "app.py", 1, "from elsewhere", (), None)
        record.exc_text = f"Traceback (most recent call last):\nValueError: {text}\n{text}"
        record.stack_info = text
        record.threadName = record.processName = text
        logger.handle(record)


def assert_clean(*outputs: str | bytes) -> None:
    for each in outputs:
        text = each.decode("utf-8", "replace") if isinstance(each, bytes) else each
        at = text.find(MARK)
        assert at < 0, text[max(0, at - 200) : at + 50]
        assert DIGITS not in text
        assert AWS_KEY not in text


@pytest.mark.parametrize("is_spooled", [False, True])
@pytest.mark.parametrize("limit", [0, 20])
def test_requests(logger, tmp_path, is_spooled, limit):
    """Requests, one by one and folded, the files of a spool, the log and stderr."""
    printed = io.StringIO()
    with Inbox(rate_limit=limit) as box, contextlib.redirect_stderr(printed):
        options = {"spool": tmp_path / "spool.db"} if is_spooled else {}
        handler = EmitKitHandler(box.api_key, base_url=box.url, debug=True, shutdown_timeout=10.0, **options)
        logger.addHandler(handler)
        log_all(logger)
        handler.flush(10)
        assert_clean(*(each.read_bytes() for each in tmp_path.iterdir()))
        handler.close()
        assert len(box.requests) >= (50 if limit == 0 else 10)
        assert_clean(*(request["body"] for request in box.requests))
        assert_clean(*(json.dumps(dict(request["headers"])) for request in box.requests if MARK in box.api_key))
    assert_clean(printed.getvalue())


@pytest.mark.parametrize("style", [None, "%(message)s", "%(levelname)s %(name)s %(message)s"])
def test_formatter(logger, style):
    """Lines of the formatter on any other handler."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EmitKitFormatter(style) if style else EmitKitFormatter())
    logger.addHandler(handler)
    log_all(logger)
    assert stream.getvalue().count("\n") > 500
    assert_clean(stream.getvalue())


def test_spool_without_a_server(logger, tmp_path, server):
    """What waits in a spool, what is rejected there, and what each command prints of it."""
    path = tmp_path / "spool.db"
    echo = json.dumps({"success": False, "error": ALL, "message": ALL, "details": [{"path": [ALL], "message": ALL}]})
    server.script = lambda seen: Reply(400, json.loads(echo))
    handler = EmitKitHandler("emitkit_0123456789abcdefKEY", base_url=server.url, spool=path, shutdown_timeout=5.0)
    logger.addHandler(handler)
    logger.error(ALL, extra=extra(ALL))
    handler.flush(10)
    server.script = lambda seen: Reply(500)
    log_all(logger)
    handler.close()
    assert_clean(*(each.read_bytes() for each in tmp_path.iterdir()))
    for options in ([], ["--export"]):
        command = [sys.executable, "-m", "emitkit_logging", "spool", str(path), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert_clean(done.stdout, done.stderr)
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 413, 500])
def test_servers_that_say_secrets(logger, server, status, caplog, capfd):
    """What a server or a proxy says is masked in the log, on stderr and in the event that reports it."""
    key = f"emitkit_{MARK}0123456789"
    body = {"success": False, "code": "no", "error": f"Invalid API key: {key}", "message": ALL}
    server.script = [Reply(status, body, {"Location": f"https://h/?token={MARK}"})] * 3
    handler = EmitKitHandler(key, base_url=server.url, debug=True, shutdown_timeout=2.0)
    logger.addHandler(handler)
    logger.error("x")
    handler.flush(2)
    handler.close()
    captured = capfd.readouterr()
    assert_clean(captured.out, captured.err, *(record.getMessage() for record in caplog.records))
    assert_clean(*(json.dumps(seen.body) for seen in server.requests))


def test_kinds(tmp_path):
    """The names of kinds, which a command prints for an existing log."""
    log = tmp_path / "app.log"
    lines = [text for text in SECRETS if "\n" not in text and not text.startswith("--")]
    log.write_text("".join(f"2026-01-01 00:00:00,000 ERROR app: {text}\n" for text in lines))
    for options in ([], ["--json"]):
        command = [sys.executable, "-m", "emitkit_logging", "kinds", str(log), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert_clean(done.stdout, done.stderr)


def test_celery_header():
    """The context that travels with a task's message."""
    with event_context(note=ALL, password=MARK, page={"url": ALL}):
        celery._publish(headers=(headers := {}))
    assert_clean(json.dumps(headers, default=str))


def test_own_log(caplog):
    """Whatever the library logs by itself, through its logger or past it."""
    own = logging.getLogger("emitkit_logging")
    try:
        raise ValueError(ALL)
    except ValueError:
        own.warning("it failed: %s", ALL, exc_info=True)
    own.error(ValueError(ALL))
    formatter = logging.Formatter()
    assert_clean(*(formatter.format(record) for record in caplog.records))
