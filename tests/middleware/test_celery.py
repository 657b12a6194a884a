"""The Celery middleware: what travels with a message, and the context of the task that it starts."""

from __future__ import annotations

import json
import logging
import threading
import uuid

import celery
import pytest

from emitkit_logging import context
from emitkit_logging.middleware import celery as middleware
from tests.middleware.helpers import is_own, log


@pytest.fixture
def app():
    middleware.install()
    middleware.install()
    return celery.Celery("shop", broker="memory://", set_as_current=False)


def test_eager_task(app, collector):
    """A task that runs in the sending process has the sender's context, with its own on top."""

    @app.task(name="shop.work")
    def work():
        log.info("working")

    with context.scope({"tenant": "acme", "server": {"method": "GET"}}):
        done = work.apply(task_id="t-1")
        log.info("after")
    assert done.successful()
    mine = [server for server, event in zip(collector.parts(), collector.events, strict=True) if is_own(event)]
    assert mine == [{"method": "GET", "task": "shop.work", "taskId": "t-1"}, {"method": "GET"}]
    assert {event.metadata["tenant"] for event in collector.events} == {"acme"}


class Task:
    name = "shop.work"

    def __init__(self, **request):
        self.request = request


@pytest.mark.parametrize(
    ("request_", "tenant"),
    [
        ({"emitkit_context": '{"tenant": "acme"}'}, "acme"),
        ({"headers": {"emitkit_context": '{"tenant": "acme"}'}}, "acme"),
        ({"headers": None}, None),
        ({"emitkit_context": "{"}, None),
        ({"emitkit_context": "[]"}, None),
        ({"emitkit_context": 7}, None),
        ({"emitkit_context": "[" * 100_000}, None),
        ({"emitkit_context": json.dumps({"tenant": "x" * 20_000})}, None),
        ({"headers": ["x"]}, None),
        ({"emitkit_context": '{"tenant": "acme", "event": "forged", "identify": {"id": 1}}'}, "acme"),
    ],
)
def test_received_context(collector, request_, tenant):
    """The context of a message is used, in any version of the protocol. An invalid one is ignored."""
    middleware._begin("t-1", Task(**request_))
    log.info("working")
    middleware._end("t-1")
    middleware._end("t-1")
    (made,) = collector.events
    assert (made.metadata.get("tenant"), made.title, made.identities) == (tenant, "working", ())
    assert collector.parts() == [{"task": "shop.work", "taskId": "t-1"}]


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"tenant": "acme"}, {"tenant": "acme"}),
        ({"tenant": "x" * 7_000, "more": "y" * 7_000, "last": "z" * 7_000, "user_id": "u-1"}, {"user_id": "u-1"}),
        ({}, None),
        ({"user_id": uuid.UUID(int=7), "api_key": "k"}, {"user_id": str(uuid.UUID(int=7)), "api_key": "[redacted]"}),
        (
            {"page": {"url": "https://x/?token=t&a=1", "referrer": "https://x/?api_key=k", "path": "/"}},
            {
                "page": {
                    "url": "https://x/?token=[redacted]&a=1",
                    "referrer": "https://x/?api_key=[redacted]",
                    "path": "/",
                }
            },
        ),
    ],
)
def test_sent_context(values, sent):
    """The context is sent without secrets. Of one that is too large only the user is sent."""
    headers = {}
    with context.scope(values):
        middleware._publish(headers=headers)
        middleware._publish(headers=None)
    assert (json.loads(headers["emitkit_context"]) if headers else None) == sent


def test_one_task_in_two_threads(collector):
    """A task that is delivered again while it runs in another thread leaves no context in either thread."""
    begun, ended = threading.Event(), threading.Event()

    def run_again():
        begun.wait(10)
        middleware._begin("t-1", Task(emitkit_context='{"tenant": "acme"}'))
        ended.set()
        middleware._end("t-1")
        log.info("later")

    thread = threading.Thread(target=run_again)
    thread.start()
    middleware._begin("t-1", Task(emitkit_context='{"tenant": "acme"}'))
    begun.set()
    ended.wait(10)
    middleware._end("t-1")
    thread.join(10)
    log.info("later")
    assert collector.parts() == [None, None]


def test_failure(server, handler):
    """The record of a failed task has the traceback once, and no secret of the task's arguments."""
    app = celery.Celery("shop", broker="memory://", set_as_current=False)
    logger = logging.getLogger("celery.app.trace")

    @app.task(name="shop.login")
    def login(user, password=None, options=None):
        raise ValueError("no login " + "at all " * 20)

    made = handler()
    logger.addHandler(made)
    try:
        login.apply(args=("ada",), kwargs={"password": "hunter2", "options": {"api_key": "hunter3"}})
        login.apply(args=({"password": "hunter4", "name": "ada"},))
    finally:
        logger.removeHandler(made)
    made.close()
    for seen in server.requests:
        text = json.dumps(seen.body)
        assert "hunter" not in text
        assert text.count("Traceback (most recent call last)") == 1
        assert seen.body["metadata"]["data"]["name"] == "shop.login"
        assert "ada" in text
    assert server.occurrences() == 2
