"""What no `except Exception` catches does not end the background thread."""

from __future__ import annotations

import datetime
import logging

import pytest

from emitkit_logging import EmitKitFormatter
from tests.server import Reply


class _Zone(datetime.tzinfo):
    """A zone whose offset raises what no `except Exception` catches."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def utcoffset(self, dt: datetime.datetime | None) -> datetime.timedelta:
        raise self.error

    dst = utcoffset


class _Formatter(EmitKitFormatter):
    """A formatter that raises what no `except Exception` catches, for one message."""

    error: type[BaseException] = SystemExit

    def event(self, record):
        if record.msg == "bad":
            raise self.error
        return super().event(record)

    def fold_key(self, captured):
        if captured.attributes["msg"] == "bad":
            raise self.error
        return super().fold_key(captured)


class _Custom(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, _Custom])
@pytest.mark.parametrize("key", ["at", "occurred_at"])
def test_base_exception_of_a_value(server, handler, logger, error, key):
    """A value that raises in the background costs that value alone: its record and those after it are sent."""
    logger.addHandler(made := handler())
    logger.error("bad", extra={key: datetime.datetime(2026, 1, 1, tzinfo=_Zone(error))})
    logger.error("good")
    server.wait_for(2)
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {})
    assert set(server.titles) == {"bad", "good"}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, _Custom])
def test_base_exception_in_the_call(server, handler, logger, error, tmp_path):
    """What is raised in the call may be a signal's, so the application gets it; what can be written is sent."""
    logger.addHandler(made := handler(spool=tmp_path / "spool.db"))
    with pytest.raises(error):
        logger.error("bad", extra={"at": datetime.datetime(2026, 1, 1, tzinfo=_Zone(error))})
    logger.error("good")
    server.wait_for(2)
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {})
    assert set(server.titles) == {"bad", "good"}


class _Odd(str):
    """A text that raises, where it is captured, what no `except Exception` catches."""

    __slots__ = ()

    def __str__(self):
        raise SystemExit


def test_base_exception_of_a_message(server, handler, logger):
    """The same where the message raises while it is captured."""
    logger.handlers[:] = [made := handler()]  # before pytest's own handlers, which raise, too
    with pytest.raises(SystemExit):
        logger.error("%s", _Odd("bad"), extra={"n": 1})
    logger.error("good")
    server.wait_for(2)
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {})
    assert "good" in server.titles


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, _Custom])
def test_base_exception_of_a_formatter(server, handler, logger, error):
    """An application's formatter that raises in the background costs the form of one event, and no thread."""
    logger.addHandler(made := handler())
    made.setFormatter(formatter := _Formatter())
    formatter.error = error
    logger.error("bad")
    logger.error("good")
    server.wait_for(2)
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {})
    assert set(server.titles) == {"bad", "good"}


def test_base_exception_of_a_handler(server, handler, logger):
    """An application's handler that raises for a warning of the library's keeps nothing from being sent."""

    class Raising(logging.Handler):
        def handle(self, record):
            raise SystemExit

    own, raising = logging.getLogger("emitkit_logging"), Raising()
    own.addHandler(raising)
    try:
        server.script = [Reply(401, {"success": False, "code": "unauthorized"}), *[Reply(201)] * 9]
        logger.addHandler(made := handler(shutdown_timeout=1.0))
        logger.error("first")
        server.wait_for(1)
        made.close()
        assert made.stats.pending == 0
    finally:
        own.removeHandler(raising)
