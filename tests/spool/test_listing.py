"""What people see of a spool."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys

from emitkit_logging._spool import listing
from emitkit_logging._spool.spool import Spool
from tests.conftest import KEY
from tests.server import Reply
from tests.spool import golden
from tests.spool.processes import EVENT, until


def command(*arguments: object, url: str = "") -> tuple[int, str]:
    environment = {**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": url}
    whole = [sys.executable, "-m", "emitkit_logging", "spool", *map(str, arguments)]
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_command(account, server, handler, logger, path):
    """`emitkit-logging spool` shows what waits, exports it, and delivers it."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.0, rate_limit=1, plain_level="INFO")
    logger.addHandler(made)
    logger.info("x", extra={"event": "user_signed_up", "channel": "users"})
    made.identify("ada", {"plan": "pro"})
    logger.error("it failed")
    until(lambda: sorted(row.channel for row in listing.rows(path)) == ["", "alerts", "users"])
    made.close()
    status, shown = command(path)
    assert status == 0
    assert shown.startswith("2 log records in 2 events since 20")
    assert [line.split()[:2] for line in shown.splitlines()[1:3]] == [["alerts", "ERROR"], ["users", "INFO"]]
    assert "1 user to identify" in shown
    status, exported = command(path, "--export")
    assert status == 0
    assert {json.loads(line).get("title") for line in exported.splitlines()} == {"it failed", "User Signed Up", None}
    assert command(path, "--flush", "--timeout", "0.5", url="http://127.0.0.1:9")[0] == 1
    assert command(path, "--flush", url=server.url) == (0, "nothing waits\n")
    assert account.total() == 2
    assert command(path) == (0, "nothing waits\n")


def test_command_requeue(account, server, handler, logger, path):
    """Rejected events are shown with the answer, put back, and sent as new requests."""
    server.script = lambda seen: Reply(400, {"success": False, "error": "Invalid"})
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    made.close()
    assert "1 rejected event:" in command(path)[1]
    assert "HTTP 400; Invalid" in command(path)[1]
    assert command(path, "--requeue") == (0, "1 event put back\n")
    server.script = account
    assert command(path, "--flush", url=server.url) == (0, "nothing waits\n")
    assert account.total() == 1
    assert server.requests[0].key != server.requests[1].key
    assert command(path) == (0, "nothing waits\n")


def test_command_without_a_spool(path):
    """A file that is no spool gives one line of explanation."""
    assert command(path)[0] == 2
    path.write_text("no")
    status, printed = command(path)
    assert (status, len(printed.splitlines())) == (1, 1)


def test_rows(path):
    """The rows come with what is written of them: what waits, what is not read yet, then what was rejected."""
    golden.write(path)
    rows = list(listing.rows(path))
    assert [row.answer != "" for row in rows] == sorted(row.answer != "" for row in rows)
    assert {row.kind for row in rows} == {"record", "fold", "digest", "identify", "line"}
    (started,) = [row for row in rows if row.body]
    assert started.body == golden.BODY
    unread = [row for row in rows if row.kind == "record" and not row.channel and not row.answer]
    assert [row.entry.created for row in unread] == [record.created for record in golden.unread()]


def test_row_that_cannot_be_read(path):
    """A row or an unread line that cannot be read is there, with its bytes."""
    golden.write(path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE waiting SET data = 'broken' WHERE kind = 'fold'")
    (journal,) = path.parent.glob("*.journal")
    with journal.open("ab") as file:
        file.write(b"unread nonsense\n")
    found = [(row.kind, row.data) for row in listing.rows(path) if row.entry is None]
    assert found == [("fold", b"broken"), ("line", b"unread nonsense"), ("line", b"nonsense")]


def test_export_of_what_cannot_be_read(path):
    """`--export` prints what cannot be read as it is."""
    golden.write(path)
    status, exported = command(path, "--export")
    assert status == 0
    assert {"unreadable": "nonsense", "reason": "it is no JSON"} in map(json.loads, exported.splitlines())


def test_requeue_leaves_lines(path):
    """Rejected events are put back; lines that cannot be read stay where they are."""
    golden.write(path)
    options = {"size": 10**6, "ttl": 10**9, "converter": golden.CONVERTER, "channel_of": lambda _: ""}
    with contextlib.closing(Spool(path, **options)) as spool:
        assert spool.acquire(5.0)
        assert spool.requeue() == 1
        assert spool.requeue() == 0
    assert [row.kind for row in listing.rows(path) if row.answer] == ["line"]
