"""Which records only repeat the last one of a fold, so that they may join it without being looked at closely.

Pure. In a storm nearly all records of product events do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.series import EXCLUDING_KEYS, Series
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Fold


def series_of_folds(folds: Iterable[Fold], factory: EventFactory) -> dict[object, Series]:
    """Return the series of folds that wait, by the name of the event; alerts and records of browsers are in none.

    Args:
        folds: the folds.
        factory: says what a record folds by.
    """
    found: dict[object, Series] = {}
    for fold in folds:
        if 0 <= fold.priority < logging.ERROR and (series := fold.series()) is not None:
            try:
                is_known = factory.fold_key(fold.samples[-1]) == fold.key
            except Exception:  # from a formatter of the application's own
                is_known = False
            if is_known:  # else only the event itself says what a record folds by
                found[series.name] = series
    return found


def repeated_fold(series_of: Mapping[object, Series], captured: CapturedRecord) -> Fold | None:
    """Return the fold that a record joins because it differs from the last one there by values alone, or `None`.

    Args:
        series_of: the series by the name of the event.
        captured: the record.
    """
    attributes = captured.attributes
    if not captured.is_scalar or (series := series_of.get(attributes.get("event"))) is None:
        return None
    is_repeat = (
        attributes.get("msg") is series.message
        and attributes.get("levelno") == series.level
        and attributes.get("category") == series.category
        and attributes.keys().isdisjoint(EXCLUDING_KEYS)
    )
    fold: Fold = series.fold
    return fold if is_repeat else None
