"""What a record says about revenue is what its event says, wherever it stands in the record."""

from __future__ import annotations

import enum
import json
import math
from decimal import Decimal

import pytest

from emitkit_logging import EmitKitFormatter, event_context
from emitkit_logging._context.capture import capture
from emitkit_logging._events import revenue
from emitkit_logging._events.captured import restore
from emitkit_logging._events.revenue import revenue_of
from tests.records import make

PAID = {"amount": 49.9, "currency": "EUR"}


class Price(enum.IntEnum):
    BASIC = 5


class Scalar:
    """Like a scalar of numpy's."""

    def item(self):
        return 7.5


def in_event(captured):
    """Return what the server would count, as numbers at the top of the metadata."""
    metadata = json.loads(EmitKitFormatter().event(restore(captured)).encode())["metadata"]
    amount, currency = metadata.get("amount"), metadata.get("currency")
    is_number = isinstance(amount, int | float) and not isinstance(amount, bool)
    return (currency, amount) if is_number and isinstance(currency, str) else None


@pytest.mark.parametrize(
    "extra",
    [
        PAID,
        {"properties": PAID},
        {"extra": PAID},
        {"extra": {"properties": PAID}},
        {"context": PAID},
        {"amount": 3, "properties": PAID},
        {"properties": {"amount": 3}, "currency": "USD"},
        {"amount": Decimal("49.90"), "currency": "EUR"},
        {"amount": Decimal("0.1234567890123456789"), "currency": "EUR"},
        {"amount": Decimal("9e99999"), "currency": "EUR"},
        {"amount": Price.BASIC, "currency": "EUR"},
        {"amount": Scalar(), "currency": "EUR"},
        {"amount": 2**60, "currency": "EUR"},
        {"amount": "49.9", "currency": "EUR"},
        {"amount": True, "currency": "EUR"},
        {"amount": math.nan, "currency": "EUR"},
        {"amount": math.inf, "currency": "EUR"},
        {"amount": 5},
        {"amount": -5, "currency": "EUR"},
        {"amount": None, "currency": "EUR"},
        {"amount": PAID, "currency": "EUR"},
        {"properties": "amount"},
    ],
)
def test_like_the_event(extra):
    """In each place and of each type the fold counts what the event alone would have counted."""
    captured = capture(make("paid", event="paid", **extra), EmitKitFormatter().json_converter)
    found = revenue_of(captured)
    expected = in_event(captured)
    assert (found and (found[0], float(found[1]))) == (expected and (expected[0], float(expected[1])))


def test_message_and_context():
    """Amounts in structlog's messages and in the event context count, too."""
    converter = EmitKitFormatter().json_converter
    given = [{"event": "paid", **PAID}, json.dumps({"event": "paid", **PAID}), "event=paid amount=49.9 currency=EUR"]
    with event_context(**PAID):
        captured = [capture(make("paid", event="paid"), converter)]
    captured += [capture(make(message), converter) for message in given]
    for each in captured:
        assert revenue_of(each) == ("EUR", Decimal("49.9"))
        assert in_event(each) == ("EUR", 49.9)
    assert revenue_of(capture(make("the amount is unknown"), converter)) is None


def test_sums():
    """Sums are exact, and nothing is said of several currencies, however many there are."""
    amounts = {}
    for _ in range(10):
        revenue.add(amounts, "EUR", Decimal("0.1"))
    assert revenue.metadata(amounts) == {"amount": 1, "currency": "EUR"}
    for number in range(50):
        revenue.add(amounts, f"C{number}", Decimal(1))
    assert len(amounts) == 2
    assert revenue.metadata(amounts) == {}
