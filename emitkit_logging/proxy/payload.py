"""Payload: what a browser's events become as log records.

What stands in a payload was written by a stranger. It names an event and its properties, its page and its device; which
channel it goes to, how important it is and what EmitKit does with it are for the server to say.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from emitkit_logging import context
from emitkit_logging._api.limits import LONGEST_ID
from emitkit_logging._events import extras, inference
from emitkit_logging._events.captured import GUEST, GUEST_MARK
from emitkit_logging.proxy.request import Headers, Visit

MOST_BYTES = 64 * 1024
"""Bytes of a payload: what a browser lets a beacon have (Fetch standard, in-flight keepalive bytes)."""

MOST_EVENTS = 100
"""Events of a payload; the npm package sends 10 at most unless it is told otherwise."""

LONGEST_NAME = 255
"""Characters of an event's name; it is remembered for as long as the event waits."""

MOST_TRAITS_BYTES = 4 * 1024
"""Bytes of what an identify tells; it is remembered for as long as the user is."""

NOBODY = ""
"""The user that no browser can be."""

_LONGEST_CATEGORY = 64
_PARTS = ("page", "device", "utm", "server")
_PERSON = ("user", "user_id")
_CHANNEL, _NOTIFY = extras.OVERRIDES
_NAMES = ("email", "username", "name")

# what would break a line, move a terminal's cursor or turn a text around, and halves of characters
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

_log = logging.getLogger("emitkit_logging")

Enrich = Callable[[Visit], "Mapping[str, Any] | None"]


class PayloadError(ValueError):
    """A payload, or one of its events, that cannot be used; the message says why.

    Attributes:
        status: the HTTP status to refuse it with.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def ingest_proxy_events(
    payload: Mapping[str, Any] | str | bytes,
    *,
    logger: logging.Logger | str | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    client_ip: str | None = None,
    enrich_context: Enrich | Mapping[str, Any] | None = None,
    on_error: Callable[[Exception], object] | None = None,
    channels: Iterable[str] = (),
    source: object = None,
) -> int:
    """Log what a browser's `ProxyProvider` sent: each event as a record at INFO.

    One bad event costs no other. Nothing in a payload raises the level, chooses a channel that is not in `channels`, or
    reaches a channel of errors; its records wait behind the server's own.

    Args:
        payload: `{"events": [...]}`, as a dict or as JSON, at most 64 KB and 100 events.
        logger: the logger, or its name; `emitkit_logging.proxy` when absent.
        headers: of the request: `User-Agent` is told in `server`.
        client_ip: the browser's address. It is in the record as `device.ip`, which the handler never sends.
        enrich_context: a dict, or a function of the `Visit` that returns one: `page`, `device`, `utm`, `server`,
            `user`, `session_id`, `properties` that go over what the browser says. A `user` named here, or by the
            context around the call, is who did it, whomever the browser names. When it raises, nobody did.
        on_error: called with the exception of each event that could not be used, and of an `enrich_context` that
            raised; by default they are logged at DEBUG on the logger `emitkit_logging`.
        channels: the channels that `__emitkit_channel` may name; `__emitkit_notify` counts only with one of them.
        source: the framework's request, for `enrich_context`.

    Returns:
        How many events were logged, a `reset` being none.

    Raises:
        PayloadError: for a payload that is no such object or beyond its limits.
        TypeError: for an `enrich_context` that is asynchronous.
    """
    events = events_of(payload)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    visit = Visit(Headers(pairs or ()), client_ip, source)
    return replay(
        events,
        visit,
        logger=logger_of(logger),
        enrich=enrich_of(enrich_context),
        on_error=on_error,
        channels=frozenset(channels),
    )


def logger_of(logger: object) -> logging.Logger:
    """Return a logger from the option `logger`."""
    if logger is None:
        return logging.getLogger("emitkit_logging.proxy")
    if isinstance(logger, str):
        return logging.getLogger(logger)
    if isinstance(logger, logging.Logger):
        return logger
    raise TypeError(f"logger: must be a logger or its name, not {type(logger).__name__}")


def enrich_of(enrich: Enrich | Mapping[str, Any] | None) -> Enrich | Mapping[str, Any] | None:
    """Return the option `enrich_context`, which cannot be waited for: a log call waits for nothing."""
    if inspect.iscoroutinefunction(enrich):
        raise TypeError("enrich_context: must be a plain function, not an asynchronous one")
    return enrich


def events_of(payload: object) -> list[Any]:
    """Return the events of a payload.

    Raises:
        PayloadError: when it has none to tell, or too many.
    """
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes | bytearray):
        if len(payload) > MOST_BYTES:
            raise PayloadError(f"the payload has more than {MOST_BYTES} bytes", 413)
        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError):  # what is nested without end is no JSON of ours either
            raise PayloadError("the payload is no JSON") from None
    if not isinstance(payload, Mapping):
        raise PayloadError("the payload must be an object with a list named events")
    events = payload.get("events")
    if not isinstance(events, list):
        raise PayloadError("the payload has no list named events")
    if len(events) > MOST_EVENTS:
        raise PayloadError(f"the payload has {len(events)} events, more than {MOST_EVENTS}", 413)
    return events


def replay(
    events: list[Any],
    visit: Visit,
    *,
    logger: logging.Logger,
    enrich: Enrich | Mapping[str, Any] | None,
    on_error: Callable[[Exception], object] | None,
    channels: frozenset[str],
) -> int:
    """Log the events of a payload; see `ingest_proxy_events`."""

    def complain(error: Exception) -> None:
        if on_error is None:
            _log.debug("a browser's event could not be used: %s", error)
            return
        with suppress(Exception):  # whoever is told must not cost the other events either
            on_error(error)

    known: dict[str, Any] = {}
    around = context.current() or {}
    is_told = True
    try:
        known = _without_nobody((enrich(visit) if callable(enrich) else enrich) or {})
    except Exception as error:
        is_told = False  # who it is: so it may be anyone but the one who is claimed
        complain(error)
    if not any(key in known for key in _PERSON):
        known |= {key: around[key] for key in _PERSON if key in around}
    only = _who(known, is_told=is_told)
    told = 0
    # the page of the request that brings the events is not the page that they are about
    with context.within({key: value for key, value in around.items() if key not in (*_PARTS, *_PERSON)}):
        for event in events:
            try:
                extra = _extra(event, visit, known, only, channels)
                if extra is not None:
                    logger.info(extra.get("event", "identify"), extra=extra)
                    told += 1
            except Exception as error:  # noqa: PERF203 - enrich_context may add what logging forbids in extra
                complain(error)
    return told


def _without_nobody(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the application knows, of a user only one whom there is; an id of another type as its text."""
    found = dict(known)
    for key in _PERSON:
        if found.get(key) in (None, "", {}):
            found.pop(key, None)
    if "user_id" in found and not extras.is_id(found["user_id"]):
        found["user_id"] = str(found["user_id"])
    return found


def _who(known: dict[str, Any], *, is_told: bool) -> str | None:
    """Return the only user that a browser may say it is: `None` for anyone, `NOBODY` where that one has no id."""
    if is_told and not any(key in known for key in _PERSON):
        return None
    return context.person_id(known) or NOBODY


def _is_allowed(user_id: object, only: str | None) -> bool:
    return only is None or (user_id is not None and str(user_id) == only)


def _extra(
    event: Any, visit: Visit, known: dict[str, Any], only: str | None, channels: frozenset[str]
) -> dict[str, Any] | None:
    if not isinstance(event, dict):
        raise PayloadError("an event must be an object")
    kind = event.get("type")
    if kind == "track":
        said = _tracked(event.get("event"), event.get("context"), channels)
    elif kind == "pageView":
        said = {"event": inference.PAGE_VIEW, **_context(event.get("context"), _object(event.get("properties")))}
    elif kind == "identify":
        return {"identify": _identified(event, only), GUEST: GUEST_MARK}
    elif kind == "reset":
        return None  # the browser forgets its user; nothing here remembers it
    else:
        raise PayloadError(f"an event's type must be track, identify, pageView or reset, not {str(kind)[:40]!r}")
    return {**_around(said, visit, known, only), GUEST: GUEST_MARK}


def _tracked(event: object, said_context: object, channels: frozenset[str]) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise PayloadError("a track has no event")
    name = event.get("action")
    if isinstance(name, str):
        name = _UNPRINTABLE.sub(" ", name).strip()
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise PayloadError(f"an event's action must have 1 to {LONGEST_NAME} characters")
    properties = _object(event.get("properties"))
    said = {"event": name, **_context(said_context, properties)}
    category = event.get("category")
    # the npm package sends the name's first word; which category that means is decided here
    if isinstance(category, str) and category not in ("engagement", name.partition("_")[0]):
        said["category"] = category[:_LONGEST_CATEGORY]
    channel = properties.get(_CHANNEL)
    if isinstance(channel, str) and channel in channels:
        said[_CHANNEL] = channel
        if isinstance(properties.get(_NOTIFY), bool):
            said[_NOTIFY] = properties[_NOTIFY]
    if extras.is_number(event.get("timestamp")):
        said["properties"]["clientTimestamp"] = event["timestamp"]
    if _is_id(event.get("userId")):
        said["user_id"] = event["userId"]
    if _is_id(event.get("sessionId")):
        said["session_id"] = event["sessionId"]
    return said


def _context(said: object, properties: dict[str, Any]) -> dict[str, Any]:
    """Return what a browser may say of its context; a part that has no name of ours is a property like the others."""
    found = _object(said)
    found.pop("server", None)  # of the server, it is for the server to speak
    taken: dict[str, Any] = {part: found.pop(part) for part in _PARTS if isinstance(found.get(part), dict)}
    user = _object(found.pop("user", None))
    user_id = user.get("userId")
    if _is_id(user_id):
        taken["user"] = _person(user_id, {**_object(user.get("traits")), **_email(user)})
    taken["properties"] = _public({**found, **properties})
    return taken


def _email(user: dict[str, Any]) -> dict[str, Any]:
    return {"email": user["email"]} if isinstance(user.get("email"), str) else {}


def _identified(event: dict[str, Any], only: str | None) -> dict[str, Any]:
    user_id = event.get("userId")
    if not _is_id(user_id):
        raise PayloadError(f"an identify's userId must have 1 to {LONGEST_ID} characters")
    if not _is_allowed(user_id, only):
        raise PayloadError("an identify names another user than the one who is logged in")
    return _person(user_id, _object(event.get("traits")))


def _person(user_id: object, traits: dict[str, Any]) -> dict[str, Any]:
    traits = _public(traits)
    if len(json.dumps(traits)) > MOST_TRAITS_BYTES:
        traits = {name: traits[name] for name in _NAMES if _is_id(traits.get(name))}
    names = {name: traits.pop(name) for name in _NAMES if isinstance(traits.get(name), str)}
    return {"id": user_id, **names, "traits": traits}


def _around(said: dict[str, Any], visit: Visit, known: dict[str, Any], only: str | None) -> dict[str, Any]:
    """Put over what a browser says what its request shows, and over that what the application knows."""
    agent = visit.headers.get("user-agent")
    shown: dict[str, Any] = {
        "server": {"userAgent": agent} if agent else {},
        "device": {"ip": visit.client_ip} if visit.client_ip else {},
    }
    result = dict(said)
    for part in _PARTS:
        merged = {**said.get(part, {}), **_object(known.get(part)), **shown.get(part, {})}
        if merged:
            result[part] = merged
    for key in _PERSON:
        if key in said and not _is_allowed(context.person_id({key: said[key]}), only):
            del result[key]
    result["properties"] = {**said["properties"], **_object(known.get("properties"))}
    result.update((key, value) for key, value in known.items() if key not in (*_PARTS, "properties"))
    return result


def _public(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(extras.PRIVATE)}


def _object(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _is_id(value: object) -> bool:
    return extras.is_id(value) and 0 < len(str(value)) <= LONGEST_ID
