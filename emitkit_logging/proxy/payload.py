"""Parse the events that a browser sent into the `extra` values of log records.

The functions here are pure. Anyone can send a payload, so it is untrusted. It chooses the name of an event, its
properties, its page and its device. The server chooses the channel, the level, and what EmitKit does with the event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.limits import LONGEST_ID
from emitkit_logging._events import extras, inference
from emitkit_logging.proxy import version2

MAX_BYTES = 64 * 1024
"""Most bytes of a payload: the limit of browsers for a beacon (Fetch standard, in-flight keepalive bytes)."""

MAX_EVENTS = 100
"""Most events of a payload. The npm package sends 10 at a time by default."""

MAX_NAME_LENGTH = 255
"""Most characters of an event's name. It is kept in memory while the event waits."""

MAX_TRAITS_BYTES = 4 * 1024
"""Most bytes of the traits of an identify, as JSON. They are kept in memory as long as the user is."""

PARTS = ("page", "device", "utm", "server")
"""Keys of an event's context that hold a dict each."""

_MAX_CATEGORY_LENGTH = 64
_CHANNEL, NOTIFY = extras.OVERRIDES
"""The keys by which a browser may choose a channel, and whether to push."""
_NAMES = ("email", "username", "name")

# control characters, line separators, characters that change the text direction, and lone surrogates
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


class PayloadError(ValueError):
    """A payload, or one of its events, is invalid. The message gives the reason.

    Attributes:
        status: the HTTP status of the response.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


# The payload


def take_events(payload: object) -> tuple[list[Any], int]:
    """Return the events of a payload, at most `MAX_EVENTS` and not yet checked, and how many are left out, at least.

    Args:
        payload: a mapping, or JSON as text or bytes. Of version 2, it may be the beginning of a payload that is longer
            than `version2.MAX_BYTES`.

    Raises:
        PayloadError: when the payload is invalid or, in version 1, has too many bytes or events.
    """
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes) and version2.is_cut(payload):
        return version2.events_of_cut(payload, MAX_EVENTS), 1  # how many follow is not known
    events = parse_payload(payload)
    return events[:MAX_EVENTS], max(0, len(events) - MAX_EVENTS)


def parse_payload(payload: object) -> list[Any]:
    """Return the events of a payload, not yet checked. Those of version 2 are returned as those of version 1.

    Args:
        payload: a mapping, or JSON as text or bytes.

    Raises:
        PayloadError: when the payload is invalid or, in version 1, has too many bytes or events.
    """
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes | bytearray):
        payload = _parse_json(payload)
    if not isinstance(payload, Mapping):
        raise PayloadError("the payload must be an object with a list named events")
    events = payload.get("events")
    if not isinstance(events, list):
        raise PayloadError("the payload has no list named events")
    version = payload.get("version", 1)
    if version == version2.VERSION:
        return [version2.as_version_1(event) for event in events]
    if version != 1 or version is True:
        raise PayloadError(f"the payload's version must be 1 or {version2.VERSION}, not {str(version)[:40]!r}")
    if len(events) > MAX_EVENTS:
        raise PayloadError(f"the payload has {len(events)} events, more than {MAX_EVENTS}", 413)
    return events


def _parse_json(payload: bytes | bytearray) -> object:
    if len(payload) > version2.MAX_BYTES:
        raise PayloadError(f"the payload has more than {MAX_BYTES} bytes", 413)
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):  # the parser raises RecursionError for deeply nested values
        parsed = None
        reason = "the payload is not valid JSON"
    else:
        reason = ""
    is_version_2 = isinstance(parsed, dict) and parsed.get("version") == version2.VERSION
    if len(payload) > MAX_BYTES and not is_version_2:
        raise PayloadError(f"the payload has more than {MAX_BYTES} bytes", 413)
    if reason:
        raise PayloadError(reason)
    return parsed


# One event


def parse_event(event: object, channels: frozenset[str]) -> dict[str, Any] | None:
    """Return the `extra` values of one event, or `None` for a `reset`, which logs nothing.

    Args:
        event: the event, as the npm package 0.14.5 sends it, or as `version2.as_version_1` returns it.
        channels: the channels that the browser may choose.

    Returns:
        For an identify, a dict with the key `identify` alone; for all other events also `event` and `properties`.

    Raises:
        PayloadError: when the event is invalid.
    """
    if not isinstance(event, dict):
        raise PayloadError("an event must be an object")
    kind = event.get("type")
    if kind == "track":
        return {**_track(event.get("event"), event.get("context"), channels), **version2.occurred_at(event)}
    if kind == "pageView":
        viewed = _context(event.get("context"), as_dict(event.get("properties")))
        return {"event": inference.PAGE_VIEW, **viewed, **version2.occurred_at(event)}
    if kind == "identify":
        return {"identify": _identify(event)}
    if kind == "reset":
        return None  # the browser forgets its user; the server keeps no state of it
    raise PayloadError(f"an event's type must be track, identify, pageView or reset, not {str(kind)[:40]!r}")


def _track(event: object, context: object, channels: frozenset[str]) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise PayloadError("a track has no event")
    name = _name(event.get("action"))
    properties = as_dict(event.get("properties"))
    result = {"event": name, **_context(context, properties), **_override(properties, channels)}
    category = event.get("category")
    # by default the npm package sends the first word of the name; the server then infers the category by itself
    if isinstance(category, str) and category not in ("engagement", name.partition("_")[0]):
        result["category"] = category[:_MAX_CATEGORY_LENGTH]
    if extras.is_number(event.get("timestamp")):
        result["properties"]["clientTimestamp"] = event["timestamp"]
    if _is_id(event.get("userId")):
        result["user_id"] = event["userId"]
    if _is_id(event.get("sessionId")):
        result["session_id"] = event["sessionId"]
    return result


def _name(action: object) -> str:
    name = _UNPRINTABLE.sub(" ", action).strip() if isinstance(action, str) else ""
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise PayloadError(f"an event's action must have 1 to {MAX_NAME_LENGTH} characters")
    return name


def _override(properties: dict[str, Any], channels: frozenset[str]) -> dict[str, Any]:
    """Return the channel that a browser chose, if it is allowed, and with it whether to push."""
    channel, notify = properties.get(_CHANNEL), properties.get(NOTIFY)
    if not isinstance(channel, str) or channel not in channels:
        return {}
    return {_CHANNEL: channel, NOTIFY: notify} if isinstance(notify, bool) else {_CHANNEL: channel}


def _context(context: object, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a browser's context. Keys that are not known here become properties."""
    rest = as_dict(context)
    rest.pop("server", None)  # a browser cannot describe the server
    result: dict[str, Any] = {part: rest.pop(part) for part in PARTS if isinstance(rest.get(part), dict)}
    user = as_dict(rest.pop("user", None))
    user_id = user.get("userId")
    if _is_id(user_id):
        email = {"email": user["email"]} if isinstance(user.get("email"), str) else {}
        result["user"] = _person(user_id, {**as_dict(user.get("traits")), **email})
    result["properties"] = _without_private({**rest, **properties})
    return result


# Users


def _identify(event: dict[str, Any]) -> dict[str, Any]:
    user_id = event.get("userId")
    if not _is_id(user_id):
        raise PayloadError(f"an identify's userId must have 1 to {LONGEST_ID} characters")
    return _person(user_id, as_dict(event.get("traits")))


def _person(user_id: object, traits: dict[str, Any]) -> dict[str, Any]:
    """Return a user without other names: an email that a page claims must not become an alias of its user."""
    traits = _without_private(traits)
    if len(json.dumps(traits)) > MAX_TRAITS_BYTES:
        traits = {name: traits[name] for name in _NAMES if _is_id(traits.get(name))}
    return {"id": user_id, "traits": traits}


def _is_id(value: object) -> bool:
    return extras.is_id(value) and 0 < len(str(value)) <= LONGEST_ID


def as_dict(value: object) -> dict[str, Any]:
    """Return a mapping as a new dict with text keys, and an empty dict for any other value."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _without_private(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(extras.PRIVATE)}
