"""Celery takes over the root logger of its workers: hand it the configuration instead.

celery --workdir examples --app celery_app worker
"""

import json
import logging.config
import os
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging

folder = os.environ.get("CELERY_FOLDER", "/tmp")
app = Celery(
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": os.path.join(folder, "control"),
    },
)
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
