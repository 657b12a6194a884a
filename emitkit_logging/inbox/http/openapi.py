"""The OpenAPI document of the current generation: operations, and what they return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emitkit_logging import __version__
from emitkit_logging._api.limits import LONGEST_CHANNEL, LONGEST_ID, LONGEST_IDEMPOTENCY_KEY
from emitkit_logging.inbox.config import SCOPES
from emitkit_logging.inbox.emulation.base import KIB
from emitkit_logging.inbox.emulation.current import CANCEL_CODES, CODES, DEFAULT_PAGE, LARGEST_PAGE, Current
from emitkit_logging.inbox.emulation.idempotency import LIFETIME
from emitkit_logging.inbox.http.schemas import (
    ANYTHING,
    COUNT,
    MOMENT,
    TEXT,
    Schema,
    object_schema,
    ref,
    schema_ref,
    schemas,
)

ERRORS: Mapping[int, str] = {
    400: "The request breaks the contract; `details` has each problem. Sent again it is refused again.",
    401: "The API key is missing or wrong. Such a request does not count towards the rate limit.",
    403: "The API key lacks the scope that the operation needs.",
    404: "There is no such event, identity or endpoint.",
    409: "The Idempotency-Key belongs to a different request, or to one that is still running.",
    413: f"The body is over {Current.body_limit // KIB} KiB, or the event over {Current.event_limit // KIB} KiB.",
    429: "The rate limit of this API key is used up.",
    500: "The server failed. The request may be sent again with the same Idempotency-Key.",
}
"""What each status of an error means."""

_WRITE, _READ, _IDENTITIES = SCOPES

_NOT_CANCELED = "NotCanceled"

_RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_ONLY_LIMITED = (*_RATE_HEADERS, "Retry-After")


def _headers() -> dict[str, Schema]:
    unix = {**COUNT, "description": "Unix seconds."}
    return {
        "X-RateLimit-Limit": {"description": "Requests in a window.", "required": True, "schema": COUNT},
        "X-RateLimit-Remaining": {"description": "Requests left in it.", "required": True, "schema": COUNT},
        "X-RateLimit-Reset": {
            "description": "When the next window starts, by the server's clock: compare it with `Date`.",
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
            "description": "Present when this is the response to an earlier request with the same Idempotency-Key.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }


def _response(description: str, body: Schema, headers: tuple[str, ...]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description}
    if headers:
        response["headers"] = {name: ref("headers", name) for name in headers}
    response["content"] = {"application/json": {"schema": body}}
    return response


def _error(status: int, rate_headers: tuple[str, ...]) -> dict[str, Any]:
    own: dict[str, Any] = {"properties": {"code": {"const": CODES[status]}}}
    more = {400: ["details"], 500: []}.get(status, ["message"])
    if more:
        own["required"] = more
    # A proxy in front may have failed, which has no rate limit.
    headers = {401: ("WWW-Authenticate",), 413: (), 429: ("Retry-After", *rate_headers), 500: ()}
    return _response(ERRORS[status], {"allOf": [schema_ref("Error"), own]}, headers.get(status, rate_headers))


def _not_canceled(rate_headers: tuple[str, ...]) -> dict[str, Any]:
    description = "`not_waiting`: the event asks nothing. `not_pending`: it was answered, or has expired."
    own = {"required": ["message"], "properties": {"code": {"enum": [*CANCEL_CODES.values()]}}}
    return _response(description, {"allOf": [schema_ref("Error"), own]}, rate_headers)


def _cursor(name: str, where: str) -> Schema:
    return {
        "name": name,
        "in": "query",
        "description": f"Only events {where} this moment (ISO 8601), or {where} the event of this id.",
        "schema": {"anyOf": [MOMENT, {"type": "string", "pattern": "^event_"}]},
    }


def _in_path(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


_EVENT_ID = _in_path("id", "The event's id.", {"type": "string", "minLength": 1})
_USER_ID = _in_path("user_id", "The user's id.", {"type": "string", "minLength": 1, "maxLength": LONGEST_ID})
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        f"For {LIFETIME / 3600:g} hours the same key with the same request gets the first response again and creates "
        "nothing. Printable ASCII without a space at either end."
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
        "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": DEFAULT_PAGE},
    },
)


_SECURITY: Mapping[str, Schema] = {
    "apiKeyBearer": {"type": "http", "scheme": "bearer", "description": "An API key, `emitkit_…`."},
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same API key."},
}


class _Operations:
    """Makes descriptions of operations whose responses have `rate_headers`."""

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
        own_errors: Mapping[int, str] | None = None,
        headers: tuple[str, ...] = (),
        links: Mapping[str, Schema] | None = None,
    ) -> dict[str, Any]:
        """Return the description of an operation.

        Args:
            operation_id: its name.
            summary: a few words.
            scope: the scope that it needs, or nothing.
            success: the status of a success, the name of its data's schema, and a sentence.
            description: further sentences.
            parameters: of its path and query.
            body: the name of the schema of its body, or nothing.
            errors: the statuses of its errors, without those that every operation has.
            own_errors: statuses that mean something else than elsewhere, with the names of their responses.
            headers: of a success, without `rate_headers`.
            links: to other operations.
        """
        status, data, sentence = success
        envelope = object_schema("The result.", success={"const": True}, data=schema_ref(data), requestId=TEXT)
        good = _response(sentence, envelope, (*headers, *self._rate_headers))
        if links:
            good["links"] = links
        named = {status: str(status) for status in errors} | dict(own_errors or {})
        always = {401, *([403] if scope else []), *([429] if self._rate_headers else []), 500}
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "summary": summary,
            "description": " ".join(filter(None, [description, f"Needs the scope `{scope}`." if scope else ""])),
            "security": [{scheme: []} for scheme in _SECURITY],
        }
        if parameters:
            operation["parameters"] = list(parameters)
        if body:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_ref(body)}}}
        operation["responses"] = {
            str(status): good,
            **{str(each): ref("responses", named.get(each, str(each))) for each in sorted({*always, *named})},
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
                body="CreateEventRequest",
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
                (200, "Event", "The event no longer waits."),
                description="An event that was canceled before is returned again.",
                parameters=(_EVENT_ID,),
                errors=(404,),
                own_errors={409: _NOT_CANCELED},
            )
        },
        "/v1/channels": {
            "get": make("listChannels", "List channels, by name", _READ, (200, "ChannelList", "The channels."))
        },
        "/v1/identify": {
            "post": make(
                "identifyUser",
                "Identify a user",
                _IDENTITIES,
                (200, "Identity", "The user."),
                body="IdentifyUserRequest",
                errors=(400, 413),
                links=identity_link,
            )
        },
        "/v1/identities/{user_id}": {
            "delete": make(
                "deleteIdentity",
                "Delete a user",
                _IDENTITIES,
                (200, "Erasure", "The identity and its aliases were deleted."),
                parameters=(_USER_ID,),
                errors=(404,),
            )
        },
        "/v1/me": {"get": make("me", "Describe the API key", "", (200, "Me", "The project and the scopes."))},
        "/openapi.json": {
            "get": {
                "operationId": "getOpenapi",
                "summary": "Get this document",
                "description": "It needs no API key and does not count towards the rate limit.",
                "security": [],
                "responses": {"200": _response("This document.", ANYTHING, ())},
            }
        },
    }


def _callback() -> dict[str, Any]:
    """Return the description of the callback that an answered or expired event causes."""
    described = {
        "webhook-id": "The same at each attempt.",
        "webhook-timestamp": "Unix seconds.",
        "webhook-signature": "`v1,` and the base64 of the HMAC-SHA256 of id, timestamp and body, joined by dots.",
    }
    return {
        "operationId": "eventAnswered",
        "summary": "An event was answered, or has expired",
        "description": "Sent to `callbackUrl`, signed as Standard Webhooks specifies, until it is answered with a 2xx.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": description, "schema": TEXT}
            for name, description in described.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema_ref("CallbackPayload")}},
        },
        "responses": {"2XX": {"description": "It was received."}},
    }


def document(url: str, *, rate_limit: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server.

    Args:
        url: its address.
        rate_limit: requests of an API key in a window; 0: no limit.
    """
    rate_headers = _RATE_HEADERS if rate_limit else ()
    statuses = [status for status in ERRORS if rate_limit or status != 429]
    limit = f"{rate_limit} requests in each window, over all operations." if rate_limit else "No rate limit."
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "EmitKit",
            "version": __version__,
            "summary": "EmitKit's HTTP API, as the local inbox of emitkit-logging implements it.",
            "description": f"{limit} Unknown fields of a request are ignored.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "security": [{scheme: []} for scheme in _SECURITY],
        "paths": _paths(_Operations(rate_headers)),
        "webhooks": {"eventAnswered": {"post": _callback()}},
        "components": {
            "securitySchemes": _SECURITY,
            "schemas": schemas(),
            "headers": {name: each for name, each in _headers().items() if rate_limit or name not in _ONLY_LIMITED},
            "responses": {
                **{str(status): _error(status, rate_headers) for status in statuses},
                _NOT_CANCELED: _not_canceled(rate_headers),
            },
        },
    }
