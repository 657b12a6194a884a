"""A folder in which others can put files: what they put there is not used, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from emitkit_logging._spool import codec, files, journal, schema
from tests.spool import golden
from tests.spool.processes import EVENT, waits

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def make_spool(path: Path) -> None:
    schema.connect(path).close()


def link_to_a_file(path: Path) -> None:
    make_spool(path.with_name("real.db"))
    path.symlink_to("real.db")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("missing.db")


def link_to_a_folder(path: Path) -> None:
    path.with_name("folder").mkdir()
    path.symlink_to("folder")


def hard_link(path: Path) -> None:
    make_spool(path.with_name("real.db"))
    os.link(path.with_name("real.db"), path)


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # the path of a socket is short
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # as /dev/zero


def of_another_user(path: Path) -> None:
    make_spool(path)
    os.chown(path, NOBODY, NOBODY)


def open_to(mode: int):
    def make(path: Path) -> None:
        make_spool(path)
        path.chmod(mode)

    make.__name__ = f"mode_{mode:o}"
    return make


def with_object(name: str, *statements: str):
    def make(path: Path) -> None:
        with contextlib.closing(schema.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)

    make.__name__ = name
    return make


SCHEMAS = [
    with_object("view", "CREATE VIEW v AS SELECT 1"),
    with_object("view_for_table", "DROP TABLE waiting", "CREATE VIEW waiting AS SELECT * FROM rejected"),
    with_object("trigger", "CREATE TRIGGER t AFTER INSERT ON counts BEGIN DELETE FROM waiting; END"),
    with_object("table", "CREATE TABLE more (x)"),
    with_object("virtual_table", "CREATE VIRTUAL TABLE more USING fts5(x)"),
    with_object("index", "CREATE INDEX i ON counts (records)"),
    with_object("unique_index", "CREATE UNIQUE INDEX i ON waiting (kind)"),
]
FILES = [link_to_a_file, link_to_nothing, link_to_a_folder, hard_link, pipe, unix_socket]
MODES = [open_to(mode) for mode in (0o640, 0o620, 0o604, 0o602, 0o644, 0o666, 0o777)]
OTHERS = [pytest.param(make, marks=as_root, id=make.__name__) for make in (of_another_user, device)]
ALL = [pytest.param(make, id=make.__name__) for make in (*FILES, *MODES, *SCHEMAS)] + OTHERS


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "emitkit_logging"]


@pytest.mark.parametrize("make", ALL)
def test_refused_spool(account, handler, logger, path, caplog, make):
    """A spool that somebody else may have made is not used, with one warning; records go through the memory."""
    make(path)
    before = path.lstat()
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(20)
    assert account.total() == 1
    made.close()
    (warning,) = warnings_of(caplog)
    assert str(path) in warning
    assert "memory" in warning
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
    assert not [each for each in path.parent.iterdir() if each.suffix == ".journal"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", [link_to_nothing, hard_link, pipe, pytest.param(of_another_user, marks=as_root)])
def test_refused_files_of_sqlite(account, handler, logger, path, caplog, suffix, make):
    """What SQLite would read beside the database is held to the same."""
    make_spool(path)
    make(path.with_name(path.name + suffix))
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(20)
    assert account.total() == 1
    (warning,) = warnings_of(caplog)
    assert suffix in warning


def forged(path: Path, **extra: object) -> bytes:
    """Return the lines of a journal that nobody logged."""
    return codec.write_record(golden.record("forged", event="forged", **extra), golden.CONVERTER) + b"\n"


def journal_of_all(path: Path) -> None:
    path.write_bytes(forged(path))
    path.chmod(0o644)


def journal_of_another(path: Path) -> None:
    path.write_bytes(forged(path))
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)


def journal_link(path: Path) -> None:
    path.with_name("real").write_bytes(forged(path))
    path.with_name("real").chmod(0o600)
    path.symlink_to("real")


def journal_hard_link(path: Path) -> None:
    path.with_name("real").write_bytes(forged(path))
    path.with_name("real").chmod(0o600)
    os.link(path.with_name("real"), path)


def journal_folder(path: Path) -> None:
    path.mkdir()


JOURNALS = [journal_of_all, journal_link, link_to_nothing, link_to_a_folder, journal_hard_link, journal_folder, pipe]


@pytest.mark.parametrize(
    "make", [*JOURNALS, unix_socket, *(pytest.param(make, marks=as_root) for make in (journal_of_another, device))]
)
def test_refused_journal(account, handler, logger, path, caplog, make):
    """A journal that somebody else may have written is not read, with one warning; the spool works, and can end."""
    make(path.with_name(f"{path.name}.1-aa.0.journal"))
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(20)
    made.close()
    assert account.numbers() == {1: 1}
    (warning,) = warnings_of(caplog)
    assert f"{path.name}.1-aa.0.journal" in warning
    assert not waits(path)
    assert os.path.lexists(path.with_name(f"{path.name}.1-aa.0.journal"))


@pytest.mark.parametrize("name", ["journal", "0.journal", "a.b.journal", "1-aa.0x.journal", "x.y.1-aa.0.journal"])
def test_other_names(account, handler, logger, path, caplog, name):
    """A file whose name only looks like that of a journal is none of ours."""
    other = path.with_name(f"{path.name}.{name}")
    other.write_bytes(forged(path))
    other.chmod(0o600)
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(20)
    made.close()
    assert account.numbers() == {1: 1}
    assert other.exists()
    assert not warnings_of(caplog)


def test_journal_that_appears_later(account, handler, logger, path, caplog):
    """What is put there while the spool is in use stops nothing and is said once."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(20)
    for number in range(5):
        pipe(path.with_name(f"{path.name}.1-aa.{number}.journal"))
    pipe(path.with_name(f"{path.name}.1-aa.0.making"))
    for number in range(2, 6):
        logger.info("x", extra={**EVENT, "number": number})
        assert made.flush(20)
    made.close()
    assert account.numbers() == dict.fromkeys(range(1, 6), 1)
    assert len(warnings_of(caplog)) <= 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root can open any file")
def test_journal_without_access(account, handler, logger, path):
    """A journal that cannot be opened does not keep the others from being read."""
    closed = path.with_name(f"{path.name}.1-aa.0.journal")
    closed.write_bytes(forged(path))
    closed.chmod(0)
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(20)
    made.close()
    assert account.numbers() == {1: 1}


def test_no_descriptors_for_a_journal(path, monkeypatch):
    """Journals that cannot be opened are passed over, and read later."""
    from emitkit_logging._spool.reader import JournalReader

    for number in (1, 2):
        each = path.with_name(f"{path.name}.{number}-aa.0.journal")
        each.write_bytes(b"line\n")
        each.chmod(0o600)
    reader = JournalReader(path)
    open_own = files.open_own

    def refuse(given: Path) -> int:
        if ".1-aa." in given.name:
            raise OSError(24, "Too many open files")
        return open_own(given)

    monkeypatch.setattr(files, "open_own", refuse)
    assert [origin for origin, _ in reader.read(100)] == ["2-aa"]
    monkeypatch.undo()
    assert [origin for origin, _ in reader.read(100)] == ["1-aa"]
    reader.close()


@as_root
def test_link_of_another_user_on_the_way(account, handler, logger, tmp_path, caplog):
    """A folder that is a link counts only where no other user can let it lead anywhere."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    made = handler(spool=tmp_path / "link" / "spool.db", rate_limit=0)
    made.close()
    assert not warnings_of(caplog)
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    logger.addHandler(made := handler(spool=tmp_path / "link" / "spool.db", rate_limit=0))
    logger.info("x", extra=EVENT)
    assert made.flush(20)
    assert account.total() == 1
    (warning,) = warnings_of(caplog)
    assert "link of another user" in warning


@pytest.mark.parametrize("make", [link_to_nothing, pipe, journal_folder])
def test_replaced_while_in_use(account, handler, logger, path, caplog, make):
    """A database that is replaced while it is closed raises nothing and keeps nothing from being sent."""
    logger.addHandler(made := handler(spool=path, rate_limit=0, shutdown_timeout=1.0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(20)
    made._before_fork()
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    make(path)
    made._after_fork()
    logger.info("x", extra={**EVENT, "number": 2})
    made.flush(1)
    str(made.stats)
    made.close()
    str(made.stats)


@pytest.mark.parametrize("make", [link_to_a_file, hard_link, pipe, *SCHEMAS[:3]])
@pytest.mark.parametrize("options", [[], ["--export"], ["--requeue"]])
def test_command_line(path, make, options):
    """The command says why it does not look at such a file, and ends."""
    make(path)
    command = [sys.executable, "-m", "emitkit_logging", "spool", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    assert path.name in done.stderr or "it has a" in done.stderr


# The parts


def test_garbage_is_set_aside_whatever_its_mode(path):
    """What is no spool is no reason to do without one."""
    for content in (b"", b"no", b"SQLite format 3\0" + bytes(5_000)):
        path.write_bytes(content)
        path.chmod(0o644)
        with pytest.raises(sqlite3.DatabaseError):
            schema.connect(path)
        schema.set_aside(path)
        assert not path.exists()
    make_spool(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_schemas_are_not_trusted(path):
    """What a schema names cannot run with side effects."""
    with contextlib.closing(schema.connect(path)) as connection:
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)


def test_tables_of_sqlite(path):
    """What SQLite itself adds to a schema is no reason to refuse a spool."""
    with contextlib.closing(schema.connect(path)) as connection:
        connection.execute("INSERT INTO counts VALUES ('a', 'b', 1)")
        connection.execute("ANALYZE")
    schema.connect(path).close()


def test_foreign_files_use_no_disk_share(path):
    """Files of another user do not count as what the spool uses."""
    own = journal.Journal(path, 2**20)
    if os.geteuid() == 0:
        other = path.with_name(f"{path.name}.1-aa.0.journal")
        other.write_bytes(b"x" * 2**20)
        os.chown(other, NOBODY, NOBODY)
    assert own.append(b"line\n")
    own.close(is_read=False)
