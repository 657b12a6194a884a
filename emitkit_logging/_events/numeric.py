"""Numbers as JSON takes them without loss (design, *Values*)."""

from __future__ import annotations

import decimal
import math

from emitkit_logging._api.text import MORE, cut

MOST_BITS = 10_000
"""Bits beyond which the interpreter may refuse to write an integer's digits, or take very long."""

_SAFE_INTEGER = 2**53  # beyond it, servers written in JavaScript lose digits (API contract)
_LONGEST_DECIMAL = 8_000  # characters


def json_integer(value: int) -> int | str:
    """Return an integer, or its digits where a server could lose some; of a huge one, its beginning and its size."""
    if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return value
    if value.bit_length() > MOST_BITS:
        return f"{hex(value >> value.bit_length() - 64)}{MORE} [{value.bit_length()} bits]"
    return str(value)


def json_number(value: float) -> float | str:
    """Return a finite number, or the name of one that JSON does not have."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def json_decimal(value: decimal.Decimal) -> int | float | str:
    """Return a number where JSON's holds the value exactly, else its text."""
    if value.is_finite() and abs(value) <= _SAFE_INTEGER:
        if value == value.to_integral_value():
            return int(value)
        number = float(value)
        if decimal.Decimal(repr(number)) == value:
            return number
    return cut(str(value), _LONGEST_DECIMAL)
