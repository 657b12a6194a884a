"""A process that closes all descriptors, and one that closes its handlers: no file is mixed up, none stays open."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import Counter

from emitkit_logging import EmitKitHandler
from emitkit_logging._worker import descriptors
from tests.conftest import KEY
from tests.spool.processes import EVENT, running, until
from tests.spool.test_forks import needs_proc, opened

CLOSES_ALL = """
import pathlib
log.info("x", extra={"event": "x", "number": 0})
check(handler.flush(10))
os.closerange(3, 2**16)
files = [open(f"{os.environ['SPOOL']}-{number}.own", "wb+") for number in range(200)]
for number in range(1, 50):
    log.info("x", extra={"event": "x", "number": number})
check(handler.flush(20))
handler.close()
check(all(pathlib.Path(file.name).read_bytes() == b"" for file in files))
for file in files:
    file.write(b"own")
    file.close()
check(all(pathlib.Path(file.name).read_bytes() == b"own" for file in files))
say(handler.stats.delivered)
"""


@needs_proc
def test_process_that_closes_all_descriptors(account, server, path):
    """Files that the application opens then are never written to, nor closed; the spool is opened anew.

    The background thread is at rest meanwhile. In the middle of its work, the process may close a descriptor that the
    thread has just opened, for example of a directory, and that it is about to close: nothing can tell it then.
    """
    with running(CLOSES_ALL, server, path, shutdown_timeout=10.0) as process:
        assert process.stdout.read() == "50\n"
        assert process.wait(30) == 0
    assert set(account.numbers()) == set(range(50))


def test_own_descriptor(path):
    """A number that belongs to another file by now is seen, and not closed."""
    own = descriptors.OwnDescriptor(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    assert own.is_ours
    os.close(own.number)
    assert not own.is_ours
    other = os.open(os.devnull, os.O_RDONLY)
    os.dup2(other, own.number)
    assert not own.is_ours
    own.close()
    os.fstat(own.number)
    os.close(own.number)
    if other != own.number:
        os.close(other)


@needs_proc
def test_closed_handlers_go_away(account, server, logger, path):
    """A closed handler is collected, its thread ends, and it leaves no descriptor open."""
    seen = []
    for number in range(20):
        made = EmitKitHandler(KEY, base_url=server.url, spool=path, rate_limit=0)
        logger.handlers[:] = [made]
        logger.info("x", extra={**EVENT, "number": number})
        assert made.flush(10)
        made.close()
        logger.handlers.clear()
        seen.append(weakref.ref(made))
        del made
    until(lambda: "emitkit-logging" not in [each.name for each in threading.enumerate()])
    gc.collect()
    assert [each for each in seen if each() is not None] == []
    assert opened(path) == []
    assert account.numbers() == Counter(range(20))


INHERITS = """
log.info("x", extra={"event": "x", "number": 1})
check(handler.flush(10))
def spool_files():
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if os.environ["SPOOL"] in name:
            found.append(name)
    return found
if os.fork() == 0:
    say(len(spool_files()))
    log.info("x", extra={"event": "x", "number": 2})
    handler.close()
    say(len(spool_files()))
    os._exit(0)
os.wait()
handler.close()
"""


@needs_proc
def test_child_opens_nothing(account, server, path):
    """A forked child has no file of the spool open until it logs, and none after it has closed its handler."""
    with running(INHERITS, server, path, shutdown_timeout=10.0) as process:
        assert process.stdout.read() == "0\n0\n"
        assert process.wait(20) == 0
    assert account.numbers() == Counter([1, 2])
