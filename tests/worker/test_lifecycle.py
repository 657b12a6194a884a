"""Exits and forks, with real processes."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox

PREAMBLE = """
import atexit, logging, multiprocessing, os, sys, threading, time
import emitkit_logging
handler = emitkit_logging.EmitKitHandler(shutdown_timeout=float(os.environ.get("SHUTDOWN", 5)))
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
"""


def run(code: str, url: str, key: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
        env={**os.environ, "EMITKIT_API_KEY": key, "EMITKIT_BASE_URL": url, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


def titles(inbox: Inbox) -> list[str]:
    return sorted(event["title"] for event in inbox.events)


@pytest.fixture
def inbox():
    with Inbox() as inbox:
        yield inbox


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("log.error('a')", ["a"]),
        ("log.error('a'); sys.exit(3)", ["a"]),
        ("log.error('a'); raise RuntimeError", ["a"]),
        ("atexit.register(lambda: log.error('a'))", ["a"]),
        ("log.error('b'); atexit.register(lambda: log.error('a'))", ["a", "b"]),
        ("t = threading.Thread(target=lambda: log.error('a')); t.start()", ["a"]),
        ("[log.error('%d', n) for n in range(5)]", ["0", "1", "2", "3", "4"]),
    ],
)
def test_exit(inbox, code, expected):
    """However a process ends by itself, what it logged is delivered, and nothing is printed."""
    done = run(code, inbox.url, inbox.api_key)
    assert titles(inbox) == expected
    assert "emitkit-logging" not in done.stderr


@pytest.mark.parametrize("hangs", [True, False])
def test_exit_without_a_server(hangs):
    """With the server down, or hanging, the exit takes `shutdown_timeout` at most, and says what is lost."""
    key = "emitkit_0123456789abcdefKEY"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not hangs:
            listening.close()
        began = time.monotonic()
        done = run("[log.error('a') for _ in range(7)]", f"http://127.0.0.1:{port}", key, SHUTDOWN="1")
        assert time.monotonic() - began < 5
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("emitkit-logging: ")]
    lost, _, reason = line.partition(" (")
    assert lost == "emitkit-logging: 7 log records could not be delivered before the exit"
    assert ("the server does not answer" if hangs else "NewConnectionError") in reason
    assert key not in done.stdout + done.stderr


def test_exit_after_dict_config(inbox):
    """What a reconfiguration left behind is delivered at the exit."""
    code = """
    log.error('a')
    with logging._lock:
        handler.close()
    """
    run(code, inbox.url, inbox.api_key)
    assert titles(inbox) == ["a"]


@pytest.mark.parametrize(
    "fork",
    [
        """
        pid = os.fork()
        log.error("child" if pid == 0 else "parent")
        if pid:
            os.waitpid(pid, 0)
        """,
        """
        child = multiprocessing.get_context("fork").Process(target=lambda: log.error("child"))
        child.start()
        log.error("parent")
        child.join()
        """,
        """
        def work():
            child = multiprocessing.get_context("fork").Process(target=log.error, args=("child",))
            child.start()
            child.join()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        log.error("parent")
        """,
    ],
    ids=["os.fork", "multiprocessing", "from a thread"],
)
@pytest.mark.parametrize("before", ["", "log.error('before'); handler.flush()", "log.error('before')"])
def test_fork(inbox, fork, before):
    """Parent and child each deliver their own records, once, whatever the thread was doing at the fork."""
    done = run(f"{before}\n{textwrap.dedent(fork)}", inbox.url, inbox.api_key, PYTHONWARNINGS="ignore")
    assert titles(inbox) == (["before", "child", "parent"] if before else ["child", "parent"]), done.stderr
    assert done.stderr == ""


def test_identify_in_a_fork(inbox):
    """In a child, a record that comes while `identify` makes what delivers is delivered, too."""
    code = """
    handler.flush(10)
    if os.fork() == 0:
        from emitkit_logging import handler as module
        make = module.make_worker
        def make_slowly(*args):
            thread = threading.Thread(target=lambda: log.error("in the child"))
            thread.start()
            thread.join()
            return make(*args)
        module.make_worker = make_slowly
        handler.identify("u-1")
        is_sent = handler.flush(10) and handler.stats.delivered == 1
        os._exit(0 if is_sent else 1)
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert run(textwrap.dedent(code), inbox.url, inbox.api_key, PYTHONWARNINGS="ignore").returncode == 0
    assert [event["title"] for event in inbox.events] == ["in the child"]


def test_fork_counts_anew(inbox):
    """A child begins with nothing accepted and nothing pending."""
    code = """
    log.error('a')
    if os.fork() == 0:
        print(handler.stats.accepted, emitkit_logging._worker.own_calls.under_way)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    """
    assert run(code, inbox.url, inbox.api_key, PYTHONWARNINGS="ignore").stdout == "0 set()\n"


def _spawned(url: str, key: str) -> None:
    import logging

    logger = logging.getLogger("spawned")
    logger.addHandler(EmitKitHandler(key, base_url=url))
    logger.error("spawned")


def test_spawn(inbox):
    """A spawned child delivers at its exit."""
    child = multiprocessing.get_context("spawn").Process(target=_spawned, args=(inbox.url, inbox.api_key))
    child.start()
    child.join(30)
    assert titles(inbox) == ["spawned"]


def test_uwsgi_without_threads(inbox):
    """Where threads never run, the log has a warning."""
    code = """
    import types
    sys.modules["uwsgi"] = types.SimpleNamespace(opt={})
    log.error("a")
    """
    assert "enable-threads" in run(code, inbox.url, inbox.api_key).stderr


def test_warnings_without_another_handler(inbox):
    """Where the handler is the only one, the warnings of the library go to stderr."""
    code = """
        logging.getLogger().addHandler(handler)
        logging.error("x")
        handler.flush()
    """
    done = run(code, inbox.url, "emitkit_wrong0123456789")
    assert "the API key" in done.stderr
    silenced = "logging.getLogger('emitkit_logging').addHandler(logging.NullHandler())" + code.replace(
        "\n        ", "\n"
    )
    assert "the API key" not in run(silenced, inbox.url, "emitkit_wrong0123456789").stderr
