"""Subinterpreters: isolated ones have no daemon threads, and none may be destroyed while it has a thread."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emitkit_logging.inbox import Inbox
from tests.slow_link import slow_link

PROGRAM = """
import sys
kind, end = sys.argv[1:]
code = '''
import logging
from emitkit_logging import EmitKitHandler
handler = EmitKitHandler()
logging.getLogger().addHandler(handler)
logging.error("a")
logging.error("b")
''' + end
if sys.version_info >= (3, 13):
    import _interpreters
    made = _interpreters.create(kind)
    failed = _interpreters.exec(made, code)
    assert failed is None, failed
else:
    import _xxsubinterpreters as _interpreters
    made = _interpreters.create(isolated=kind == "isolated")
    _interpreters.run_string(made, code)
_interpreters.destroy(made)
print("destroyed", flush=True)
"""

WARNING = "this subinterpreter has no daemon threads"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before, Python itself refuses to destroy one with a thread")
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("end", ["", "import time; time.sleep(0.5)", "handler.flush(5) or 1 / 0", "handler.close()"])
def test_end(kind, end):
    """Records arrive once, at the latest at the end of the interpreter, which does not abort the process."""
    with Inbox(rate_limit=0) as inbox, slow_link(inbox.url, 0.15) as url:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind, end],
            env={**os.environ, "EMITKIT_API_KEY": inbox.api_key, "EMITKIT_BASE_URL": url, "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=40,
        )
        assert sorted(event["title"] for event in inbox.events) == ["a", "b"]
    assert done.stdout == "destroyed\n", done.stderr
    assert done.stderr.count(WARNING) == (1 if kind == "isolated" else 0), done.stderr
    if sys.version_info >= (3, 13):  # 3.12 aborts at its exit where an isolated one has only imported ssl
        assert done.returncode == 0, done.stderr
