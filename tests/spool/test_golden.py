"""The golden spool of version 2: what is on disk stays readable, and is written as it was."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from emitkit_logging._spool import codec, listing, schema
from tests.spool import golden
from tests.spool.processes import until, waits


@pytest.fixture
def path(tmp_path) -> Path:
    for each in golden.FILES.iterdir():
        shutil.copy(each, tmp_path)
        (tmp_path / each.name).chmod(0o600)
    return tmp_path / golden.NAME


def test_writing_is_unchanged(path, tmp_path):
    """The same records and changes give the same tables, rows and lines, to the byte.

    Where this fails, the format has changed: it needs another version, and this one is to be read as before.
    """
    (tmp_path / "new").mkdir()
    new = tmp_path / "new" / golden.NAME
    golden.write(new)
    schema.connect(path).close()  # this adds the table that the golden spool is too old for
    assert golden.content(new) == golden.content(path)


def test_lines_are_unchanged(path):
    """Each line of the journal is what its record is written as, and is read back as that record."""
    (journal,) = path.parent.glob("*.journal")
    lines = journal.read_bytes().splitlines()
    lines.remove(b"nonsense")
    values = [*golden.committed(), *golden.unread()]
    assert [codec.write_record(value, golden.CONVERTER) for value in values] == lines[:-1]
    assert codec.write_identity(golden.identity(), golden.CONVERTER) == lines[-1]
    for value, line in zip(values, lines, strict=False):
        back = codec.read_record(line)
        assert (back.message, back.context, back.exception) == (value.message, value.context, value.exception)
        assert (back.level, back.created, back.is_trusted) == (value.level, value.created, value.is_trusted)
        assert codec.write_record(back, golden.CONVERTER) == line


def test_rows(path):
    """All that waits can be read, and what was rejected is kept with its reason."""
    rows = list(listing.rows(path))
    waiting = Counter(row.kind for row in rows if not row.answer)
    assert waiting == {"record": 4 + 3, "fold": 1, "digest": 1, "identify": 1}
    assert all(row.entry is not None for row in rows if row.kind != "line")
    rejected = [(row.kind, row.data[:9], row.answer) for row in rows if row.answer]
    assert rejected == [("record", b'[2,["app"', "HTTP 400; Invalid"), ("line", b"nonsense", "it is no JSON")]


def test_delivery(path, account, handler, server):
    """The sender of today delivers all of it once, the request that was started to the byte."""
    handler(spool=path, rate_limit=0, spool_ttl=1e9)
    until(lambda: not waits(path))
    assert account.stored["key-1"] == golden.BODY
    titles = Counter(event["title"] for event in account.events)
    assert titles == {
        "User Signed Up": 1,
        "it failed: 7": 1,
        "Folded (×2)": 1,
        "Started": 1,
        "Of Many Types": 1,
        "digested": 1,
        "Cart Viewed": 1,
        "asked": 1,
        "%s and %s": 1,
    }
    identified = [seen.body["user_id"] for seen in server.requests if seen.path.endswith("identify")]
    assert sorted(identified) == ["ada", "alan"]
