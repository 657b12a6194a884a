"""Records that differ by values alone, while their fold waits: of most of them only time and user are kept.

Pure. In a storm nearly all records are such, and a call that takes no whole copy costs less. Which folds are series is
decided in `_outbox/folding.py`, and when, in `_outbox/backlog.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from emitkit_logging._events import extras
from emitkit_logging._events.captured import UNTRUSTED_KEY, CapturedRecord
from emitkit_logging._events.kinds import NEEDING_THE_EVENT
from emitkit_logging._events.revenue import REVENUE_KEYS

SAYING_MORE = frozenset(("title", "description", *REVENUE_KEYS))
"""Extras without which title, description and revenue of a record's event follow from its message."""

TELLING = NEEDING_THE_EVENT | SAYING_MORE | {UNTRUSTED_KEY}
"""Extras with which a record is in no series: it may fold otherwise, or say more than others of its kind."""

_SHARED = extras.STANDARD | {*extras.OVERRIDES, "notify", "display_as", "icon"}
"""What a record of a series that was not captured whole has of the sample: above all, whether it pushes."""

LONGEST_OLD = 0.01
"""Seconds by which the latest sample of a series may be older than its latest record."""


@dataclass(slots=True, eq=False)
class Series:
    """Records of a product event that join one fold.

    Attributes:
        name: the event's name.
        level: the level's number.
        category: the value of `category`.
        message: the message, the same object.
        sample: a record of the series.
        fold: what they join, see `_outbox/folding.py`.
        copied_at: when the latest record was logged that was captured whole, in epoch seconds.
    """

    name: str
    level: int
    category: object
    message: object
    sample: CapturedRecord
    fold: Any
    copied_at: float


@dataclass(slots=True, eq=False)
class BriefRecord:
    """What is captured of a record of a series.

    Attributes:
        series: the series.
        created: when it was logged, in epoch seconds.
        user_id: its user, or `None`.
    """

    series: Series
    created: float
    user_id: str | None

    def whole(self) -> CapturedRecord:
        """Return a record of its own, for the case that the fold waits no more; other values are not known."""
        sample = self.series.sample.attributes
        attributes = {key: value for key, value in sample.items() if key in _SHARED}
        attributes.update(event=self.series.name, created=self.created)
        if self.series.category is not None:
            attributes["category"] = self.series.category
        if self.user_id is not None:
            attributes["user_id"] = self.user_id
        return CapturedRecord(attributes)


NO_SERIES: Mapping[object, Series] = MappingProxyType({})
"""What a store has that needs each record whole."""
