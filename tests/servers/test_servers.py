"""What servers log on loggers that do not propagate reaches a handler of the root logger, once."""

from __future__ import annotations

import contextlib
import gc
import logging
import logging.config
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import celery.signals
import pytest
import requests

from emitkit_logging import EmitKitHandler, _servers
from emitkit_logging.inbox import Inbox

from ..conftest import KEY

HERE = Path(__file__).parent
PATIENCE = 60.0

SERVERS = {
    "uvicorn": ("-m", "uvicorn", "failing_app:asgi", "--port", "{port}"),
    "uvicorn, attached there, too": ("-m", "uvicorn", "failing_app:asgi", "--port", "{port}", "ATTACH=1"),
    "uvicorn.run": ("failing_app.py", "{port}"),
    "gunicorn": ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "failing_app:wsgi"),
    "gunicorn --preload": ("-m", "gunicorn", "--preload", "-b", "127.0.0.1:{port}", "failing_app:wsgi"),
}


@contextlib.contextmanager
def serving(inbox: Inbox, arguments: tuple[str, ...]) -> Iterator[str]:
    """Run a server until the block ends; the value is its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = dict(each.split("=") for each in arguments if re.fullmatch(r"[A-Z]+=\w+", each))
    process = subprocess.Popen(
        [sys.executable, *(each.format(port=port) for each in arguments if "=" not in each)],
        cwd=HERE,
        env={**os.environ, "EMITKIT_API_KEY": inbox.api_key, "EMITKIT_BASE_URL": inbox.url, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if any(each in line for each in ("running on", "Running on", "Booting worker", "Listening on")):
                break
        else:
            pytest.fail(printed)
        yield f"http://127.0.0.1:{port}/orders/7"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def the_alert(arguments: tuple[str, ...]) -> dict:
    """Request what fails of an application under a server, and return the alert, after a look at what it says."""
    with Inbox() as inbox:
        with serving(inbox, arguments) as url:
            assert requests.get(url, timeout=PATIENCE).status_code == 500
        (alert,) = inbox.events
    assert alert["channelName"] == "alerts"
    assert alert["metadata"]["exception"]["message"] == "no such order"
    return alert


@pytest.mark.parametrize("arguments", SERVERS.values(), ids=SERVERS)
def test_failing_application(arguments):
    """An exception that the application does not catch is one alert, with the README's configuration as it is."""
    assert "occurrences" not in the_alert(arguments)["metadata"]


@pytest.fixture
def loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """The root logger and uvicorn's, as uvicorn leaves them; afterwards as they were."""
    root, outer, errors = logging.getLogger(), logging.getLogger("uvicorn"), logging.getLogger("uvicorn.error")
    kept = [(each, each.handlers[:], each.filters[:], each.level, each.propagate) for each in (root, outer, errors)]
    outer.propagate = False
    errors.propagate = True
    errors.setLevel(logging.INFO)
    yield root, errors
    for each, handlers, filters, level, propagate in kept:
        each.handlers[:], each.filters[:], each.propagate = handlers, filters, propagate
        each.setLevel(level)


@pytest.mark.parametrize("place", ["root", "root and errors", "root and uvicorn", "errors", "nowhere"])
@pytest.mark.parametrize("propagates", [True, False])
def test_once(server, handler, loggers, place, propagates):
    """A record reaches the handler once, wherever the handler is; where it is at no logger above, not at all."""
    root, errors = loggers
    logging.getLogger("uvicorn").propagate = propagates
    made = handler()
    for logger, name in ((root, "root"), (errors, "errors"), (logging.getLogger("uvicorn"), "uvicorn")):
        if name in place.split(" and "):
            logger.addHandler(made)
    if propagates and " and " in place:
        pytest.skip("logging itself calls it twice")
    errors.error("Exception in ASGI application")
    root.removeHandler(made)
    made.close()
    assert made.stats.accepted == (0 if place == "nowhere" else 1)


def test_level_and_filters(server, handler, loggers):
    """The handler's own level and filters count, and nothing is forwarded to a handler that is gone."""
    root, errors = loggers
    made = handler(level="CRITICAL")
    root.addHandler(made)
    errors.error("no")
    made.addFilter(lambda record: record.getMessage() != "filtered")
    errors.critical("filtered")
    errors.critical("yes")
    root.removeHandler(made)
    made.close()
    assert server.titles == ["yes"]
    del made
    gc.collect()
    errors.critical("nobody is here")
    assert len(errors.filters) <= 2


def test_no_logger_is_made(handler):
    """A logger that a server has not made yet is not made: a dictConfig would disable it for good."""
    known = logging.root.manager.loggerDict
    before = {name for name in _servers.SERVER_LOGGERS if name in known}
    handler().close()
    assert {name for name in _servers.SERVER_LOGGERS if name in known} == before


def configure(name: str) -> None:
    """Configure only one logger, as `uvicorn.run` does."""
    console = {"class": "logging.NullHandler"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": console},
            "loggers": {name: {"handlers": ["console"], "propagate": False}},
        }
    )


def test_reopened(server, handler, loggers):
    """A dictConfig closes every handler; one that is left in place goes on with the next record."""
    root, errors = loggers
    made = handler(shutdown_timeout=5.0)
    root.addHandler(made)
    root.error("before")
    configure("uvicorn")
    root.error("after")
    errors.error("of the server")
    assert made.flush(10)
    root.removeHandler(made)
    made.close()
    root.error("closed for good")
    made.handle(logging.LogRecord("app", logging.ERROR, "", 0, "refused", (), None))
    assert server.titles == ["before", "after", "of the server"]
    assert made.stats.dropped == {"shutdown": 1}


def test_not_reopened(server, handler, loggers):
    """A handler that is not in place any more, or in whose place another one is open, stays closed."""
    old, new = handler(), handler()
    logger = logging.getLogger("test.servers.app")
    logger.addHandler(old)
    configure("uvicorn")
    logger.addHandler(another := handler())
    logger.error("once")
    logger.handlers.clear()
    old.handle(logging.LogRecord("test.servers.app", logging.ERROR, "", 0, "refused", (), None))
    another.close()
    assert old.stats.dropped == {"shutdown": 2}
    assert server.titles == ["once"]
    assert new.stats.accepted == 0


def test_reopened_at_exit(server):
    """A handler that was opened again delivers at exit, although logging does not list it any more."""
    program = f"""
import logging, logging.config, sys
from emitkit_logging import EmitKitHandler
logging.getLogger().addHandler(EmitKitHandler({KEY!r}, base_url={server.url!r}))
logging.config.dictConfig({{"version": 1, "disable_existing_loggers": False}})
logging.error("after")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)
    assert server.titles == ["after"]


def test_celery(server, handler, loggers):
    """Celery's worker removes the root logger's handlers before it adds its own; ours is added again."""
    root, _ = loggers
    made = handler()
    root.addHandler(made)
    celery.signals.celeryd_init.send(sender=None)
    before, root.handlers = root.handlers, []
    celery.signals.after_setup_logger.send(sender=None, logger=root)
    root.error("task failed")
    assert root.handlers == [made]
    root.handlers = before
    root.removeHandler(made)
    made.close()
    assert server.titles == ["task failed"]
    assert isinstance(made, EmitKitHandler)
