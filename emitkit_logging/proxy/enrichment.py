"""Merge the values of the server into the events of a browser. The values of the server win.

A browser may claim to be any user. The claim is used only when the server names no user itself. When `enrich_context`
raises, the server does not know the user, and no claim is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from emitkit_logging import context
from emitkit_logging._events import extras
from emitkit_logging.proxy.payload import PARTS, PayloadError, as_dict
from emitkit_logging.proxy.request import BrowserRequest

Enrich: TypeAlias = "Callable[[BrowserRequest], Mapping[str, Any] | None] | Mapping[str, Any]"
"""The option `enrich_context`."""

_USER = ("user", "user_id")
_NO_ID = ""
"""Stands for a user without an id. No browser's user id is equal to it."""


class ServerValues:
    """What the server knows of one request.

    Args:
        enriched: the values of `enrich_context`; `None` when it raised, so that the user is unknown.
        around: the context around the request to the endpoint. Its user counts when `enriched` names none.
    """

    __slots__ = ("_only_user", "_values")

    def __init__(self, enriched: Mapping[str, Any] | None, around: Mapping[str, Any]) -> None:
        values = _usable(enriched or {})
        if not _names_user(values):
            values |= {key: around[key] for key in _USER if key in around}
        is_anonymous = enriched is not None and not _names_user(values)
        self._values = values
        self._only_user = None if is_anonymous else context.person_id(values) or _NO_ID

    def check_identify(self, extra: Mapping[str, Any]) -> None:
        """Check the user of an identify.

        Raises:
            PayloadError: when it is another user than the one the server knows.
        """
        if not self._may_name(extra["identify"]["id"]):
            raise PayloadError("an identify names another user than the one who is logged in")

    def applied_to(self, extra: Mapping[str, Any], request: BrowserRequest) -> dict[str, Any]:
        """Return the values of an event with those of its request and of the server.

        Args:
            extra: the values of the event; a user that it must not name is left out.
            request: the request that brought the event.
        """
        result = {key: value for key, value in extra.items() if key not in _USER or self._may_claim(key, value)}
        shown = _shown(request)
        for part in PARTS:
            merged = {**extra.get(part, {}), **as_dict(self._values.get(part)), **shown.get(part, {})}
            if merged:
                result[part] = merged
        result["properties"] = {**extra["properties"], **as_dict(self._values.get("properties"))}
        result.update((key, value) for key, value in self._values.items() if key not in (*PARTS, "properties"))
        return result

    def _may_claim(self, key: str, value: object) -> bool:
        return self._may_name(context.person_id({key: value}))

    def _may_name(self, user_id: object) -> bool:
        return self._only_user is None or (user_id is not None and str(user_id) == self._only_user)


def without_request(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a context without those that describe its request: its parts and its user."""
    return {key: value for key, value in values.items() if key not in (*PARTS, *_USER)}


def _shown(request: BrowserRequest) -> dict[str, dict[str, str]]:
    """Return what the request itself shows of the browser."""
    agent = request.headers.get("user-agent")
    result = {"server": {"userAgent": agent}} if agent else {}
    return result | ({"device": {"ip": request.client_ip}} if request.client_ip else {})


def _names_user(values: Mapping[str, Any]) -> bool:
    return any(key in values for key in _USER)


def _usable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `enrich_context` without an empty user, and with a user id of another type as text."""
    result = {key: value for key, value in values.items() if key not in _USER or value not in (None, "", {})}
    if "user_id" in result and not extras.is_id(result["user_id"]):
        result["user_id"] = str(result["user_id"])
    return result
