"""Flask: the context of a request, and of the user that Flask-Login has loaded."""

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
    """Give every record of a request to `app` its page, device, server (with the route), utm and user.

    The user is there once something has asked for Flask-Login's `current_user`.
    """
    app.wsgi_app = _Middleware(app.wsgi_app, _known)  # type: ignore[method-assign]
    app.after_request(_go_on)


class _Middleware(EventContextMiddleware):
    def _going_on(self, body: Iterable[bytes], within: context.within) -> Iterable[bytes]:  # noqa: ARG002
        return body  # `_go_on` has seen to it, for the few answers of which it is true


def _go_on(response: flask.Response) -> flask.Response:
    if response.is_streamed and not response.direct_passthrough:
        context.current()  # asks what is known, while Flask has not put its request away
        pieces: Any = response.response
        within = context.within(context.kept())
        response.response = within.each(pieces)
        if hasattr(pieces, "close"):
            response.call_on_close(lambda: _close(within, pieces))
    return response


def _close(within: context.within, pieces: Any) -> None:
    with within:
        pieces.close()


def _known(environ: WSGIEnvironment) -> dict[str, Any] | None:
    # where Werkzeug keeps its request: asking Flask's proxies for the same costs as much as all the rest
    request: Any = environ.get("werkzeug.request")
    if request is None:
        if not flask.has_request_context():  # put away, while the answer is still sent
            return None
        request = flask.request
    known: dict[str, Any] = {}
    if request.url_rule is not None:
        known["route"] = request.url_rule.rule
    if "flask_login" in sys.modules and flask.has_app_context():
        user = flask.g.get("_login_user")  # where Flask-Login keeps whom it has loaded
        if user is not None and user.is_authenticated:
            known["user_id"] = user.get_id()
    return known
