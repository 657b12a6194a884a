"""What is bound anywhere in a request reaches all of its records, in real frameworks and in any order of middleware."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import celery
import flask
import httpx
import pytest
from celery import signals
from fastapi import Depends, FastAPI, Request
from werkzeug.test import Client

from emitkit_logging import bind_event_context, context, event_context
from emitkit_logging.middleware import asgi
from emitkit_logging.middleware import celery as celery_middleware
from emitkit_logging.middleware.flask import install
from tests.middleware.helpers import is_own, log


def bound(collector) -> list[tuple[str, object, object]]:
    """Return of each record of the test its message, its tenant and its user."""
    own = [event for event in collector.events if is_own(event)]
    return [(event.title, event.metadata.get("tenant"), event.user_id) for event in own]


def get(app: FastAPI, *addresses: str) -> list[int]:
    """Send requests side by side; return their statuses."""

    async def main() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            return [each.status_code for each in await asyncio.gather(*map(client.get, addresses))]

    return asyncio.run(main())


def sync_dependency(request: Request):
    bind_event_context(tenant=request.query_params["tenant"])


async def async_dependency(request: Request):
    bind_event_context(tenant=request.query_params["tenant"])


def yielding_dependency(request: Request):
    bind_event_context(tenant=request.query_params["tenant"])
    yield
    log.info("after")


@pytest.mark.parametrize("dependency", [sync_dependency, async_dependency, yielding_dependency])
@pytest.mark.parametrize("is_outer", [True, False])
@pytest.mark.parametrize("view", ["sync", "async"])
def test_fastapi(collector, dependency, is_outer, view):
    """A dependency, in a thread or not, and an http middleware outside or inside of ours bind for the whole request."""
    app = FastAPI()
    if not is_outer:
        app.add_middleware(asgi.EventContextMiddleware)

    @app.middleware("http")
    async def authenticate(request, call_next):
        bind_event_context(user_id="u-" + request.query_params["tenant"])
        response = await call_next(request)
        log.info("answered")
        return response

    if is_outer:
        app.add_middleware(asgi.EventContextMiddleware)  # what is added later is outside

    @app.get("/sync", dependencies=[Depends(dependency)])
    def sync_view():
        log.info("viewed")

    @app.get("/async", dependencies=[Depends(dependency)])
    async def async_view():
        log.info("viewed")

    for tenant in ("acme", "bolt"):
        assert get(app, f"/{view}?tenant={tenant}") == [200]
    seen = bound(collector)
    assert [each for each in seen if each[0] == "viewed"] == [
        ("viewed", "acme", "u-acme"),
        ("viewed", "bolt", "u-bolt"),
    ]
    assert {each[1:] for each in seen if each[0] == "after"} <= {("acme", "u-acme"), ("bolt", "u-bolt")}
    assert {each[2] for each in seen if each[0] == "answered"} == {"u-acme", "u-bolt"}


def test_parallel_requests(collector):
    """Requests that run side by side have what was bound in each, and nothing of the others."""
    app = FastAPI()
    barrier = threading.Barrier(4)

    @app.get("/", dependencies=[Depends(sync_dependency)])
    def view():
        barrier.wait(30)
        log.info("viewed")

    app.add_middleware(asgi.EventContextMiddleware)
    assert get(app, *(f"/?tenant={number}" for number in range(4))) == [200] * 4
    assert sorted(each[1] for each in bound(collector)) == ["0", "1", "2", "3"]


def test_flask(collector):
    """So does `before_request` of Flask, and a streamed response has it, too."""
    app = flask.Flask(__name__)
    install(app)

    @app.before_request
    def bind():
        bind_event_context(tenant=flask.request.args["tenant"])

    @app.get("/")
    def view():
        log.info("viewed")

        def body():
            log.info("streamed")
            yield b"ok"

        return flask.Response(body())

    for tenant in ("acme", "bolt"):
        assert Client(app).get(f"/?tenant={tenant}").text == "ok"
    assert [each[:2] for each in bound(collector)] == [
        ("viewed", "acme"),
        ("streamed", "acme"),
        ("viewed", "bolt"),
        ("streamed", "bolt"),
    ]


def test_celery(collector):
    """A handler of `task_prerun` that is connected before ours binds for the task, and for no other."""
    app = celery.Celery("shop", broker="memory://", set_as_current=False)

    def bind(task_id, **_):
        bind_event_context(tenant=task_id)

    signals.task_prerun.disconnect(dispatch_uid="emitkit_logging")
    signals.task_prerun.connect(bind)
    celery_middleware.install()
    try:

        @app.task(name="shop.work")
        def work():
            log.info("worked")

        for task_id in ("acme", "bolt"):
            work.apply(task_id=task_id)
    finally:
        signals.task_prerun.disconnect(bind)
    log.info("outside")
    assert [each[:2] for each in bound(collector)] == [("worked", "acme"), ("worked", "bolt"), ("outside", None)]


def test_block_in_a_request(collector):
    """What is bound inside a `with` block of a request ends with the block, also where a thread binds it."""
    with context.scope({}):
        with event_context(step=1):
            contextvars.copy_context().run(lambda: bind_event_context(tenant="acme"))
            log.info("inside")
        log.info("outside")
    assert [each[:2] for each in bound(collector)] == [("inside", "acme"), ("outside", None)]


def test_tasks_without_a_request(collector):
    """Outside of requests, tasks that run side by side do not share what each binds."""

    async def work(tenant):
        bind_event_context(tenant=tenant)
        await asyncio.sleep(0)
        log.info("worked")

    async def main():
        await asyncio.gather(work("acme"), work("bolt"))
        log.info("outside")

    def run():
        bind_event_context(tenant="all")
        asyncio.run(main())

    contextvars.copy_context().run(run)
    assert [each[1] for each in bound(collector)] == ["acme", "bolt", "all"]


def test_binding_often():
    """Binding without end in one request keeps few parts, and the latest values."""
    with context.scope({}):
        for number in range(10_000):
            bind_event_context(**{f"key{number % 50}": number})
        values = context.current()
    assert values == {f"key{number % 50}": number for number in range(9_950, 10_000)}
