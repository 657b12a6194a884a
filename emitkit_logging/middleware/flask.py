"""Event context for Flask requests, with the user that Flask-Login has loaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import flask

from emitkit_logging import context
from emitkit_logging.middleware.wsgi import EventContextMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment


def install(app: flask.Flask) -> None:
    """Give each record of a request to `app` its page, device, server (with the route), utm and user.

    The user is known once the application has read Flask-Login's `current_user`.
    """
    app.wsgi_app = _Middleware(app.wsgi_app, _lookup)  # type: ignore[method-assign]
    app.after_request(_wrap_stream)


class _Middleware(EventContextMiddleware):
    def _wrap(self, body: Iterable[bytes], scope: context.scope) -> Iterable[bytes]:  # noqa: ARG002
        return body  # `_wrap_stream` wraps the responses that are streamed, which are few


def _wrap_stream(response: flask.Response) -> flask.Response:
    if response.is_streamed and not response.direct_passthrough:
        context.current()  # looks up the route and the user while Flask's request context still exists
        chunks: Any = response.response
        scope = context.scope(context.kept())
        response.response = scope.each(chunks)
        if hasattr(chunks, "close"):
            response.call_on_close(lambda: _close(scope, chunks))
    return response


def _close(scope: context.scope, chunks: Any) -> None:
    with scope:
        chunks.close()


def _lookup(environ: WSGIEnvironment) -> dict[str, Any] | None:
    # Werkzeug's own reference to the request: Flask's proxy objects cost as much as all of the rest
    request: Any = environ.get("werkzeug.request")
    if request is None:
        if not flask.has_request_context():  # Flask has ended it, while the response is still being sent
            return None
        request = flask.request
    known: dict[str, Any] = {}
    if request.url_rule is not None:
        known["route"] = request.url_rule.rule
    user_id = _user_id()
    if user_id is not None:
        known["user_id"] = user_id
    return known


def _user_id() -> object:
    """Return the id of the user that Flask-Login has loaded in this request, or `None`."""
    if "flask_login" not in sys.modules or not flask.has_app_context():
        return None
    user = flask.g.get("_login_user")
    return user.get_id() if user is not None and user.is_authenticated else None
