"""The OpenAPI description of the current generation: the contract's own schemas, and what is answered. Pure.

Requests are described by the rules that validate them, so that the two cannot differ; answers are described here, and
the tests hold the running server to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import emitkit_logging
from emitkit_logging._api.contract import (
    CURRENT,
    LISTED,
    LONGEST_CHANNEL,
    LONGEST_ID,
    LONGEST_IDEMPOTENCY_KEY,
    MOST_LISTED,
    WAITING_SECONDS,
    or_null,
)
from emitkit_logging.inbox.feed import EVENT_FIELDS
from emitkit_logging.inbox.generations import KIB, SCOPES, Current, public
from emitkit_logging.inbox.idempotency import LIFETIME

Schema = Mapping[str, Any]

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("validation_error", "The request breaks the contract; `details` says where. Sent again it is refused again."),
    401: ("unauthorized", "The API key is missing or wrong. Such a request does not count."),
    403: ("forbidden", "The API key lacks the scope that the operation needs."),
    404: ("not_found", "There is no such thing."),
    409: (
        "idempotency_conflict",
        "The Idempotency-Key belongs to a different request, or to one that is still running.",
    ),
    413: (
        "payload_too_large",
        f"The body is over {Current.body_limit // KIB} KiB, or the event over {Current.event_limit // KIB} KiB.",
    ),
    429: ("rate_limited", "The rate limit of this API key is used up."),
    500: ("internal_error", "The server failed. The request may be sent again with the same Idempotency-Key."),
}
"""What each status of an error means: its `code`, and a sentence."""

ANSWER_STATUSES = ("pending", "answered", "expired", "cancelled")
"""What may have become of an event that waits."""

_WRITE, _READ, _IDENTITIES = SCOPES

_TEXT: Schema = {"type": "string"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ANYTHING: Schema = {"type": "object"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(description: str, optional: Mapping[str, Schema] | None = None, /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
    }


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Schema:
    return _ref("schemas", name)


# Requests: the contract's schemas with a word on each field.

_EVENT_NOTES: Mapping[str, Schema] = {
    "channelName": {"description": "Where the event stands. The channel is made with its first event."},
    "title": {"description": "The event's headline."},
    "description": {"description": "What more there is to say."},
    "icon": {"description": "One emoji."},
    "tags": {"description": "Words to find the event by."},
    "metadata": {"description": "Any JSON; it counts into the size of the event."},
    "userId": {"description": "Whom the event is about: a user's id, or an alias, which is resolved."},
    "notify": {"description": "Whether devices are notified.", "default": True},
    "displayAs": {"description": "How the event is shown.", "default": Current.display_as},
    "source": {"description": "What sent the event.", "default": "api"},
    "actions": {"description": "Links (with a `url`), and buttons (with an `id`) that answer the event."},
    "fields": {"description": "What is asked of whoever answers."},
    "expiresIn": {
        "description": "Seconds for which the event waits. Only on an event that waits.",
        "default": WAITING_SECONDS,
    },
    "callbackUrl": {"description": "Where the answer is delivered, over https. Only on an event that waits."},
    "resume": {"description": "Comes back with the answer as it is. Only on an event that waits."},
}

_IDENTIFY_NOTES: Mapping[str, Schema] = {
    "userId": {"description": "The user's id."},
    "user_id": {"description": "The older name of `userId`."},
    "properties": {"description": "What is known of the user; added to what was known before."},
    "aliases": {"description": "Other names of the user. An alias moves to the user who named it last."},
}


def _noted(schema: Schema, notes: Mapping[str, Schema]) -> Schema:
    noted = {name: {**each, **notes[name]} for name, each in schema["properties"].items()}
    return {**schema, "properties": noted}


# Answers.

_EVENT_ADDS: Mapping[str, Schema] = {
    "id": {**_TEXT, "description": "The event's id."},
    "channelId": {**_TEXT, "description": "Its channel's id."},
    "createdAt": {**_MOMENT, "description": "When it was created."},
    "answer": {
        "description": "Null unless the event waits for an answer, or did.",
        **or_null(_schema("Answer")),
    },
    "callback": {"description": "Null without a `callbackUrl`.", **or_null(_schema("Callback"))},
}

_NO_DEFAULT = ("description", "icon", "expiresIn", "callbackUrl", "resume")


def _event() -> Schema:
    sent = {name: or_null(rule.schema) if name in _NO_DEFAULT else rule.schema for name, rule in CURRENT.event.items()}
    known = {**_EVENT_ADDS, **sent}
    told = sorted(public(dict.fromkeys(EVENT_FIELDS)), key=list(known).index)
    return _object(
        "An event as it is stored: null stands for what its request did not say.",
        **{name: known[name] for name in told},
    )


def _schemas() -> dict[str, Schema]:
    return {
        "EventRequest": _noted(CURRENT.event_schema, _EVENT_NOTES),
        "IdentifyRequest": _noted(CURRENT.identify_schema, _IDENTIFY_NOTES),
        "Event": _event(),
        "Answer": _object(
            "What became of an event that waits: `action` and `values` are null until it is answered.",
            status={"type": "string", "enum": list(ANSWER_STATUSES)},
            action=or_null(_TEXT),
            values=or_null(_ANYTHING),
            by=or_null(_TEXT),
            at=or_null(_MOMENT),
            expiresAt=_MOMENT,
        ),
        "Callback": _object(
            "How the delivery of the answer went.",
            url=_TEXT,
            attempts=_COUNT,
            deliveredAt=or_null(_MOMENT),
            lastStatus=or_null({"type": "integer"}),
        ),
        "Channel": _object(
            "A channel; its icon and description are those of its first event.",
            id=_TEXT,
            name=_TEXT,
            icon=or_null(_TEXT),
            description=or_null(_TEXT),
            createdAt=_MOMENT,
        ),
        "Identity": _object(
            "What is known of a user, and what became of the aliases of this request.",
            id=_TEXT,
            userId=_TEXT,
            properties=_ANYTHING,
            aliases=_object(
                "`failed` has those that are another user's id; absent when there are none.",
                {"failed": _list(_object("An alias and why it failed.", alias=_TEXT, reason=_TEXT))},
                created=_list(_TEXT),
            ),
            updatedAt=_MOMENT,
        ),
        "EventList": _object(
            "Events, newest first.",
            events=_list(_schema("Event")),
            nextCursor={**or_null(_TEXT), "description": "`before` for what follows; null at the end."},
        ),
        "ChannelList": _object("Channels, by name.", channels=_list(_schema("Channel"))),
        "Deletion": _object("An identity that is no more.", userId=_TEXT, deleted={"const": True}),
        "Me": _object(
            "What the API key belongs to, and what it may do.",
            organization=_object("The organization.", id=_TEXT, name=_TEXT),
            project=_object("The project.", id=_TEXT, name=_TEXT),
            scopes=_list({"type": "string", "enum": list(SCOPES)}),
        ),
        "Problem": _object(
            "One thing wrong with a request.",
            path=_list({"type": ["string", "integer"]}),
            message=_TEXT,
        ),
        "Error": _object(
            "Why a request was not carried out.",
            {"message": _TEXT, "details": _list(_schema("Problem"))},
            success={"const": False},
            error=_TEXT,
            code={"type": "string", "enum": [code for code, _ in ERRORS.values()]},
            requestId=_TEXT,
        ),
    }


_RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_ONLY_LIMITED = (*_RATE_HEADERS, "Retry-After")


def _headers() -> dict[str, Schema]:
    unix = {**_COUNT, "description": "Unix seconds."}
    return {
        "X-RateLimit-Limit": {"description": "Requests in a window.", "required": True, "schema": _COUNT},
        "X-RateLimit-Remaining": {"description": "Requests left in it.", "required": True, "schema": _COUNT},
        "X-RateLimit-Reset": {
            "description": "When the next window opens, by the server's clock: compare it with `Date`.",
            "required": True,
            "schema": unix,
        },
        "Retry-After": {
            "description": "Seconds to wait.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        },
        "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": {"const": "Bearer"}},
        "X-Idempotent-Replay": {
            "description": "Present when the answer is that to an earlier request with the same Idempotency-Key.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }


def _response(description: str, body: Schema, headers: tuple[str, ...]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description}
    if headers:
        response["headers"] = {name: _ref("headers", name) for name in headers}
    response["content"] = {"application/json": {"schema": body}}
    return response


def _error(status: int, rate_headers: tuple[str, ...]) -> dict[str, Any]:
    code, description = ERRORS[status]
    own: dict[str, Any] = {"properties": {"code": {"const": code}}}
    if code == "validation_error":
        own["required"] = ["details"]
    # What fails may be a proxy in front, which counts nothing.
    headers = {401: ("WWW-Authenticate",), 429: ("Retry-After", *rate_headers), 500: ()}.get(status, rate_headers)
    return _response(description, {"allOf": [_schema("Error"), own]}, headers)


# Operations.


def _cursor(name: str, where: str) -> Schema:
    return {
        "name": name,
        "in": "query",
        "description": f"Only events {where} this moment (ISO 8601), or {where} the event of this id.",
        "schema": {"anyOf": [_MOMENT, {"type": "string", "pattern": "^event_"}]},
    }


def _in_path(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


_EVENT_ID = _in_path("id", "The event's id.", {"type": "string", "minLength": 1})
_USER_ID = _in_path("user_id", "The user's id.", {"type": "string", "minLength": 1, "maxLength": LONGEST_ID})
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        f"For {LIFETIME / 3600:g} hours the same key with the same request gets the first answer again and creates "
        "nothing. Printable ASCII without a blank at either end."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_IDEMPOTENCY_KEY,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}
_LISTING: tuple[Schema, ...] = (
    {
        "name": "channel",
        "in": "query",
        "description": "Only events of the channel of this name.",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_CHANNEL},
    },
    _cursor("since", "after"),
    _cursor("before", "before"),
    {
        "name": "limit",
        "in": "query",
        "description": "How many events, at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
    },
)


class _Operations:
    """Makes operations whose answers carry `rate_headers`."""

    def __init__(self, rate_headers: tuple[str, ...]) -> None:
        self._rate_headers = rate_headers

    def __call__(
        self,
        operation_id: str,
        summary: str,
        scope: str,
        success: tuple[int, str, str],
        *,
        description: str = "",
        parameters: tuple[Schema, ...] = (),
        body: str = "",
        errors: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        links: Mapping[str, Schema] | None = None,
    ) -> dict[str, Any]:
        """Describe the operation that answers `success`: a status, the schema of its data and a sentence."""
        status, data, sentence = success
        answered = _object("What was asked for.", success={"const": True}, data=_schema(data), requestId=_TEXT)
        good = _response(sentence, answered, (*headers, *self._rate_headers))
        if links:
            good["links"] = links
        always = {401, *([403] if scope else []), *([429] if self._rate_headers else []), 500}
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "summary": summary,
            "description": " ".join(filter(None, [description, f"Needs the scope `{scope}`." if scope else ""])),
            "security": [{"bearerAuth": [scope] if scope else []}],
        }
        if parameters:
            operation["parameters"] = list(parameters)
        if body:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(body)}}}
        operation["responses"] = {
            str(status): good,
            **{str(each): _ref("responses", str(each)) for each in sorted({*always, *errors})},
        }
        return operation


def _paths(make: _Operations) -> dict[str, Any]:
    event_links = {
        name: {"operationId": name, "parameters": {"id": "$response.body#/data/id"}}
        for name in ("getEvent", "cancelEvent")
    }
    identity_link = {
        "deleteIdentity": {"operationId": "deleteIdentity", "parameters": {"user_id": "$response.body#/data/userId"}}
    }
    return {
        "/v1/events": {
            "post": make(
                "createEvent",
                "Create an event",
                _WRITE,
                (201, "Event", "The event was created."),
                parameters=(_IDEMPOTENCY_KEY,),
                body="EventRequest",
                errors=(400, 409, 413),
                headers=("X-Idempotent-Replay",),
                links=event_links,
            ),
            "get": make(
                "listEvents",
                "List events, newest first",
                _READ,
                (200, "EventList", "The events."),
                parameters=_LISTING,
                errors=(400,),
            ),
        },
        "/v1/events/{id}": {
            "get": make(
                "getEvent",
                "Get an event",
                _READ,
                (200, "Event", "The event."),
                parameters=(_EVENT_ID,),
                errors=(404,),
            )
        },
        "/v1/events/{id}/cancel": {
            "post": make(
                "cancelEvent",
                "Cancel an event that waits for an answer",
                _WRITE,
                (200, "Event", "The event waits no more."),
                description='An event that does not wait, or no longer, is a 400 with `details` on the path `["id"]`.',
                parameters=(_EVENT_ID,),
                errors=(400, 404),
            )
        },
        "/v1/channels": {
            "get": make("listChannels", "List channels, by name", _READ, (200, "ChannelList", "The channels."))
        },
        "/v1/identify": {
            "post": make(
                "identify",
                "Tell who a user is",
                _IDENTITIES,
                (200, "Identity", "What is known of the user."),
                body="IdentifyRequest",
                errors=(400, 413),
                links=identity_link,
            )
        },
        "/v1/identities/{user_id}": {
            "delete": make(
                "deleteIdentity",
                "Forget a user",
                _IDENTITIES,
                (200, "Deletion", "The identity and its aliases are gone."),
                parameters=(_USER_ID,),
                errors=(404,),
            )
        },
        "/v1/me": {"get": make("getMe", "Tell whose the API key is", "", (200, "Me", "Whose it is."))},
        "/openapi.json": {
            "get": {
                "operationId": "getOpenapi",
                "summary": "Get this document",
                "description": "It needs no API key and does not count.",
                "security": [],
                "responses": {"200": _response("This document.", _ANYTHING, ())},
            }
        },
    }


def document(url: str, *, rate_limit: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server at `url`, where a key has `rate_limit` requests (0: no limit)."""
    rate_headers = _RATE_HEADERS if rate_limit else ()
    statuses = [status for status in ERRORS if rate_limit or ERRORS[status][0] != "rate_limited"]
    limit = f"{rate_limit} requests in each window, over all operations." if rate_limit else "No rate limit."
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "EmitKit",
            "version": emitkit_logging.__version__,
            "summary": "EmitKit's HTTP API, as the local inbox of emitkit-logging speaks it.",
            "description": f"{limit} Unknown fields of a request are ignored.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "security": [{"bearerAuth": []}],
        "paths": _paths(_Operations(rate_headers)),
        "components": {
            "securitySchemes": {
                "bearerAuth": {"type": "http", "scheme": "bearer", "description": "An API key, `emitkit_…`."}
            },
            "schemas": _schemas(),
            "headers": {name: each for name, each in _headers().items() if rate_limit or name not in _ONLY_LIMITED},
            "responses": {str(status): _error(status, rate_headers) for status in statuses},
        },
    }
