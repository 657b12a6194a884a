"""Reading folds, digests and budgets as version 1 of the spool had them.

Version 1 wrote the attributes of the classes of that time. Each function is tolerant: an unknown field is ignored, a
missing one has its default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emitkit_logging._outbox.folding import Digest, Fold

_BUDGET_NAMES = {
    "_limit": "limit",
    "_starts": "starts",
    "_last_start": "last_start",
    "_since_silence": "starts_since_silence",
    "_full_answers": "full_answers",
    "_paused_until": "paused_until",
    "_pause_is_ours": "pause_is_guess",
    "_is_limited": "pause_is_for_limit",
    "_failures": "failures",
    "_disguised": "ambiguous_401s",
    "_limited": "limit_answers",
    "_succeeded": "has_succeeded",
}
_FOLD_NAMES = {
    "age": "place",
    "count": "count",
    "first_seen": "first_seen",
    "last_seen": "last_seen",
    "kept": "samples",
    "user": "user_id",
    "is_of_one_user": "has_one_user",
}


def budget_from_version_1(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a budget for `RateBudget.resume`.

    Args:
        state: what version 1 wrote. Its infinite times are left out.
    """
    renamed = _renamed(state, _BUDGET_NAMES)
    quota = state.get("_quota")
    if isinstance(quota, list | tuple) and len(quota) == 3:
        renamed["quota"] = {"limit": quota[0], "remaining": quota[1], "ends_at": state.get("_quota_ends", 0.0)}
    return {name: value for name, value in renamed.items() if not (isinstance(value, float) and math.isinf(value))}


def fold_from_version_1(state: Mapping[str, Any]) -> Fold:
    """Return a fold.

    Args:
        state: what version 1 wrote, its `kept` records as instances of `CapturedRecord`.

    Raises:
        ValueError: if its key or its place cannot be read.
    """
    key = state.get("key")
    if not isinstance(key, list | tuple) or len(key) != 3:
        raise ValueError("a fold needs a key of channel, level and kind")
    channel, priority, kind = key
    return Fold.of({"channel": channel, "priority": priority, "kind": kind, **_renamed(state, _FOLD_NAMES)})


def digest_from_version_1(state: Mapping[str, Any]) -> Digest:
    """Return a digest.

    Args:
        state: what version 1 wrote.

    Raises:
        ValueError: if its channel or its place cannot be read.
    """
    renamed = dict(state)
    if "level" in state:
        renamed["priority"] = state["level"]
    return Digest.of(renamed)


def _renamed(state: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {new: state[old] for old, new in names.items() if old in state}
