"""The database: opened, made, or set aside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from emitkit_logging._spool import schema
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
    made._before_fork()  # the file is closed
    path.write_bytes(os.urandom(50_000))
    made._after_fork()
    for number in range(1, 6):
        logger.info("x", extra={**EVENT, "number": number})
    until(lambda: len(account.numbers()) == 6)
    assert set(account.numbers().values()) == {1}
    assert any("set aside" in record.getMessage() for record in caplog.records)


# The database by itself


def test_new_database(path):
    """A new database has the tables of this version, and is readable by its user alone."""
    schema.connect(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert database.execute("SELECT owner, epoch FROM lease").fetchall() == [(None, 0)]
        assert database.execute("SELECT newest, budget FROM progress").fetchall() == [(0, "{}")]


ROUNDS = 50 if os.environ.get("CHAOS") else 20

OPENING = """
import sys
from pathlib import Path
from emitkit_logging._spool import schema
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
for name in sys.argv[1:]:
    database = schema.Database(Path(name))
    with database.transaction() as connection:
        connection.execute("UPDATE progress SET newest = newest + 1")
    database.disconnect()
"""


def test_opened_by_several_processes_at_once(path):
    """Several processes that open a new spool at once all get it, and none keeps it locked."""
    paths = [str(path.with_name(f"spool-{number}.db")) for number in range(ROUNDS)]
    command = [sys.executable, "-c", OPENING, *paths]
    made = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        for process in made:
            assert process.stdout.readline() == "ready\n"
        for process in made:
            process.stdin.write("\n")
            process.stdin.flush()
        for process in made:
            process.communicate(timeout=60)
            assert process.returncode == 0
    finally:
        for process in made:
            process.kill()
            process.communicate()
    for name in paths:
        with contextlib.closing(sqlite3.connect(name)) as database:
            assert database.execute("SELECT newest FROM progress").fetchone() == (4,)


def test_later_version(path):
    """A spool of a later version is left as it is, with a message that names both versions."""
    of_the_future(path)
    before = path.read_bytes()
    with pytest.raises(sqlite3.NotSupportedError, match=f"version 99, this library knows {schema.VERSION}"):
        schema.connect(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [1, schema.VERSION])
def test_database_of_another_application(path, version):
    """A database of another application is left as it is, whatever its version."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")
        database.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(sqlite3.NotSupportedError, match="another application"):
        schema.connect(path)
    assert path.read_bytes() == before


def test_only_an_existing_one(path):
    """Looking at a spool makes none."""
    with pytest.raises((OSError, sqlite3.Error)):
        schema.connect(path, is_new_allowed=False)
    assert not path.exists()
    path.touch()
    with pytest.raises(sqlite3.DatabaseError, match="no spool"):
        schema.connect(path, is_new_allowed=False)
    assert path.read_bytes() == b""


def test_transaction(path):
    """A transaction is applied as a whole, or not at all; what fails leaves no lock behind."""
    database = schema.Database(path)

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("UPDATE progress SET newest = 5")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other, other:
        other.execute("UPDATE progress SET newest = newest + 1")
    assert database.connection.execute("SELECT newest FROM progress").fetchone() == (1,)
    with database.transaction() as connection:
        connection.execute("UPDATE progress SET newest = 7")
    database.disconnect()
    assert database.connection.execute("SELECT newest FROM progress").fetchone() == (7,)
    database.disconnect()


def test_set_aside(path):
    """A file is set aside with what SQLite keeps beside it, under a new name, unchanged."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix or "file")
    schema.set_aside(path)
    assert not path.exists()
    assert sorted(each.read_text() for each in path.parent.iterdir()) == ["-shm", "-wal", "file"]
