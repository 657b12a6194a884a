"""The inbox's page and what it asks for: for whoever is on this machine, or knows a key.

Needs the extra ``inbox``: import this module only where it is used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from emitkit_logging._api.contract import Invalid, parse
from emitkit_logging.inbox.feed import least_level, level_of
from emitkit_logging.inbox.hosts import is_loopback
from emitkit_logging.inbox.questions import Over

if TYPE_CHECKING:
    from starlette.requests import Request

    from emitkit_logging.inbox.faults import Faults
    from emitkit_logging.inbox.feed import Feed
    from emitkit_logging.inbox.generations import Generation
    from emitkit_logging.inbox.questions import Questions

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The Content-Security-Policy: nothing runs but the page's own file, and nothing leaves this machine."""

NEWS_EVERY = 0.1
"""Seconds between two messages of the stream."""

MOST_NEWS = 100
"""Events in one message of the stream."""

_MOST_ROWS = 200
_STILL_THERE = 15.0
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.svg": ("page.svg", "image/svg+xml"),
}
_SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_Respond = Callable[["Request"], Awaitable[Response]]


class Page:
    """The page of a feed. `keys` are never shown, and open the page where it is `is_public`."""

    def __init__(
        self,
        feed: Feed,
        generation: Generation,
        keys: tuple[str, ...],
        questions: Questions,
        trouble: Faults,
        *,
        prefix: str,
        is_public: bool,
        is_closing: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._generation = generation
        self._keys = keys
        self._questions = questions
        self._trouble = trouble
        self._prefix = prefix
        self._is_public = is_public
        self._is_closing = is_closing

    def routes(self) -> list[Route]:
        """Return the routes of the page, its files and its questions."""

        def route(path: str, method: str, respond: _Respond) -> Route:
            @functools.wraps(respond)
            async def admitted(request: Request) -> Response:
                response = self._turned_away(request) or await respond(request)
                response.headers.update(_SAFE)
                return response

            return Route(f"{self._prefix}/{path}", admitted, methods=[method])

        return [
            *(route(path, "GET", functools.partial(self._file, *told)) for path, told in _FILES.items()),
            route("_inbox/events", "GET", self._all_events),
            route("_inbox/feed", "GET", self._rows),
            route("_inbox/stream", "GET", self._stream),
            route("_inbox/read", "POST", self._read),
            route("_inbox/clear", "POST", self._clear),
            route("_inbox/events/{event_id}/answer", "POST", self._answer),
            route("_inbox/faults", "GET", self._faults),
            route("_inbox/faults", "POST", self._set_faults),
        ]

    def _turned_away(self, request: Request) -> Response | None:
        """Return the answer to a request that is not from here, or from another page in a browser that is."""
        if self._is_public:
            if not self._has_key(request.headers.get("authorization", "")):
                challenge = {"WWW-Authenticate": 'Basic realm="EmitKit inbox: any name, and the API key"'}
                return _plain(401, "The password is the API key.", challenge)
        # A web page whose own name resolves to 127.0.0.1 reaches this port, but under that name.
        elif not is_loopback(request.url.hostname or ""):
            return _plain(403, "The inbox answers to loopback names only.")
        if request.method == "POST":
            origin = request.headers.get("origin")
            if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
                return _plain(403, "Another page must not change anything here.")
            if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return _plain(415, "Content-Type must be application/json.")
        return None

    def _has_key(self, authorization: str) -> bool:
        scheme, _, told = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            password = base64.b64decode(told.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return any(secrets.compare_digest(password, key.encode()) for key in self._keys)

    async def _file(self, name: str, media_type: str, _: Request) -> Response:
        file = files("emitkit_logging.inbox") / "static" / name
        return Response(file.read_bytes(), headers={"content-type": media_type})

    async def _all_events(self, _: Request) -> Response:
        """Every event kept, oldest first, as `Inbox.events` has them."""
        return self._json({"events": self._feed.events})

    async def _rows(self, request: Request) -> Response:
        """The newest events, or those before one, that fit the filters."""
        query = request.query_params
        most = min(max(_whole(query.get("limit"), 50), 1), _MOST_ROWS)
        before = _whole(query.get("before"), 0)
        found = self._feed.find(
            channel=query.get("channel") or None,
            level=least_level(query.get("level", "")),
            text=query.get("q", ""),
            before=before or None,
            most=most + 1,
        )
        return self._json(
            {
                "events": [_row(seq, event) for seq, event in found[:most]],
                "more": len(found) > most,
                "channels": self._feed.counts(),
                "newest": self._feed.newest,
                "generation": self._generation.name,
                "faults": self._trouble.texts,
            }
        )

    async def _stream(self, request: Request) -> Response:
        """What is new, as server-sent events, at most ten times a second."""
        given = request.headers.get("last-event-id") or request.query_params.get("after")
        seq = min(_whole(given, self._feed.newest), self._feed.newest)
        return StreamingResponse(self._news(seq), headers={"content-type": "text/event-stream"})

    async def _news(self, seq: int) -> AsyncIterator[bytes]:
        version, silent = self._feed.version if seq == self._feed.newest else -1, 0.0
        yield b"retry: 1000\n\n"
        while not self._is_closing():
            if self._feed.version == version:
                silent += NEWS_EVERY
                if silent >= _STILL_THERE:
                    silent = 0.0
                    yield b":\n\n"
            else:
                news, seq, version, silent = *self._since(seq, version), 0.0
                yield b"event: news\nid: %d\ndata: %s\n\n" % (seq, self._masked(news))
            await asyncio.sleep(NEWS_EVERY)

    def _since(self, seq: int, version: int) -> tuple[dict[str, Any], int, int]:
        feed = self._feed
        now, newest = feed.version, feed.newest
        found = feed.find(after=seq, most=MOST_NEWS) if newest > seq else []
        changed = [] if version < 0 else [known for each in feed.updated_since(version) if (known := feed.event(each))]
        news = {
            "events": [_row(number, event) for number, event in reversed(found)],
            "missed": newest - seq - len(found),
            "changed": [_row(number, event) for number, event in changed if number <= seq],
            "channels": feed.counts(),
            "cleared": feed.cleared_at > version >= 0,
        }
        return news, newest, now

    async def _read(self, request: Request) -> Response:
        asked = await _body(request)
        channel = asked.get("channel")
        self._feed.read(channel if isinstance(channel, str) else None)
        return Response(status_code=204)

    async def _clear(self, _: Request) -> Response:
        self._feed.clear()
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        asked = await _body(request)
        event_id = request.path_params["event_id"]
        try:
            event = self._questions.answer(event_id, asked.get("action"), asked.get("values"))
        except Over as error:
            return self._json({"error": str(error)}, 409)
        except Invalid as error:
            return self._json({"error": "The answer does not fit the question", "details": error.problems}, 400)
        found = self._feed.event(event_id)
        if event is None or found is None:
            return self._json({"error": "No such event"}, 404)
        return self._json(_row(*found))

    async def _faults(self, _: Request) -> Response:
        return self._json({"faults": self._trouble.texts})

    async def _set_faults(self, request: Request) -> Response:
        asked = await _body(request)
        try:
            self._trouble.texts = asked.get("faults", [])
        except (ValueError, TypeError, AttributeError) as error:
            return self._json({"error": f"faults must be a list of texts: {error}"}, 400)
        return await self._faults(request)

    def _json(self, content: dict[str, Any], status: int = 200) -> Response:
        return Response(self._masked(content), status, media_type="application/json")

    def _masked(self, content: dict[str, Any]) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        for key in self._keys:
            text = text.replace(key, "[api key]")
        return text.encode()


def _row(seq: int, event: dict[str, Any]) -> dict[str, Any]:
    return {"seq": seq, "level": level_of(event)[1], **event}


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else otherwise


async def _body(request: Request) -> dict[str, Any]:
    try:
        value = parse(await request.body())
    except Invalid:
        return {}
    return value if isinstance(value, dict) else {}


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status, headers, "text/plain")
