"""What is masked in text, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emitkit_logging import EmitKitFormatter
from emitkit_logging._events.redaction import Redactor
from tests.secrets.corpus import AWS_KEY, MARK, NUMBERS, ORDINARY, SECRET_KEYS, SECRETS

CORPUS = Path(__file__).parents[1] / "data" / "kinds"
FRAMES = (
    "a\\n%s\\nb",
    "'a\\r\\n%s'",
    '"a\\\\n%s\\\\t"',
    "%s",
    "it failed: %s",
    "%s (try 3)",
    "a\n%s\nb",
    "[%s]",
    "'%s'",
    "ctx=%s;",
    "Ü %s …",
)
"""What may stand around a secret."""


def test_size_of_the_corpus():
    """The corpus has the kinds that it is to have."""
    assert len(SECRETS) >= 60
    assert all(MARK in text for text in SECRETS)


@pytest.mark.parametrize("text", SECRETS)
def test_masked(text):
    """A secret is masked wherever it stands in a text, and masking again changes nothing."""
    redactor = Redactor()
    for frame in FRAMES:
        masked = redactor.mask(frame % text)
        assert MARK not in masked, masked
        assert redactor.mask(masked) == masked


@pytest.mark.parametrize("text", [*NUMBERS, AWS_KEY])
def test_masked_numbers(text):
    """So are card numbers and keys that are made of capitals and digits."""
    for frame in FRAMES:
        assert text not in Redactor().mask(frame % text)


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_secret_keys(key):
    """The value of a secret key is withheld, whatever its type and depth."""
    converter = EmitKitFormatter().json_converter
    for value in (MARK, 12345, [MARK], {"a": MARK}, MARK.encode(), True):
        for holder in ({key: value}, [{"x": {key: value}}], {"a": [(key, value)]}):
            assert MARK not in json.dumps(converter.value(holder))


def test_no_false_alarms():
    """Of ordinary lines hardly any is changed: at most one of 200."""
    lines = [line for file in CORPUS.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    messages = [text for line in lines for text in _texts(json.loads(line))]
    assert len(messages) > 500
    changed = [text for text in messages if Redactor().mask(text) != text and "[redacted]" in Redactor().mask(text)]
    assert len(changed) <= len(messages) * 0.005, changed


@pytest.mark.parametrize("line", ORDINARY)
def test_lines_that_look_like_secrets(line):
    """A line that only looks like a secret stays as it is."""
    assert Redactor().mask(line) == line


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
