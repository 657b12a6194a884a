"""The endpoints that only the current generation has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from emitkit_logging.inbox.config import SCOPES
from emitkit_logging.inbox.emulation.base import EmulatedResponse, Operation
from emitkit_logging.inbox.emulation.current import Current, public
from emitkit_logging.inbox.http import openapi
from emitkit_logging.inbox.http.listing import read_listing
from emitkit_logging.inbox.store.questions import Questions

if TYPE_CHECKING:
    from starlette.requests import Request

    from emitkit_logging.inbox.config import InboxConfig
    from emitkit_logging.inbox.store.feed import Feed

Handler = Callable[["Request", str], Awaitable[EmulatedResponse]]
"""Takes a request and its id."""

_WRITE, _READ, _IDENTITIES = SCOPES


class CurrentEndpoints:
    """Lists, single events, channels, erasure and the description of the API key."""

    def __init__(self, feed: Feed, generation: Current, config: InboxConfig, questions: Questions) -> None:
        self._feed = feed
        self._generation = generation
        self._config = config
        self._questions = questions

    def endpoints(self) -> list[tuple[str, str, str, Handler, Operation]]:
        """Return the path, method, scope, handler and operation of each endpoint that needs an API key."""
        return [
            ("/v1/events", "GET", _READ, self._list_events, "list"),
            ("/v1/events/{event_id}", "GET", _READ, self._get_event, "get"),
            ("/v1/events/{event_id}/cancel", "POST", _WRITE, self._cancel_event, "cancel"),
            ("/v1/channels", "GET", _READ, self._list_channels, "channels"),
            ("/v1/identities/{user_id:path}", "DELETE", _IDENTITIES, self._erase, "erase"),
            ("/v1/me", "GET", "", self._me, "me"),
        ]

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document, which needs no API key."""
        base = f"{request.url.scheme}://{request.url.netloc}{self._config.prefix}"
        return JSONResponse(openapi.document(base, rate_limit=self._config.rate_limit))

    async def _list_events(self, request: Request, request_id: str) -> EmulatedResponse:
        self._questions.expire()
        listing = read_listing(request.query_params, self._number_of)
        found = self._feed.find(listing.query, listing.most + 1)
        cursor = found[listing.most - 1][1]["id"] if len(found) > listing.most else None
        events = [public(event) for _, event in found[: listing.most]]
        return self._generation.ok({"events": events, "nextCursor": cursor}, request_id)

    def _number_of(self, event_id: str) -> int | None:
        found = self._feed.event(event_id)
        return None if found is None else found[0]

    async def _get_event(self, request: Request, request_id: str) -> EmulatedResponse:
        self._questions.expire()
        found = self._feed.event(request.path_params["event_id"])
        return self._event(None if found is None else found[1], request_id)

    async def _cancel_event(self, request: Request, request_id: str) -> EmulatedResponse:
        self._questions.expire()
        return self._event(self._questions.cancel(request.path_params["event_id"]), request_id)

    def _event(self, event: dict[str, Any] | None, request_id: str) -> EmulatedResponse:
        if event is None:
            return self._generation.missing("event", request_id)
        return self._generation.ok(public(event), request_id)

    async def _list_channels(self, request: Request, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        return self._generation.ok({"channels": self._feed.channels}, request_id)

    async def _erase(self, request: Request, request_id: str) -> EmulatedResponse:
        erased = self._feed.erase(request.path_params["user_id"])
        if erased is None:
            return self._generation.missing("identity", request_id)
        kept = {"id": erased["id"], "userId": erased["userId"], "status": "erased"}
        counts = {"aliasesDeleted": len(erased["aliases"]), "productEventsDetached": 0}
        return self._generation.ok({**kept, **counts}, request_id)

    async def _me(self, request: Request, request_id: str) -> EmulatedResponse:
        scopes = self._config.keys[request.state.api_key]
        data = {
            "organization": {"id": "org_inbox", "name": "This machine"},
            "project": {"id": "project_inbox", "name": "EmitKit inbox"},
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "via": "api_key",
        }
        return self._generation.ok(data, request_id)
