"""A Celery application whose tasks send events and alerts, with the context of the code that sent them.

Celery configures the root logger of its workers by itself; a `setup_logging` handler replaces that configuration.

celery --workdir examples --app celery_app worker
python examples/celery_app.py                       sends three tasks, one of which fails
"""

import json
import logging.config
import os
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging

from emitkit_logging import event_context
from emitkit_logging.middleware.celery import install

folder = os.environ.get("CELERY_FOLDER", "/tmp")
options = {
    "data_folder_in": folder,
    "data_folder_out": folder,
    "control_folder": os.path.join(folder, "control"),
}
broker = os.environ.get("CELERY_BROKER", "filesystem://")
app = Celery("celery_app", broker=broker, broker_transport_options=options if broker == "filesystem://" else {})
install()
logger = logging.getLogger("tasks")


@setup_logging.connect
def configure(**_):
    logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text(encoding="utf-8")))


@app.task
def welcome(user):
    logger.info("user_welcomed", extra={"event": "user_welcomed", "category": "user", "user_id": user})


@app.task
def fail():
    raise RuntimeError("the task is broken")


if __name__ == "__main__":
    with event_context(user_id="ada", session_id="s-1", tenant="acme"):
        welcome.delay("ada")
        fail.delay()
    welcome.delay("bob")
