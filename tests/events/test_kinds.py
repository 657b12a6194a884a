"""Kinds: what plain records and records with a fingerprint have in common, and how fast that is found."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import CapturedException, CapturedRecord, exception_of, restore
from emitkit_logging._events.kinds import FINGERPRINT, FoldKey, MergedTemplate, source_of, template_of_format
from tests.records import event, make


class Kinds:
    """Finds the kinds of records in both ways that there are: from the captured record, and from its event."""

    def __init__(self):
        self.formatter = EmitKitFormatter()

    def of(self, *args, **kwargs):
        captured = capture(
            make(*args, level=kwargs.pop("level", logging.ERROR), **kwargs), self.formatter.json_converter
        )
        built = self.formatter.event(restore(captured)).fold_key
        key = self.formatter.fold_key(captured)
        assert key is None or key == built
        return built


@pytest.fixture
def kinds():
    return Kinds()


class Hostile:
    """Raises when it is hashed, compared or asked for its truth."""

    def __hash__(self):
        raise ZeroDivisionError

    def __eq__(self, _):
        raise ZeroDivisionError

    def __bool__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["name", "filename", "lineno", "event", "fingerprint"])
def test_source_of_anything(name):
    """Where a record comes from can be compared, whatever its attributes are."""
    record = CapturedRecord({"name": "app", "filename": "a.py", "lineno": 1, "event": "e", "fingerprint": "f"})
    source = source_of(record)
    record.attributes[name] = Hostile()
    assert source_of(record) != source
    del record.attributes[name]
    assert len({source_of(record), source, source_of(record)}) == 2


def test_arguments(kinds):
    """The message as it was written is the template; placeholders are shown like other variable parts."""
    assert kinds.of("order %s of %s failed", 34, "ada") == FoldKey("alerts", 40, ("app", "order … of … failed", "", ""))
    assert kinds.of("order %s of %s failed", 34, "ada") == kinds.of("order %s of %s failed", "x y", "bob")


def test_no_arguments(kinds):
    """An f-string has the same template as the call with arguments that it stands for."""
    assert kinds.of(f"order {34} failed") == kinds.of("order %d failed", 35)


@pytest.mark.parametrize("written", ["%s", "%s: %s", "%(a)s", "%.3f %5d%%", ""])
def test_arguments_without_words(kinds, written):
    """A message without words of its own says nothing: its text counts."""
    assert template_of_format(written) is None


def test_text_of_arguments(kinds):
    """`"%s"` alone is of the kind of its text."""
    assert kinds.of("%s", "disk 3 is full").kind[1] == "disk … is full"
    assert kinds.of("%s", "disk 3 is full") != kinds.of("%s", "disk 3 is lost")


def test_f_string_with_arguments(kinds):
    """Numbers that stand in a message before its arguments are applied do not tell kinds apart."""
    assert kinds.of("order 34 failed: %s", "x") == kinds.of("order 35 failed: %s", "y")


def test_exception_as_the_message(kinds):
    """An exception as the message is of the kind of its text."""
    assert kinds.of(ValueError("order 34 is bad")) == kinds.of(ValueError("order 35 is bad"))
    assert kinds.of(ValueError("order 34 is bad")) != kinds.of(ValueError("order 35 is good"))


def raised(error, *, deeper=False):
    def inner():
        raise error

    try:
        if deeper:
            inner()
        raise error
    except type(error):
        return event("it failed", level=logging.ERROR, exc_info=True).fold_key


def test_exceptions():
    """Records with one message are of different kinds by type and place of the exception, not by its text."""
    assert raised(ValueError("a")) == raised(ValueError("b"))
    assert raised(ValueError("a")) != raised(KeyError("a"))
    assert raised(ValueError("a")) != raised(ValueError("a"), deeper=True)
    assert raised(ValueError("a")).kind == ("app", "it failed", "ValueError", "events/test_kinds.py:raised")


def test_place_in_a_text():
    """An exception of which only the text is left was raised at the same place."""
    try:
        raise ValueError
    except ValueError:
        exception = exception_of(make("it failed", exc_info=True))
    text = CapturedException(exception.type, exception.message, exception.stacktrace)
    assert text.raised_at == exception.raised_at == "events/test_kinds.py:test_place_in_a_text"
    assert CapturedException("ValueError", "", "").raised_at == ""


def test_place_on_windows():
    """A path counts by its last two parts, whatever separates them."""
    trace = 'Traceback (most recent call last):\n  File "C:\\srv\\shop\\pay.py", line 3, in charge\n    x\nValueError'
    assert CapturedException("ValueError", "", trace).raised_at == "shop/pay.py:charge"


@pytest.mark.parametrize("fingerprint", ["checkout", ["checkout", "stripe"], ("checkout", "stripe")])
def test_fingerprint(kinds, fingerprint):
    """A fingerprint says what a record is a kind of, whatever else it holds, and is no metadata."""
    key = kinds.of("order %s failed", 34, fingerprint=fingerprint)
    parts = (fingerprint,) if isinstance(fingerprint, str) else tuple(fingerprint)
    assert key == FoldKey("alerts", 40, (FINGERPRINT, *parts))
    assert key == kinds.of("something else", fingerprint=fingerprint)
    assert key.name == " ".join(parts)
    assert "fingerprint" not in event("x", fingerprint=fingerprint).metadata


def test_fingerprint_of_an_event(kinds):
    """It also beats the name of an event, and no event has the kind of a fingerprint."""
    one = kinds.of("x", event="order_failed", fingerprint="checkout")
    assert one.kind == (FINGERPRINT, "checkout")
    assert one != kinds.of("x", event="checkout")


@pytest.mark.parametrize("value", [3, [], ["a", 3], {"a": "b"}])
def test_no_fingerprint(value):
    """A value of another type is ordinary metadata."""
    found = event("x", fingerprint=value)
    assert found.kind[0] == "app"
    assert found.metadata["fingerprint"] == value


def test_secret_in_a_fingerprint(kinds):
    """Secrets are masked in a fingerprint as in all text."""
    assert "hunter2" not in str(kinds.of("x", fingerprint="https://ada:hunter2@example.com/"))


def test_words_that_vary(kinds):
    """A word that varies at one call site is a variable, and the kinds before can be followed."""
    names = ["ada", "bob", "carol", "dmitri", "eve", "farid"]
    found = [kinds.of(f"user {name} cannot log in") for name in names]
    assert len({*found}) == len(names)
    assert found[-1].kind[1] == "user … cannot log in"
    merged = kinds.formatter.plain_kinds.pop_merged()
    assert merged == [MergedTemplate("app", f"user {name} cannot log in", "user … cannot log in") for name in names]
    assert kinds.of("user ada cannot log in") == found[-1]


def test_names():
    """People read the template; if there is none, the exception or the logger."""
    assert FoldKey("alerts", 40, ("app", "order … failed", "ValueError", "a.py:f")).name == "order … failed"
    assert FoldKey("alerts", 40, ("app", "", "ValueError", "a.py:f")).name == "ValueError"
    assert FoldKey("alerts", 40, ("app", "", "", "")).name == "app"
    assert FoldKey("alerts", 40, ("app", "order … failed", "ValueError")).name == "order … failed"  # an older spool
