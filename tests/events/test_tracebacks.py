"""The text of a traceback says which exception it is of."""

from __future__ import annotations

import builtins
import sys
import traceback

import pytest

from emitkit_logging._events import tracebacks


def text_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException:
        return traceback.format_exc()


def chained() -> str:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer\nsecond line") from error
    except ValueError:
        return traceback.format_exc()


class OwnError(Exception):
    pass


CASES = [
    (text_of(ValueError("bad")), "ValueError", "bad"),
    (text_of(ValueError()), "ValueError", ""),
    (text_of(ValueError("a: b")), "ValueError", "a: b"),
    (text_of(RuntimeError("no such table\n(Background on this error at: https://e)")), "RuntimeError", None),
    (text_of(SyntaxError("bad", ("f.py", 1, 1, "x ="))), "SyntaxError", "bad"),
    (text_of(OwnError("bad")), f"{__name__}.OwnError", "bad"),
    (chained(), "ValueError", "outer\nsecond line"),
]
if sys.version_info >= (3, 11):
    noted = ValueError("bad")
    noted.add_note("Hint: call support")
    inner = builtins.ExceptionGroup("b", [KeyError("c")])  # type: ignore[attr-defined]
    group = builtins.ExceptionGroup("many", [ValueError("a"), inner])  # type: ignore[attr-defined]
    CASES += [
        (text_of(noted), "ValueError", "bad\nHint: call support"),
        (text_of(group), "ExceptionGroup", "many (2 sub-exceptions)"),
    ]


@pytest.mark.parametrize(("text", "name", "message"), CASES)
def test_parse(text, name, message):
    """The type and the message are those of the last exception, whatever lines the message has."""
    parsed = tracebacks.parse(text)
    assert (parsed.type, parsed.text, parsed.rest) == (name, text, "")
    assert parsed.message == message or message is None


@pytest.mark.parametrize(("text", "name", "message"), CASES)
@pytest.mark.parametrize("before", ["", "order 7 failed\n", "order 7 failed: "])
def test_find(before, text, name, message):
    """In a message it is found wherever it stands, and the text before it remains."""
    found = tracebacks.find(before + text)
    assert (found.type, found.text.strip(), found.rest) == (name, text.strip(), before.strip())


def test_text_after():
    """What follows after a blank line is no part of the exception."""
    found = tracebacks.find(f"first\n{text_of(ValueError('bad'))}\nwhile handling order 7")
    assert (found.message, found.rest) == ("bad", "first\nwhile handling order 7")


@pytest.mark.parametrize("text", ["", "boom", tracebacks.HEADER, f"{tracebacks.HEADER}\n  File", "a\nb: c d\n"])
def test_anything(text):
    """Any text has a type, and none is lost."""
    assert tracebacks.parse(text).type
    found = tracebacks.find(text)
    assert found is None or found.text


def test_no_traceback():
    """Text that is no traceback has none."""
    assert tracebacks.find("payment failed") is None
    assert tracebacks.find(tracebacks.HEADER) is None
    assert tracebacks.parse("ValueError: bad\nmore").type == "ValueError"
