"""Events that wait for an answer: what answers them, and when they stop to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emitkit_logging.inbox.emulation.answers import answer_problems
from emitkit_logging.inbox.emulation.refusals import Invalid
from emitkit_logging.inbox.store.event import is_pending, iso
from emitkit_logging.inbox.store.feed import Feed

Event = dict[str, Any]


class NotWaiting(Exception):  # noqa: N818 - no error: another answer was faster, or the time was over
    """The event no longer waits for an answer, or never did."""


class Questions:
    """The questions of a feed.

    Args:
        feed: where they are stored.
        on_end: called with each event that stops to wait, in the thread that ended it.
        clock: returns Unix seconds.
    """

    def __init__(self, feed: Feed, on_end: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._feed = feed
        self._on_end = on_end
        self._clock = clock

    def expire(self) -> None:
        """End all events whose time is over."""
        for event_id in self._feed.due(self._clock()):
            self._end(event_id, lambda event: event["answer"].update(status="expired"))

    def cancel(self, event_id: str) -> Event | None:
        """End an event without an answer.

        Returns:
            The event, or `None` where there is none.

        Raises:
            NotWaiting: when the event does not wait.
        """
        return self._end(event_id, lambda event: event["answer"].update(status="cancelled"))

    def answer(self, event_id: str, action: object, values: object) -> Event | None:
        """Answer an event.

        Args:
            event_id: the event.
            action: the id of the button that was pressed.
            values: the values of its fields, by their ids.

        Returns:
            The event, or `None` where there is none.

        Raises:
            NotWaiting: when the event does not wait.
            Invalid: when it has no such button, or a value does not fit its field.
        """
        filled = dict(values) if isinstance(values, dict) else {}

        def fill(event: Event) -> None:
            if problems := answer_problems(event, action, filled):
                raise Invalid(problems)
            event["answer"].update(status="answered", action=action, values=filled, by="inbox")

        return self._end(event_id, fill)

    def _end(self, event_id: str, fill: Callable[[Event], None]) -> Event | None:
        found = self._feed.event(event_id)
        if found is None:
            return None
        event = found[1]
        if event["answer"] is None:
            raise NotWaiting("This event does not wait for an answer")
        if not is_pending(event):
            raise NotWaiting(f"This event was {event['answer']['status']} already")
        fill(event)
        event["answer"]["at"] = iso(self._clock())
        self._feed.update(event)
        self._on_end(event)
        return event
