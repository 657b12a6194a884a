"""Forks: the child finds the database closed, opens nothing until it logs, and the account is exact."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from emitkit_logging import EmitKitHandler
from tests.conftest import KEY
from tests.spool.processes import EVENT, running, until, waits

DESCRIPTORS = Path("/proc/self/fd")
needs_proc = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="this system does not list descriptors")


def opened(path: Path) -> list[str]:
    """Return the files of a spool that this process has open, the journals without what is in their names."""
    found = []
    for descriptor in DESCRIPTORS.iterdir():
        try:
            name = descriptor.readlink().name
        except FileNotFoundError:
            continue
        if name.startswith(path.name):
            found.append("journal" if name.endswith(".journal") else name)
    return sorted(found)


@needs_proc
def test_database_is_closed_before_a_fork(account, handler, logger, path):
    """Before a fork no descriptor of the database is open, whichever threads have used it."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for number in range(5):
        logger.info("x", extra={**EVENT, "number": number})
    assert made.flush(10)
    assert str(made.stats)
    made._before_fork()
    try:
        assert [name for name in opened(path) if name != "journal"] == []
    finally:
        made._after_fork()
    assert made.flush(10)


@needs_proc
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_database_of_a_dropped_handler_is_closed_before_a_fork(account, server, logger, path):
    """A handler that was dropped, and whose records are still being delivered, leaves a child nothing open."""
    may_answer = threading.Event()
    account.before = may_answer.wait
    logger.addHandler(EmitKitHandler(KEY, base_url=server.url, spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    logger.handlers.clear()
    gc.collect()
    until(lambda: server.requests)
    child = os.fork()
    if child == 0:
        os._exit(len(opened(path)))
    assert os.waitpid(child, 0)[1] == 0
    may_answer.set()
    until(lambda: not waits(path))
    assert account.numbers() == Counter([1])


FORKS = """
import threading
sys.setswitchinterval(1e-5)
def work(thread):
    for number in range(400):
        log.info("x", extra={"event": "x", "number": thread * 10_000 + number})
def fork(thread):
    for child in range(6):
        if os.fork() == 0:
            for number in range(20):
                log.info("x", extra={"event": "x", "number": thread * 10_000 + 1_000 + child * 100 + number})
            handler.close()
            os._exit(0)
threads = [threading.Thread(target=work, args=(each,)) for each in (1, 2)]
threads += [threading.Thread(target=fork, args=(each,)) for each in (3, 4, 5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for _ in range(18):
    check(os.wait()[1] == 0)
handler.close()
say(handler.stats.accepted)
"""


def test_forks_from_several_threads(account, server, path):
    """Several threads fork while others log: each record arrives once, and no child hangs."""
    with running(FORKS, server, path, shutdown_timeout=30.0) as process:
        assert process.stdout.read() == "800\n"
        assert process.wait(60) == 0
    logged = [thread * 10_000 + number for thread in (1, 2) for number in range(400)]
    logged += [
        thread * 10_000 + 1_000 + child * 100 + number
        for thread in (3, 4, 5)
        for child in range(6)
        for number in range(20)
    ]
    assert account.numbers() == Counter(logged)


MAKES = """
import threading
is_over = threading.Event()
def make():
    while not is_over.is_set():
        emitkit_logging.EmitKitHandler(spool=os.environ["SPOOL"], rate_limit=0).close()
thread = threading.Thread(target=make)
thread.start()
for child in range(10):
    if os.fork() == 0:
        log.info("x", extra={"event": "x", "number": child})
        handler.close()
        os._exit(0)
for _ in range(10):
    check(os.wait()[1] == 0)
is_over.set()
thread.join()
handler.close()
say("over")
"""


def test_forks_while_handlers_are_made(account, server, path):
    """A fork while another thread makes handlers: no child hangs, and each delivers what it logs."""
    with running(MAKES, server, path, shutdown_timeout=20.0) as process:
        assert process.stdout.read() == "over\n"
        assert process.wait(60) == 0
    assert account.numbers() == Counter(range(10))
