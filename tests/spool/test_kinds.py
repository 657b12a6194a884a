"""What is known of kinds is in the spool: processes share it, and it survives them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3

import pytest

from emitkit_logging._outbox.observer import Knowledge
from emitkit_logging._spool import schema, tables
from tests.spool.processes import records_waiting, running, until

NAMES = ["ada", "bob", "eve", "ida", "leo", "max", "mia", "noa", "tom", "zoe"]

STORM = """
names = {names!r}
for name in names:
    log.error(f"user {{name}} cannot log in")
log.error(f"order {{os.getpid()}} failed")
{then}
"""
WAIT = "say('logged')\ntime.sleep(60)"


def storm(names, then=""):
    return STORM.format(names=names, then=then)


def pushes(account) -> list[str]:
    return [event["title"] for event in account.events if event["notify"]]


def records(account) -> int:
    return sum(event["metadata"].get("occurrences", 1) for event in account.events)


def test_killed_in_a_storm(account, server, path):
    """After a SIGKILL in the middle of a storm nothing is new again and nothing pushes again, generalised or not."""
    with running(storm(NAMES, WAIT), server, path) as process:
        assert process.stdout.readline() == "logged\n"
        until(lambda: len(pushes(account)) == 2)
        until(lambda: len(account.events) >= 6)  # all that does not wait for a place of its kind
        until(lambda: records_waiting(path) <= 6)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    with running(storm(["kim", "pia"], "handler.close()"), server, path, shutdown_timeout=20.0) as process:
        assert process.wait(30) == 0
    until(lambda: records(account) == len(NAMES) + 4)
    assert len(pushes(account)) == 2
    assert "user … cannot log in" in {event["title"].partition(" (")[0] for event in account.events}


def test_processes_share_kinds(account, server, path):
    """Two living processes that log the same failure push once, and learn a template together."""
    with running(storm(NAMES[:3], WAIT), server, path) as first:
        assert first.stdout.readline() == "logged\n"
        until(lambda: len(account.events) == 4)
        with running(storm(NAMES[3:], "handler.close()"), server, path, shutdown_timeout=20.0) as second:
            assert second.wait(30) == 0
        until(lambda: records(account) >= len(NAMES) + 1)
    titles = [title for title in pushes(account) if title.startswith("order")]
    assert len(titles) == 1
    assert len(pushes(account)) <= 1 + 5


def test_what_is_known_is_bounded(account, handler, logger, path):
    """However many kinds there are, what is known of them takes a part of the spool's size."""
    logger.addHandler(made := handler(spool=path, rate_limit=0, spool_size=500_000))
    for number in range(500):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        logger.error(f"{word} is broken {'x' * 200}", extra={"fingerprint": word})
        logger.error(f"the {word} is broken {'x' * 200}")
    assert made.flush(30)
    with contextlib.closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("SELECT total(length(name) + length(value)) FROM known").fetchone()
    assert 0 < size <= 500_000 / 32


def test_secrets_are_not_known(account, handler, logger, path):
    """A secret in a message is on the disk neither in a kind nor in a template."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.error("the password of https://ada:Tr0ub4dor@db.example.com/ is wrong, emitkit_abcdefghijklmnop too")
    assert made.flush(10)
    with contextlib.closing(sqlite3.connect(path)) as database:
        known = json.dumps(database.execute("SELECT name, value FROM known").fetchall())
    assert "is wrong" in known
    assert "Tr0ub4dor" not in known
    assert "abcdefghijklmnop" not in known


@pytest.mark.parametrize("value", ["nonsense", "[", "null", '[1, "x"]', "[" * 5_000])
def test_what_cannot_be_read(account, handler, logger, path, value):
    """What cannot be read of kinds and templates is learned anew; nothing else suffers."""
    database = schema.connect(path)
    for of in Knowledge:
        for name in ("a", '["app"]', '[["app", "a.py", "1"], "x y"]'):
            database.execute("INSERT INTO known (about, name, value) VALUES (?, ?, ?)", (of.value, name, value))
    assert len(tables.known(database, Knowledge.KIND)) <= 3
    database.close()
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.error("it failed")
    assert made.flush(10)
    assert pushes(account) == ["it failed"]


def known(path, of) -> int:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(schema.connect(path)) as database:
        return len(tables.known(database, of))
    return 0


def test_database_that_was_set_aside(account, handler, logger, path):
    """What the sender knows is written into the new database where the one before cannot be read any more."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for _ in range(7):
        logger.error("it failed")
    until(lambda: len(account.events) == 5)  # two wait for a place of their kind
    until(lambda: known(path, Knowledge.KIND) == 1)
    made._before_fork()  # the file is closed
    path.write_bytes(os.urandom(50_000))
    made._after_fork()
    logger.error("something else failed")
    until(lambda: len(account.events) == 6)
    until(lambda: known(path, Knowledge.KIND) == known(path, Knowledge.TEMPLATE) == 2)
