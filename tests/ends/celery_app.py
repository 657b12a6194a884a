"""A Celery application whose tasks each log one alert; see test_celery.py."""

from __future__ import annotations

import logging.config
import os
from pathlib import Path

from celery import Celery, signals

folder = Path(os.environ["FOLDER"])
queue = str(folder / "queue")
app = Celery("celery_app", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": queue,
        "data_folder_out": queue,
        "control_folder": str(folder / "control"),
    },
    task_ignore_result=True,
)
if os.environ.get("INSTALL"):
    from emitkit_logging.middleware.celery import install

    install()
ballast = []


@signals.setup_logging.connect
def configure(**_):
    """Configure logging in the worker, before it forks its processes."""
    handler = {"class": "emitkit_logging.EmitKitHandler", "spool": os.environ.get("SPOOL")}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"emitkit": handler},
            "root": {"level": "INFO", "handlers": ["emitkit"]},
        }
    )


@app.task
def job(number):
    """Log, and need 40 MB more memory each time."""
    ballast.append(bytearray(40_000_000))
    logging.getLogger("shop").info("done", extra={"event": f"job{number}"})
    with (folder / "ran").open("a") as file:
        file.write(f"{os.getpid()}\n")
