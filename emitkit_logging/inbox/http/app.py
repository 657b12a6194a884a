"""The inbox as an ASGI application: the API and the page, behind what every request passes."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import Response

from emitkit_logging.inbox.emulation.generations import GENERATIONS
from emitkit_logging.inbox.http.api import Api
from emitkit_logging.inbox.http.front import Front
from emitkit_logging.inbox.http.page import Page
from emitkit_logging.inbox.store.questions import Questions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from emitkit_logging.inbox.config import InboxConfig
    from emitkit_logging.inbox.emulation.faults import Faults
    from emitkit_logging.inbox.store.feed import Feed
    from emitkit_logging.inbox.store.recent import RequestLog

_EXPIRE_EVERY = 0.25


def create_app(
    feed: Feed,
    config: InboxConfig,
    *,
    url: str,
    faults: Faults,
    requests: RequestLog,
    latency: Callable[[], float] = lambda: 0.0,
    on_end: Callable[[dict[str, Any]], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """Make the application.

    Args:
        feed: where it stores what a server would accept.
        config: how it answers.
        url: its address.
        faults: what happens to requests to the API.
        requests: takes each request to the API as it arrives; its `status` is set when it is answered.
        latency: returns the seconds that creating an event takes.
        on_end: called with each event that stops to wait for an answer.
        is_closing: whether the server is about to end, which ends the page's streams.
        clock: returns Unix seconds.
    """
    generation = GENERATIONS[config.generation]
    questions = Questions(feed, on_end, clock)
    api = Api(feed, generation, config, questions, url=url, latency=latency, clock=clock)
    page = Page(feed, config, questions, faults, is_closing=is_closing)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        expiring = asyncio.get_running_loop().create_task(_expire(questions))
        yield
        expiring.cancel()

    app = Starlette(
        routes=[*api.routes(), *page.routes()],
        exception_handlers={404: api.not_found, 405: api.not_found, Exception: _crashed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Front(app, generation, faults=faults, requests=requests, prefix=config.prefix, clock=clock)


async def _expire(questions: Questions) -> None:
    while True:
        questions.expire()
        await asyncio.sleep(_EXPIRE_EVERY)


async def _crashed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    traceback.print_exception(error)
    return Response("The inbox failed. The traceback is in its terminal.\n", 500, media_type="text/plain")
