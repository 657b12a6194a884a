"""Making events of captured records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.kinds import FoldKey, PlainKinds


class EventFactory(Protocol):
    """Makes events of captured records. `EmitKitFormatter` does; an application can set a formatter of its own."""

    def event(self, captured: CapturedRecord) -> Event | None:
        """Return the event of a record, or `None` where none can be made."""

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        """A function that returns what a record folds by, or `None` where only its event has that information."""

    @property
    def plain_kinds(self) -> PlainKinds:
        """Finds the kinds of records that are no event."""

    @property
    def shows_revenue(self) -> bool:
        """Whether amounts and currencies are not secret."""

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: dict[str, Json]
    ) -> Event:
        """Return an event that is not made of a single record.

        Args:
            channel: the event's channel; `None`: the channel of `level`.
            level: the event's level.
            title: the event's title.
            description: the event's description.
            metadata: the event's metadata.
        """


class SafeEventFactory:
    """Makes events and does not raise: a formatter of the application's own may raise anything.

    `fold_key` still raises; `Backlog.fold` handles that, because a wrapper would cost a call for each record.

    Args:
        factory: makes the events.

    Attributes:
        error: the last exception, or `None`.
    """

    def __init__(self, factory: EventFactory) -> None:
        self._factory = factory
        self.summary = factory.summary
        self.error: BaseException | None = None

    def event(self, captured: CapturedRecord) -> Event | None:
        """Return the event of a record, or `None` where making it raised."""
        try:
            return self._factory.event(captured)
        except BaseException as error:
            if not is_fault(error):
                raise
            self.error = error
            return None

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        """See `EventFactory.fold_key`."""
        return self._factory.fold_key

    @property
    def plain_kinds(self) -> PlainKinds:
        """See `EventFactory.plain_kinds`."""
        return self._factory.plain_kinds

    @property
    def shows_revenue(self) -> bool:
        """See `EventFactory.shows_revenue`."""
        return self._factory.shows_revenue
