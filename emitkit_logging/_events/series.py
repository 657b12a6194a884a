"""Series: records of one product event that differ in their values only, and that join a fold which waits.

Pure. Of most of them only time and user are kept. In a storm nearly all records are such, and a call that makes no
whole copy costs less. Which folds have a series is decided in `_outbox/repeats.py`, when records join it in
`_outbox/backlog.py` and `_relay/edge.py`, and which are not captured whole in `capture_brief` of `_context/capture.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from emitkit_logging._events import extras
from emitkit_logging._events.captured import UNTRUSTED_KEY, CapturedRecord
from emitkit_logging._events.kinds import NEEDING_THE_EVENT
from emitkit_logging._events.revenue import REVENUE_KEYS

CONTENT_KEYS = frozenset(("title", "description", *REVENUE_KEYS))
"""Extras that change title, description or revenue of a record's event. Without them, these follow from its message."""

EXCLUDING_KEYS = NEEDING_THE_EVENT | CONTENT_KEYS | {UNTRUSTED_KEY}
"""Extras of records that are in no series: such a record may fold otherwise, or say more than others of its kind."""

_SHARED = extras.STANDARD | {*extras.OVERRIDES, "notify", "display_as", "icon"}
"""What a record of a series that was not captured whole has of the sample: above all, whether it pushes."""

OLDEST_SAMPLE = 0.01
"""Seconds by which the latest sample of a series may be older than its latest record."""


@dataclass(slots=True, eq=False)
class Series:
    """Records of a product event that join one fold.

    Attributes:
        name: the event's name.
        level: the level's number.
        category: the value of `category`.
        message: the message; all records of the series have this same object.
        sample: the record of the series that its fold had last when the series was found.
        fold: the `Fold` that they join, see `_outbox/folding.py`.
        copied_at: when the latest record that was captured whole was logged, in epoch seconds.
    """

    name: str
    level: int
    category: object
    message: object
    sample: CapturedRecord
    fold: Any
    copied_at: float


BriefRecord: TypeAlias = "tuple[Series, float, str | None]"
"""What is kept of a record of a series that is not captured whole: the series, when it was logged in epoch seconds, and
its user or `None`. A class of its own would take a tenth of the time of a call to make."""


def count_brief(brief: BriefRecord) -> bool:
    """Count a record in the fold of its series, if that still waits; return whether it does."""
    series, created, user_id = brief
    if series.fold.is_gone:
        return False
    series.fold.count_repeat(created, user_id)
    return True


def restore_brief(brief: BriefRecord) -> CapturedRecord:
    """Return a whole record, for the rare case that the fold does not wait any more.

    Its standard attributes, except for the time, and what decides whether it pushes, are those of the sample. Of its
    other extras, only event, category and user are known.
    """
    series, created, user_id = brief
    attributes = {key: value for key, value in series.sample.attributes.items() if key in _SHARED}
    attributes.update(event=series.name, created=created)
    if series.category is not None:
        attributes["category"] = series.category
    if user_id is not None:
        attributes["user_id"] = user_id
    return CapturedRecord(attributes)


NO_SERIES: Mapping[object, Series] = MappingProxyType({})
"""The series of a store that needs each record whole: none."""
