"""The library's own warnings reach somebody, however the application configures logging."""

from __future__ import annotations

import logging
import logging.config

import pytest

from emitkit_logging import EmitKitHandler, _log

KEY = "emitkit_0123456789abcdef"
ODD_KEY = "not-one-of-emitkits"
HANDLER = {"class": "emitkit_logging.EmitKitHandler", "api_key": ODD_KEY, "base_url": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def configuration():
    """Leave the configuration of logging as it was."""
    root, own = logging.getLogger(), logging.getLogger(_log.NAME)
    before = root.handlers[:], root.level, own.handlers[:], own.level, own.disabled
    yield
    for handler in root.handlers:
        if isinstance(handler, EmitKitHandler):
            handler.close()
    root.handlers[:], root.level, own.handlers[:], own.level, own.disabled = before


def configure(**more) -> None:
    logging.config.dictConfig(
        {"version": 1, "handlers": {"emitkit": HANDLER}, "root": {"handlers": ["emitkit"]}, **more}
    )


def test_logger_disabled_by_the_configuration(capfd):
    """`disable_existing_loggers`, the default, disables the library's logger; its warning is printed all the same."""
    configure()
    assert logging.getLogger(_log.NAME).disabled
    capfd.readouterr()
    _log.warn("the key %s", "is wrong")
    assert capfd.readouterr().err == "the key is wrong\n"


def test_other_handlers(capfd):
    """Where the application has a handler for it, the warning goes there and not to stderr."""
    console = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    configure(handlers={"emitkit": HANDLER, "console": console}, root={"handlers": ["emitkit", "console"]})
    capfd.readouterr()
    _log.warn("the key is wrong")
    assert capfd.readouterr() == ("the key is wrong\n", "")


@pytest.mark.parametrize("silence", ["level", "disable", "filter", "null handler"])
def test_silence(capfd, silence):
    """What the application asks for by level, `logging.disable`, a filter or a `NullHandler` is respected."""
    logger = logging.getLogger(_log.NAME)
    if silence == "level":
        logger.setLevel(logging.ERROR)
    elif silence == "disable":
        logging.disable(logging.WARNING)
    elif silence == "filter":
        logger.addFilter(silent := lambda _: False)
    else:
        logger.addHandler(logging.NullHandler())
    try:
        _log.warn("the key is wrong")
    finally:
        logging.disable(logging.NOTSET)
        if silence == "filter":
            logger.removeFilter(silent)
    assert capfd.readouterr() == ("", "")


def test_debug_whatever_the_level(caplog):
    """Debug lines are logged although the logger's level is higher, and the level stays as it is."""
    logger = logging.getLogger(_log.NAME)
    level = logger.level
    _log.debug("%s: %s", "POST", 201)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("DEBUG", "POST: 201")]
    assert logger.level == level


def test_its_own_records_are_no_events(handler, server):
    """The library's handler ignores the library's records, whatever its options."""
    made = handler(plain_level="DEBUG")
    logger = logging.getLogger(_log.NAME)
    logger.addHandler(made)
    _log.warn("the key is wrong")
    logger.error("nothing can be sent")
    assert made.stats.accepted == 0
