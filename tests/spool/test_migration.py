"""A spool of version 1, as a process that was killed left it, is carried over, and nothing of it is lost."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._spool import listing, schema
from tests.spool.processes import records_waiting, until, waits

GOLDEN = Path(__file__).parents[1] / "data" / "spool-v1"
TTL = 1e9
"""Seconds: the records in the files were logged long ago."""

WAITING = Counter({"fold": 1, "digest": 3, "record": 7 + 4, "identify": 1})
"""What the files hold: seven records in the database, four in the journal that the sender had not read."""


@pytest.fixture
def path(tmp_path) -> Path:
    for each in GOLDEN.iterdir():
        shutil.copy(each, tmp_path)
        (tmp_path / each.name).chmod(0o600)
    return tmp_path / "spool.db"


def query(path: Path, select: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        return database.execute(select).fetchall()


def test_rows(path):
    """All rows and unread lines are there, with their fields."""
    rows = list(listing.rows(path))
    waiting = [row for row in rows if not row.answer]
    assert Counter(row.kind for row in waiting) == WAITING
    assert all(row.entry is not None for row in rows)
    assert sum(row.records for row in waiting) == 10 + 20 + 9 + 12 + 7 + 4
    assert [row.answer for row in rows if row.answer] == ["HTTP 400; Invalid; title: bad"]
    records = {
        row.entry.attributes.get("event", row.entry.message): row.entry for row in waiting if row.kind == "record"
    }
    failed = records["it failed: {'a': 1}"]
    assert (failed.exception.type, failed.exception.message) == ("ValueError", "what")
    assert 'File "/srv/app.py", line 3' in failed.exception.stacktrace
    assert records["in_context"].context == {"page": {"path": "/cart"}, "tenant": "acme", "user_id": "u-ctx"}
    many = records["of_many_types"].attributes
    assert (many["id"].value, many["tags"], many["s"]) == ("00000000-0000-0000-0000-000000000001", ("a", "b"), {1, 2})
    assert (many["odd"], many["surrogate"], str(many["nan"])) == ({"__emitkit_kind": "set", 1: 2}, "\ud800", "nan")
    assert records["misfit"].unused_args.value == [1]
    assert records["asked"].attributes["msg"] == {"event": "asked", "fields": [{"a": 1}]}
    for name in ("cart_viewed", "unread_guest"):
        assert (records[name].is_trusted, records[name].priority) == (False, UNTRUSTED_PRIORITY)
        assert not any(key.startswith("__emitkit") for key in records[name].attributes)
    assert records["unread_context"].context is None


def test_delivery(path, account, handler, server):
    """The sender of today delivers all of it once: the request that was started to the byte."""
    (key, body), *others = query(path, "SELECT key, body FROM waiting WHERE body IS NOT NULL")
    assert not others
    handler(spool=path, rate_limit=0, spool_ttl=TTL)
    until(lambda: not waits(path))
    assert account.stored[key] == body
    assert account.total() == 10 + 20 + 9 + 12 + 7 + 4
    titles = Counter(event["title"] for event in account.events)
    assert titles["plain and critical"] == titles["it failed: {'a': 1}"] == titles["Unread"] == 1
    digests = [event["metadata"]["digest"] for event in account.events if "digest" in event["metadata"]]
    assert {"page_crashed": 12} in digests
    assert {"folded_3": 10, "folded_2": 10} in digests
    identified = [seen.body for seen in server.requests if seen.path.endswith("identify")]
    assert sorted(body["user_id"] for body in identified) == ["alan", "grace"]
    assert next(body for body in identified if body["user_id"] == "grace")["properties"] == {"plan": "pro"}


def test_known_users(path, account, handler, logger, server):
    """What version 1 had sent of a user, a moment ago, is not sent again."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE users SET at = ?", (time.time(),))
    logger.addHandler(handler(spool=path, rate_limit=0, spool_ttl=TTL))
    user = {"id": "ada", "email": "ada@example.com", "name": "Ada"}
    logger.info("x", extra={"event": "again", "user": user})
    until(lambda: not waits(path))
    assert "ada" not in [seen.body.get("user_id") for seen in server.requests if seen.path.endswith("identify")]


def test_tables(path):
    """The tables are those of today, and everything in them is of the format of today; progress and budget stay."""
    schema.connect(path).close()
    assert query(path, "PRAGMA user_version") == [(schema.VERSION,)]
    assert query(path, "SELECT count(*) FROM sqlite_master WHERE tbl_name LIKE '%\\_1' ESCAPE '\\'") == [(0,)]
    for kind, data in query(path, "SELECT kind, data FROM waiting UNION ALL SELECT kind, data FROM rejected"):
        value = json.loads(data)
        assert (value[0] if kind == "record" else value["v"]) == 2
        assert b"__emitkit_raised" not in data
        assert b"NaN" not in data
    ((newest, budget),) = query(path, "SELECT newest, budget FROM progress")
    assert newest == 64
    assert json.loads(budget)["starts_since_silence"] == 5
    assert query(path, "SELECT facts FROM users") == [
        ('{"properties":{"email":"ada@example.com","name":"Ada"},"aliases":["ada","ada@example.com"]}',)
    ]
    assert sum(records for (records,) in query(path, "SELECT records FROM waiting WHERE priority < 0")) == 13


def test_row_that_cannot_be_read(path, account, handler):
    """One row that cannot be read is carried over as it is, rejected, and kept; all others are delivered."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE waiting SET data = 'nonsense' WHERE place = 56")
        database.execute("UPDATE sender SET pace = 'nonsense'")
        database.execute("UPDATE users SET facts = 'nonsense'")
    handler(spool=path, rate_limit=0, spool_ttl=TTL)
    until(lambda: not waits(path))
    assert account.total() == 61
    assert [row.data for row in listing.rows(path) if row.entry is None] == [b"nonsense"]
    assert records_waiting(path) == 0


def test_process_of_version_1_that_still_runs(path):
    """It finds that it is not the sender any more, and cannot become the sender again; its counts are still there."""
    schema.connect(path).close()
    assert query(path, "SELECT owner FROM sender") == [(None,)]
    with pytest.raises(sqlite3.OperationalError, match="until"):
        query(path, "SELECT owner, until, epoch FROM sender")
    for select in (
        "SELECT reason, records FROM counts WHERE origin = 'x'",
        "SELECT 1 FROM waiting WHERE age <= 1 AND instr(shares, 'x') LIMIT 1",
        "SELECT name, offset, place FROM journals",
        "SELECT newest FROM sender",
    ):
        query(path, select)
