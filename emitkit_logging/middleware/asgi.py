"""ASGI: the context of a request to any ASGI application, Starlette and FastAPI among them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from emitkit_logging import context
from emitkit_logging.middleware import _request as request

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_READ = frozenset((b"host", b"referer", b"user-agent", b"accept-language", b"x-request-id"))


class EventContextMiddleware:
    """Gives every record of a request or a web socket its page, device, server, utm and, where known, its user.

    The route is that of Starlette and FastAPI, the user that of Starlette's `AuthenticationMiddleware`.

    Args:
        app: the application.
        know: returns, from the scope, what is known of the request by now: `route` and `user_id`, either or none;
            `None` where nothing can be told any more. It is called at each record, and must neither log nor wait.
    """

    def __init__(self, app: Application, know: Callable[[Scope], Mapping[str, Any] | None] | None = None) -> None:
        self._app = app
        self._know = know or _known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        know = self._know
        with context.within(request.Told(lambda: describe(scope), lambda: know(scope))):
            await self._app(scope, receive, send)


def describe(scope: Scope) -> dict[str, dict[str, Any]]:
    """Return what an ASGI request tells."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            headers.setdefault(name, value.decode("latin-1"))
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


def _known(scope: Scope) -> dict[str, Any]:
    known: dict[str, Any] = {}
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        known["route"] = route
    user = scope.get("user")
    if getattr(user, "is_authenticated", False):
        # a user without an identity says so by raising (Starlette's SimpleUser)
        for name in ("id", "identity", "username"):
            try:
                found = getattr(user, name)
            except Exception:  # noqa: S112
                continue
            if isinstance(found, str | int):
                known["user_id"] = found
                break
    return known
