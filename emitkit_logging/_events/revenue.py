"""What a record says about revenue.

The server adds up the numbers under `amount` at the top of the metadata, for each `currency` (API contract). An event
that stands for several records has their sum, so that revenue is what it is without folding.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from emitkit_logging._events import extras
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import Converted
from emitkit_logging._events.numeric import json_decimal
from emitkit_logging._events.reading import opened

AMOUNT = "amount"
CURRENCY = "currency"

Amounts: TypeAlias = "dict[str, Decimal]"
"""The sum of amounts by currency; of more than one currency there are two, which is all that has to be known."""

_LARGEST = 2**53  # larger integers are no JSON numbers in an event
_LONGEST_CURRENCY = 64
_MOST_CURRENCIES = 2

REVENUE_KEYS = frozenset((AMOUNT, "extra", "properties", "context"))
"""The extras without which a record says nothing about revenue, unless its message or its context does."""


def revenue_of(captured: CapturedRecord) -> tuple[str, Decimal] | None:
    """Return currency and amount that the metadata of a record's event has, or `None` if it lacks either."""
    attributes, context = captured.attributes, captured.context
    message = attributes.get("msg") if captured.text is None else captured.text
    is_in_message = AMOUNT in message if type(message) is str else message is not None
    is_in_context = bool(context) and not context.keys().isdisjoint(REVENUE_KEYS)  # type: ignore[union-attr]
    if attributes.keys().isdisjoint(REVENUE_KEYS) and not is_in_message and not is_in_context:
        return None
    found = extras.of_record(opened(captured).attributes)
    places = (found, found.get("context"), context, found.get("properties"))
    amount, currency = (_value(places, key) for key in (AMOUNT, CURRENCY))
    if type(currency) is not str or not 0 < len(currency) <= _LONGEST_CURRENCY:
        return None
    if type(amount) is Decimal and type(json_decimal(amount)) is str:
        return None
    if type(amount) not in (int, float, Decimal) or not -_LARGEST <= amount <= _LARGEST:
        return None
    return currency, Decimal(str(amount))


def _value(places: tuple[Mapping[str, Any] | None, ...], key: str) -> Any:
    value = next((place[key] for place in places if extras.is_dict(place) and key in place), None)
    return value.value if type(value) is Converted else value


def add(amounts: Amounts, currency: str, amount: Decimal) -> None:
    """Add an amount to the sum of its currency."""
    if currency in amounts or len(amounts) < _MOST_CURRENCIES:
        amounts[currency] = amounts.get(currency, Decimal(0)) + amount


def metadata(amounts: Amounts) -> dict[str, str | int | float]:
    """Return what an event says about the sum: nothing unless all amounts have one currency."""
    if len(amounts) != 1:
        return {}
    ((currency, amount),) = amounts.items()
    return {AMOUNT: int(amount) if amount == amount.to_integral_value() else float(amount), CURRENCY: currency}
