"""Text as servers take it: length, lone surrogates, words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._api.text import MORE, clean, cut, replace_lone_surrogates, shorten, units, words

ANY_TEXT = st.text(st.characters(codec=None))


@pytest.mark.parametrize(("text", "length"), [("", 0), ("abc", 3), ("é", 1), ("🚨", 2), ("\ud83d", 1), ("👨‍👩‍👧", 8)])
def test_length_is_in_utf16_code_units(text, length):
    """A JavaScript server counts an emoji as two, and a lone surrogate as one."""
    assert units(text) == length


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("é", "é"),
        ("a\x00b", "a\ufffdb"),
        ("é\x00", "é\ufffd"),
        ("half \ud83d", "half \ufffd"),
        ("\ud83d\udea8", "🚨"),
        ("\udea8\ud83d", "\ufffd\ufffd"),
    ],
)
def test_cleaned_text(text, cleaned):
    """NUL characters and lone surrogates are replaced, and a pair of surrogates is one character."""
    assert clean(text) == cleaned


@given(ANY_TEXT)
def test_cleaned_text_can_be_sent(text):
    """Cleaned text can be encoded, has no NUL, and keeps its length in UTF-16 code units."""
    cleaned = clean(text)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert units(cleaned) == units(text)
    assert clean(cleaned) == cleaned


@given(ANY_TEXT)
def test_without_lone_surrogates(text):
    """Only lone surrogates are replaced; NUL characters stay."""
    replaced = replace_lone_surrogates(text)
    assert clean(text) == replaced.replace("\x00", "\ufffd")
    assert replace_lone_surrogates(replaced) == replaced


@given(st.text(), st.integers(1, 20))
def test_shortened_text_fits(text, limit):
    """A text that is too long is cut to the limit and ends in an ellipsis; any other stays as it is."""
    shortened = shorten(text, limit)
    assert units(shortened) <= limit
    assert shortened == text if units(text) <= limit else shortened.endswith(MORE)


def test_cut_text_says_how_long_it_was():
    """The end of a cut text is its length in characters."""
    assert cut("x" * 100, 100) == "x" * 100
    assert cut("x" * 101, 30) == "x" * 12 + f"{MORE} [101 characters]"
    assert len(cut("x" * 101, 30)) == 30


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X-Api-Key", ["x", "api", "key"]),
        ("userSignedUp", ["user", "signed", "up"]),
        ("HTTPServerError", ["http", "server", "error"]),
        ("", []),
        ("__", []),
    ],
)
def test_words_of_a_name(name, expected):
    """A name is split at separators and at capital letters; an acronym stays one word."""
    assert words(name, re.compile("[-_]+")) == expected
