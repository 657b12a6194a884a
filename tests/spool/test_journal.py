"""The journals: what outlives a process that is killed."""

from __future__ import annotations

import os
import signal

from tests.spool.processes import EVENT, running, until


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
    until(lambda: not made._listener.waits())
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
