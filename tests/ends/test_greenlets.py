"""gevent and eventlet: whenever they patch, and wherever the first record is logged."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap

import pytest

from emitkit_logging._relay.keys import ALERTS, Keys
from emitkit_logging.inbox import Inbox
from tests.relay.fleet import RedisServer
from tests.slow_link import slow_link

PREAMBLE = """
import faulthandler, logging, sys, threading, time
faulthandler.dump_traceback_later(20, exit=True)

def check(is_so):
    "Raise where it is not so, also under -O."
    if not is_so:
        raise AssertionError

def make():
    global handler
    from emitkit_logging import EmitKitHandler
    handler = EmitKitHandler(relay=sys.argv[2] if len(sys.argv) > 2 else None)
    logging.getLogger().addHandler(handler)

def patch():
    global sleep, spawn
    if sys.argv[1] == "gevent":
        from gevent import monkey, sleep, spawn
        monkey.patch_all()
    else:
        import eventlet
        from eventlet import sleep, spawn
        eventlet.monkey_patch()

def in_native_thread(function):
    if sys.argv[1] == "gevent":
        import gevent
        return gevent.get_hub().threadpool.apply(function)
    from eventlet import tpool
    return tpool.execute(function)

def ticks_during(function):
    "How often another greenlet goes on, every 10 ms, while this one calls a function."
    ticks, is_over = [], []
    def tick():
        while not is_over:
            ticks.append(None)
            sleep(0.01)
    spawn(tick)
    sleep(0)
    before = len(ticks)
    function()
    is_over.append(None)
    return len(ticks) - before
"""

EVENTLETS_OWN = re.compile(r"1 RLock\(s\) were not greened.*\n" if sys.version_info >= (3, 14) else "(?!)")
"""What `eventlet.monkey_patch` prints on Python 3.14 in every program."""

LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason="not installed"))
    for name in ("gevent", "eventlet")
]

CASES = {
    "patched before": "patch(); make(); logging.error('a'); check(handler.flush(5))",
    "patched after": "make(); patch(); logging.error('a'); check(handler.flush(5))",
    "patched after a flush": "make(); logging.error('a'); check(handler.flush(5)); patch(); sleep(0.1)",
    "patched while sending": "make(); logging.error('a'); patch(); check(handler.flush(5))",
    "left to the exit": "make(); patch(); logging.error('a')",
    "left to the exit, patched before": "patch(); make(); logging.error('a')",
    "left to the exit, patched while sending": "make(); logging.error('a'); patch()",
    "closed": "patch(); make(); logging.error('a'); handler.close(); check(not handler.stats.pending)",
    "first from a native thread": "patch(); make(); in_native_thread(lambda: logging.error('a')); sleep(1)\n"
    "check(handler.stats.delivered == 1)",
    "first from a native thread, patched after": "make(); patch(); in_native_thread(lambda: logging.error('a'))\n"
    "sleep(1); check(handler.stats.delivered == 1)",
    "flushed in a native thread": "patch(); make(); logging.error('a')\n"
    "check(in_native_thread(lambda: handler.flush(5)))",
    "from a greenlet": "patch(); make(); spawn(logging.error, 'a'); sleep(0); check(handler.flush(5))",
    "in a fork": "import os; make(); patch()\n"
    "if os.fork() == 0: logging.error('a'); check(handler.flush(5)); os._exit(0)\nos.wait()",
    "in a fork that patches": "import os; make()\n"
    "if os.fork() == 0: patch(); logging.error('a'); sleep(0.1); check(handler.flush(5)); os._exit(0)\nos.wait()",
}

TICKING = {
    "flush": "patch(); make(); logging.error('a'); check(ticks_during(handler.flush) > 5)",
    "flush, patched after": "make(); patch(); logging.error('a'); check(ticks_during(handler.flush) > 5)",
    "close": "patch(); make(); logging.error('a'); check(ticks_during(handler.close) > 5)",
    "close, patched after": "make(); patch(); logging.error('a'); check(ticks_during(handler.close) > 5)",
}


def program(code: str, *arguments: str) -> list[str]:
    """Return the command of a program behind `PREAMBLE`: a library, and perhaps the address of a Redis server."""
    return [sys.executable, "-W", "ignore", "-c", PREAMBLE + textwrap.dedent(code), *arguments]


def run(code: str, library: str, delay: float) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Run a program with a slow connection to the inbox; return the titles that arrived, and how the program ended."""
    with Inbox(rate_limit=0) as inbox, slow_link(inbox.url, delay) as url:
        environment = {**os.environ, "EMITKIT_API_KEY": inbox.api_key, "EMITKIT_BASE_URL": url, "NO_PROXY": "*"}
        environment.pop("PYTEST_CURRENT_TEST", None)  # with it, eventlet does not complain about locks
        done = subprocess.run(
            program(code, library),
            env=environment,
            capture_output=True,
            text=True,
            timeout=40,
        )
        return [event["title"] for event in inbox.events], done


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_delivery(library, case):
    """A record arrives once, the process ends by itself, and nothing is printed."""
    titles, done = run(CASES[case], library, 0.15)
    assert (done.returncode, EVENTLETS_OWN.sub("", done.stderr), titles) == (0, "", ["a"])


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_relay(library, case, redis_server):
    """The same through a relay: the record is in Redis once."""
    prefix = f"{library}{list(CASES).index(case)}"
    url = f"{redis_server.url.replace('127.0.0.1', 'localhost')}?prefix={prefix}"
    done = subprocess.run(program(CASES[case], library, url), capture_output=True, text=True, timeout=40)
    with redis_server.client() as client:
        assert (done.returncode, EVENTLETS_OWN.sub("", done.stderr), client.xlen(Keys(prefix).stream(ALERTS))) == (
            0,
            "",
            1,
        )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", TICKING)
def test_other_greenlets_go_on(library, case):
    """While a greenlet flushes or closes, which takes the 150 ms of a connection, the others go on."""
    titles, done = run(TICKING[case], library, 0.15)
    assert (done.returncode, EVENTLETS_OWN.sub("", done.stderr), titles) == (0, "", ["a"])
