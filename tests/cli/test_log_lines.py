"""Reading logs: time, level and logger are taken off, and tracebacks belong to their records."""

from __future__ import annotations

import io
import time

import pytest

from emitkit_logging.cli.log_lines import LONGEST_LINE, lines_of, parse, records_of


@pytest.mark.parametrize(
    ("line", "level", "logger", "message"),
    [
        ("2026-11-26 11:59:06,123 ERROR shop.orders: it failed", "ERROR", "shop.orders", "it failed"),
        ("2026-11-26 11:59:06,123 - shop.orders - ERROR - it failed", "ERROR", "shop.orders", "it failed"),
        ("2026-11-26 11:59:06,123 [shop.orders] [ERROR] it failed: x", "ERROR", "shop.orders", "it failed: x"),
        ("2026-11-26T11:59:06.123Z ERROR it failed", "ERROR", "", "it failed"),
        ("2026-11-26 11:59:06.123 | ERROR    | shop:charge:34 - it failed", "ERROR", "shop", "it failed"),
        ("2026-11-26 11:59:06 [error    ] it failed   order_id=34", "ERROR", "", "it failed   order_id=34"),
        ("ERROR:shop.orders:it failed", "ERROR", "shop.orders", "it failed"),
        ('INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK', "INFO", "", '127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK'),
        ("[2026-11-26 11:59:06 +0000] [7] [INFO] Booting worker", "INFO", "", "Booting worker"),
        ("[2026-11-26 11:59:06,123: INFO/MainProcess] Task received", "INFO", "", "Task received"),
        ('[26/Nov/2026 11:59:06] "GET / HTTP/1.1" 200 5', "", "", '"GET / HTTP/1.1" 200 5'),
        ("[Sun Dec 04 04:47:44 2005] [notice] started", "NOTICE", "", "started"),
        ("Nov 26 11:59:06 web1 sshd[123]: Failed password", "", "sshd", "Failed password"),
        ("2026-11-26 11:59:06.123 7 INFO nova.api [req-3f2a 9b2d - - -] Took 3 s", "INFO", "nova.api", "Took 3 s"),
        ("03-17 16:13:38.811  1702  2395 D WindowManager: freezing", "DEBUG", "WindowManager", "freezing"),
        ("app.log:2026-11-26 11:59:06 WARNING it failed", "WARNING", "", "it failed"),
        ("11:59:06 ERROR user34: it failed", "ERROR", "", "user34: it failed"),
        ("order 34: it failed", "", "", "order 34: it failed"),
        ("Error: it failed", "", "", "Error: it failed"),
        ("12:30 is late", "", "", "12:30 is late"),
        ("", "", "", ""),
        ('{"level": "error", "logger": "shop", "event": "it failed", "id": 3}', "ERROR", "shop", "it failed"),
        ('{"levelname": "ERROR", "name": "shop", "msg": "it failed"}', "ERROR", "shop", "it failed"),
        ('{"severity": "ERROR", "message": "it failed", "event": "x"}', "ERROR", "", "it failed"),
        ('{"id": 3}', "", "", '{"id": 3}'),
        ('{"id": ', "", "", '{"id": '),
        ("{}", "", "", "{}"),
    ],
)
def test_layouts(line, level, logger, message):
    """What stands before the message in the usual layouts is no part of it, and what only looks like it is."""
    record = parse(line)
    assert (record.level, record.logger, record.message) == (level, logger, message)


def test_call_site():
    """The place of the logging call is read where a line has it."""
    assert parse('{"message": "it failed", "filename": "orders.py", "lineno": 34}').place == ("orders.py", "34")
    assert parse("2026-11-26 11:59:06.123 | ERROR | shop:charge:34 - it failed").place == (":charge:34",)


TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/pay.py", line 3, in charge
    raise KeyError("x")
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop/pay.py", line 9, in pay
    charge()
ValueError: bad"""


def test_traceback():
    """A traceback belongs to the record before it, with all that it was raised from."""
    log = f"ERROR:shop:it failed\n{TRACEBACK}\nERROR:shop:it failed again\nINFO:shop:done"
    first, second, third = records_of(log.splitlines())
    assert (first.message, first.lines, first.trace[-1]) == ("it failed", 12, "ValueError: bad")
    assert (second.message, second.lines, second.trace) == ("it failed again", 1, [])
    assert third.message == "done"


def test_traceback_alone():
    """A traceback without a record before it is one record."""
    (record,) = records_of(TRACEBACK.splitlines())
    assert (record.lines, record.trace[-1]) == (11, "ValueError: bad")


def test_traceback_in_json():
    """JSON lines have the traceback in a key of its own."""
    line = '{"event": "it failed", "exception": "Traceback (most recent call last):\\nValueError: bad"}'
    assert parse(line).trace[-1] == "ValueError: bad"


def test_long_lines():
    """A line without end is read in parts and cut."""
    file = io.BytesIO(b"x" * (3 * LONGEST_LINE) + b"\nnext\r\nlast \xff")
    assert [line[:10] for line in lines_of(file)] == ["x" * 10, "next", "last \ufffd"]


@pytest.mark.parametrize("part", ["1 ", "[1]", "a.", "a:", "ERROR ", " ", "[", "{", "11:59:06 ", "a-b ", "Jan 11 "])
def test_hostile_lines(part):
    """No line of a megabyte takes long to read."""
    started = time.process_time()
    parse(part * (LONGEST_LINE // len(part)))
    assert time.process_time() - started < 0.2
