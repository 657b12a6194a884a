"""Which process sends, and what happens when it cannot go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from emitkit_logging._outbox.observer import Changes
from emitkit_logging._spool import journal
from emitkit_logging._spool.lease import Lease, LeaseLost
from emitkit_logging._spool.schema import Database
from emitkit_logging._spool.spool import Spool
from tests.spool import golden
from tests.spool.processes import EVENT, running, until


def test_alert_of_another(account, server, path, others):
    """While one process sends and waits for the budget, the alert of another is there within a second."""
    first, second = others(rate_limit=10), others(rate_limit=10)
    for _ in range(40):
        first("i")
        second("i")
    until(lambda: len(server.requests) == 9)
    began = time.time()
    second("e")
    until(lambda: any(event["channelName"] == "alerts" for event in account.events))
    assert time.time() - began < 1
    assert len(server.requests) == 10


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_sender_falls_out(account, server, path, others, how):
    """When the sender dies or stands still, in the middle of a request, another takes over; nothing is sent twice."""
    sender = others(timeout=2.0)
    assert sender("f")[2] == 0
    account.waits = 1.5
    sender("i")
    until(lambda: account.total() == 2)
    sender.process.send_signal(how)
    account.waits = 0.0
    other = others(timeout=2.0)
    other("e")
    until(lambda: account.total() == 4, 20)
    sender.process.send_signal(signal.SIGCONT)
    if how == signal.SIGSTOP:
        assert sender("i")[0] == 3
        assert sender("f") == [3, 3, 0]
        assert account.total() == 5
    assert other("f") == [2, 2, 0]
    assert len({seen.key for seen in server.requests}) == account.total()


def test_stuck_process(account, handler, logger, path, caplog):
    """A process that holds the lock on the database delays no logging call; delivery goes on when the lock is free."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        for number in range(100):
            logger.info("x", extra={**EVENT, "number": number})
        assert time.monotonic() - began < 0.5
        until(lambda: any("cannot be used at the moment" in record.getMessage() for record in caplog.records))
        stuck.execute("ROLLBACK")
    assert made.flush(10)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(100)]


def test_lock_that_is_held_for_long(account, server, handler, logger, path, caplog):
    """While another process keeps the database locked, records are sent all the same: once, if nobody else wrote."""
    logger.addHandler(made := handler(spool=path, rate_limit=0, timeout=0.5))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stuck:
        stuck.execute("BEGIN IMMEDIATE")
        logger.info("x", extra={**EVENT, "number": 0})
        until(lambda: len(account.numbers()) == 1, 30)
        began = time.monotonic()
        for number in range(1, 20):
            logger.info("x", extra={**EVENT, "number": number})
        until(lambda: len(account.numbers()) == 20, 30)
        assert time.monotonic() - began < 5
        warnings = [each.getMessage() for each in caplog.records if each.name == "emitkit_logging"]
        assert len(warnings) == 1
        assert "locked" in warnings[0]
        stuck.execute("ROLLBACK")
    assert made.flush(10)
    until(lambda: made.stats.delivered == 20)
    made.close()
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(20)]
    assert [each.name for each in path.parent.iterdir()] == ["spool.db"]


def test_stopped_in_the_middle_of_a_commit(account, server, handler, logger, path):
    """A sender that stands still in the middle of a commit is replaced, and what others log arrives."""
    code = """
import signal
log.info("x", extra={"event": "x", "number": 1})
check(handler.flush(10))
from emitkit_logging._spool import tables
def stand_still(*_):
    os.kill(os.getpid(), signal.SIGSTOP)
tables.put_progress = stand_still
log.info("x", extra={"event": "x", "number": 2})
time.sleep(60)
"""
    with running(code, server, path, timeout=0.5) as process:
        os.waitpid(process.pid, os.WUNTRACED)
        logger.addHandler(handler(spool=path, rate_limit=0, timeout=0.5))
        logger.error("it failed", extra={**EVENT, "number": 3})
        until(lambda: account.numbers()[3] > 0, 30)
        process.kill()
    until(lambda: account.numbers()[2] > 0, 30)


FULL = """
for number in range(1_500):
    log.info("x", extra={"event": "x", "number": number, "text": "x" * 100})
check(os.statvfs(os.path.dirname(os.environ["SPOOL"])).f_bavail == 0)
check(handler.flush(30))
say(handler.stats.delivered)
"""


def test_full_disk(account, server, path):
    """On a disk that is full, everything accepted is delivered once, from memory."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=300k none "$0" && exec "$@"']
    mount.append(str(path.parent))
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this system does not allow a small disk to be mounted")
    with running(FULL, server, path, before=mount) as process:
        assert process.stdout.read() == "1500\n"
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(1_500)]


# The lease by itself


class Process:
    """What a process has of a spool: a journal that shows that it is alive, and its view of the lease."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.journal = journal.Journal(path, 10**6)
        self.lease = Lease(self.database, self.journal.origin)

    def end(self) -> None:
        self.journal.close(is_read=False)
        self.lease.close()
        self.database.disconnect()


@pytest.fixture
def processes(path):
    made = [Process(path), Process(path)]
    yield made
    for process in made:
        process.end()


def test_one_at_a_time(processes):
    """One process has the lease, and keeps it until it releases it."""
    first, second = (process.lease for process in processes)
    assert first.acquire(5.0)
    assert first.acquire(5.0)
    assert not second.acquire(5.0)
    assert (first.is_held, second.is_held) == (True, False)
    first.release()
    assert second.acquire(5.0)
    assert (first.is_held, second.is_held) == (False, True)


def test_lease_that_ran_out(processes):
    """A process whose time is over can be replaced; it is no longer the sender then."""
    first, second = (process.lease for process in processes)
    assert first.acquire(0.0)
    assert second.acquire(5.0)
    with pytest.raises(LeaseLost):
        first.acquire(5.0)
    assert not first.is_held
    assert not first.acquire(5.0)
    second.check()


def test_lease_of_a_dead_process(processes):
    """The lease of a process that is gone is free at once."""
    first, second = processes
    assert first.lease.acquire(60.0)
    first.journal.close(is_read=False)
    assert second.lease.acquire(5.0)


def test_lease_is_fresh(processes):
    """A process loads what waits when another one was the sender in the meantime, and only then."""
    first, second = (process.lease for process in processes)
    assert first.acquire(5.0)
    assert first.is_fresh
    first.is_fresh = False
    first.release()
    assert first.acquire(5.0)
    assert not first.is_fresh
    first.release()
    assert second.acquire(5.0)
    second.release()
    assert first.acquire(5.0)
    assert first.is_fresh


def test_check(processes):
    """Inside a transaction, a process that is not the sender any more is stopped."""
    first, second = (process.lease for process in processes)
    assert first.acquire(0.0)
    first.check()
    assert second.acquire(5.0)
    with pytest.raises(LeaseLost):
        first.check()
    assert not first.is_held


def test_lost_lease_writes_nothing(path):
    """A commit of a process that lost the lease writes nothing; what it had read, the next sender reads."""
    options = {"size": 10**6, "ttl": 10**9, "converter": golden.CONVERTER, "channel_of": lambda _: ""}
    with contextlib.closing(Spool(path, **options)) as first, contextlib.closing(Spool(path, **options)) as second:
        assert first.append(golden.committed()[0])
        assert first.acquire(0.0)
        ((records, _, _),) = first.read()
        changes = Changes()
        changes.came(1, records[0])
        changes.ended(1)
        assert second.acquire(5.0)
        with pytest.raises(LeaseLost):
            first.commit(changes, 1, {})
        assert first.counts() == (0, {})
        ((records, _, _),) = second.read()
        assert len(records) == 1
        changes = Changes()
        changes.came(1, records[0])
        changes.ended(1)
        second.commit(changes, 1, {})
        assert first.counts() == (1, {})
        assert second.counts() == (0, {})
