"""Events that wait for an answer: what answers them, and when they stop to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from emitkit_logging._api.contract import LONGEST_ANSWER, SEND, Invalid, Problem
from emitkit_logging.inbox.feed import Feed, iso

Event = dict[str, Any]


class Over(Exception):  # noqa: N818 - no error: somebody else was faster, or time was
    """The event waits no more, or never did."""


class Questions:
    """The questions of a feed.

    `told` is called with each event that stops to wait, in the thread that made it so; `clock` tells Unix seconds.
    """

    def __init__(self, feed: Feed, told: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._feed = feed
        self._told = told
        self._clock = clock

    def expire(self) -> None:
        """End the waiting of all whose time is over."""
        for event_id in self._feed.due(self._clock()):
            self._end(event_id, "expired")

    def cancel(self, event_id: str) -> Event | None:
        """End the waiting of an event and return it; `None` where there is none. Raises `Over`."""
        return self._end(event_id, "cancelled")

    def answer(self, event_id: str, action: object, values: object) -> Event | None:
        """Answer an event, as somebody who presses the button `action` with `values` in its fields.

        Returns:
            The event, or `None` where there is none.

        Raises:
            Over: it waits no more.
            Invalid: it has no such button, or a value does not fit its field.
        """
        return self._end(event_id, "answered", action, values)

    def _end(self, event_id: str, status: str, action: object = None, values: object = None) -> Event | None:
        found = self._feed.event(event_id)
        if found is None:
            return None
        event = found[1]
        if event["answer"] is None:
            raise Over("This event does not wait for an answer")
        if event["answer"]["status"] != "pending":
            raise Over(f"This event was {event['answer']['status']} already")
        now = iso(self._clock())
        if status == "answered":
            filled = dict(values) if isinstance(values, dict) else {}
            problems = list(_wrong(event, action, filled))
            if problems:
                raise Invalid(problems)
            event["answer"].update(action=action, values=filled, by="inbox")
        event["answer"].update(status=status, at=now)
        self._feed.update(event)
        self._told(event)
        return event


def _wrong(event: Event, action: object, values: Mapping[str, Any]) -> Iterator[Problem]:
    buttons = {each["id"]: each for each in event["actions"] if "id" in each}
    fields = {each["id"]: each for each in event["fields"]}
    if action not in (buttons or (SEND,)):
        yield {"path": ["action"], "message": f"Invalid option: expected one of {'|'.join(buttons or (SEND,))}"}
        return
    for name, value in values.items():
        if name not in fields:
            yield {"path": ["values", name], "message": "No such field"}
        elif value is not None and not _fits(fields[name], value):
            yield {"path": ["values", name], "message": f"Invalid input: expected {_wanted(fields[name])}"}
    for name in buttons.get(str(action), {}).get("requires", ()):
        if not values.get(name):
            yield {"path": ["values", name], "message": "Required"}


def _fits(field: Mapping[str, Any], value: Any) -> bool:
    if field["type"] == "choice":
        options = {option["id"] for option in field["options"]}
        if field.get("multiple"):
            return type(value) is list and all(type(each) is str and each in options for each in value)
        return type(value) is str and value in options
    if field["type"] == "text":
        return type(value) is str and len(value) <= field.get("maxLength", LONGEST_ANSWER)
    if field["type"] == "boolean":
        return type(value) is bool
    least, most = field.get("min", value), field.get("max", value)
    return type(value) in (int, float) and bool(least <= value <= most)


def _wanted(field: Mapping[str, Any]) -> str:
    if field["type"] == "choice":
        several = "some" if field.get("multiple") else "one"
        return f"{several} of {'|'.join(option['id'] for option in field['options'])}"
    if field["type"] == "text":
        return f"text of at most {field.get('maxLength', LONGEST_ANSWER)} characters"
    if field["type"] == "boolean":
        return "true or false"
    bounds = [f"{name} {field[name]:g}" for name in ("min", "max") if name in field]
    return " ".join(["a number", *bounds])
