"""WSGI: the context of a request to any WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from emitkit_logging import context
from emitkit_logging.middleware import _request as request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class EventContextMiddleware:
    """Gives every record of a request its page, device, server and utm.

    Args:
        app: the application.
        know: returns, from the environ, what is known of the request by now: `route` and `user_id`, either or none;
            `None` where nothing can be told any more. It is called at each record, and must neither log nor wait.
    """

    def __init__(
        self, app: WSGIApplication, know: Callable[[WSGIEnvironment], Mapping[str, Any] | None] | None = None
    ) -> None:
        self._app = app
        self._know = know

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        know = self._know
        told = request.Told(lambda: describe(environ), None if know is None else lambda: know(environ))
        within = context.within(told)
        with within:
            body = self._app(environ, start_response)
        if isinstance(body, list | tuple) or type(body) is environ.get("wsgi.file_wrapper"):
            return body  # nothing of the application runs any more; a file is the server's to send
        return self._going_on(body, within)

    def _going_on(self, body: Iterable[bytes], within: context.within) -> Iterable[bytes]:
        """Return an answer of which pieces may yet be made, as one whose pieces are made in the request's context."""
        return _Body(body, within)


def describe(environ: WSGIEnvironment) -> dict[str, dict[str, Any]]:
    """Return what a WSGI request tells (PEP 3333: texts are bytes read as Latin-1)."""
    get = environ.get
    path = f"{get('SCRIPT_NAME', '')}{get('PATH_INFO', '')}"
    return request.describe(
        method=get("REQUEST_METHOD", ""),
        scheme=get("wsgi.url_scheme", "http"),
        host=get("HTTP_HOST") or f"{get('SERVER_NAME', '')}:{get('SERVER_PORT', '')}",
        path=path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace"),
        query=get("QUERY_STRING", ""),
        referrer=get("HTTP_REFERER"),
        user_agent=get("HTTP_USER_AGENT"),
        languages=get("HTTP_ACCEPT_LANGUAGE"),
        request_id=get("HTTP_X_REQUEST_ID"),
    )


class _Body:
    """An answer that is made while it is sent: what is logged then belongs to the request, too."""

    def __init__(self, body: Iterable[bytes], within: context.within) -> None:
        self._body = body
        self._within = within

    def __iter__(self) -> Iterator[bytes]:
        return self._within.each(self._body)

    def close(self) -> None:
        """Tell the application that its answer was sent, or is not wanted any more."""
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._within:
                close()
