"""Whether an answer fits the question that an event asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emitkit_logging._api.contract import SEND
from emitkit_logging._api.limits import LONGEST_ANSWER
from emitkit_logging._api.rules import Problem
from emitkit_logging._api.text import units


def answer_problems(event: Mapping[str, Any], action: object, values: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with an answer.

    Args:
        event: the stored event that asks.
        action: the id of the button that was pressed.
        values: the values of the event's fields, by their ids.
    """
    buttons = {each["id"]: each for each in event["actions"] if "id" in each} or {SEND: {}}
    if not isinstance(action, str) or action not in buttons:
        return [{"path": ["action"], "message": f"Invalid option: expected one of {'|'.join(buttons)}"}]
    fields = {each["id"]: each for each in event["fields"]}
    required = buttons[action].get("requires", ())
    return [*_wrong_values(fields, values), *_missing_values(required, values)]


def _wrong_values(fields: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in values.items():
        if name not in fields:
            yield {"path": ["values", name], "message": "No such field"}
        elif value is not None and not _fits(fields[name], value):
            yield {"path": ["values", name], "message": f"Invalid input: expected {_expected(fields[name])}"}


def _missing_values(required: list[str], values: Mapping[str, Any]) -> Iterator[Problem]:
    for name in required:
        if not values.get(name):
            yield {"path": ["values", name], "message": "Required"}


def _fits(field: Mapping[str, Any], value: Any) -> bool:
    if field["type"] == "choice":
        options = {option["id"] for option in field["options"]}
        if field.get("multiple"):
            return type(value) is list and all(type(each) is str and each in options for each in value)
        return type(value) is str and value in options
    if field["type"] == "text":
        return type(value) is str and units(value) <= field.get("maxLength", LONGEST_ANSWER)
    if field["type"] == "boolean":
        return type(value) is bool
    least, most = field.get("min", value), field.get("max", value)
    return type(value) in (int, float) and bool(least <= value <= most)


def _expected(field: Mapping[str, Any]) -> str:
    if field["type"] == "choice":
        several = "some" if field.get("multiple") else "one"
        return f"{several} of {'|'.join(option['id'] for option in field['options'])}"
    if field["type"] == "text":
        return f"text of at most {field.get('maxLength', LONGEST_ANSWER)} characters"
    if field["type"] == "boolean":
        return "true or false"
    bounds = [f"{name} {field[name]:g}" for name in ("min", "max") if name in field]
    return " ".join(["a number", *bounds])
