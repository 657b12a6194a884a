"""Jobs of RQ; see test_rq.py. The handler is made here, or in rq_settings.py before the worker forks."""

import logging.config
import os
import time

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"emitkit": {"class": "emitkit_logging.EmitKitHandler"}},
    "root": {"level": "INFO", "handlers": ["emitkit"]},
}

if os.environ["PLACE"] == "job":
    logging.config.dictConfig(LOGGING)


def job(name):
    """Log an event."""
    logging.getLogger("shop").info("done", extra={"event": name})


def fail():
    """Raise; RQ logs that."""
    raise RuntimeError("the job is broken")


def wait():
    """Log, and take longer than its timeout."""
    job("timed_out")
    time.sleep(30)
