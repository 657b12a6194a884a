"""Contract: what the body of a request may hold, as EmitKit's API contract says: each limit once, in a table.

Two tables, `CURRENT` (the hosted service) and `SELF_HOSTED` (the open-source server), are read by the same
few rules, each of which checks a value and says as JSON Schema what it checks. Everything here is pure: bytes
go in, the fields to store or an exception come out.

The exceptions are the reasons for which a server refuses a request that it has let in:

- `Refusal`
    - `Invalid`: the request breaks the contract, and says where (400)
    - `TooLarge`: the body or the stored event is over its limit (413)
    - `Conflict`: the idempotency key belongs to another request, or to one still running (409)
    - `Unstorable`: accepted by the validation, refused by the database (500, self-hosted only)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, TypeAlias, TypedDict

Path: TypeAlias = "tuple[str | int, ...]"

LONGEST_IDEMPOTENCY_KEY = 255
LONGEST_TITLE = 500
LONGEST_DESCRIPTION = 5_000
LONGEST_CHANNEL = 255
LONGEST_ICON = 10
LONGEST_TAG = 50
MOST_TAGS = 20
LONGEST_SOURCE = 100
LONGEST_ID = 255
MOST_ALIASES = 50
LONGEST_ANSWER = 2_000
"""Texts in UTF-16 code units, as a JavaScript server counts them."""

MOST_LISTED = 100
LISTED = 50
"""Events in one answer: the most that may be asked for, and how many where nothing is asked for."""

MAX_DEPTH = 800
"""Levels of nesting that a body may have: below what Python's own JSON parser can take on any version."""

WAITING_SECONDS = 86_400
"""How long an event waits for its answer when it does not say (`expiresIn`)."""


class Problem(TypedDict):
    """One thing wrong with a request: where it is, and what would be right."""

    path: list[str | int]
    message: str


class Refusal(Exception):  # noqa: N818 (an answer, not an error)
    """A request that is not carried out; its subclasses say why."""


class Invalid(Refusal):
    """The request breaks the contract in each of `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{_dotted(problem['path'])}: {problem['message']}" for problem in problems))
        self.problems = problems


class TooLarge(Refusal):
    """The body or the event is over the limit that the message names."""


class Conflict(Refusal):
    """The idempotency key belongs to a different request, or to one that is still running."""


class Unstorable(Refusal):
    """The self-hosted server's validation lets this pass and its database does not: a 500 that stays."""


def _dotted(path: list[str | int]) -> str:
    return ".".join(map(str, path)) or "body"


# Rules.


@dataclass(frozen=True)
class Rule:
    """What a value must be: `check` yields what is wrong with one, `schema` says it as JSON Schema 2020-12."""

    check: Callable[[Any, Path], Iterator[Problem]]
    schema: Mapping[str, Any]

    def __call__(self, value: Any, path: Path) -> Iterator[Problem]:
        """Yield what is wrong with `value`, which stands at `path`."""
        return self.check(value, path)


def _problem(path: Path, message: str) -> Problem:
    return {"path": list(path), "message": message}


def _kind(value: object) -> str:
    names = {
        type(None): "null",
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
    }
    return names.get(type(value), "object")


def _expected(what: str, value: object, path: Path) -> Problem:
    return _problem(path, f"Invalid input: expected {what}, received {_kind(value)}")


def _length(text: str) -> int:
    """Return the length of `text` as a JavaScript server counts it: in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _limits(**keywords: float | None) -> dict[str, float]:
    """Return the keywords that limit anything."""
    return {name: value for name, value in keywords.items() if value is not None}


def _text(least: int = 0, most: int | None = None) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str:
            yield _expected("string", value, path)
        elif len(value) < least:
            yield _problem(path, f"Too small: expected string to have >={least} characters")
        elif most is not None and _length(value) > most:
            yield _problem(path, f"Too big: expected string to have <={most} characters")

    return Rule(check, {"type": "string", **_limits(minLength=least or None, maxLength=most)})


def _matching(pattern: str) -> Rule:
    compiled = re.compile(pattern)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str:
            yield _expected("string", value, path)
        elif not compiled.fullmatch(value):
            yield _problem(path, f"Invalid string: must match {pattern}")

    return Rule(check, {"type": "string", "pattern": f"^{pattern}$"})


def _one_of(*choices: str) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str or value not in choices:
            yield _problem(path, f"Invalid option: expected one of {'|'.join(choices)}")

    return Rule(check, {"type": "string", "enum": list(choices)})


def _number(
    least: float | None = None, most: float | None = None, *, above: float | None = None, whole: bool = False
) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) not in (int, float):
            yield _expected("number", value, path)
        elif whole and value != int(value):
            yield _problem(path, "Invalid input: expected int, received number")
        elif above is not None and value <= above:
            yield _problem(path, f"Too small: expected number to be >{above:g}")
        elif least is not None and value < least:
            yield _problem(path, f"Too small: expected number to be >={least:g}")
        elif most is not None and value > most:
            yield _problem(path, f"Too big: expected number to be <={most:g}")

    limits = _limits(exclusiveMinimum=above, minimum=least, maximum=most)
    return Rule(check, {"type": "integer" if whole else "number", **limits})


def _of_type(kind: type, name: str) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not kind:
            yield _expected(name, value, path)

    return Rule(check, {"type": name})


_flag = _of_type(bool, "boolean")
_object = _of_type(dict, "object")


def _list(item: Rule, most: int | None = None, *, least: int = 0) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not list:
            yield _expected("array", value, path)
            return
        if len(value) < least:
            yield _problem(path, f"Too small: expected array to have >={least} items")
        if most is not None and len(value) > most:
            yield _problem(path, f"Too big: expected array to have <={most} items")
        for index, each in enumerate(value):
            yield from item(each, (*path, index))

    return Rule(check, {"type": "array", "items": item.schema, **_limits(minItems=least or None, maxItems=most)})


def _one_or_list(item: Rule) -> Rule:
    several = _list(item)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        yield from (several if type(value) is list else item)(value, path)

    return Rule(check, {"anyOf": [item.schema, several.schema]})


def _or_null(rule: Rule) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if value is not None:
            yield from rule(value, path)

    return Rule(check, or_null(rule.schema))


def or_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON Schema of what `schema` describes, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _shape(fields: Mapping[str, Rule], *required: str, closed: bool = False) -> Rule:
    """Make the rule for an object with `fields`; `closed` refuses every other key instead of ignoring it."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not dict:
            yield _expected("object", value, path)
            return
        for name in required:
            if name not in value:
                yield _problem((*path, name), "Invalid input: expected a value, received undefined")
        for name, each in value.items():
            if name in fields:
                yield from fields[name](each, (*path, name))
            elif closed:
                yield _problem(path, f'Unrecognized key: "{name}"')

    schema: dict[str, Any] = {"type": "object"}
    if required:
        schema["required"] = list(required)
    schema["properties"] = {name: rule.schema for name, rule in fields.items()}
    if closed:
        schema["additionalProperties"] = False
    return Rule(check, schema)


def _either(key: str, having: Rule, lacking: Rule) -> Rule:
    """Make the rule for an object that is told from the other kind by its having `key`, which the other refuses."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        yield from (having if type(value) is dict and key in value else lacking)(value, path)

    return Rule(check, {"anyOf": [having.schema, lacking.schema]})


def _by(key: str, kinds: Mapping[str, Rule]) -> Rule:
    """Make the rule for an object whose `key` says which of `kinds` it is."""
    known = _one_of(*kinds)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not dict:
            yield _expected("object", value, path)
            return
        unknown = list(known(value.get(key), (*path, key)))
        yield from unknown or kinds[value[key]](value, path)

    return Rule(check, {"oneOf": [rule.schema for rule in kinds.values()]})


_URL = _text(1, 2000)
_HTTPS = re.compile(r"^[Hh][Tt][Tt][Pp][Ss]://[^/\s]")


def _check_https(value: Any, path: Path) -> Iterator[Problem]:
    found = list(_URL(value, path))
    yield from found
    if not found and not _HTTPS.match(value):
        yield _problem(path, "Invalid URL: expected https")


_https = Rule(_check_https, {**_URL.schema, "pattern": _HTTPS.pattern})


# The tables.

_ID = _matching(r"[A-Za-z0-9_-]{1,64}")
_BUTTON = _shape(
    {"id": _ID, "label": _text(1, 40), "style": _one_of("primary", "destructive"), "requires": _list(_ID)},
    "id",
    "label",
    closed=True,
)
_LINK = _shape({"label": _text(1, 40), "url": _URL}, "label", "url", closed=True)
_ACTION = _either("url", _LINK, _BUTTON)
_FIELD_LABEL = _text(1, 100)


def _field(kind: str, own: Mapping[str, Rule], *required: str) -> Rule:
    fields = {"id": _ID, "type": _one_of(kind), "label": _FIELD_LABEL, **own}
    return _shape(fields, "id", "type", "label", *required, closed=True)


_FIELD = _by(
    "type",
    {
        "choice": _field(
            "choice",
            {
                "multiple": _flag,
                "options": _list(_shape({"id": _ID, "label": _FIELD_LABEL}, "id", "label", closed=True), 10, least=2),
                "default": _one_or_list(_ID),
            },
            "options",
        ),
        "text": _field(
            "text",
            {
                "default": _text(0, LONGEST_ANSWER),
                "maxLength": _number(1, LONGEST_ANSWER, whole=True),
                "multiline": _flag,
                "placeholder": _text(1, 100),
            },
        ),
        "number": _field(
            "number",
            {"default": _number(), "max": _number(), "min": _number(), "step": _number(above=0), "unit": _text(1, 8)},
        ),
        "boolean": _field("boolean", {"default": _flag}),
    },
)


QUESTIONS = ("actions", "fields")
ONLY_WAITING = ("expiresIn", "callbackUrl", "resume")


def waits(event: Mapping[str, Any]) -> bool:
    """Say whether a valid `event` waits for an answer: it has fields, or an action that is a button."""
    return bool(event.get("fields")) or any("id" in action for action in event.get("actions") or ())


_WAITS: Mapping[str, Any] = {
    "anyOf": [
        {"required": ["fields"], "properties": {"fields": {"minItems": 1}}},
        {"required": ["actions"], "properties": {"actions": {"contains": {"required": ["id"]}}}},
    ]
}
"""`waits` as JSON Schema."""

SEND = "submit"
"""The action of the button that an event with fields has when it brings none of its own."""


def _check_question(event: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if not waits(event):
        for name in ONLY_WAITING:
            if name in event:
                yield _problem((*path, name), "Only on an event that waits for an answer")
        return
    if event.get("notify") is False:
        yield _problem((*path, "notify"), "An event that waits for an answer can't set notify to false")

    fields = {field["id"]: field for field in event.get("fields", ())}
    if len(fields) < len(event.get("fields", ())):
        yield _problem((*path, "fields"), "Field ids must be unique")
    for index, field in enumerate(event.get("fields", ())):
        if field["type"] == "choice" and "default" in field:
            yield from _choice_default(field, (*path, "fields", index, "default"))

    buttons = [action["id"] for action in event.get("actions", ()) if "id" in action]
    if len(set(buttons)) < len(buttons):
        yield _problem((*path, "actions"), "Button ids must be unique")
    for index, action in enumerate(event.get("actions", ())):
        if action.get("id") == SEND:
            yield _problem((*path, "actions", index, "id"), f"{SEND} is reserved for the Send button")
        for position, name in enumerate(action.get("requires", ())):
            field = fields.get(name, {})
            if field.get("type") != "text" and not field.get("multiple"):
                where = (*path, "actions", index, "requires", position)
                yield _problem(where, "Must name a text or multiple-choice field")


def _choice_default(field: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    several = type(field["default"]) is list
    chosen = field["default"] if several else [field["default"]]
    if several != bool(field.get("multiple")):
        yield _problem(path, "Must be an array of option ids when multiple, else one option id")
    elif not set(chosen) <= {option["id"] for option in field["options"]}:
        yield _problem(path, "Must name the field's own options")


_question = Rule(
    _check_question,
    {
        "description": (
            "An event with a button (an action with an `id`) or with `fields` waits for an answer. Lengths are in "
            "UTF-16 code units. The ids of its buttons are unique, and so are those of its fields. A button's "
            "`requires` name text fields or choice fields with `multiple`. The `default` of a choice field names "
            "options of its own."
        ),
        "if": _WAITS,
        "then": {"properties": {"notify": {"const": True}}},
        "else": {"properties": dict.fromkeys(ONLY_WAITING, False)},
        "allOf": [
            {"properties": {"actions": {"items": {"properties": {"id": {"not": {"const": SEND}}}}}}},
            {
                "properties": {
                    "fields": {
                        "items": {
                            "if": {"required": ["multiple"], "properties": {"multiple": {"const": True}}},
                            "then": {"properties": {"default": {"type": "array"}}},
                            "else": {"properties": {"default": {"not": {"type": "array"}}}},
                        }
                    }
                }
            },
        ],
    },
)
"""What holds for an event as a whole; in words where JSON Schema has none."""


def _check_user_id(identity: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    ids = {identity[name] for name in ("userId", "user_id") if name in identity}
    if not ids:
        yield _problem((*path, "userId"), "Invalid input: expected string, received undefined")
    elif len(ids) > 1:
        yield _problem((*path, "user_id"), "userId and user_id must match when both are sent")


_user_id = Rule(
    _check_user_id,
    {
        "description": "`userId` and `user_id` must match when both are sent. Lengths are in UTF-16 code units.",
        "anyOf": [{"required": ["userId"]}, {"required": ["user_id"]}],
    },
)
_nothing_more = Rule(lambda _value, _path: iter(()), {})


@dataclass(frozen=True)
class Contract:
    """The fields of the two requests with their limits, and the rules that hold between fields."""

    event: Mapping[str, Rule]
    event_required: tuple[str, ...]
    event_as_a_whole: Rule
    identify: Mapping[str, Rule]
    identify_required: tuple[str, ...]
    identify_as_a_whole: Rule

    @property
    def event_schema(self) -> dict[str, Any]:
        """The JSON Schema of an event request; what it has no words for is in the description."""
        return {**self._event.schema, **self.event_as_a_whole.schema}

    @property
    def identify_schema(self) -> dict[str, Any]:
        """The JSON Schema of an identify request, likewise."""
        return {**self._identify.schema, **self.identify_as_a_whole.schema}

    @cached_property
    def _event(self) -> Rule:
        return _shape(self.event, *self.event_required)

    @cached_property
    def _identify(self) -> Rule:
        return _shape(self.identify, *self.identify_required)

    def read_event(self, body: object) -> dict[str, Any]:
        """Return the known fields of `body`, a parsed request; raise `Invalid` for a bad one."""
        return _read(body, self.event, self._event, self.event_as_a_whole)

    def askable(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a question's fields that an event may carry.

        `found` holds any of `actions`, `fields`, `expiresIn`, `callbackUrl` and `resume`, as JSON. What is left out
        would be refused, or means nothing without what was left out.
        """
        asked = {name: found[name] for name in QUESTIONS if found.get(name) and self._takes(name, found[name])}
        while refused := [problem["path"][0] for problem in self.event_as_a_whole(asked, ())]:
            del asked[str(refused[0])]
        if waits(asked):
            asked.update(
                {name: found[name] for name in ONLY_WAITING if name in found and self._takes(name, found[name])}
            )
        return asked

    def _takes(self, name: str, value: object) -> bool:
        return not any(self.event[name](value, (name,)))

    def read_identify(self, body: object) -> dict[str, Any]:
        """Return `user_id`, `properties` and `aliases` of `body`, the last two filled in; raise `Invalid`."""
        known = _read(body, self.identify, self._identify, self.identify_as_a_whole)
        return {
            "user_id": known["user_id"] if "user_id" in known else known["userId"],
            "properties": known.get("properties", {}),
            "aliases": known.get("aliases", []),
        }


def _read(body: Any, fields: Mapping[str, Rule], shape: Rule, as_a_whole: Rule) -> dict[str, Any]:
    problems = list(shape(body, ()))
    if not problems:
        problems.extend(as_a_whole(body, ()))
    if problems:
        raise Invalid(problems)
    return {name: value for name, value in body.items() if name in fields}


CURRENT = Contract(
    event={
        "channelName": _text(1, LONGEST_CHANNEL),
        "title": _text(1, LONGEST_TITLE),
        "description": _text(0, LONGEST_DESCRIPTION),
        "icon": _text(0, LONGEST_ICON),
        "tags": _list(_text(0, LONGEST_TAG), MOST_TAGS),
        "metadata": _object,
        "userId": _or_null(_text(0, LONGEST_ID)),
        "notify": _flag,
        "displayAs": _one_of("message", "notification"),
        "source": _text(1, LONGEST_SOURCE),
        "actions": _list(_ACTION, 4),
        "fields": _list(_FIELD, 5),
        "expiresIn": _number(10, 604_800, whole=True),
        "callbackUrl": _https,
        "resume": _text(0, 65_536),
    },
    event_required=("channelName", "title"),
    event_as_a_whole=_question,
    identify={
        "userId": _text(1, LONGEST_ID),
        "user_id": _text(1, LONGEST_ID),
        "properties": _object,
        "aliases": _list(_text(1, LONGEST_ID), MOST_ALIASES),
    },
    identify_required=(),
    identify_as_a_whole=_user_id,
)
"""The hosted service, autumn 2026; the insides of `actions` and `fields` are from its OpenAPI description."""

SELF_HOSTED = Contract(
    event={
        "channelName": _text(),
        "title": _text(),
        "description": _text(),
        "icon": _text(),
        "tags": _list(_text()),
        "metadata": _object,
        "userId": _or_null(_text()),
        "notify": _flag,
        "source": _text(),
    },
    event_required=("channelName", "title"),
    event_as_a_whole=_nothing_more,
    identify={"user_id": _text(1), "properties": _object, "aliases": _list(_text())},
    identify_required=("user_id",),
    identify_as_a_whole=_nothing_more,
)
"""The open-source server, May 2026: types only. Its lengths are those of its database's columns, below."""

SELF_HOSTED_COLUMNS: Mapping[str, int] = {"title": 500, "icon": 50, "channelName": 255, "source": 50}
"""Characters (code points) that the open-source server's columns hold; more is a 500 that stays."""


def require_storable(fields: Mapping[str, Any]) -> None:
    """Raise `Unstorable` when the open-source server's database would refuse `fields`, a valid request.

    Too long for its column, a NUL character anywhere, or a lone surrogate inside an object.
    """
    for name, most in SELF_HOSTED_COLUMNS.items():
        if len(fields.get(name, "")) > most:
            raise Unstorable(f"value too long for type character varying({most})")
    if "\\u0000" in _ENCODER.encode(fields).replace("\\\\", ""):
        raise Unstorable("invalid byte sequence for encoding: 0x00")
    if any(has_lone_surrogate(value) for value in fields.values() if isinstance(value, dict)):
        raise Unstorable("unsupported Unicode escape sequence")


def slugify(name: str) -> str:
    """Return a channel's name as the open-source server stores it: `My Channel` as `my-channel`."""
    kept = re.sub(r"[^A-Za-z0-9_\s-]", "", name.lower().strip())
    return re.sub(r"[\s_-]+", "-", kept).strip("-")


# JSON as a JavaScript server reads and writes it.


def parse(body: bytes, *, exact_integers: bool = True) -> Any:
    """Return the value of `body`, JSON in UTF-8; raise `Invalid` for anything else, `NaN` included.

    Nesting over `MAX_DEPTH` levels is refused too. Without `exact_integers`, integers lose their precision
    beyond 2^53, as in JavaScript.
    """
    try:
        value = json.loads(
            body.decode("utf-8", "replace"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=int if exact_integers else _rounded,
        )
    except (ValueError, RecursionError):
        raise Invalid([_problem((), "Invalid JSON")]) from None
    # Counting brackets is cheap and almost always enough: a body with fewer of them cannot be nested as deep.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise Invalid([_problem((), f"Nested more than {MAX_DEPTH} levels deep")])
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        _refuse(digits)
    return number


def _rounded(digits: str) -> int:
    return int(_finite(digits))


def _deeper_than(levels: int, value: object) -> bool:
    layer = [value]
    for _ in range(levels):
        deeper: list[object] = []
        for each in layer:
            if isinstance(each, dict):
                deeper.extend(each.values())
            elif isinstance(each, list):
                deeper.extend(each)
        if not deeper:
            return False
        layer = deeper
    return any(isinstance(each, (dict, list)) for each in layer)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: object) -> bytes:
    """Return `value`, free of lone surrogates, as compact JSON in UTF-8."""
    return _ENCODER.encode(value).encode()


def has_lone_surrogate(value: object) -> bool:
    """Say whether half of a surrogate pair stands alone anywhere in `value`, keys included."""
    try:
        encode(value)
    except UnicodeEncodeError:
        return True
    return False


def mend(value: Any) -> Any:
    """Return `value` with each lone surrogate as U+FFFD, which is what JavaScript writes for it in UTF-8."""
    if not has_lone_surrogate(value):
        return value
    text = _ENCODER.encode(value)
    return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
