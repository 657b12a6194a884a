"""What every request passes first: it is read, logged, made to fail if a fault is in force, and its response dated."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emitkit_logging.inbox.emulation import faults

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from emitkit_logging.inbox.emulation.base import EmulatedResponse, Generation
    from emitkit_logging.inbox.emulation.faults import Faults
    from emitkit_logging.inbox.store.recent import RequestLog


def as_http(response: EmulatedResponse) -> Response:
    """Return an emulated response as an HTTP response."""
    return Response(response.body, response.status, {"content-type": response.content_type, **response.headers})


class Front:
    """The outermost ASGI application.

    Args:
        app: the application behind it.
        generation: the server that is emulated.
        faults: what happens to requests to the API.
        requests: takes each request to the API, and any other that changes something but does not come from the page.
        prefix: the path below which everything is served.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        generation: Generation,
        *,
        faults: Faults,
        requests: RequestLog,
        prefix: str,
        clock: Callable[[], float],
    ) -> None:
        self._app = app
        self._generation = generation
        self._faults = faults
        self._requests = requests
        self._clock = clock
        self._api_path = f"{prefix}/v1/"
        self._page_path = f"{prefix}/_inbox/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived = time.monotonic()
        body, is_complete = await self._read(receive)
        request = _logged(scope, body, arrived)
        is_api = scope["path"].startswith(self._api_path)
        if is_api or (scope["method"] != "GET" and not scope["path"].startswith(self._page_path)):
            self._requests.add(request)
        if not is_complete:
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return unread.pop() if unread else await receive()

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                request["status"] = message["status"]
                # By the clock of the rate limit's reset, which clients compare with it.
                message["headers"].append((b"date", formatdate(self._clock(), usegmt=True).encode()))
            await send(message)

        app, answer = self._app, send_dated
        for fault in self._faults.count_request() if is_api else ():
            if fault.kind == faults.HANG:
                await asyncio.sleep(fault.number)
            elif fault.kind == faults.DROP_REQUEST:
                _disconnect(send)
                return
            elif fault.kind == faults.DROP_RESPONSE:
                answer = _discard
            elif fault.kind == faults.HTML:
                app = Response("<!doctype html><title>Welcome</title><h1>Welcome</h1>", media_type="text/html")
            else:
                app = as_http(self._generation.failing(int(fault.number), str(uuid.uuid4())))
        await app(scope, receive_again, answer)
        if answer is _discard:
            _disconnect(send)

    async def _read(self, receive: Receive) -> tuple[bytes, bool]:
        """Return at most one byte more of the body than the generation allows, and whether the body was complete.

        The body is read to its end: a response before that would break the connection before the client reads it.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body), False
            body += message.get("body", b"")[: self._generation.body_limit + 1 - len(body)]
            if not message.get("more_body", False):
                return bytes(body), True


def _logged(scope: Scope, body: bytes, arrived: float) -> dict[str, Any]:
    return {
        "method": scope["method"],
        "path": scope["path"],
        "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        "body": body,
        "status": None,
        "at": arrived,
    }


async def _discard(message: Message) -> None:
    """Send nothing."""


def _disconnect(send: Send) -> None:
    """Close the connection without a response. ASGI has no message for it, so uvicorn's own object is used."""
    cycle = getattr(send, "__self__", None)
    cycle.transport.abort()  # type: ignore[union-attr]
    cycle.disconnected = True  # type: ignore[union-attr]
