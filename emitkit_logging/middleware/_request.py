"""Derive the event context of a web request: its page, device, server and utm values.

The keys are those of the seed document's *Rich Metadata* and of the reference package's `EventContext`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, unquote_plus

_UTM = "utm_"
_UTM_NAMES = ("source", "medium", "campaign", "term", "content")
_SAFE_IN_PATH = "/:@!$&'()*+,;=~"
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_LANGUAGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)")

_Parts: TypeAlias = "dict[str, dict[str, Any]]"
_Request = TypeVar("_Request")
Lookup: TypeAlias = "Callable[[_Request], Mapping[str, Any] | None]"


def describe(
    *,
    method: str,
    scheme: str,
    host: str,
    path: str,
    query: str,
    referrer: str | None,
    user_agent: str | None,
    languages: str | None,
    request_id: str | None,
) -> _Parts:
    """Return the context of a request: `page`, `server`, and where known `device` and `utm`.

    Args:
        method: the HTTP method, such as `GET`.
        scheme: `http` or `https`.
        host: the host, with the port if it is not the default one.
        path: the decoded path.
        query: the query string as it was sent, without `?`.
        referrer, user_agent, languages, request_id: the headers `Referer`, `User-Agent`, `Accept-Language` and
            `X-Request-ID`, or `None`. A request without a valid id gets a random one.
    """
    page = _page(scheme, host, path, query, referrer)
    is_valid = request_id is not None and _REQUEST_ID.fullmatch(request_id)
    context = {
        "page": page,
        "server": {"requestId": request_id if is_valid else os.urandom(16).hex(), "method": method},
    }
    if device := _device(user_agent, languages):
        context["device"] = device
    if _UTM in query and (utm := utm_of(query)):
        context["utm"] = utm
    return context


def _page(scheme: str, host: str, path: str, query: str, referrer: str | None) -> dict[str, Any]:
    search = f"?{query}" if query else ""
    page = {"url": f"{scheme}://{host}{quote(path, safe=_SAFE_IN_PATH)}{search}", "host": host, "path": path}
    page["protocol"] = scheme
    if referrer:
        page["referrer"] = referrer
    if search:
        page["search"] = search
    return page


def _device(user_agent: str | None, languages: str | None) -> dict[str, Any]:
    device = {"userAgent": user_agent} if user_agent else {}
    language = _LANGUAGE.match(languages) if languages else None
    if language:
        device["language"] = language[1]
    return device


def utm_of(query: str) -> dict[str, str]:
    """Return the campaign parameters of a query, without `utm_` in their names. The first value of each counts."""
    found: dict[str, str] = {}
    for parameter in query.split("&"):
        if parameter.startswith(_UTM):
            name, _, value = parameter[len(_UTM) :].partition("=")
            if value and name in _UTM_NAMES:
                found.setdefault(name, unquote_plus(value))
    return found


class RequestContext:
    """The context of one request, as a function for `context.scope`.

    The description of the request is created when the first record asks for it, and then kept.

    Args:
        describe: returns the parts of the context that do not change; called once.
        lookup: returns what the framework knows by now: `route` and `user_id`, both optional. It is called for each
            record. `None` means that the framework does not know any more; the last result is kept.
    """

    __slots__ = ("_base", "_describe", "_lookup", "_resolved", "_values")

    def __init__(
        self, describe: Callable[[], _Parts], lookup: Callable[[], Mapping[str, Any] | None] | None = None
    ) -> None:
        self._describe = describe
        self._lookup = lookup
        self._base: _Parts | None = None
        self._resolved: dict[str, Any] = {}
        self._values: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the current context. An error in `describe` or `lookup` leaves values out and is not raised."""
        if self._base is None:
            self._base = self._values = _attempt(self._describe) or {}
        lookup = self._lookup
        if lookup is not None:
            resolved = _attempt(lambda: _resolve(lookup))
            if resolved is not None and resolved != self._resolved:
                self._resolved = resolved
                self._values = _combined(self._base, resolved)
        return self._values


def _combined(base: _Parts, resolved: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = dict(base)
    if "route" in resolved:
        result["server"] = {**base.get("server", {}), "route": resolved["route"]}
    if "user_id" in resolved:
        result["user_id"] = resolved["user_id"]
    return result


def _resolve(lookup: Callable[[], Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = lookup()
    if known is None:
        return None
    result: dict[str, Any] = {"route": str(known["route"])} if known.get("route") else {}
    user_id = known.get("user_id")
    if user_id is not None:
        result["user_id"] = user_id if type(user_id) in (str, int) else str(user_id)
    return result


def _attempt(function: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return function()
    except Exception:
        return None


def lookup_option(lookup: Lookup[_Request] | None, know: Lookup[_Request] | None) -> Lookup[_Request] | None:
    """Return the option `lookup`, which may still be given by its old name `know`."""
    if know is not None:
        warnings.warn(
            "EventContextMiddleware: the argument know is now called lookup", DeprecationWarning, stacklevel=3
        )
    return lookup or know
