"""The journals: what outlives a process that is killed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from emitkit_logging._spool import journal
from tests.spool.processes import EVENT, running, until, waits


def test_killed_while_writing(account, server, handler, path):
    """Half a line, which a process was killed in the middle of, holds up nothing; what stands before it arrives."""
    code = """
import signal
log.info('x', extra={'event': 'x', 'number': 7})
(journal,) = [name for name in os.listdir(os.path.dirname(os.environ['SPOOL'])) if name.endswith('.journal')]
with open(os.path.join(os.path.dirname(os.environ['SPOOL']), journal), 'ab') as file:
    file.write(b'[["app","half of a li')
os.kill(os.getpid(), signal.SIGKILL)
"""
    with running(code, server, path, base_url="http://127.0.0.1:9") as process:
        assert process.wait(20) == -signal.SIGKILL
    made = handler(spool=path, rate_limit=0)
    server.wait_for(1)
    until(lambda: not waits(path))
    assert account.numbers() == {7: 1}
    made.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["spool.db"]


def test_killed_while_opening(server, handler, logger, path):
    """What is left of a journal that was never used goes away; one that is being made does not."""
    old, new = (path.with_name(f"spool.db.1-{name}.0.making") for name in ("old", "new"))
    for each in (old, new):
        each.touch()
    os.utime(old, (0, 0))
    logger.addHandler(handler(spool=path, rate_limit=0))
    logger.info("x", extra=EVENT)
    until(lambda: not old.exists())
    assert new.exists()


# A journal by itself


@pytest.fixture
def own(path):
    made = journal.Journal(path, 64 * 2**20)
    yield made
    made.close(is_read=False)


def lines_of(path, chunk: int = journal.CHUNK) -> list[bytes]:
    found = []
    for each in journal.paths(path):
        source = journal.Source(each, 0)
        while lines := source.read(chunk):
            found += lines
        source.close()
    return found


def test_lines_in_order(path, own):
    """Lines are read back whole and in order, however many bytes are read at a time."""
    lines = [b"x" * number for number in range(1, 200)]
    for line in lines:
        assert own.append(line + b"\n")
    assert own.lines() == len(lines)
    for chunk in (1, 7, 100, 10_000):
        assert lines_of(path, chunk) == lines


def test_lines_of_many_threads(path, own):
    """Threads that append at once never mix their lines."""

    def work(name: bytes) -> None:
        for number in range(500):
            own.append(name * 50 + b"%d\n" % number)

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {name * 50 + b"%d" % number for name in (b"a", b"b", b"c", b"d") for number in range(500)}
    found = lines_of(path)
    assert (len(found), set(found)) == (2_000, expected)
    assert own.lines() == 2_000


def test_next_file(path):
    """A journal that has grown long goes on in another file, and counts the lines of both."""
    own = journal.Journal(path, 128 * 4096)
    for number in range(2):
        assert own.append(b"x" * 4 * 4096 + b"%d\n" % number)
        assert own.append(b"y\n")
        own.tidy(is_read=True)
    assert len(list(journal.paths(path))) == 3
    assert own.end()[0] == 2
    assert own.lines() == 4
    assert [line[-1:] for line in lines_of(path)] == [b"0", b"y", b"1", b"y"]
    own.close(is_read=False)
    assert own.lines() == 4


def test_order_of_files(path):
    """The tenth file of a journal comes after its second; other files beside the spool are none."""
    for name in ("spool.db.1-a.10.journal", "spool.db.1-a.2.journal", "other.db.1-a.0.journal", "spool.db-wal"):
        path.with_name(name).touch(0o600)
    assert [each.name for each in journal.paths(path)] == ["spool.db.1-a.2.journal", "spool.db.1-a.10.journal"]


def test_alive(path, own):
    """A journal shows whether its process is alive; one that is read is deleted with the process."""
    assert journal.is_alive(path, own.origin)
    (file,) = journal.paths(path)
    source = journal.Source(file, 0)
    assert not source.is_abandoned
    own.close(is_read=True)
    assert source.is_abandoned
    assert not journal.is_alive(path, own.origin)
    assert list(journal.paths(path)) == []
    source.close()


def test_half_a_line(path, own):
    """Half a line of a process that lives is waited for; that of a process that is gone is passed over."""
    assert own.append(b"whole\nhalf")
    (file,) = journal.paths(path)
    source = journal.Source(file, 0)
    assert source.read(100) == [b"whole"]
    assert source.read(100) == []
    assert not source.is_torn
    own.close(is_read=False)
    assert source.is_torn
    assert source.skip() == []
    assert source.is_read
    source.close()
