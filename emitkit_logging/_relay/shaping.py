"""Shaping in the application, and events of shaped records in the relay.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._relay import wire

MOST_SAMPLES = 2
"""Records that a fold brings along: the first and the latest. The relay keeps more, of many processes."""


class Unshapable(Exception):  # noqa: N818 - it says what a record is
    """A record of which no event can be made."""


class Shaper:
    """Makes the lines of captured records, by this process's options.

    Args:
        factory: makes events; an application may have set a formatter of its own, which may raise.
    """

    def __init__(self, factory: EventFactory) -> None:
        self._factory = factory

    def record(self, captured: CapturedRecord) -> bytes:
        """Return the line of a record.

        Raises:
            Unshapable: if no event can be made of it; the text names why.
        """
        try:
            event = self._factory.event(captured)
            if event is not None:
                return wire.write_record(event, captured)
        except BaseException as error:
            if not is_fault(error):
                raise
            raise Unshapable(type(error).__name__) from error
        raise Unshapable("no event")

    def fold(self, fold: Fold) -> bytes:
        """Return a fold of captured records as a part of a batch.

        Raises:
            Unshapable: if no event can be made of any of its samples.
        """
        kept = [*fold.samples[: MOST_SAMPLES - 1], *fold.samples[MOST_SAMPLES - 1 :][-1:]]
        shaped = [self._sample(captured) for captured in kept]
        samples = [sample for sample in shaped if isinstance(sample, bytes)]
        if not samples:
            raise Unshapable("; ".join(dict.fromkeys(map(str, shaped))))
        return wire.write_fold(fold, samples)

    def _sample(self, captured: CapturedRecord) -> bytes | Unshapable:
        try:
            return self.record(captured)
        except Unshapable as error:
            return error


class ShapedFactory:
    """Makes events of shaped records, for the relay's outbox.

    Args:
        formatter: makes the events that stand for no single record.
    """

    shows_revenue = True  # what is secret was left out in the process that logged it

    def __init__(self, formatter: EventFactory) -> None:
        self.summary = formatter.summary
        self.plain_kinds = formatter.plain_kinds  # never asked: each record has its kind

    def event(self, captured: CapturedRecord) -> Event | None:
        """Return the event that the record was shaped to."""
        return captured.event() if isinstance(captured, wire.ShapedRecord) else None

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        """Returns what a record folds by."""
        return _fold_key


def _fold_key(captured: CapturedRecord) -> FoldKey | None:
    return captured.key if isinstance(captured, wire.ShapedRecord) else None
