"""Version 2 of the proxy protocol, which the npm package `trakoo` sends, as events of version 1.

Its client keeps its events until it gets a 2xx, and then sends all of them again, however many there are. It reads
nothing else of a response. A payload over the limits is therefore read as far as they go, and never refused for them.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_BYTES = 256 * 1024
"""Most bytes of a payload that are read: the limit of the package's own server."""

MOST_DISCARDED = 8 * 1024 * 1024
"""Most bytes after them that are received and discarded, so that the browser gets the response."""

VERSION = 2

_OPENING = re.compile(rb'\s*\{\s*"version"\s*:\s*2\s*,\s*"events"\s*:\s*\[')
_SEPARATOR = re.compile(r"[\s,]*")
_PARTS = ("page", "utm", "device")
_LATEST = 4_102_444_800_000
"""Milliseconds: the year 2100. A browser's clock may show anything."""


def is_version_2(body: bytes) -> bool:
    """Whether a valid payload is of this version."""
    return _OPENING.match(body) is not None or _has_version(body)


def _has_version(body: bytes) -> bool:
    """Whether the version stands elsewhere than at the beginning, where the package puts it."""
    return b'"version"' in body and json.loads(body).get("version") == VERSION


def is_cut(body: bytes) -> bool:
    """Whether a body is the beginning of a payload of this version with more than `MAX_BYTES`."""
    return len(body) > MAX_BYTES and _OPENING.match(body) is not None


def events_of_cut(body: bytes, most: int) -> list[Any]:
    """Return the events, at most `most`, that are complete in a body for which `is_cut` is true."""
    opening = _OPENING.match(body)
    text = body[opening.end() if opening else 0 : MAX_BYTES].decode("utf-8", "ignore")
    decoder, at = json.JSONDecoder(), 0
    events: list[Any] = []
    while len(events) < most:
        found = _SEPARATOR.match(text, at)
        try:
            event, at = decoder.raw_decode(text, found.end() if found else at)
        except (ValueError, RecursionError):
            break
        events.append(event)
    return [as_version_1(event) for event in events]


def as_version_1(event: object) -> object:
    """Return an event of this version as one of version 1, with `occurredAt` besides.

    A track names no user here, and its context has page, utm and device only: the server knows the user.
    """
    if not isinstance(event, dict):
        return event
    converted = {**event, "context": _context(event.get("context"))}
    if event.get("type") == "track":
        converted["event"] = {
            "action": event.get("name"),
            "properties": _properties(event),
            "sessionId": event.get("sessionId"),
        }
    return converted


def occurred_at(event: dict[str, Any]) -> dict[str, float]:
    """Return when an event occurred, as the `extra` of a record; nothing where it is not known."""
    at = event.get("occurredAt")
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at <= _LATEST:
        return {"occurred_at": at / 1000}
    return {}


def _properties(event: dict[str, Any]) -> object:
    """Return the input of a track; one that is no object is the property `input`."""
    given = event.get("input") if event.get("inputProvided") is not False else None
    return given if isinstance(given, dict) or given is None else {"input": given}


def _context(context: object) -> dict[str, Any]:
    known = context if isinstance(context, dict) else {}
    return {part: known[part] for part in _PARTS if part in known}
