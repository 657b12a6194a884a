"""Django: the context of a request, in `MIDDLEWARE`, for synchronous and asynchronous views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from emitkit_logging import context
from emitkit_logging.middleware._request import Told
from emitkit_logging.middleware._request import describe as describe_request

_OWNER = "a request to Django"

_Answer: TypeAlias = "HttpResponseBase | Awaitable[HttpResponseBase]"


class EventContextMiddleware:
    """Gives every record of a request its page, device, server (with the route), utm and user.

    The first of `MIDDLEWARE` sees most. The user is there once something has asked for `request.user`, since that
    question is a query of the database, which a log call must not cause.

    The context stays until the response is closed: Django logs a bad status (`django.request`) after all middleware.

    Args:
        get_response: what comes next.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], _Answer]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> _Answer:
        """Answer a request."""
        context.push(Told(lambda: describe(request), lambda: _known(request)), _OWNER)
        return self._get_response(request)


def _leave(**_: Any) -> None:
    context.pull(_OWNER)


request_finished.connect(_leave, dispatch_uid="emitkit_logging")


def describe(asked: HttpRequest) -> dict[str, dict[str, Any]]:
    """Return what a request to Django tells."""
    get = asked.META.get
    return describe_request(
        method=asked.method or "",
        scheme=asked.scheme or "http",
        host=get("HTTP_HOST") or get("SERVER_NAME", ""),
        path=asked.path,
        query=get("QUERY_STRING", ""),
        referrer=get("HTTP_REFERER"),
        user_agent=get("HTTP_USER_AGENT"),
        languages=get("HTTP_ACCEPT_LANGUAGE"),
        request_id=get("HTTP_X_REQUEST_ID"),
    )


def _known(asked: HttpRequest) -> dict[str, Any]:
    known: dict[str, Any] = {}
    match = asked.resolver_match
    if match is not None:
        known["route"] = match.route
    user: Any = asked.__dict__.get("user")
    if type(user) is SimpleLazyObject:
        found = asked.__dict__
        user = found.get("_cached_user") or found.get("_acached_user")
    if user is not None and user.is_authenticated:
        known["user_id"] = user.pk if isinstance(user.pk, str | int) else str(user.pk)
    return known
