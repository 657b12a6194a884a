"""JSON values, and their encoding as the body of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"
"""A JSON value."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def dump(body: Mapping[str, Json]) -> bytes:
    """Return a JSON object in UTF-8, without spaces.

    Raises:
        TypeError: for a value that is not JSON.
        ValueError: for NaN or an infinite number.
    """
    return _ENCODER.encode(body).encode()
