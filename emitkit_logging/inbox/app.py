"""The inbox as an ASGI application: a request in, the generation's answer out. Decisions are made elsewhere.

Needs the extra ``inbox``: import this module only where it is used.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emitkit_logging._api.contract import (
    LISTED,
    LONGEST_CHANNEL,
    LONGEST_IDEMPOTENCY_KEY,
    MOST_LISTED,
    Invalid,
    Problem,
    Refusal,
    Unstorable,
)
from emitkit_logging.inbox import faults, openapi
from emitkit_logging.inbox.faults import Faults
from emitkit_logging.inbox.generations import SCOPES, Answer, Call, Current, Generation, public, rate_headers
from emitkit_logging.inbox.idempotency import LIFETIME, IdempotencyKeys
from emitkit_logging.inbox.page import Page
from emitkit_logging.inbox.questions import Over, Questions

if TYPE_CHECKING:
    from starlette.datastructures import Headers, QueryParams
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from emitkit_logging.inbox.feed import Feed
    from emitkit_logging.inbox.limiter import Limiter

Journal = Callable[["dict[str, Any]"], None]
"""Called with each request to the API as it arrives; its `status`, `None` at first, is set when it is answered."""

_LOOK = 0.25
_Handle = Callable[["Request", str], Awaitable[Answer]]


def create_app(
    feed: Feed,
    generation: Generation,
    *,
    keys: Mapping[str, Iterable[str]],
    rate_limit: int = 100,
    window: float = 60.0,
    prefix: str = "",
    is_public: bool = False,
    latency: Callable[[], float] = lambda: 0.0,
    trouble: Faults | None = None,
    answered: Callable[[dict[str, Any]], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    journal: Journal = lambda _: None,
) -> ASGIApp:
    """Make the application that stores into `feed` what a server of `generation` would accept.

    Each of `keys` has the scopes given with it, and its own budget of `rate_limit` requests in `window` seconds
    (0: no limit). The API is served below the path `prefix`, the page at it; when the application `is_public`, the
    page asks for a key. `latency()` is asked for the seconds that creating an event takes, `clock` for the time in
    Unix seconds. `trouble` befalls requests to the API. `answered` is called with each event that stops to wait.
    `is_closing` ends what a reader of the page waits for.
    """
    trouble = trouble or Faults()
    questions = Questions(feed, answered, clock)
    limits = {
        key: _Key(frozenset(scopes), generation.limiter(rate_limit, window) if rate_limit else None)
        for key, scopes in keys.items()
    }
    api = _Api(feed, generation, limits, questions, prefix, rate_limit, latency, clock)
    page = Page(
        feed, generation, tuple(keys), questions, trouble, prefix=prefix, is_public=is_public, is_closing=is_closing
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.get_running_loop().create_task(_expire(questions))
        yield
        looking.cancel()

    app = Starlette(
        routes=[*api.routes(), *page.routes()],
        exception_handlers={404: api.not_found, 405: api.not_found, Exception: _crashed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return _Front(app, generation=generation, trouble=trouble, clock=clock, journal=journal, prefix=prefix)


async def _expire(questions: Questions) -> None:
    while True:
        questions.expire()
        await asyncio.sleep(_LOOK)


@dataclass
class _Key:
    scopes: frozenset[str]
    limiter: Limiter | None


class _Api:
    """The endpoints. `keys` has the accepted API keys."""

    def __init__(
        self,
        feed: Feed,
        generation: Generation,
        keys: Mapping[str, _Key],
        questions: Questions,
        prefix: str,
        rate_limit: int,
        latency: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._feed = feed
        self._generation = generation
        self._latency = latency
        self._clock = clock
        self._keys = keys
        self._questions = questions
        self._prefix = prefix
        self._rate_limit = rate_limit
        self._making: set[str] = set()
        self._answered: IdempotencyKeys[Answer] = IdempotencyKeys()
        for api_key, key, at, reply in feed.replies(clock() - LIFETIME):
            answer = Answer(reply["status"], base64.b64decode(reply["body"]))
            self._answered.remember(api_key, key, base64.b64decode(reply["fingerprint"]), at, answer)

    def routes(self) -> list[Route]:
        """Return the routes of the generation."""

        def route(path: str, method: str, scope: str, handle: _Handle, call: Call = "event") -> Route:
            async def respond(request: Request) -> Response:
                return await self._respond(request, scope, handle, call)

            # Starlette would answer HEAD wherever it answers GET
            each = Route(f"{self._prefix}{path}", respond, methods=[method])
            each.methods = {method}
            return each

        write, read, identities = SCOPES
        made = [
            route("/v1/events", "POST", write, self._create_event),
            route("/v1/identify", "POST", identities, self._identify, "identify"),
        ]
        if isinstance(self._generation, Current):
            made += [
                route("/v1/events", "GET", read, self._list_events),
                route("/v1/events/{event_id}", "GET", read, self._get_event),
                route("/v1/events/{event_id}/cancel", "POST", write, self._cancel_event),
                route("/v1/channels", "GET", read, self._list_channels),
                route("/v1/identities/{user_id:path}", "DELETE", identities, self._erase),
                route("/v1/me", "GET", "", self._me),
                Route(f"{self._prefix}/openapi.json", self._openapi, methods=["GET"]),
            ]
        return made

    async def not_found(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """Answer any other path or method."""
        request_id, path = str(uuid.uuid4()), request.url.path
        if self._prefix and not path.startswith(f"{self._prefix}/"):
            return as_response(self._generation.beside_the_api(path, request_id))
        return as_response(self._generation.not_found(request_id))

    async def _respond(self, request: Request, scope: str, handle: _Handle, call: Call) -> Response:
        generation = self._generation
        request_id = str(uuid.uuid4())
        turned_away = generation.at_the_door(request.headers.get("content-type", ""))
        if turned_away is not None:
            return as_response(turned_away)

        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        key = self._keys.get(secret.strip())
        if scheme.lower() != "bearer" or key is None:
            return as_response(generation.unauthorized(request_id))

        verdict = key.limiter.admit(self._clock()) if key.limiter is not None else None
        if verdict is not None and not verdict.allowed:
            return as_response(generation.over_limit(verdict, request_id))

        try:
            if isinstance(generation, Current) and scope and scope not in key.scopes:
                answer = generation.forbidden(scope, request_id)
            else:
                request.state.api_key = secret.strip()
                answer = await handle(request, request_id)
        except Refusal as refusal:
            answer = generation.refused(call, refusal, request_id)
        except Exception:
            # The server's own loggers are silenced, and an error that nobody sees cannot be mended.
            traceback.print_exc()
            answer = generation.crashed(call, request_id)
        return as_response(answer.with_headers(rate_headers(verdict)))

    async def _create_event(self, request: Request, request_id: str) -> Answer:
        body = await request.body()
        fields = self._generation.read("event", body, request.headers.get("content-type", ""))
        return await self._create(fields, body, request.state.api_key, request.headers, request_id)

    async def _identify(self, request: Request, request_id: str) -> Answer:
        generation = self._generation
        fields = generation.read("identify", await request.body(), request.headers.get("content-type", ""))
        identity = self._feed.identify(**fields, now=self._clock(), merge=generation.merges_properties)
        return generation.identified(identity, request_id)

    async def _list_events(self, request: Request, request_id: str) -> Answer:
        self._questions.expire()
        asked = self._page_of(request.query_params)
        most = asked.pop("most")
        found = self._feed.find(**asked, most=most + 1)
        cursor = found[most - 1][1]["id"] if len(found) > most else None
        events = [public(event) for _, event in found[:most]]
        return self._generation.told({"events": events, "nextCursor": cursor}, request_id)

    def _page_of(self, query: QueryParams) -> dict[str, Any]:
        problems: list[Problem] = []
        asked: dict[str, Any] = {"channel": query.get("channel"), "most": LISTED}
        if asked["channel"] is not None and not 1 <= len(asked["channel"]) <= LONGEST_CHANNEL:
            problems.append({"path": ["channel"], "message": f"Must have 1 to {LONGEST_CHANNEL} characters"})
        for name, at, number in (("since", "since", "after"), ("before", "until", "before")):
            if name in query:
                event = self._feed.event(query[name])
                moment = _moment(query[name])
                if event is not None:
                    asked[number] = event[0]
                elif moment is not None:
                    asked[at] = moment
                else:
                    problems.append({"path": [name], "message": "Must be an ISO 8601 date-time or an event's id"})
        if "limit" in query:
            limit = query["limit"]
            asked["most"] = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0
            if not 1 <= asked["most"] <= MOST_LISTED:
                problems.append({"path": ["limit"], "message": f"Must be a whole number from 1 to {MOST_LISTED}"})
        if problems:
            raise Invalid(problems)
        return asked

    async def _get_event(self, request: Request, request_id: str) -> Answer:
        self._questions.expire()
        found = self._feed.event(request.path_params["event_id"])
        return self._event(None if found is None else found[1], request_id)

    async def _cancel_event(self, request: Request, request_id: str) -> Answer:
        self._questions.expire()
        try:
            return self._event(self._questions.cancel(request.path_params["event_id"]), request_id)
        except Over as error:
            raise Invalid([{"path": ["id"], "message": str(error)}]) from None

    def _event(self, event: dict[str, Any] | None, request_id: str) -> Answer:
        if event is None:
            return _current(self._generation).no_such("event", request_id)
        return self._generation.told(public(event), request_id)

    async def _list_channels(self, request: Request, request_id: str) -> Answer:  # noqa: ARG002
        return self._generation.told({"channels": self._feed.channels}, request_id)

    async def _erase(self, request: Request, request_id: str) -> Answer:
        user_id = request.path_params["user_id"]
        if not self._feed.erase(user_id):
            return _current(self._generation).no_such("identity", request_id)
        return self._generation.told({"userId": user_id, "deleted": True}, request_id)

    async def _me(self, request: Request, request_id: str) -> Answer:
        scopes = self._keys[request.state.api_key].scopes
        told = {
            "organization": {"id": "org_inbox", "name": "This machine"},
            "project": {"id": "project_inbox", "name": "EmitKit inbox"},
            "scopes": [scope for scope in SCOPES if scope in scopes],
        }
        return self._generation.told(told, request_id)

    async def _openapi(self, request: Request) -> Response:
        base = f"{request.url.scheme}://{request.url.netloc}{self._prefix}"
        return JSONResponse(openapi.document(base, rate_limit=self._rate_limit))

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
        fingerprint, now = hashlib.sha256(body).digest(), self._clock()
        first = self._answered.begin(api_key, key, fingerprint, now)
        if first is not None:
            return first.with_headers({"X-Idempotent-Replay": "true"})
        try:
            answer = await self._store(fields, key, request_id)
        except BaseException:
            self._answered.abandon(api_key, key)
            raise
        self._answered.finish(api_key, key, answer)
        if self._feed.is_lasting:
            kept = {
                "fingerprint": base64.b64encode(fingerprint).decode(),
                "body": base64.b64encode(answer.body).decode(),
            }
            self._feed.keep_reply(api_key, key, now, {"status": answer.status, **kept})
        return answer

    async def _store(self, fields: dict[str, Any], key: str | None, request_id: str) -> Answer:
        channel, seconds = fields["channelName"], self._latency()
        if self._generation.makes_channels_in and not self._feed.has_channel(channel):
            if channel in self._making:
                raise Unstorable("duplicate key value violates unique constraint")
            self._making.add(channel)
            seconds = max(seconds, self._generation.makes_channels_in)
        try:
            if seconds:
                await asyncio.sleep(seconds)
            return self._add(fields, key, request_id)
        finally:
            self._making.discard(channel)

    def _add(self, fields: dict[str, Any], key: str | None, request_id: str) -> Answer:
        event = self._feed.add_event(
            fields,
            now=self._clock(),
            display_as=self._generation.display_as,
            most_bytes=self._generation.event_limit,
            idempotency_key=key,
        )
        return self._generation.created(event, request_id)


async def _crashed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    traceback.print_exception(error)
    return Response("The inbox failed; its terminal says why.\n", 500, media_type="text/plain")


def _current(generation: Generation) -> Current:
    assert isinstance(generation, Current)  # noqa: S101 - only it has these endpoints
    return generation


def _moment(text: str) -> float | None:
    try:
        # Python 3.10 reads three digits of a second or six, and no Z
        text = re.sub(r"\.(\d+)", lambda found: f".{found[1][:6]:0<6}", text.upper().replace("Z", "+00:00"))
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


def as_response(answer: Answer) -> Response:
    """Return an answer as HTTP."""
    return Response(answer.body, answer.status, {"content-type": answer.content_type, **answer.headers})


class _Front:
    """What stands before the application: reads the body, writes the request down, dates the response.

    And makes trouble, where it was asked for.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        generation: Generation,
        trouble: Faults,
        clock: Callable[[], float],
        journal: Journal,
        prefix: str,
    ) -> None:
        self._app = app
        self._generation = generation
        self._trouble = trouble
        self._clock = clock
        self._journal = journal
        self._api_path = f"{prefix}/v1/"
        self._page_path = f"{prefix}/_inbox/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
        is_api = scope["path"].startswith(self._api_path)
        if is_api or (scope["method"] != "GET" and not scope["path"].startswith(self._page_path)):
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

        app, answer = self._app, send_dated
        for fault in self._trouble.strike() if is_api else ():
            if fault.kind == faults.HANG:
                await asyncio.sleep(fault.number)
            elif fault.kind == faults.DROP_REQUEST:
                _break(send)
                return
            elif fault.kind == faults.DROP_RESPONSE:
                answer = _nowhere
            elif fault.kind == faults.HTML:
                app = Response("<!doctype html><title>Welcome</title><h1>Welcome</h1>", media_type="text/html")
            else:
                app = as_response(self._generation.failing(int(fault.number), str(uuid.uuid4())))
        await app(scope, receive_again, answer)
        if answer is _nowhere:
            _break(send)

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
            body += message.get("body", b"")[: self._generation.body_limit + 1 - len(body)]
            if not message.get("more_body", False):
                return bytes(body), True


async def _nowhere(message: Message) -> None:
    """Send nothing."""


def _break(send: Send) -> None:
    """Close the connection without an answer, which ASGI has no word for: `send` is a method of uvicorn's cycle."""
    cycle = getattr(send, "__self__", None)
    cycle.transport.abort()  # type: ignore[union-attr]
    cycle.disconnected = True  # type: ignore[union-attr]
