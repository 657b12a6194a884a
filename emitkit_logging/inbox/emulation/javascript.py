"""JSON as a server written in JavaScript reads and writes it."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any, NoReturn

from emitkit_logging._api.rules import problem
from emitkit_logging._api.text import replace_lone_surrogates
from emitkit_logging.inbox.emulation.refusals import Invalid

MAX_DEPTH = 800
"""Levels of nesting that a body may have: below what Python's own JSON parser can take on any version."""

_MOST_DIGITS = 309
"""An integer with fewer digits is never beyond a float."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class NotFinite(Invalid):
    """The body has a number that is beyond a float: 1e999, or an integer of 400 digits."""


def parse(body: bytes, *, exact_integers: bool = True) -> Any:
    """Return the value of a body.

    Args:
        body: JSON in UTF-8, perhaps with a byte order mark before it.
        exact_integers: whether integers beyond 2^53 keep their precision, which in JavaScript they lose.

    Raises:
        NotFinite: for a number beyond a float.
        Invalid: for anything that is not JSON, `NaN` included, and for more than `MAX_DEPTH` levels of nesting.
    """
    try:
        value = json.loads(
            body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_exact if exact_integers else _rounded,
        )
    except (ValueError, RecursionError):
        raise Invalid([problem((), "Invalid JSON")]) from None
    # Counting brackets is cheap, and almost always enough: a body with fewer of them is not nested as deep.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper_than(MAX_DEPTH, value):
        raise Invalid([problem((), f"Nested more than {MAX_DEPTH} levels deep")])
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotFinite([problem((), "Invalid input: expected number, received Infinity")])
    return number


def _exact(digits: str) -> int:
    if len(digits) >= _MOST_DIGITS:
        _finite(digits)
    return int(digits)


def _rounded(digits: str) -> int:
    return int(_finite(digits))


def _is_deeper_than(levels: int, value: object) -> bool:
    layer = [value]
    for _ in range(levels):
        deeper: list[object] = []
        for each in layer:
            if isinstance(each, dict):
                deeper.extend(each.values())
            elif isinstance(each, list):
                deeper.extend(each)
        if not deeper:
            return False
        layer = deeper
    return any(isinstance(each, (dict, list)) for each in layer)


def to_text(value: object) -> str:
    """Return `value` as compact JSON."""
    return _ENCODER.encode(value)


def encode(value: object) -> bytes:
    """Return `value`, which has no lone surrogates, as compact JSON in UTF-8."""
    return to_text(value).encode()


def has_lone_surrogate(value: object) -> bool:
    """Whether half of a surrogate pair stands alone anywhere in `value`, keys included."""
    try:
        encode(value)
    except UnicodeEncodeError:
        return True
    return False


def mend(value: Any) -> Any:
    """Return `value` with U+FFFD for each lone surrogate, as JavaScript writes it in UTF-8."""
    return json.loads(replace_lone_surrogates(to_text(value))) if has_lone_surrogate(value) else value
