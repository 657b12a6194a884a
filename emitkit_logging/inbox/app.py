"""The inbox as an ASGI application: a request in, the generation's answer out. Decisions are made elsewhere.

Needs the extra ``inbox``: import this module only where it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from emitkit_logging.contract import LONGEST_IDEMPOTENCY_KEY, Invalid, Refusal
from emitkit_logging.inbox.generations import Answer, Call, Generation, rate_headers
from emitkit_logging.inbox.idempotency import IdempotencyKeys

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from emitkit_logging.inbox.feed import Feed
    from emitkit_logging.inbox.limiter import Limiter

Journal = Callable[["dict[str, Any]"], None]
"""Called with each request as it arrives; its `status`, `None` at first, is set when it is answered."""


def create_app(
    feed: Feed,
    generation: Generation,
    *,
    api_keys: Iterable[str],
    rate_limit: int = 100,
    window: float = 60.0,
    prefix: str = "",
    latency: Callable[[], float] = lambda: 0.0,
    clock: Callable[[], float] = time.time,
    journal: Journal = lambda _: None,
) -> Starlette:
    """Make the application that stores into `feed` what a server of `generation` would accept.

    Each of `api_keys` has its own budget of `rate_limit` requests in `window` seconds (0: no limit). The API
    is served below the path `prefix`. `latency()` is asked for the seconds that creating an event takes,
    `clock` for the time in Unix seconds.
    """
    limiters = {key: generation.limiter(rate_limit, window) if rate_limit else None for key in api_keys}
    api = _Api(feed, generation, limiters, prefix, latency, clock)
    app = Starlette(
        routes=[
            Route(f"{prefix}/v1/events", api.create_event, methods=["POST"]),
            Route(f"{prefix}/v1/identify", api.identify, methods=["POST"]),
            Route(f"{prefix}/_inbox/events", api.stored_events, methods=["GET"]),
        ],
        middleware=[Middleware(_Front, most_bytes=generation.body_limit, clock=clock, journal=journal)],
        exception_handlers={404: api.not_found, 405: api.not_found},
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    """The endpoints. `limiters` has the accepted API keys, each with its limiter."""

    def __init__(
        self,
        feed: Feed,
        generation: Generation,
        limiters: Mapping[str, Limiter | None],
        prefix: str,
        latency: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._feed = feed
        self._generation = generation
        self._latency = latency
        self._clock = clock
        self._limiters = limiters
        self._prefix = prefix
        self._answered: IdempotencyKeys[Answer] = IdempotencyKeys()

    async def create_event(self, request: Request) -> Response:
        """``POST /v1/events``."""
        return await self._respond(request, "event")

    async def identify(self, request: Request) -> Response:
        """``POST /v1/identify``."""
        return await self._respond(request, "identify")

    async def stored_events(self, request: Request) -> Response:
        """``GET /_inbox/events``: every event kept, oldest first, for whoever is on this machine."""
        # A web page whose own name resolves to 127.0.0.1 reaches this port, but under that name.
        if not is_loopback(request.url.hostname or ""):
            return Response("The inbox answers to loopback names only.\n", 403, media_type="text/plain")
        body = json.dumps({"events": self._feed.events}, ensure_ascii=False)
        for key in self._limiters:
            body = body.replace(key, "[api key]")
        return Response(body, media_type="application/json")

    async def not_found(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """Answer any other path or method."""
        request_id, path = str(uuid.uuid4()), request.url.path
        if self._prefix and not path.startswith(f"{self._prefix}/"):
            return _response(self._generation.beside_the_api(path, request_id))
        return _response(self._generation.not_found(request_id))

    async def _respond(self, request: Request, call: Call) -> Response:
        generation = self._generation
        request_id = str(uuid.uuid4())
        content_type = request.headers.get("content-type", "")
        turned_away = generation.at_the_door(content_type)
        if turned_away is not None:
            return _response(turned_away)

        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        api_key = key.strip()
        if scheme.lower() != "bearer" or api_key not in self._limiters:
            return _response(generation.unauthorized(request_id))

        now = self._clock()
        limiter = self._limiters[api_key]
        verdict = limiter.admit(now) if limiter is not None else None
        if verdict is not None and not verdict.allowed:
            return _response(generation.over_limit(verdict, request_id))

        try:
            body = await request.body()
            fields = generation.read(call, body, content_type)
            if call == "event":
                answer = await self._create(fields, body, api_key, request.headers, request_id)
            else:
                identity = self._feed.identify(**fields, now=now, merge=generation.merges_properties)
                answer = generation.identified(identity, request_id)
        except Refusal as refusal:
            answer = generation.refused(call, refusal, request_id)
        except Exception:
            # The server's own loggers are silenced, and an error that nobody sees cannot be mended.
            traceback.print_exc()
            answer = generation.crashed(call, request_id)
        return _response(answer.with_headers(rate_headers(verdict)))

    async def _create(
        self, fields: dict[str, Any], body: bytes, api_key: str, headers: Headers, request_id: str
    ) -> Answer:
        """Store the event of `fields`, or replay the answer to the first request with its idempotency key."""
        key = headers.get("idempotency-key")
        if key is None or not self._generation.keeps_idempotency:
            return await self._store(fields, key, request_id)
        if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY:
            raise Invalid(
                [{"path": ["Idempotency-Key"], "message": f"Must have 1 to {LONGEST_IDEMPOTENCY_KEY} characters"}]
            )
        first = self._answered.begin(api_key, key, hashlib.sha256(body).digest(), self._clock())
        if first is not None:
            return first.with_headers({"X-Idempotent-Replay": "true"})
        try:
            answer = await self._store(fields, key, request_id)
        except BaseException:
            self._answered.abandon(api_key, key)
            raise
        self._answered.finish(api_key, key, answer)
        return answer

    async def _store(self, fields: dict[str, Any], key: str | None, request_id: str) -> Answer:
        seconds = self._latency()
        if seconds:
            await asyncio.sleep(seconds)
        event = self._feed.add_event(
            fields,
            now=self._clock(),
            display_as=self._generation.display_as,
            most_bytes=self._generation.event_limit,
            idempotency_key=key,
        )
        return self._generation.created(event, request_id)


def _response(answer: Answer) -> Response:
    headers = {"content-type": answer.content_type, **answer.headers}
    return Response(answer.body, answer.status, headers)


def is_loopback(host: str) -> bool:
    """Say whether `host`, a name or an address without a port, is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Front:
    """The ASGI middleware before everything: reads the body, writes the request down, dates the response."""

    def __init__(self, app: ASGIApp, *, most_bytes: int, clock: Callable[[], float], journal: Journal) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._clock = clock
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        at = time.monotonic()
        body, complete = await self._read(receive)
        seen: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["path"],
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            "body": body,
            "status": None,
            "at": at,
        }
        self._journal(seen)
        if not complete:
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return unread.pop() if unread else await receive()

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                # Of the same clock as the rate limit's reset, which clients compare with it.
                message["headers"].append((b"date", formatdate(self._clock(), usegmt=True).encode()))
            await send(message)

        await self._app(scope, receive_again, send_dated)

    async def _read(self, receive: Receive) -> tuple[bytes, bool]:
        """Read the body to its end, keep one byte more than it may have, and say whether it was complete.

        Answering before all of it has been sent would break the connection before the client reads the
        answer.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body), False
            body += message.get("body", b"")[: self._most_bytes + 1 - len(body)]
            if not message.get("more_body", False):
                return bytes(body), True
