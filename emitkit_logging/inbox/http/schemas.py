"""The JSON Schemas of the OpenAPI document: requests and what is returned.

Requests are described by the rules that validate them, so that the two cannot differ. What is returned is described
here, and the tests check the running server against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.contract import CURRENT, SEND
from emitkit_logging._api.limits import DEFAULT_WAIT
from emitkit_logging._api.rules import schema_or_null
from emitkit_logging.inbox.config import SCOPES
from emitkit_logging.inbox.emulation.current import CANCEL_CODES, CODES, Current, public
from emitkit_logging.inbox.store.event import EVENT_FIELDS

Schema = Mapping[str, Any]

ANSWER_STATUSES = ("pending", "answered", "expired", "canceled")
"""The states of an event that waits for an answer, or did."""

TEXT: Schema = {"type": "string"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANYTHING: Schema = {"type": "object"}

_VALUE: Schema = {"type": ["string", "number", "boolean", "array"], "items": TEXT}


def list_schema(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def object_schema(description: str, optional: Mapping[str, Schema] | None = None, /, **properties: Schema) -> Schema:
    """Return the schema of an object with these required properties, and perhaps some optional ones."""
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
    }


def ref(kind: str, name: str) -> Schema:
    """Return a reference to a component of the document."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_ref(name: str) -> Schema:
    """Return a reference to one of the schemas."""
    return ref("schemas", name)


# Requests: the contract's schemas, with a description of each field.

_EVENT_NOTES: Mapping[str, Schema] = {
    "channelName": {"description": "The channel of the event. It is created with its first event."},
    "title": {"description": "The event's headline."},
    "description": {"description": "Details of the event."},
    "icon": {"description": "One emoji."},
    "tags": {"description": "Words by which the event is found."},
    "metadata": {"description": "Any JSON. It counts towards the size of the event."},
    "userId": {"description": "The user whom the event is about: an id, or an alias, which is resolved."},
    "notify": {"description": "Whether devices are notified.", "default": True},
    "displayAs": {"description": "How the event is shown.", "default": Current.display_as},
    "source": {"description": "What sent the event.", "default": "api"},
    "actions": {"description": "Links (with a `url`), and buttons (with an `id`) that answer the event."},
    "fields": {"description": "What is asked."},
    "expiresIn": {
        "description": "Seconds for which the event waits. Only on an event that waits.",
        "default": DEFAULT_WAIT,
    },
    "callbackUrl": {
        "description": "Where the answer is delivered: over https, and not EmitKit itself. Only on an event that waits."
    },
    "resume": {"description": "Returned with the answer unchanged. Only on an event that waits."},
}

_IDENTIFY_NOTES: Mapping[str, Schema] = {
    "userId": {"description": "The user's id."},
    "user_id": {"description": "The older name of `userId`.", "deprecated": True},
    "properties": {"description": "Properties of the user; they are added to the known ones."},
    "aliases": {"description": "Other ids of the user. An alias moves to the user that named it last."},
}


def _described(schema: Schema, notes: Mapping[str, Schema]) -> Schema:
    properties = {name: {**each, **notes[name]} for name, each in schema["properties"].items()}
    return {**schema, "properties": properties}


# What is returned.

_EVENT_ADDS: Mapping[str, Schema] = {
    "id": {**TEXT, "description": "The event's id."},
    "channelId": {**TEXT, "description": "Its channel's id."},
    "createdAt": {**MOMENT, "description": "When it was created."},
    "answer": {
        "description": "Null unless the event waits for an answer, or did.",
        **schema_or_null(schema_ref("Answer")),
    },
    "callback": {"description": "Null without a `callbackUrl`.", **schema_or_null(schema_ref("Callback"))},
}

_NO_DEFAULT = ("description", "icon", "expiresIn", "callbackUrl", "resume")


def _event() -> Schema:
    sent = {
        name: schema_or_null(rule.schema) if name in _NO_DEFAULT else rule.schema
        for name, rule in CURRENT.event.fields.items()
    }
    known = {**_EVENT_ADDS, **sent}
    returned = sorted(public(dict.fromkeys(EVENT_FIELDS)), key=list(known).index)
    return object_schema(
        "An event as it is stored; null stands for what its request did not have.",
        **{name: known[name] for name in returned},
    )


def schemas() -> dict[str, Schema]:
    """Return the schemas by name."""
    return {
        "CreateEventRequest": _described(CURRENT.event.schema, _EVENT_NOTES),
        "IdentifyUserRequest": _described(CURRENT.identify.schema, _IDENTIFY_NOTES),
        "Event": _event(),
        "Answer": object_schema(
            "The state of a question. `action`, `values`, `by` and `at` are null until it is answered.",
            status={"type": "string", "enum": list(ANSWER_STATUSES)},
            expiresAt=MOMENT,
            url={**TEXT, "format": "uri", "description": "The page on which it is answered."},
            action={
                **schema_or_null(TEXT),
                "description": f"The id of the button that was pressed; `{SEND}` where there was none.",
            },
            values={
                **schema_or_null({"type": "object", "additionalProperties": _VALUE}),
                "description": "The values of the fields, by their ids. Empty texts are left out.",
            },
            by=schema_or_null(object_schema("Who answered.", id=TEXT, name=TEXT, email=TEXT)),
            at=schema_or_null(MOMENT),
        ),
        "CallbackPayload": object_schema(
            "The body of a callback.",
            type={"type": "string", "enum": ["event.answered", "event.expired"]},
            eventId=TEXT,
            answer=schema_ref("Answer"),
            resume=schema_or_null(TEXT),
        ),
        "Callback": object_schema(
            "The delivery of the answer.",
            url=TEXT,
            attempts=COUNT,
            deliveredAt=schema_or_null(MOMENT),
            lastStatus=schema_or_null({"type": "integer"}),
        ),
        "Channel": object_schema(
            "A channel; its icon and description are those of its first event.",
            id=TEXT,
            name=TEXT,
            icon=schema_or_null(TEXT),
            description=schema_or_null(TEXT),
            createdAt=MOMENT,
        ),
        "Identity": object_schema(
            "A user, and the aliases that this request created.",
            id=TEXT,
            userId=TEXT,
            properties=ANYTHING,
            aliases=object_schema("The aliases of the request.", created=list_schema(TEXT)),
            updatedAt=MOMENT,
        ),
        "EventList": object_schema(
            "Events, newest first.",
            events=list_schema(schema_ref("Event")),
            nextCursor={
                **schema_or_null(TEXT),
                "description": "The value of `before` for the next events; null at the end.",
            },
        ),
        "ChannelList": object_schema("Channels, by name.", channels=list_schema(schema_ref("Channel"))),
        "Erasure": object_schema(
            "An identity that was erased. Its events stay, without the user.",
            id=TEXT,
            userId=TEXT,
            status={"type": "string", "enum": ["erased"]},
            aliasesDeleted=COUNT,
            productEventsDetached={"const": 0},
        ),
        "Me": object_schema(
            "What the API key belongs to, and what it may do.",
            organization=object_schema("The organization.", id=TEXT, name=schema_or_null(TEXT)),
            project=schema_or_null(object_schema("The project.", id=TEXT, name=TEXT)),
            scopes=list_schema({"type": "string", "enum": list(SCOPES)}),
            via={"const": "api_key"},
        ),
        "Problem": object_schema(
            "One thing wrong with a request.",
            path=list_schema({"type": ["string", "integer"]}),
            message=TEXT,
        ),
        "Error": object_schema(
            "Why a request was not carried out.",
            {"message": TEXT, "details": list_schema(schema_ref("Problem"))},
            success={"const": False},
            error=TEXT,
            code={"type": "string", "enum": [*dict.fromkeys((*CODES.values(), *CANCEL_CODES.values()))]},
            requestId=TEXT,
        ),
    }
