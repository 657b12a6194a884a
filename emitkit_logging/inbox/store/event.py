"""A stored event: its fields, its level, and the text in which it is found."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from emitkit_logging._api.contract import waits
from emitkit_logging._api.limits import DEFAULT_WAIT
from emitkit_logging.inbox.emulation import javascript

EVENT_FIELDS = frozenset(
    {
        *("id", "channelId", "channelName", "createdAt", "title", "description", "icon", "tags"),
        *("metadata", "userId", "notify", "displayAs", "source", "actions", "fields", "expiresIn"),
        *("callbackUrl", "resume", "answer", "callback", "idempotencyKey"),
    }
)
"""The keys of a stored event: every field of a request, and what the server adds."""

_SEARCHED = 500
_LEVELS: dict[str, int] = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}


def new_event(
    fields: Mapping[str, Any],
    *,
    channel: Mapping[str, Any],
    user_id: str | None,
    display_as: str | None,
    answer_page: str,
    now: float,
) -> dict[str, Any]:
    """Return the event of a valid request, with every field of `EVENT_FIELDS` but `idempotencyKey`.

    Args:
        fields: the fields of the request.
        channel: the channel that it goes to.
        user_id: the id of the user whom it is about.
        display_as: how it is shown when the request does not have it.
        answer_page: the address of the page that answers an event, without the event's id.
        now: Unix seconds.
    """
    event = {
        "id": new_id("event"),
        "channelId": channel["id"],
        "channelName": channel["name"],
        "title": fields["title"],
        "description": fields.get("description"),
        "icon": fields.get("icon"),
        "tags": fields.get("tags", []),
        "metadata": fields.get("metadata", {}),
        "userId": user_id,
        "notify": fields.get("notify", True),
        "displayAs": fields.get("displayAs", display_as),
        "source": fields.get("source", "api"),
        "actions": fields.get("actions", []),
        "fields": fields.get("fields", []),
        "expiresIn": fields.get("expiresIn"),
        "callbackUrl": fields.get("callbackUrl"),
        "resume": fields.get("resume"),
        "answer": None,
        "callback": None,
        "createdAt": iso(now),
    }
    if waits(fields):
        event["expiresIn"] = fields.get("expiresIn", DEFAULT_WAIT)
        event["answer"] = _pending(f"{answer_page}{event['id']}", now + event["expiresIn"])
        event["callback"] = _callback(event["callbackUrl"])
    return event


def _pending(url: str, expires_at: float) -> dict[str, Any]:
    nothing = dict.fromkeys(("action", "values", "by", "at"))
    return {"status": "pending", "expiresAt": iso(expires_at), "url": url, **nothing}


def _callback(url: str | None) -> dict[str, Any] | None:
    if url is None:
        return None
    return {"url": url, "attempts": 0, "deliveredAt": None, "lastStatus": None}


def is_pending(event: Mapping[str, Any]) -> bool:
    """Whether a stored event waits for an answer now."""
    return event["answer"] is not None and event["answer"]["status"] == "pending"


def level_of(event: Mapping[str, Any]) -> tuple[int, str | None]:
    """Return the level of the log record that an event was made of, as number and name; 0 and `None` for others."""
    log = event["metadata"].get("log")
    name = log.get("level") if isinstance(log, dict) else None
    return (_LEVELS.get(name, 0), name) if isinstance(name, str) else (0, None)


def least_level(name: str) -> int:
    """Return the number of a level; 0 for any other name."""
    return _LEVELS.get(name.upper(), 0)


def searchable_text(event: Mapping[str, Any]) -> str:
    """Return the text in which an event is found, case folded: its own fields, then the start of its metadata."""
    own = (event["title"], event["description"] or "", event["userId"] or "", event["channelName"], *event["tags"])
    shown = "\n".join(own)[:_SEARCHED]
    return f"{shown}\n{javascript.to_text(event['metadata'])[:_SEARCHED]}".casefold()


def search_pattern(text: str) -> str | None:
    """Return the pattern of SQL's `LIKE` that finds `text` in a searchable text; `None` for no text."""
    if not text:
        return None
    escaped = text.casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def new_id(kind: str) -> str:
    """Return a new id of an event, a channel or an identity."""
    return f"{kind}_{uuid.uuid4().hex}"


def iso(seconds: float) -> str:
    """Return Unix seconds as the API writes a time: UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
