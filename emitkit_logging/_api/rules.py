"""Rules for JSON values, from which a contract is put together.

A rule checks a value and describes the same check as JSON Schema, so that validation and description cannot differ.
Messages are worded as EmitKit words them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from emitkit_logging._api.text import units

Path: TypeAlias = "tuple[str | int, ...]"
"""Where a value stands in a request: keys and indexes from the outside in."""


class Problem(TypedDict):
    """One thing that is wrong with a request: where it is, and what would be right."""

    path: list[str | int]
    message: str


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        check: yields what is wrong with a value that stands at a path.
        schema: the same as JSON Schema 2020-12.
    """

    check: Callable[[Any, Path], Iterator[Problem]]
    schema: Mapping[str, Any]

    def __call__(self, value: Any, path: Path) -> Iterator[Problem]:
        """Yield what is wrong with a value that stands at `path`."""
        return self.check(value, path)


def problem(path: Path, message: str) -> Problem:
    """Return a problem with the value at `path`."""
    return {"path": list(path), "message": message}


def text(least: int = 0, most: int | None = None) -> Rule:
    """Make the rule for a string of `least` to `most` UTF-16 code units."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str:
            yield _wrong_type("string", value, path)
        elif len(value) < least:
            yield problem(path, f"Too small: expected string to have >={least} characters")
        elif most is not None and units(value) > most:
            yield problem(path, f"Too big: expected string to have <={most} characters")

    return Rule(check, {"type": "string", **_given(minLength=least or None, maxLength=most)})


def matching(pattern: str) -> Rule:
    """Make the rule for a string that a regular expression matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str:
            yield _wrong_type("string", value, path)
        elif not compiled.fullmatch(value):
            yield problem(path, f"Invalid string: must match {pattern}")

    return Rule(check, {"type": "string", "pattern": f"^{pattern}$"})


def one_of(*choices: str) -> Rule:
    """Make the rule for one of some strings."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not str or value not in choices:
            yield problem(path, f"Invalid option: expected one of {'|'.join(choices)}")

    return Rule(check, {"type": "string", "enum": list(choices)})


def number(
    least: float | None = None, most: float | None = None, *, above: float | None = None, whole: bool = False
) -> Rule:
    """Make the rule for a number from `least` (or above `above`) to `most`; a bool is none."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) not in (int, float):
            yield _wrong_type("number", value, path)
        elif whole and value != int(value):
            yield problem(path, "Invalid input: expected int, received number")
        elif above is not None and value <= above:
            yield problem(path, f"Too small: expected number to be >{above:g}")
        elif least is not None and value < least:
            yield problem(path, f"Too small: expected number to be >={least:g}")
        elif most is not None and value > most:
            yield problem(path, f"Too big: expected number to be <={most:g}")

    limits = _given(exclusiveMinimum=above, minimum=least, maximum=most)
    return Rule(check, {"type": "integer" if whole else "number", **limits})


def _of_type(kind: type, name: str) -> Rule:
    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not kind:
            yield _wrong_type(name, value, path)

    return Rule(check, {"type": name})


BOOLEAN = _of_type(bool, "boolean")
OBJECT = _of_type(dict, "object")
"""Any JSON object."""

ANYTHING = Rule(lambda _value, _path: iter(()), {})


def list_of(item: Rule, most: int | None = None, *, least: int = 0) -> Rule:
    """Make the rule for a list of `least` to `most` items."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not list:
            yield _wrong_type("array", value, path)
            return
        if len(value) < least:
            yield problem(path, f"Too small: expected array to have >={least} items")
        if most is not None and len(value) > most:
            yield problem(path, f"Too big: expected array to have <={most} items")
        for index, each in enumerate(value):
            yield from item(each, (*path, index))

    return Rule(check, {"type": "array", "items": item.schema, **_given(minItems=least or None, maxItems=most)})


def one_or_list_of(item: Rule) -> Rule:
    """Make the rule for one item or a list of them."""
    several = list_of(item)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        yield from (several if type(value) is list else item)(value, path)

    return Rule(check, {"anyOf": [item.schema, several.schema]})


def or_null(rule: Rule) -> Rule:
    """Make the rule for what `rule` takes, or null."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if value is not None:
            yield from rule(value, path)

    return Rule(check, schema_or_null(rule.schema))


def schema_or_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON Schema of what `schema` describes, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def object_with(fields: Mapping[str, Rule], *required: str, closed: bool = False) -> Rule:
    """Make the rule for an object.

    Args:
        fields: the rules of its keys.
        required: the keys that must be there.
        closed: whether any other key is refused instead of ignored.
    """
    expected = {name: _type_name(fields[name]) for name in required}

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not dict:
            yield _wrong_type("object", value, path)
            return
        for name in required:
            if name not in value:
                yield problem((*path, name), f"Invalid input: expected {expected[name]}, received undefined")
        for name, each in value.items():
            if name in fields:
                yield from fields[name](each, (*path, name))
            elif closed:
                yield problem(path, f'Unrecognized key: "{name}"')

    schema: dict[str, Any] = {"type": "object"}
    if required:
        schema["required"] = list(required)
    schema["properties"] = {name: rule.schema for name, rule in fields.items()}
    if closed:
        schema["additionalProperties"] = False
    return Rule(check, schema)


def with_key(key: str, having: Rule, lacking: Rule) -> Rule:
    """Make the rule for an object of one of two kinds, which differ in whether they have `key`."""

    def check(value: Any, path: Path) -> Iterator[Problem]:
        yield from (having if type(value) is dict and key in value else lacking)(value, path)

    return Rule(check, {"anyOf": [having.schema, lacking.schema]})


def by_key(key: str, kinds: Mapping[str, Rule]) -> Rule:
    """Make the rule for an object of one of several kinds, which the value of `key` names."""
    known = one_of(*kinds)

    def check(value: Any, path: Path) -> Iterator[Problem]:
        if type(value) is not dict:
            yield _wrong_type("object", value, path)
            return
        unknown = list(known(value.get(key), (*path, key)))
        yield from unknown or kinds[value[key]](value, path)

    return Rule(check, {"oneOf": [rule.schema for rule in kinds.values()]})


def text_like(pattern: str, most: int, expected: str) -> Rule:
    """Make the rule for a string in which a regular expression is found, of at most `most` UTF-16 code units.

    Args:
        pattern: means the same in Python and in ECMA-262; `\\Z` is written `$`.
        most: UTF-16 code units.
        expected: what would be right, for the message.
    """
    any_text = text(1, most)
    compiled = re.compile(re.sub(r"\$$", r"\\Z", pattern))

    def check(value: Any, path: Path) -> Iterator[Problem]:
        found = list(any_text(value, path))
        yield from found
        if not found and not compiled.search(value):
            yield problem(path, f"Invalid URL: expected {expected}")

    return Rule(check, {**any_text.schema, "pattern": pattern})


_TYPE_NAMES = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


def _type_name(rule: Rule) -> str:
    name = rule.schema.get("type")
    return name if isinstance(name, str) else "a value"


def _wrong_type(expected: str, value: object, path: Path) -> Problem:
    received = _TYPE_NAMES.get(type(value), "object")
    return problem(path, f"Invalid input: expected {expected}, received {received}")


def _given(**keywords: float | None) -> dict[str, float]:
    return {name: value for name, value in keywords.items() if value is not None}
