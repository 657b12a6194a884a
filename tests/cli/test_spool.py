"""`emitkit-logging spool`: what it prints of a spool, and what it does with it."""

from __future__ import annotations

import json

import pytest

from emitkit_logging._spool import listing
from emitkit_logging.cli import main, spool
from tests.conftest import KEY
from tests.server import Reply
from tests.spool.processes import until

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "emitkit.db"


@pytest.fixture
def left(handler, logger, path):
    """A spool in which two records and a user wait."""
    made = handler(spool=path, base_url=NOWHERE, shutdown_timeout=0.0, rate_limit=1, plain_level="INFO")
    logger.addHandler(made)
    logger.info("x", extra={"event": "user_signed_up", "channel": "users"})
    made.identify("ada", {"plan": "pro"})
    logger.error("it failed")
    until(lambda: any(row.kind == "identify" for row in listing.rows(path)))
    made.close()
    return path


@pytest.fixture
def run(capsys, monkeypatch, server):
    """A function that runs the command, and returns the exit status and the lines that it prints."""
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", server.url)

    def running(*arguments: object) -> tuple[int, list[str]]:
        status = main(["spool", *map(str, arguments)])
        return status, capsys.readouterr().out.splitlines()

    return running


def test_show(left, run):
    """What waits is counted by channel and level, the highest level first, and users apart from it."""
    status, lines = run(left)
    assert status == 0
    assert lines[0].startswith("2 log records in 2 events since 20")
    assert [line.split() for line in lines[1:3]] == [
        ["alerts", "ERROR", "1", "in", "1", "event"],
        ["users", "INFO", "1", "in", "1", "event"],
    ]
    assert lines[3] == "1 user to identify"


def test_export(left, run):
    """Each request that waits is a line of JSON; the spool is not changed."""
    status, lines = run(left, "--export")
    assert status == 0
    assert {json.loads(line).get("title") for line in lines} == {"it failed", "User Signed Up", None}
    assert run(left, "--export") == (0, lines)


def test_flush(left, run, server):
    """What waits is delivered to the address of the environment."""
    assert run(left, "--flush") == (0, ["nothing waits"])
    assert {seen.path for seen in server.requests} == {"/v1/events", "/v1/identify"}
    assert run(left) == (0, ["nothing waits"])


def test_flush_without_a_server(left, run, monkeypatch):
    """What could not be delivered in time is counted, and the exit status is 1."""
    monkeypatch.setenv("EMITKIT_BASE_URL", NOWHERE)
    status, lines = run(left, "--flush", "--timeout", "0.3")
    assert (status, lines) == (1, ["3 events still waiting"])


def test_requeue(run, server, handler, logger, path):
    """A rejected event is shown with the server's answer, waits again after `--requeue`, and is then a new request."""
    server.script = lambda seen: Reply(400, {"success": False, "error": "Invalid"})
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={"event": "user_signed_up"})
    assert made.flush(10)
    made.close()
    lines = run(path)[1]
    assert lines[:2] == ["nothing waits", "1 rejected event:"]
    assert "HTTP 400; Invalid" in lines[2]
    assert run(path, "--requeue") == (0, ["1 event put back"])
    server.script = []
    assert run(path, "--flush") == (0, ["nothing waits"])
    assert len({seen.key for seen in server.requests}) == 2


def test_requeue_while_another_process_sends(left, run, monkeypatch):
    """A spool whose sender does not stop in time is not changed, and the exit status is 1."""
    monkeypatch.setattr(spool, "PATIENCE", 0.05)
    monkeypatch.setattr(spool.spool.Spool, "acquire", lambda *_: False)
    status, lines = run(left, "--requeue")
    assert status == 1
    assert lines == ["another process is sending from this spool; try again when it has nothing to send"]


def test_not_a_spool(run, path, capsys):
    """A missing file, and a file that is not a spool, are errors of one line."""
    with pytest.raises(SystemExit) as caught:
        run(path)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"emitkit-logging: {path} is not a spool\n"
    path.write_text("no")
    with pytest.raises(SystemExit) as caught:
        run(path)
    assert caught.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
