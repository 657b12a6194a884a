"""Event context for the requests of any WSGI application."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from emitkit_logging import context
from emitkit_logging.middleware import _request as request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class EventContextMiddleware:
    """WSGI middleware that gives each record of a request its page, device, server and utm.

    Args:
        app: the application.
        lookup: takes the environ and returns what is known of the request by now: `route` and `user_id`, both
            optional, or `None` when that is not known any more. It is called for each record, and must neither log nor
            block.
        know: deprecated name of `lookup`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        lookup: request.Lookup[WSGIEnvironment] | None = None,
        *,
        know: request.Lookup[WSGIEnvironment] | None = None,
    ) -> None:
        self._app = app
        self._lookup = request.lookup_option(lookup, know)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request."""
        lookup = self._lookup
        scope = context.scope(
            request.RequestContext(lambda: describe(environ), None if lookup is None else lambda: lookup(environ))
        )
        with scope:
            body = self._app(environ, start_response)
        if isinstance(body, list | tuple) or type(body) is environ.get("wsgi.file_wrapper"):
            return body  # the response is complete; a file wrapper must reach the server unchanged
        return self._wrap(body, scope)

    def _wrap(self, body: Iterable[bytes], scope: context.scope) -> Iterable[bytes]:
        """Return a streamed body whose chunks are produced in the context of the request."""
        return _Body(body, scope)


def describe(environ: WSGIEnvironment) -> dict[str, dict[str, Any]]:
    """Return the context of a WSGI request."""
    get = environ.get
    path = f"{get('SCRIPT_NAME', '')}{get('PATH_INFO', '')}"
    return request.describe(
        method=get("REQUEST_METHOD", ""),
        scheme=get("wsgi.url_scheme", "http"),
        host=get("HTTP_HOST") or f"{get('SERVER_NAME', '')}:{get('SERVER_PORT', '')}",
        # PEP 3333: strings of the environ are bytes decoded as Latin-1
        path=path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace"),
        query=get("QUERY_STRING", ""),
        referrer=get("HTTP_REFERER"),
        user_agent=get("HTTP_USER_AGENT"),
        languages=get("HTTP_ACCEPT_LANGUAGE"),
        request_id=get("HTTP_X_REQUEST_ID"),
    )


class _Body:
    """A streamed response body. What is logged while it is produced and closed has the context of the request."""

    def __init__(self, body: Iterable[bytes], scope: context.scope) -> None:
        self._body = body
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        return self._scope.each(self._body)

    def close(self) -> None:
        """Close the body of the application, if it can be closed (PEP 3333)."""
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._scope:
                close()
