"""Event context for the requests of any ASGI application, such as Starlette and FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from emitkit_logging import context
from emitkit_logging.middleware import _request as request

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_HEADERS = frozenset((b"host", b"referer", b"user-agent", b"accept-language", b"x-request-id"))
_USER_IDS = ("id", "identity", "username")


class EventContextMiddleware:
    """ASGI middleware that gives each record of a request or a web socket its page, device, server, utm and user.

    By default the route is that of Starlette and FastAPI, and the user that of Starlette's `AuthenticationMiddleware`.

    Args:
        app: the application.
        lookup: takes the scope and returns what is known of the request by now: `route` and `user_id`, both optional,
            or `None` when that is not known any more. It is called for each record, and must neither log nor block.
        know: deprecated name of `lookup`.
    """

    def __init__(
        self,
        app: Application,
        lookup: request.Lookup[Scope] | None = None,
        *,
        know: request.Lookup[Scope] | None = None,
    ) -> None:
        self._app = app
        self._lookup = request.lookup_option(lookup, know) or _lookup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a web socket; pass on anything else."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        lookup = self._lookup
        with context.scope(request.RequestContext(lambda: describe(scope), lambda: lookup(scope))):
            await self._app(scope, receive, send)


def describe(scope: Scope) -> dict[str, dict[str, Any]]:
    """Return the context of an ASGI request."""
    headers = _headers(scope)
    host, port = scope.get("server") or ("", None)
    path, root = scope["path"], scope.get("root_path", "")
    return request.describe(
        method=scope.get("method", "GET"),
        scheme=scope.get("scheme", "http"),
        host=headers.get(b"host") or (host if port is None else f"{host}:{port}"),
        path=path if path.startswith(root) else f"{root}{path}",
        query=scope.get("query_string", b"").decode("latin-1"),
        referrer=headers.get(b"referer"),
        user_agent=headers.get(b"user-agent"),
        languages=headers.get(b"accept-language"),
        request_id=headers.get(b"x-request-id"),
    )


def _headers(scope: Scope) -> dict[bytes, str]:
    """Return the headers that are used here. The first of several with the same name counts."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS:
            headers.setdefault(name, value.decode("latin-1"))
    return headers


def _lookup(scope: Scope) -> dict[str, Any]:
    known: dict[str, Any] = {}
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        known["route"] = route
    user = scope.get("user")
    if getattr(user, "is_authenticated", False):
        user_id = next((found for name in _USER_IDS if (found := _user_attribute(user, name)) is not None), None)
        if user_id is not None:
            known["user_id"] = user_id
    return known


def _user_attribute(user: object, name: str) -> str | int | None:
    try:
        value = getattr(user, name)
    except Exception:  # Starlette's SimpleUser raises where it has no identity
        return None
    return value if isinstance(value, str | int) else None
