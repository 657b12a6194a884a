"""The endpoints of the API: who may call them, and what they store. The generation decides and words the response."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from emitkit_logging.inbox.config import SCOPES
from emitkit_logging.inbox.emulation.base import EmulatedResponse, Generation, Operation, rate_headers
from emitkit_logging.inbox.emulation.current import Current
from emitkit_logging.inbox.emulation.refusals import Refusal
from emitkit_logging.inbox.http.creation import EventCreation
from emitkit_logging.inbox.http.current import CurrentEndpoints, Handler
from emitkit_logging.inbox.http.front import as_http
from emitkit_logging.inbox.http.mcp import McpEndpoint
from emitkit_logging.inbox.store.questions import Questions

if TYPE_CHECKING:
    from starlette.requests import Request

    from emitkit_logging.inbox.config import InboxConfig
    from emitkit_logging.inbox.emulation.limiter import Limiter
    from emitkit_logging.inbox.store.feed import Feed

_WRITE, _, _IDENTITIES = SCOPES


@dataclass
class _Key:
    scopes: frozenset[str]
    limiter: Limiter | None


class Api:
    """The endpoints that every generation has, and those of the current one.

    Args:
        feed: where they store.
        generation: decides and words the responses.
        config: the accepted keys, their rate limit, and the prefix of the paths.
        url: its address, to which answers link.
        questions: the events that wait for an answer.
        latency: returns the seconds that creating an event takes.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        feed: Feed,
        generation: Generation,
        config: InboxConfig,
        questions: Questions,
        *,
        url: str,
        latency: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._generation = generation
        self._prefix = config.prefix
        self._clock = clock
        limit, window = config.rate_limit, config.window
        self._keys = {
            key: _Key(scopes, generation.limiter(limit, window) if limit else None)
            for key, scopes in config.keys.items()
        }
        self._feed = feed
        self._creation = EventCreation(feed, generation, f"{url}/#", latency, clock)
        self._endpoints: dict[tuple[str, str], tuple[str, Handler, Operation]] = {}
        self._current = None
        if isinstance(generation, Current):
            self._current = CurrentEndpoints(feed, generation, config, questions)

    def routes(self) -> list[Route]:
        """Return the routes of the generation."""
        routes = [
            self._route("/v1/events", "POST", _WRITE, self._create_event),
            self._route("/v1/identify", "POST", _IDENTITIES, self._identify, "identify"),
        ]
        if self._current is not None:
            routes += [self._route(*endpoint) for endpoint in self._current.endpoints()]
            mcp = McpEndpoint(self._carry_out)
            routes.append(self._route("/mcp", "POST", "", mcp.respond))
            routes.append(Route(f"{self._prefix}/openapi.json", self._current.openapi, methods=["GET"]))
        self._routes = routes
        return routes

    def _route(self, path: str, method: str, scope: str, handle: Handler, operation: Operation = "event") -> Route:
        async def respond(request: Request) -> Response:
            return await self._respond(request, scope, handle, operation)

        self._endpoints[method, path] = scope, handle, operation
        route = Route(f"{self._prefix}{path}", respond, methods=[method])
        route.methods = {method}  # Starlette would answer HEAD wherever it answers GET
        return route

    async def not_found(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """Answer any other path or method."""
        request_id, path = str(uuid.uuid4()), request.scope["path"]
        if self._prefix and not path.startswith(f"{self._prefix}/"):
            return as_http(self._generation.outside_prefix(path, request_id))
        if allowed := self._methods(path):
            return as_http(self._generation.method_not_allowed(request.method, ", ".join(allowed), request_id))
        if path.endswith("/") and self._methods(path[:-1]):
            location = str(request.url.replace(scheme="", netloc="", path=request.url.path[:-1]))
            return as_http(self._generation.trailing_slash(location, request_id))
        return as_http(self._generation.not_found(request_id))

    def _methods(self, path: str) -> list[str]:
        """Return the methods that a path of the API has."""
        found = (route.methods or () for route in self._routes if route.path_regex.match(path))
        return sorted({method for methods in found for method in methods if method != "HEAD"})

    async def _respond(self, request: Request, scope: str, handle: Handler, operation: Operation) -> Response:
        generation = self._generation
        request_id = str(uuid.uuid4())
        rejected = generation.reject_early(request.headers.get("content-type", ""))
        if rejected is not None:
            return as_http(rejected)

        api_key = generation.api_key(request.headers)
        key = self._keys.get(api_key)
        if key is None:
            return as_http(generation.unauthorized(request_id))

        admission = key.limiter.admit(self._clock()) if key.limiter is not None else None
        if admission is not None and not admission.allowed:
            return as_http(generation.over_limit(admission, request_id))

        request.state.api_key = api_key
        response = await self._handle(request, request_id, scope, handle, operation)
        limits = {} if response.status == 413 else rate_headers(admission)  # a 413 has none, by the OpenAPI document
        return as_http(response.with_headers(limits))

    async def _handle(
        self, request: Request, request_id: str, scope: str, handle: Handler, operation: Operation
    ) -> EmulatedResponse:
        """Return the response to a request whose key is accepted and within its limit."""
        generation = self._generation
        try:
            if isinstance(generation, Current) and scope and scope not in self._keys[request.state.api_key].scopes:
                return generation.forbidden(scope, request_id)
            return await handle(request, request_id)
        except Refusal as refusal:
            return generation.refused(operation, refusal, request_id)
        except Exception:
            # The server's own loggers are silenced, and an error that nobody sees cannot be corrected.
            traceback.print_exc()
            return generation.crashed(operation, request_id)

    async def _carry_out(self, request: Request, endpoint: tuple[str, str]) -> EmulatedResponse:
        """Return the response of an endpoint to the call of a tool, which the rate limit has counted already."""
        scope, handle, operation = self._endpoints[endpoint]
        return await self._handle(request, str(uuid.uuid4()), scope, handle, operation)

    async def _create_event(self, request: Request, request_id: str) -> EmulatedResponse:
        body = await request.body()
        fields = self._generation.read("event", body, request.headers.get("content-type", ""))
        return await self._creation.create(fields, body, request.state.api_key, request.headers, request_id)

    async def _identify(self, request: Request, request_id: str) -> EmulatedResponse:
        generation = self._generation
        fields = generation.read("identify", await request.body(), request.headers.get("content-type", ""))
        identity = self._feed.identify(**fields, now=self._clock(), merge=generation.merges_properties)
        return generation.identified(identity, request_id)
