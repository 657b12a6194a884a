"""The database: opened, made, or set aside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from tests.spool.processes import EVENT, until


def corrupt(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(8_000))


def truncated(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")
    os.truncate(path, 1_000)


def of_something_else(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")


def of_the_future(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def a_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "is_set_aside"),
    [(corrupt, True), (truncated, True), (of_something_else, True), (of_the_future, False), (a_directory, False)],
)
def test_trouble_at_the_start(account, handler, logger, path, caplog, make, is_set_aside):
    """A spool that cannot be used is one warning; what is unreadable is renamed, never deleted; records arrive."""
    make(path)
    before = path.read_bytes() if path.is_file() else None
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert account.total() == 1
    assert [str(path) in record.getMessage() for record in caplog.records if record.name == "emitkit_logging"] == [True]
    kept = [each for each in path.parent.iterdir() if ".unusable-" in each.name and "wal" not in each.name]
    assert len(kept) == is_set_aside
    if is_set_aside:
        assert kept[0].read_bytes() == before


def test_no_place(account, handler, logger, path, caplog):
    """A path where nothing can be made is one warning."""
    logger.addHandler(made := handler(spool=path / "missing" / "spool.db", rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert account.total() == 1
    assert len(caplog.records) == 2


def test_trouble_later(account, handler, logger, path, caplog):
    """A spool that becomes unreadable is set aside, and nothing is lost or doubled."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 0})
    assert made.flush(10)
    made.before_fork()  # the file is closed
    path.write_bytes(os.urandom(50_000))
    made.after_fork()
    for number in range(1, 6):
        logger.info("x", extra={**EVENT, "number": number})
    until(lambda: len(account.numbers()) == 6)
    assert set(account.numbers().values()) == {1}
    assert any("set aside" in record.getMessage() for record in caplog.records)
