"""Request: what a web request tells of its page, its device and its server.

Pure, but for the number that it gives to a request that has none. The names are those of the seed document's *Rich
Metadata* and of the reference package's `EventContext`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote_plus

_UTM = "utm_"
_CAMPAIGN = ("source", "medium", "campaign", "term", "content")
_IN_A_PATH = "/:@!$&'()*+,;=~"
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_LANGUAGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)")


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
) -> dict[str, dict[str, Any]]:
    """Return the context of a request: `page`, `server` and, where there is any, `device` and `utm`.

    Args:
        method: such as `GET`.
        scheme: `http` or `https`.
        host: with the port, where it is not the usual one.
        path: decoded.
        query: as it was sent, without its `?`.
        referrer, user_agent, languages, request_id: the headers `Referer`, `User-Agent`, `Accept-Language` and
            `X-Request-ID`, or `None`; a request that brings no number is given one.
    """
    search = f"?{query}" if query else ""
    page = {"url": f"{scheme}://{host}{quote(path, safe=_IN_A_PATH)}{search}", "host": host, "path": path}
    page["protocol"] = scheme
    if referrer:
        page["referrer"] = referrer
    if search:
        page["search"] = search
    number = request_id if request_id and _REQUEST_ID.fullmatch(request_id) else os.urandom(16).hex()
    context = {"page": page, "server": {"requestId": number, "method": method}}
    device = {}
    if user_agent:
        device["userAgent"] = user_agent
    language = _LANGUAGE.match(languages) if languages else None
    if language:
        device["language"] = language[1]
    if device:
        context["device"] = device
    if _UTM in query and (utm := utm_of(query)):
        context["utm"] = utm
    return context


def utm_of(query: str) -> dict[str, str]:
    """Return what a query says of the campaign that led here, by the names without `utm_`; the first of each counts."""
    found: dict[str, str] = {}
    for parameter in query.split("&"):
        if parameter.startswith(_UTM):
            name, _, value = parameter[len(_UTM) :].partition("=")
            if value and name in _CAMPAIGN:
                found.setdefault(name, unquote_plus(value))
    return found


class Told:
    """The context of one request, worked out when a record first asks for it, and kept.

    Args:
        describe: returns what the request tells; called once.
        know: returns what the framework has found out by now: `route` and `user_id`, either or none; `None` where it
            cannot tell any more, so that what it told last stands.
    """

    __slots__ = ("_base", "_describe", "_know", "_known", "_told")

    def __init__(
        self,
        describe: Callable[[], dict[str, dict[str, Any]]],
        know: Callable[[], Mapping[str, Any] | None] | None = None,
    ) -> None:
        self._describe = describe
        self._know = know
        self._base: dict[str, dict[str, Any]] | None = None
        self._known: dict[str, Any] = {}
        self._told: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the context of this moment; what goes wrong with a request is no reason not to log."""
        if self._base is None:
            self._base = self._told = _tried(self._describe) or {}
        know = self._know
        if know is not None:
            known = _tried(lambda: _asked(know))
            if known is not None and known != self._known:
                self._known = known
                self._told = _with(self._base, known)
        return self._told


def _with(told: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(told)
    if "route" in known:
        result["server"] = {**told.get("server", {}), "route": known["route"]}
    if "user_id" in known:
        result["user_id"] = known["user_id"]
    return result


def _asked(know: Callable[[], Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = know()
    if known is None:
        return None
    found: dict[str, Any] = {"route": str(known["route"])} if known.get("route") else {}
    user_id = known.get("user_id")
    if user_id is not None:
        found["user_id"] = user_id if type(user_id) in (str, int) else str(user_id)
    return found


def _tried(ask: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return ask()
    except Exception:
        return None
