"""Exceptions that nobody catches become alerts, and are printed as before."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from .conftest import KEY
from .server import Server

PROGRAM = """
import logging, logging.config, os, sys, threading
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"emitkit": {"class": "emitkit_logging.EmitKitHandler", "capture_uncaught": True, **OPTIONS}},
    "root": {"level": "INFO", "handlers": ["emitkit"]},
})
"""


def run(server: Server, code: str, *arguments: str, options: str = "{}", **more) -> subprocess.CompletedProcess[str]:
    """Run a program whose only configuration is a dictConfig."""
    program = PROGRAM.replace("OPTIONS", options) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, *(arguments or ("-c", program))],
        env={**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": server.url},
        input=program if arguments else None,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def alerts(server: Server) -> list[dict]:
    return [each.body for each in server.requests if each.path.endswith("/events")]


def test_program(server):
    """An exception that ends the program is one alert, delivered before its end; what is printed does not change."""
    code = """
        def pay(order):
            raise ValueError(f"order {order} has password=hunter2")

        pay(7)
    """
    done = run(server, code)
    plain = run(server, code.replace("def pay", "logging.getLogger().handlers[0].close()\n        def pay"))
    (alert,) = alerts(server)
    assert (done.returncode, plain.returncode) == (1, 1)
    assert done.stderr.replace("line 1", "line 2")[:40] == plain.stderr.replace("line 1", "line 2")[:40]
    assert done.stderr.count("Traceback") == 1
    assert alert["channelName"] == "alerts"
    assert alert["title"].startswith("ValueError: order 7 has password=")
    assert "hunter2" not in str(alert)
    assert alert["metadata"]["log"]["level"] == "CRITICAL"
    assert alert["metadata"]["log"]["function"] == "pay"
    assert alert["metadata"]["exception"]["type"] == "ValueError"
    assert "in pay" in alert["metadata"]["exception"]["stacktrace"]


def test_thread(server):
    """So is an exception that ends a thread, with the thread's name."""
    code = """
        thread = threading.Thread(target=lambda: {}["missing"], name="import\\x1b orders")
        thread.start()
        thread.join()
    """
    done = run(server, code)
    (alert,) = alerts(server)
    assert done.returncode == 0
    assert done.stderr.count("Traceback") == 1
    assert alert["title"] == "KeyError: 'missing'"
    assert alert["metadata"]["thread_name"].startswith("import")
    assert alert["metadata"]["log"]["logger"] == "threading.excepthook"


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit(3)",
        "sys.exit('no such file')",
        "raise KeyboardInterrupt",
        "threading.Thread(target=sys.exit).start()",
        "try: 1/0\nexcept ZeroDivisionError: pass",
        "class Stop(SystemExit): pass\nraise Stop",
        pytest.param(
            "raise BaseExceptionGroup('stopped', [KeyboardInterrupt(), BaseExceptionGroup('in', [SystemExit()])])",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are new in Python 3.11"),
        ),
        "logging.disable()\n1/0",
        "logging.getLogger().handlers[0].close()\n1/0",
    ],
)
def test_what_is_no_alert(server, code):
    """Ends on purpose, exceptions that somebody catches, and those of a closed handler or disabled logging are none."""
    run(server, code)
    assert alerts(server) == []


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("class Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd", "Odd: <Odd>"),
        ("raise ExceptionGroup('two', [KeyError('a'), ValueError('b')])", "ExceptionGroup: two (2 sub-exceptions)"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("import asyncio\nasync def f(): raise OSError('gone')\nasyncio.run(f())", "OSError: gone"),
        ("raise ValueError('\\x1b[31mred\\nsecond')", "ValueError: red"),
        ("raise TimeoutError", "TimeoutError"),
        (
            "class T(threading.Thread):\n    name = property(lambda self: 1/0, lambda self, name: None)\n"
            "    def run(self): raise OSError('gone')\n"
            "t = T(); t._name = 't'; t.start(); t.join()",
            "OSError: gone",
        ),
        ("if os.fork(): os.wait()\nelse: raise OSError('in the child')", "OSError: in the child"),
    ],
)
def test_odd_exceptions(server, code, title):
    """Whatever exception it is, and whichever process and thread it ends, it is an alert."""
    if "ExceptionGroup" in code and sys.version_info < (3, 11):
        pytest.skip("groups are new in Python 3.11")
    run(server, code)
    assert [each["title"] for each in alerts(server)][:1] in ([title], [title.strip()])


def test_options_of_the_handler(server):
    """It is sent where no plain record is, and not where the handler's level or a filter does not let it through."""
    run(server, "1/0", options="{'plain_level': None}")
    assert len(alerts(server)) == 1
    run(server, "1/0", options="{'level': 60}")
    run(server, "logging.getLogger().handlers[0].addFilter(lambda record: record.levelno < 50)\n1/0")
    run(server, "1/0", options="{'enabled': False}")
    run(server, "1/0", options="{'capture_uncaught': False}")
    assert len(alerts(server)) == 1


def test_spool(server, tmp_path):
    """With a spool it is delivered, too, before the program ends."""
    run(server, "1/0", options=repr({"spool": str(tmp_path / "spool.db")}))
    assert len(alerts(server)) == 1


def test_killed_with_a_spool(server, tmp_path):
    """A hook that ends the process at once loses nothing of it: the next process delivers it."""
    hook = "import os, sys; sys.excepthook = lambda *_: os.kill(os.getpid(), 9)\n"
    program = hook + PROGRAM.replace("OPTIONS", repr({"spool": str(tmp_path / "spool.db")})) + "1/0"
    environment = {**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": server.url}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    run(server, "pass", options=repr({"spool": str(tmp_path / "spool.db")}))
    assert [each["title"] for each in alerts(server)] == ["ZeroDivisionError: division by zero"]


def test_prompt(server):
    """At a prompt an exception ends nothing; a thread that it ends is an alert there, too."""
    done = run(server, "\n1/0\nt = threading.Thread(target=int, args=('x',)); t.start(); t.join()\n", "-i", "-q")
    assert "ZeroDivisionError" in done.stderr
    assert [each["metadata"]["exception"]["type"] for each in alerts(server)] == ["ValueError"]


@pytest.fixture
def hooks(monkeypatch):
    """Hooks that note what they are called with, in place of those of Python and of pytest."""
    called: list[tuple[str, object]] = []

    def note_program(kind, error, trace):
        called.append(("sys", error))

    def note_thread(args):
        called.append(("threading", args.exc_value))

    monkeypatch.setattr(sys, "excepthook", note_program)
    monkeypatch.setattr(threading, "excepthook", note_thread)
    return called


def crash(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        sys.excepthook(*sys.exc_info())


def test_hooks_are_put_back(server, handler, hooks):
    """The last handler that is closed leaves the hooks as the first one found them."""
    before = sys.excepthook, threading.excepthook
    first, second = handler(capture_uncaught=True), handler(capture_uncaught=True)
    crash(error := ValueError("both"))
    first.close()
    crash(ValueError("second"))
    second.close()
    assert (sys.excepthook, threading.excepthook) == before
    assert (first.stats.accepted, second.stats.accepted) == (1, 2)
    assert hooks[0] == ("sys", error)
    assert len(hooks) == 2


def test_chained_after(server, handler, hooks):
    """A hook that somebody has chained after ours stays; through ours, exceptions go on to the one before it."""
    ours = handler(capture_uncaught=True)
    chained = sys.excepthook

    def later(kind, error, trace):
        chained(kind, error, trace)

    sys.excepthook = later
    ours.close()
    assert sys.excepthook is later
    crash(ValueError("nobody reports this"))
    again = handler(capture_uncaught=True)
    crash(ValueError("once"))
    again.close()
    assert sys.excepthook is later
    assert again.stats.accepted == 1
    assert [name for name, _ in hooks] == ["sys", "sys"]


def test_without_a_logger(server, handler, hooks):
    """The hooks keep the handler, as a logger would."""
    handler(capture_uncaught=True)
    crash(ValueError("kept"))
    assert server.wait_for(1)


def test_hook_before_raises(server, handler, monkeypatch):
    """A hook before ours that raises does so as before, after ours has reported."""

    def broken(*_):
        raise RuntimeError("hook")

    monkeypatch.setattr(sys, "excepthook", broken)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    ours = handler(capture_uncaught=True)
    with pytest.raises(RuntimeError, match="hook"):
        crash(ValueError("x"))
    ours.close()
    assert ours.stats.accepted == 1


def test_kind(server, handler, hooks):
    """Its kind is that of any exception: repeats fold, and the next kind is new."""
    ours = handler(capture_uncaught=True)
    for number in range(20):
        crash(ValueError(f"order {number} failed"))
    crash(KeyError("other"))
    ours.close()
    assert ours.stats.kinds == 2
    assert ours.stats.delivered == 21
    assert len(alerts(server)) < 21


def test_thread_without_value(server, handler, hooks):
    """Python may call the hook of threads without the exception itself, and without its thread."""
    ours = handler(capture_uncaught=True)
    threading.excepthook(threading.ExceptHookArgs((OSError, None, None, None)))
    ours.close()
    assert [each["title"] for each in alerts(server)] == ["OSError"]


def test_context(server, handler, hooks):
    """An exception has the event context in which it was raised."""
    from emitkit_logging import event_context

    ours = handler(capture_uncaught=True)
    try:
        with event_context(tenant="acme"):
            raise ValueError("x")
    except ValueError:
        sys.excepthook(*sys.exc_info())
    ours.close()
    assert alerts(server)[0]["metadata"]["tenant"] == "acme"
    assert logging.getLogger("sys.excepthook").handlers == []
