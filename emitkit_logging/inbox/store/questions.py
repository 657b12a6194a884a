"""Events that wait for an answer: what answers them, and when they stop to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emitkit_logging.inbox.emulation.answers import answer_problems
from emitkit_logging.inbox.emulation.refusals import Invalid, NotPending, NotWaiting
from emitkit_logging.inbox.store.event import is_pending, iso
from emitkit_logging.inbox.store.feed import Feed

RETENTION = 90 * 86_400.0
"""Seconds for which events are kept (API contract)."""

Event = dict[str, Any]


ANSWERED_BY = {"id": "user_inbox", "name": "The inbox's page", "email": "inbox@localhost"}
"""The person who answers on the page."""


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
        """End all questions whose time is over, and forget the events that are older than `RETENTION`."""
        now = self._clock()
        self._feed.forget_before(now - RETENTION)
        for event_id in self._feed.due(now):
            self._end(event_id, lambda event: event["answer"].update(status="expired"))

    def cancel(self, event_id: str) -> Event | None:
        """End an event without an answer; one that was canceled before is returned again.

        Returns:
            The event, or `None` where there is none.

        Raises:
            NotWaiting: when the event never asked anything.
            NotPending: when it was answered or has expired.
        """
        found = self._feed.event(event_id)
        if found is not None and (found[1]["answer"] or {}).get("status") == "canceled":
            return found[1]
        return self._end(event_id, lambda event: event["answer"].update(status="canceled"))

    def answer(self, event_id: str, action: object, values: object) -> Event | None:
        """Answer an event.

        Args:
            event_id: the event.
            action: the id of the button that was pressed.
            values: the values of its fields, by their ids.

        Returns:
            The event, or `None` where there is none.

        Raises:
            NotWaiting: when the event never asked anything.
            NotPending: when it does not wait any longer.
            Invalid: when it has no such button, or a value does not fit its field.
        """
        given = values if isinstance(values, dict) else {}
        filled = {name: value for name, value in given.items() if value is not None and value != ""}

        def fill(event: Event) -> None:
            if problems := answer_problems(event, action, filled):
                raise Invalid(problems)
            at = iso(self._clock())
            event["answer"].update(status="answered", action=action, values=filled, by=dict(ANSWERED_BY), at=at)

        return self._end(event_id, fill)

    def _end(self, event_id: str, fill: Callable[[Event], None]) -> Event | None:
        found = self._feed.event(event_id)
        if found is None:
            return None
        event = found[1]
        if event["answer"] is None:
            raise NotWaiting("This event does not wait for an answer")
        if not is_pending(event):
            raise NotPending(f"This event is {event['answer']['status']} already")
        fill(event)
        self._feed.update(event)
        self._on_end(event)
        return event
