"""Event context for Django requests, with synchronous and asynchronous views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from emitkit_logging import context
from emitkit_logging.middleware._request import RequestContext
from emitkit_logging.middleware._request import describe as describe_request

_OWNER = "emitkit_logging.middleware.django"

_Response: TypeAlias = "HttpResponseBase | Awaitable[HttpResponseBase]"


class EventContextMiddleware:
    """Django middleware that gives each record of a request its page, device, server (with the route), utm and user.

    Put it first in `MIDDLEWARE`, so that it covers the records of the others. The user is known once the application
    has read `request.user`: reading it causes a database query, which a log call must not do.

    The context stays until the response is closed, because Django logs an error status (`django.request`) after all
    middleware has returned.

    Args:
        get_response: the next middleware or the view.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], _Response]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> _Response:
        """Handle a request."""
        values = RequestContext(lambda: describe(request), lambda: _lookup(request))
        if not context.describe(values, _OWNER):
            context.push(values, _OWNER)
        return self._get_response(request)


def _begin(**_: Any) -> None:
    """Begin the request's context before its middleware runs, so that the order of the middleware does not matter."""
    context.pop(_OWNER)  # of a request that the server did not end
    context.push({}, _OWNER)


def _end(**_: Any) -> None:
    context.pop(_OWNER)


request_started.connect(_begin, dispatch_uid="emitkit_logging")
request_finished.connect(_end, dispatch_uid="emitkit_logging")


def describe(request: HttpRequest) -> dict[str, dict[str, Any]]:
    """Return the context of a Django request."""
    get = request.META.get
    return describe_request(
        method=request.method or "",
        scheme=request.scheme or "http",
        host=get("HTTP_HOST") or get("SERVER_NAME", ""),
        path=request.path,
        query=get("QUERY_STRING", ""),
        referrer=get("HTTP_REFERER"),
        user_agent=get("HTTP_USER_AGENT"),
        languages=get("HTTP_ACCEPT_LANGUAGE"),
        request_id=get("HTTP_X_REQUEST_ID"),
    )


def _lookup(request: HttpRequest) -> dict[str, Any]:
    known: dict[str, Any] = {}
    match = request.resolver_match
    if match is not None:
        known["route"] = match.route
    user: Any = request.__dict__.get("user")
    if type(user) is SimpleLazyObject:  # the user that Django has cached, without a query
        cached = request.__dict__
        user = cached.get("_cached_user") or cached.get("_acached_user")
    if user is not None and user.is_authenticated:
        known["user_id"] = user.pk if isinstance(user.pk, str | int) else str(user.pk)
    return known
