"""Masking: what is variable at sight in a message, and that no text takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._events.masking import LONGEST_MASKED, MASK, headline, mask, shape


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("order 34 for user34@example.com failed", "order … for … failed"),
        ("took 12ms", "took …"),
        ("took 1.2 s", "took …"),
        ("took 1h 3m 2s", "took …"),
        ("1,234,567 rows", "… rows"),
        ("1 234 567 rows", "… rows"),
        ("1_234_567 rows", "… rows"),
        ("t=-5.5e-3", "t=…"),
        ("50% of 3.4GB", "… of …"),
        ("nan at 0b101", "… at …"),
        ("$34.50 charged", "… charged"),
        ("9.99 EUR charged", "… charged"),
        ("the 3rd try of 5/10", "the … try of …"),
        ("١٢٣ rows", "… rows"),
        ("2026-11-26T11:59:06.123456+00:00 up", "… up"),
        ("26/Nov/2026:11:59:06 +0000 up", "… up"),
        ("Thu, 26 Nov 2026 11:59:06 GMT up", "… up"),
        ("March 3, 2026 up", "… up"),
        ("after 0:00:01.5", "after …"),
        ("10.0.0.1:5432 refused", "… refused"),
        ("2001:db8::7 refused", "… refused"),
        ("fe80::1%eth0 refused", "… refused"),
        ("00:1a:2b:3c:4d:5e joined", "… joined"),
        ("db1.example.com:5432 refused", "… refused"),
        ("connecting to redis.internal:6379.", "connecting to …."),
        ("job 3f2a8c1e-1234-4abc-9def-001122334455 done", "job … done"),
        ("sha 9f86d081884c7d659a2feaa0c55ad015", "sha …"),
        ("at 0x7f8a1c", "at …"),
        ("deadbeef", "…"),
        ("charge ch_3MtwBwLkdIwHu7ix28a3tqPA", "charge ch_…"),
        ("SKU-8812 and KB-2231-DE", "… and …"),
        ("https://api.example.com/v1/charges/34?x=1 failed", "https://api.example.com/… failed"),
        ('"GET /orders/34?x=1 HTTP/1.1" 200', '"GET … HTTP/…" …'),
        ("/srv/app/x34/foo.py is missing", "/srv/app/…/foo.py is missing"),
        ("KeyError: 'user_id'", "KeyError: …"),
        ("account 'd'arcy' locked", "account … locked"),
        ('no "such thing" here', "no … here"),
        ("ids [1, 2, 3]", "ids […]"),
        ("ids []", "ids […]"),
        ("block blk_-16 and blk_17", "block blk_… and blk_…"),
        ("since Sat Jul  9 11:35:59 2005", "since …"),
        ("lifetime <1 sec", "lifetime …"),
        ("/trucks/34?full=1 failed", "/trucks/… failed"),
        ("token APA91bQwErTyUiOpAsDfGhJk", "token …"),
        ("two  spaces", "two spaces"),
        ("event='order failed' order_id=34", "event='order failed' order_id=…"),
    ],
)
def test_variable_parts(text, masked):
    """Numbers, times, addresses, ids and quoted strings are masked, in whatever spelling, and runs of them once."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "disk is full on the primary",
        "disk is full on the replica",
        "May I come",
        "can't find what I don't have",
        "Not Found: /favicon.ico",
        "shop.tasks.send_email failed",
        "defaced facade",
        "load() failed",
        "a < b -> c",
        "on_OrderPaymentCreated failed",
    ],
)
def test_words_stay(text):
    """Words are not masked at sight."""
    assert mask(text) == text


def test_head_of_several_lines():
    """The first line says what a message is."""
    assert headline("duplicate key\nDETAIL: Key (email)=(a@example.com) exists\n[SQL: INSERT]") == "duplicate key"


def test_head_of_a_traceback():
    """A traceback in the message does not make all failures one: its last line counts, too."""
    trace = 'sync failed\nTraceback (most recent call last):\n  File "a.py", line 3, in run\nValueError: bad'
    assert headline(trace) == "sync failed ValueError: bad"


@pytest.mark.parametrize("key", ["event", "message", "msg"])
def test_head_of_json(key):
    """Of a message that structlog rendered as JSON its event counts."""
    assert headline(f'{{"user_id": "u-1", "{key}": "user signed up"}}') == "user signed up"
    assert headline('{"event": ') == '{"event":'


def test_long_texts():
    """Of a long text only the beginning is looked at, and the cut is visible."""
    assert headline("a " * 1_000_000) == ("a " * LONGEST_MASKED)[:LONGEST_MASKED] + MASK


@given(st.text(alphabet="abx1290:-./@'\"_ F\n", max_size=60))
def test_shape(text):
    """Texts of the same shape have the same mask, so what is known of one is true of the other."""
    assert mask(text.translate(str.maketrans("1209", "0000"))) == mask(text)
    assert shape(text) == shape(text.translate(str.maketrans("1209", "0000")))


@pytest.mark.parametrize(
    "part",
    [
        "1",
        ":",
        "'",
        '"',
        ".",
        "/",
        "\\",
        "a",
        "f",
        "a1",
        "1:",
        "':",
        "a.",
        "a-",
        "@",
        "a@b.",
        "http://a/",
        "1 ",
        "Jan ",
        "A1-",
    ]
    + ["@a_1:", '-"a  ', "{", '{"a":', "`", "…", "0x", "f::", "é", "\x00", "Traceback (most recent call last):\n"],
)
def test_hostile_texts(part):
    """No text of a megabyte takes long, whatever it repeats: quadratic time would be minutes."""
    text = part * (1_000_000 // len(part))
    started = time.process_time()
    mask(headline(text))
    mask(text[:LONGEST_MASKED])
    assert time.process_time() - started < 0.2
