"""Notation: how what was captured of a record is written to disk, and read back.

JSON, so that a spool can be read with any tool and nothing in it can run. What JSON has no word for stands in an object
with one reserved key that names its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from emitkit_logging.record import Raised
from emitkit_logging.values import Frozen, Plain

_KIND = "__emitkit_kind"
_OF = "of"
_SCALARS = frozenset((str, int, float, bool, type(None)))
_BUILT: dict[str, Callable[[Any], object]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "frozen": Frozen,
    "raised": lambda parts: Raised(*parts),
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def write(value: dict[str, Any], plain: Plain, *, simple: bool = False) -> bytes:
    """Return a dict as one line of UTF-8 JSON, without the line's end.

    Args:
        value: with texts as keys.
        plain: converts what has no notation of its own, such as a date.
        simple: whether its values are known to be scalars that JSON has.
    """
    noted = value if simple else {key: _noted(item, plain) for key, item in value.items()}
    return _ENCODER.encode(noted).encode("utf-8", "surrogatepass")


def read(line: bytes) -> dict[str, Any]:
    """Return what `write` wrote.

    Raises:
        ValueError: for anything else.
    """
    try:
        value = json.loads(line.decode("utf-8", "surrogatepass"), object_hook=_built)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("no notation of ours") from error
    if not isinstance(value, dict):
        raise ValueError("no notation of ours")  # noqa: TRY004 - what is on a disk has a wrong value, never a wrong type
    return value


def _noted(value: Any, plain: Plain) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_noted(item, plain) for item in value]
    if kind is dict:
        if _KIND not in value and all(type(key) is str for key in value):
            return {key: _noted(item, plain) for key, item in value.items()}
        return {_KIND: "dict", _OF: [[_noted(key, plain), _noted(item, plain)] for key, item in value.items()]}
    if kind is tuple or kind is set or kind is frozenset:
        return {_KIND: kind.__name__, _OF: [_noted(item, plain) for item in value]}
    if kind is Raised:
        return {_KIND: "raised", _OF: [value.type, value.message, value.stacktrace]}
    return {_KIND: "frozen", _OF: plain.value(value)}


def _built(noted: dict[str, Any]) -> Any:
    kind = noted.get(_KIND)
    return noted if kind is None else _BUILT[kind](noted[_OF])
