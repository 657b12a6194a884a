"""Request: what a web request tells of its page, its device and its server.

Pure, but for the number that it gives to a request that has none. The names are those of the seed document's *Rich
Metadata* and of the reference package's `EventContext`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

_UTM = ("source", "medium", "campaign", "term", "content")
_MOST_PARAMETERS = 100
_IN_A_PATH = "/:@!$&'()*+,;=~"
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")


def describe(
    *, method: str, scheme: str, host: str, path: str, query: str, header: Callable[[str], str | None]
) -> dict[str, dict[str, Any]]:
    """Return the context of a request: `page`, `device`, `server` and, where the query has any, `utm`.

    Args:
        method: such as `GET`.
        scheme: `http` or `https`.
        host: with the port, where it is not the usual one.
        path: decoded.
        query: as it was sent, without its `?`.
        header: returns a header's value by its name in lower case, or `None`.
    """
    search = f"?{query}" if query else ""
    page = {
        "url": f"{scheme}://{host}{quote(path, safe=_IN_A_PATH)}{search}",
        "host": host,
        "path": path,
        "protocol": scheme,
        "referrer": header("referer"),
        "search": search,
    }
    device = {"userAgent": header("user-agent"), "language": _language(header("accept-language"))}
    server = {"requestId": _request_id(header("x-request-id")), "method": method}
    context: dict[str, Mapping[str, str | None]]
    context = {"page": page, "device": device, "server": server, "utm": utm_of(query)}
    return {name: said for name, values in context.items() if (said := _present(values))}


def utm_of(query: str) -> dict[str, str | None]:
    """Return what a query says of the campaign that led here, by the names without `utm_`."""
    if "utm_" not in query:
        return {}
    try:
        asked = dict(reversed(parse_qsl(query, max_num_fields=_MOST_PARAMETERS, errors="replace")))
    except ValueError:  # more parameters than anybody means
        return {}
    return {name: asked.get(f"utm_{name}") for name in _UTM}


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _language(accepted: str | None) -> str | None:
    found = _LANGUAGE.match((accepted or "").strip())
    return found.group() if found else None


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class Told:
    """The context of one request, worked out when a record first asks for it, and kept.

    Args:
        describe: returns what the request tells; called once.
        know: returns what the framework has found out by now: `route` and `user_id`, either or none.
    """

    __slots__ = ("_base", "_describe", "_know", "_known", "_told")

    def __init__(
        self, describe: Callable[[], dict[str, dict[str, Any]]], know: Callable[[], dict[str, Any]] | None = None
    ) -> None:
        self._describe = describe
        self._know = know
        self._base: dict[str, dict[str, Any]] | None = None
        self._known: dict[str, Any] = {}
        self._told: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the context of this moment; what goes wrong with a request is no reason not to log."""
        if self._base is None:
            self._base = self._told = _tried(self._describe)
        if self._know is not None:
            known = _tried(self._know)
            if known != self._known:
                self._known = known
                self._told = _with(self._base, **known)
        return self._told


def _with(told: dict[str, Any], *, route: object = None, user_id: object = None) -> dict[str, Any]:
    result = dict(told)
    if route:
        result["server"] = {**told.get("server", {}), "route": str(route)}
    if user_id is not None:
        result["user_id"] = user_id
    return result


def _tried(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except Exception:
        return {}
