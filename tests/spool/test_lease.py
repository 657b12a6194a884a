"""Which process sends, and what happens when it cannot go on."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import time

import pytest

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
    """A process that holds the file's lock for ever holds nobody up: calls return, and it goes on when it can."""
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


FULL = """
for number in range(1_500):
    log.info("x", extra={"event": "x", "number": number, "text": "x" * 100})
assert os.statvfs(os.path.dirname(os.environ["SPOOL"])).f_bavail == 0
assert handler.flush(30)
say(handler.stats.delivered)
"""


def test_full_disk(account, server, path):
    """On a disk that is full, everything accepted is delivered once, from memory."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=300k none "$0" && exec "$@"']
    mount.append(str(path.parent))
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    with running(FULL, server, path, before=mount) as process:
        assert process.stdout.read() == "1500\n"
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(1_500)]
