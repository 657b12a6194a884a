"""The page and the data that it requests: for users of this machine, or with an API key where it is public."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from emitkit_logging._api.hosts import is_loopback
from emitkit_logging._api.text import replace_lone_surrogates
from emitkit_logging.inbox.emulation.javascript import parse
from emitkit_logging.inbox.emulation.refusals import Invalid, NotPending, NotWaiting
from emitkit_logging.inbox.masking import mask_keys
from emitkit_logging.inbox.store.event import least_level, level_of
from emitkit_logging.inbox.store.events import EventQuery

if TYPE_CHECKING:
    from starlette.requests import Request

    from emitkit_logging.inbox.config import InboxConfig
    from emitkit_logging.inbox.emulation.faults import Faults
    from emitkit_logging.inbox.store.feed import Feed
    from emitkit_logging.inbox.store.questions import Questions

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The Content-Security-Policy: no script runs but the page's own, and no other host is asked."""

NEWS_EVERY = 0.1
"""Seconds between two messages of the stream."""

MOST_NEWS = 100
"""Events in one message of the stream."""

LONGEST_SEARCH = 1_000
"""Characters of a text that is searched for; SQLite refuses patterns of more than 50,000 bytes."""

_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_DEFAULT_ROWS = 50
_MOST_ROWS = 200
_KEEP_ALIVE_EVERY = 15.0
_SCRIPTS = ("channels", "dom", "event", "feed", "fold", "format", "page", "question", "range", "state", "values")
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "page.svg": ("page.svg", "image/svg+xml"),
}
_SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_Respond = Callable[["Request"], Awaitable[Response]]


class PageAccess:
    """Who may use the page.

    Args:
        keys: the API keys, which open the page where it is public.
        is_public: whether other machines can reach the page.
    """

    def __init__(self, keys: tuple[str, ...], *, is_public: bool) -> None:
        self._keys = keys
        self._is_public = is_public

    def reject(self, request: Request) -> Response | None:
        """Return the response to a request that is not allowed, or `None`.

        Not allowed are other machines, unless they have a key, and other pages in a browser of this machine.
        """
        if self._is_public:
            if not self._has_key(request.headers.get("authorization", "")):
                challenge = {"WWW-Authenticate": 'Basic realm="EmitKit inbox: any name, and the API key"'}
                return _plain(401, "The password is the API key.", challenge)
        # A web page whose own name resolves to 127.0.0.1 reaches this port, but under that name.
        elif not _is_for_loopback(request):
            return _plain(403, "The inbox answers to loopback names only.")
        if request.method == "POST":
            return self._reject_post(request)
        return None

    def _reject_post(self, request: Request) -> Response | None:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
            return _plain(403, "Requests from another page are not allowed.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _plain(415, "Content-Type must be application/json.")
        return None

    def _has_key(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            password = base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return any(secrets.compare_digest(password, key.encode()) for key in self._keys)


def _is_for_loopback(request: Request) -> bool:
    """Whether a request has one `Host`, and that is loopback.

    The header itself is read: for a host that it cannot parse, Starlette returns the address of the socket.
    """
    hosts = request.headers.getlist("host")
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return found is not None and is_loopback(found[1])


class Page:
    """The page of a feed, on which API keys are never shown.

    Args:
        feed: what it shows.
        config: the API keys, the prefix of the paths, and what is shown of the rest.
        questions: what it answers.
        faults: what it shows and sets.
        is_closing: whether the server is about to end.
    """

    def __init__(
        self,
        feed: Feed,
        config: InboxConfig,
        questions: Questions,
        faults: Faults,
        *,
        is_closing: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._config = config
        self._questions = questions
        self._faults = faults
        self._is_closing = is_closing
        self._access = PageAccess(tuple(config.keys), is_public=config.is_public)

    def routes(self) -> list[Route]:
        """Return the routes of the page, its files and its data."""
        return [
            *(self._route(path, "GET", functools.partial(_file, *file)) for path, file in _FILES.items()),
            self._route("_inbox/events", "GET", self._all_events),
            self._route("_inbox/feed", "GET", self._rows),
            self._route("_inbox/stream", "GET", self._stream),
            self._route("_inbox/read", "POST", self._mark_read),
            self._route("_inbox/clear", "POST", self._clear),
            self._route("_inbox/events/{event_id}/answer", "POST", self._answer),
            self._route("_inbox/faults", "GET", self._get_faults),
            self._route("_inbox/faults", "POST", self._set_faults),
        ]

    def _route(self, path: str, method: str, respond: _Respond) -> Route:
        @functools.wraps(respond)
        async def guarded(request: Request) -> Response:
            response = self._access.reject(request) or await respond(request)
            response.headers.update(_SECURITY_HEADERS)
            return response

        return Route(f"{self._config.prefix}/{path}", guarded, methods=[method])

    async def _all_events(self, _: Request) -> Response:
        """Every event kept, oldest first, as `Inbox.events` has them."""
        return self._json({"events": self._feed.events})

    async def _rows(self, request: Request) -> Response:
        """The newest events, or those before one, that match the filters."""
        query = request.query_params
        if len(query.get("q", "")) > LONGEST_SEARCH:
            return self._json({"error": f"q must have at most {LONGEST_SEARCH} characters"}, 400)
        most = min(max(_whole(query.get("limit"), _DEFAULT_ROWS), 1), _MOST_ROWS)
        before = _whole(query.get("before"), 0)
        wanted = EventQuery(
            channel=query.get("channel") or None,
            level=least_level(query.get("level", "")),
            text=query.get("q", ""),
            since=_seconds(query.get("since")),
            until=_seconds(query.get("until")),
            before=before or None,
        )
        found = self._feed.find(wanted, most + 1)
        return self._json(
            {
                "events": [self._row(seq, event) for seq, event in found[:most]],
                "more": len(found) > most,
                "channels": self._feed.counts(),
                "newest": self._feed.newest,
                "generation": self._config.generation,
                "faults": self._faults.texts,
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
                if silent >= _KEEP_ALIVE_EVERY:
                    silent = 0.0
                    yield b":\n\n"
            else:
                news, seq, version, silent = *self._since(seq, version), 0.0
                yield b"event: news\nid: %d\ndata: %s\n\n" % (seq, self._encode(news))
            await asyncio.sleep(NEWS_EVERY)

    def _since(self, seq: int, version: int) -> tuple[dict[str, Any], int, int]:
        """Return what is new since an event and a version, and the newest event and version."""
        feed = self._feed
        now, newest = feed.version, feed.newest
        found = feed.find(EventQuery(after=seq), MOST_NEWS) if newest > seq else []
        changed = [] if version < 0 else [known for each in feed.updated_since(version) if (known := feed.event(each))]
        news = {
            "events": [self._row(number, event) for number, event in reversed(found)],
            "missed": newest - seq - len(found),
            "changed": [self._row(number, event) for number, event in changed if number <= seq],
            "channels": feed.counts(),
            "cleared": feed.cleared_at > version >= 0,
        }
        return news, newest, now

    async def _mark_read(self, request: Request) -> Response:
        body = await _body(request)
        channel, event_id = body.get("channel"), body.get("event")
        if isinstance(event_id, str):
            self._feed.mark_event_read(event_id)
        else:
            self._feed.mark_read(channel if isinstance(channel, str) else None)
        return Response(status_code=204)

    async def _clear(self, _: Request) -> Response:
        self._feed.clear()
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        body = await _body(request)
        event_id, action = request.path_params["event_id"], body.get("action")
        if not isinstance(action, str | None):
            return self._json({"error": "action must be a text"}, 400)
        try:
            event = self._questions.answer(event_id, action, body.get("values"))
        except (NotWaiting, NotPending) as error:
            return self._json({"error": str(error)}, 409)
        except Invalid as error:
            return self._json({"error": "The answer does not fit the question", "details": error.problems}, 400)
        found = self._feed.event(event_id)
        if event is None or found is None:
            return self._json({"error": "No such event"}, 404)
        return self._json(self._row(*found))

    async def _get_faults(self, _: Request) -> Response:
        return self._json({"faults": self._faults.texts})

    async def _set_faults(self, request: Request) -> Response:
        body = await _body(request)
        try:
            self._faults.texts = body.get("faults", [])
        except (ValueError, TypeError, AttributeError) as error:
            return self._json({"error": f"faults must be a list of texts: {error}"}, 400)
        return await self._get_faults(request)

    def _row(self, seq: int, event: dict[str, Any]) -> dict[str, Any]:
        return {"seq": seq, "level": level_of(event)[1], "isUnread": self._feed.is_unread(seq, event), **event}

    def _json(self, content: dict[str, Any], status: int = 200) -> Response:
        return Response(self._encode(content), status, media_type="application/json")

    def _encode(self, content: dict[str, Any]) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return mask_keys(text, self._config.keys).encode()


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else default


def _seconds(milliseconds: str | None) -> float | None:
    """Return Unix seconds of a parameter in milliseconds; `None` where it is none."""
    value = _whole(milliseconds, -1)
    return None if value < 0 else value / 1000


async def _file(name: str, media_type: str, _: Request) -> Response:
    file = files("emitkit_logging.inbox") / "static" / name
    return Response(file.read_bytes(), headers={"content-type": media_type})


async def _body(request: Request) -> dict[str, Any]:
    try:
        value = parse(await request.body())
    except Invalid:
        return {}
    if not isinstance(value, dict):
        return {}
    # neither the database nor a response takes half of a character
    cleaned: dict[str, Any] = json.loads(replace_lone_surrogates(json.dumps(value, ensure_ascii=False)))
    return cleaned


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status, headers, "text/plain")
