"""What the body of a request to EmitKit may hold (API contract).

`CURRENT` is the contract of the hosted service: the rule of each field, and the rules that hold between fields. The
inbox validates with it, and accepts what that service accepts. The sender asks `askable` what an event may ask; its
own limits, which are narrower, are in `emitkit_logging._api.limits`. Nothing here reads a clock or does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from emitkit_logging._api.limits import (
    ACCEPTED_SOURCE,
    ACCEPTED_TITLE,
    LONGEST_ANSWER,
    LONGEST_CHANNEL,
    LONGEST_ID,
    LONGEST_RESUME,
    LONGEST_URL,
    LONGEST_WAIT,
    MOST_ACTIONS,
    MOST_FIELDS,
    SHORTEST_WAIT,
)
from emitkit_logging._api.rules import (
    BOOLEAN,
    OBJECT,
    Path,
    Problem,
    Rule,
    by_key,
    list_of,
    matching,
    number,
    object_with,
    one_of,
    one_or_list_of,
    or_null,
    problem,
    text,
    text_like,
    with_key,
)

QUESTIONS = ("actions", "fields")
"""The fields that can make an event wait for an answer; each is a list."""

ONLY_WAITING = ("expiresIn", "callbackUrl", "resume")
"""The fields that only an event that waits for an answer may have."""

SEND = "submit"
"""The action of the button that an event with fields has when it brings none of its own."""


def waits(event: Mapping[str, Any]) -> bool:
    """Whether a valid event waits for an answer: it has fields, or an action that is a button."""
    return bool(event.get("fields")) or any("id" in action for action in event.get("actions") or ())


# Actions and fields; their insides are from the hosted service's OpenAPI description.

_ID = matching(r"[A-Za-z0-9_-]{1,64}")
_LABEL = text(1, 40)
_FIELD_LABEL = text(1, 100)
_BUTTON = object_with(
    {"id": _ID, "label": _LABEL, "style": one_of("primary", "destructive"), "requires": list_of(_ID)},
    "id",
    "label",
    closed=True,
)
_LINK_URL = text_like(
    r"^(?:https://|http://localhost[:/])\S+$", LONGEST_URL, "https, or http to localhost, without whitespace"
)
_LINK = object_with({"label": _LABEL, "url": _LINK_URL}, "label", "url", closed=True)
_ACTION = with_key("url", _LINK, _BUTTON)


def _field(kind: str, own: Mapping[str, Rule], *required: str) -> Rule:
    fields = {"id": _ID, "type": one_of(kind), "label": _FIELD_LABEL, **own}
    return object_with(fields, "id", "type", "label", *required, closed=True)


_OPTION = object_with({"id": _ID, "label": _FIELD_LABEL}, "id", "label", closed=True)
_FIELD = by_key(
    "type",
    {
        "choice": _field(
            "choice",
            {"multiple": BOOLEAN, "options": list_of(_OPTION, 10, least=2), "default": one_or_list_of(_ID)},
            "options",
        ),
        "text": _field(
            "text",
            {
                "default": text(0, LONGEST_ANSWER),
                "maxLength": number(1, LONGEST_ANSWER, whole=True),
                "multiline": BOOLEAN,
                "placeholder": text(1, 100),
            },
        ),
        "number": _field(
            "number",
            {"default": number(), "max": number(), "min": number(), "step": number(above=0), "unit": text(1, 8)},
        ),
        "boolean": _field("boolean", {"default": BOOLEAN}),
    },
)


_EMITKIT = r"[Ee][Mm][Ii][Tt][Kk][Ii][Tt]\.[Cc][Oo][Mm]\.?"
_CALLBACK_URL = text_like(
    rf"^[Hh][Tt][Tt][Pp][Ss]://(?!(?:[^/?#\\\s]*[.@])?{_EMITKIT}(?:[:/?#\\]|$))[^/?#\\\s]\S*$",
    LONGEST_URL,
    "https, and not EmitKit itself",
)


# Rules between the fields of a request.


def _check_question(event: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if not waits(event):
        for name in ONLY_WAITING:
            if name in event:
                yield problem((*path, name), "Only on an event that waits for an answer")
        return
    if event.get("notify") is False:
        yield problem((*path, "notify"), "An event that waits for an answer can't set notify to false")
    yield from _check_fields(event.get("fields", ()), (*path, "fields"))
    yield from _check_buttons(event, (*path, "actions"))


def _check_fields(fields: list[Mapping[str, Any]], path: Path) -> Iterator[Problem]:
    yield from _check_unique(fields, path, "Field ids must be unique")
    for index, field in enumerate(fields):
        if field["type"] == "choice" and "default" in field:
            yield from _check_choice_default(field, (*path, index, "default"))


def _check_unique(items: Iterable[Mapping[str, Any]], path: Path, message: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if "id" in item:
            if item["id"] in seen:
                yield problem((*path, index, "id"), message)
            seen.add(item["id"])


def _check_choice_default(field: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    several = type(field["default"]) is list
    chosen = field["default"] if several else [field["default"]]
    if several != bool(field.get("multiple")):
        yield problem(path, "Must be an array of option ids when multiple, else one option id")
    elif not set(chosen) <= {option["id"] for option in field["options"]}:
        yield problem(path, "Must name the field's own options")


def _check_buttons(event: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    fields = {field["id"]: field for field in event.get("fields", ())}
    yield from _check_unique(event.get("actions", ()), path, "Button ids must be unique")
    for index, action in enumerate(event.get("actions", ())):
        if action.get("id") == SEND:
            yield problem((*path, index, "id"), f"{SEND} is reserved for the Send button")
        for position, name in enumerate(action.get("requires", ())):
            field = fields.get(name, {})
            if field.get("type") != "text" and not field.get("multiple"):
                yield problem((*path, index, "requires", position), "Must name a text or multiple-choice field")


_WAITS: Mapping[str, Any] = {
    "anyOf": [
        {"required": ["fields"], "properties": {"fields": {"minItems": 1}}},
        {"required": ["actions"], "properties": {"actions": {"contains": {"required": ["id"]}}}},
    ]
}
"""`waits` as JSON Schema."""

_NO_SEND_BUTTON = {"properties": {"actions": {"items": {"properties": {"id": {"not": {"const": SEND}}}}}}}
_LIST_DEFAULT_IF_MULTIPLE = {
    "properties": {
        "fields": {
            "items": {
                "if": {"required": ["multiple"], "properties": {"multiple": {"const": True}}},
                "then": {"properties": {"default": {"type": "array"}}},
                "else": {"properties": {"default": {"not": {"type": "array"}}}},
            }
        }
    }
}

_QUESTION = Rule(
    _check_question,
    {
        # what JSON Schema cannot express is in the description
        "description": (
            "An event with a button (an action with an `id`) or with `fields` waits for an answer. Lengths are in "
            "UTF-16 code units. The ids of its buttons are unique, and so are those of its fields. A button's "
            "`requires` name text fields or choice fields with `multiple`. The `default` of a choice field names "
            "options of its own."
        ),
        "if": _WAITS,
        "then": {"properties": {"notify": {"const": True}}},
        "else": {"properties": dict.fromkeys(ONLY_WAITING, False)},
        "allOf": [_NO_SEND_BUTTON, _LIST_DEFAULT_IF_MULTIPLE],
    },
)


def _check_user_id(identity: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    ids = {identity[name] for name in ("userId", "user_id") if name in identity}
    if not ids:
        yield problem((*path, "userId"), "Invalid input: expected string, received undefined")
    elif len(ids) > 1:
        yield problem((*path, "user_id"), "userId and user_id must match when both are sent")


_USER_ID = Rule(
    _check_user_id,
    {
        "description": "`userId` and `user_id` must match when both are sent. Lengths are in UTF-16 code units.",
        "anyOf": [{"required": ["userId"]}, {"required": ["user_id"]}],
    },
)


@dataclass(frozen=True)
class RequestRules:
    """The rules of one kind of request.

    Attributes:
        fields: the rule of each field; other fields are ignored.
        required: the names of the fields that must be there.
        between_fields: what holds between fields that are valid one by one.
    """

    fields: Mapping[str, Rule]
    required: tuple[str, ...]
    between_fields: Rule

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a request; what it cannot express is in its description."""
        return {**self._object.schema, **self.between_fields.schema}

    @cached_property
    def _object(self) -> Rule:
        return object_with(self.fields, *self.required)

    def problems(self, body: object) -> list[Problem]:
        """Return what is wrong with a request, whose body is `body` as JSON; nothing for a valid one."""
        return list(self._object(body, ())) or list(self.between_fields(body, ()))

    def takes(self, name: str, value: object) -> bool:
        """Whether `value` is valid for the field `name`, taken alone."""
        return not any(self.fields[name](value, (name,)))


@dataclass(frozen=True)
class Contract:
    """The rules of the two requests that store something."""

    event: RequestRules
    identify: RequestRules


CURRENT = Contract(
    event=RequestRules(
        fields={
            "channelName": text(1, LONGEST_CHANNEL),
            "title": text(1, ACCEPTED_TITLE),
            "description": text(),
            "icon": text(),
            "tags": list_of(text()),
            "metadata": OBJECT,
            "userId": or_null(text()),
            "notify": BOOLEAN,
            "displayAs": one_of("message", "notification"),
            "source": text(1, ACCEPTED_SOURCE),
            "actions": list_of(_ACTION, MOST_ACTIONS),
            "fields": list_of(_FIELD, MOST_FIELDS),
            "expiresIn": number(SHORTEST_WAIT, LONGEST_WAIT, whole=True),
            "callbackUrl": _CALLBACK_URL,
            "resume": text(0, LONGEST_RESUME),
        },
        required=("channelName", "title"),
        between_fields=_QUESTION,
    ),
    identify=RequestRules(
        fields={
            "userId": text(1, LONGEST_ID),
            "user_id": text(1, LONGEST_ID),
            "properties": OBJECT,
            "aliases": list_of(text(1, LONGEST_ID)),
        },
        required=(),
        between_fields=_USER_ID,
    ),
)
"""The hosted service, autumn 2026."""


# What a sender may ask.

_ITEMS: Mapping[str, tuple[Rule, int]] = {"actions": (_ACTION, MOST_ACTIONS), "fields": (_FIELD, MOST_FIELDS)}


def askable(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a question into what an event may carry, and what the server would refuse.

    Args:
        found: any of `actions`, `fields`, `expiresIn`, `callbackUrl` and `resume`, as JSON.

    Returns:
        What may be sent, and the rest; both by the same names. Of a list, each item is in one of them.
    """
    kept = {name: _valid_items(name, found[name]) for name in QUESTIONS if name in found}
    while problems := list(_QUESTION({name: [*items.values()] for name, items in kept.items()}, ())):
        name, position, *_ = problems[-1]["path"]
        del kept[str(name)][[*kept[str(name)]][int(position)]]
    sent: dict[str, Any] = {name: [*items.values()] for name, items in kept.items() if items}
    refused: dict[str, Any] = {}
    for name, items in kept.items():
        if name not in sent:
            refused[name] = found[name]
        elif rest := [item for index, item in enumerate(found[name]) if index not in items]:
            refused[name] = rest
    is_waiting = waits(sent)
    for name in ONLY_WAITING:
        if name in found:
            accepted = is_waiting and CURRENT.event.takes(name, found[name])
            (sent if accepted else refused)[name] = found[name]
    return sent, refused


def _valid_items(name: str, value: Any) -> dict[int, Any]:
    """Return the items of a list that are valid by themselves, at most as many as an event may have, by index."""
    rule, most = _ITEMS[name]
    if type(value) is not list:
        return {}
    valid = [(index, item) for index, item in enumerate(value) if not any(rule(item, ()))]
    return dict(valid[:most])
