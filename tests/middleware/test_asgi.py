"""The ASGI middleware: coroutines, threads, streams, web sockets, and users of Starlette."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from emitkit_logging import bind_event_context, context
from emitkit_logging.middleware import asgi
from tests.middleware.helpers import is_own, log


class Backend(AuthenticationBackend):
    users = {"ada": SimpleUser("ada")}  # noqa: RUF012

    async def authenticate(self, conn):
        user = self.users.get(conn.query_params.get("user"))
        return None if user is None else (AuthCredentials(["authenticated"]), user)


class Numbered(BaseUser):
    is_authenticated = True
    id = 7


def ask(address, kind="http", *headers):
    """Send a request to `asgi_app`; return the first message of the response."""
    path_, _, query = address.partition("?")
    scope = {"type": kind, "path": path_, "query_string": query.encode(), "headers": [(b"host", b"x"), *headers]}
    scope |= {"scheme": "ws"} if kind == "websocket" else {"method": "GET"}
    coming = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}]
    sent = []

    async def receive():
        return coming.pop() if coming else await asyncio.sleep(3_600)

    async def send(message):
        sent.append(message)

    asyncio.run(asgi_app()(scope, receive, send))
    return sent[0]


def asgi_app():
    async def item(request):
        log.info("item")
        return PlainTextResponse("ok")

    def threaded(request):
        log.info("threaded")
        return PlainTextResponse("ok")

    async def stream(request):
        async def body():
            log.info("streamed")
            yield "ok"

        return StreamingResponse(body())

    async def socket(websocket):
        await websocket.accept()
        bind_event_context(tenant="acme")
        log.info("connected")
        await websocket.close()

    async def broken(request):
        raise RuntimeError("broken")

    Backend.users["numbered"] = Numbered()
    return Starlette(
        routes=[
            Route("/items/{number}", item),
            Mount("/sub", routes=[Route("/threaded", threaded), Route("/stream", stream)]),
            WebSocketRoute("/socket", socket),
            Route("/broken", broken),
        ],
        middleware=[
            Middleware(asgi.EventContextMiddleware),
            Middleware(AuthenticationMiddleware, backend=Backend()),
        ],
    )


def test_requests(collector):
    """Coroutines, threads and streams have the context, with a user who has an id, only a name, or is unknown."""
    for address in ("/items/3?user=numbered", "/items/4?user=ada", "/items/5", "/sub/threaded", "/sub/stream"):
        assert ask(address, "http", (b"x-request-id", b"r-1"))["status"] == 200
    events = list(filter(is_own, collector.events))
    assert [event.user_id for event in events] == ["7", "ada", None, None, None]
    pages = [event.metadata["page"]["path"] for event in events]
    assert pages == ["/items/3", "/items/4", "/items/5", "/sub/threaded", "/sub/stream"]
    assert {event.metadata["server"]["requestId"] for event in events} == {"r-1"}


def test_web_socket(collector):
    """A web socket has a context too, and may bind values to it."""
    assert ask("/socket?utm_source=mail", "websocket")["type"] == "websocket.accept"
    (event,) = filter(is_own, collector.events)
    assert (event.metadata["page"]["protocol"], event.metadata["tenant"]) == ("ws", "acme")
    assert event.metadata["utm"] == {"source": "mail"}


def test_exception(collector):
    """An exception that leaves the application has its request, wherever it is logged."""
    with pytest.raises(RuntimeError) as caught:
        ask("/broken")
    log.error("failed", exc_info=caught.value)
    assert collector.events[-1].metadata["page"]["path"] == "/broken"


def test_lifespan():
    """A message that is no request is passed on unchanged, without a context."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, context.current()))

    asyncio.run(asgi.EventContextMiddleware(app)({"type": "lifespan"}, None, None))
    assert seen == [({"type": "lifespan"}, None)]


@pytest.mark.parametrize(
    ("scope", "address"),
    [
        ({"server": ("10.0.0.1", 8000)}, "http://10.0.0.1:8000/a/b"),
        ({"server": ("/run/shop.sock", None)}, "http:///run/shop.sock/a/b"),
        ({"root_path": "/a", "path": "/a/b", "headers": [(b"host", b"x"), (b"host", b"y")]}, "http://x/a/b"),
        ({"root_path": "/root", "headers": [(b"host", b"x")], "scheme": "https"}, "https://x/root/a/b"),
        ({}, "http:///a/b"),
    ],
)
def test_addresses(scope, address):
    """The path of a mounted application may contain its root path or not. The first `Host` header counts."""
    described = asgi.describe({"type": "http", "method": "GET", "path": "/a/b", "headers": [], **scope})
    assert described["page"]["url"] == address


@pytest.mark.parametrize("option", ["lookup", "know"])
def test_lookup(collector, option):
    """`lookup` replaces the lookup of Starlette's route and user. Its old name `know` still works, with a warning."""

    async def app(scope, receive, send):
        log.info("inside")

    def make():
        return asgi.EventContextMiddleware(app, **{option: lambda scope: {"route": "/x", "user_id": 7}})

    if option == "know":
        with pytest.warns(DeprecationWarning, match="know is now called lookup"):
            middleware = make()
    else:
        middleware = make()
    asyncio.run(middleware({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None))
    assert collector.parts() == [{"method": "GET", "route": "/x"}]
    assert collector.events[0].user_id == "7"
