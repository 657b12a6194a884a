"""The clock of deadlines, under the tools that freeze time in tests of applications."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

PROGRAM = """
import faulthandler, logging, subprocess, sys
faulthandler.dump_traceback_later(20, exit=True)
library, imported, *spool = sys.argv[1:]
if library == "freezegun":
    import freezegun
    frozen = freezegun.freeze_time("2020-01-01")
else:
    import time_machine
    frozen = time_machine.travel(0, tick=False)
if imported == "before":
    import emitkit_logging.handler, emitkit_logging._worker.client

def now():
    "The clock of another process, which nothing here freezes."
    return float(subprocess.run(["date", "+%s.%N"], capture_output=True).stdout)

with frozen:
    from emitkit_logging import EmitKitHandler
    handler = EmitKitHandler(shutdown_timeout=1, spool=spool[0] if spool else None)
    logging.getLogger().addHandler(handler)
    logging.error("a")
    for call in (lambda: handler.flush(1), handler.flush, handler.close):
        began = now()
        call()
        took = now() - began
        assert took < 5, (call, took)
    print(handler.stats.dropped, handler.stats.pending)
"""


@pytest.mark.parametrize("library", ["freezegun", "time_machine"])
@pytest.mark.parametrize("imported", ["before", "inside"])
@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
@pytest.mark.parametrize("has_spool", [False, True], ids=["memory", "spool"])
def test_frozen_time(tmp_path, library, imported, hangs, has_spool):
    """Without a server, `flush` and `close` return in time, although the application's clocks stand still."""
    pytest.importorskip(library)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not hangs:
            listening.close()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, library, imported, *([str(tmp_path / "spool")] if has_spool else [])],
            env={
                **os.environ,
                "EMITKIT_API_KEY": "emitkit_0123456789abcdefKEY",
                "EMITKIT_BASE_URL": f"http://127.0.0.1:{port}",
                "NO_PROXY": "*",
            },
            capture_output=True,
            text=True,
            timeout=40,
        )
    expected = "{} 1\n" if has_spool else "{'shutdown': 1} 0\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
