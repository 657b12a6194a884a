"""The guide for RQ: a worker with the settings of the page."""

from __future__ import annotations

from tests.stories.project import PATIENCE

PAGE = "guides/rq.md"
JOBS = """
import logging


def ship(order):
    logging.getLogger("orders").info("order_shipped", extra={"event": "order_shipped", "order": order})


def fail():
    raise RuntimeError("the job is broken")
"""
SEND = """
import os
import jobs
import redis
import rq

queue = rq.Queue("orders", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))
queue.enqueue(jobs.ship, 7)
queue.enqueue(jobs.fail)
"""


def test_rq(project, inbox, broker):
    """The event of a job and the exception of another arrive, although RQ runs no exit hooks."""
    project.write(PAGE, "settings.py")
    project.add("jobs.py", JOBS)
    project.run("python", "-c", SEND, REDIS_URL=broker)
    command = "rq worker --config settings --worker-class emitkit_logging.middleware.rq.Worker orders"
    with project.serve(PAGE, command, r"(Listening on) orders", REDIS_URL=broker, PYTHONPATH="."):
        event = inbox.wait_for(title="Order Shipped", timeout=PATIENCE)
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert (event["metadata"]["order"], event["metadata"]["server"]["queue"]) == (7, "orders")
    assert alert["metadata"]["exception"]["message"] == "the job is broken"
    assert len(inbox.events) == 2
