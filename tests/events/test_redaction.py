"""Secrets do not leave the process."""

from __future__ import annotations

import time

import pytest

from emitkit_logging._events.redaction import Redactor


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_password", "userPassword", "dbpassword", "passwords", "X-Api-Key", "apikey", "apiKeys"]
    + ["APIKey", "api key", "XAPIKey", "cookies", "Set-Cookie", "csrftoken", "access_token", "accesstoken", "ssn"]
    + [
        "Authorization",
        "private_key",
        "privateKey",
        "card-number",
        "cardnumber",
        "cvv",
        "client_secret",
        "credentials",
    ],
)
def test_secret_keys(key):
    """The names of secrets are known in any spelling."""
    assert Redactor().is_secret(key)


@pytest.mark.parametrize(
    "key", ["sessionId", "tokenizer", "secretary", "key", "card", "number", "pass", "user", "", "lessn"]
)
def test_other_keys(key):
    """What only looks like a secret's name is kept."""
    assert not Redactor().is_secret(key)


def test_more_names():
    """The user's names extend the list, in any spelling."""
    redactor = Redactor(["cardHolder", "email"])
    assert [redactor.is_secret(key) for key in ("card_holder", "CARDHOLDER", "emails", "mail", "password")] == [
        True,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("emitkit_0123456789abcdef!", "[redacted]!"),
        ("emitkit_logging", "emitkit_logging"),
        ("Authorization: Bearer abc.DEF-1", "Authorization: Bearer [redacted]"),
        ("postgres://ada:p@ss@db/x", "postgres://ada:[redacted]@db/x"),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
        ("the key is hunter2", "the key is [redacted]"),
    ],
)
def test_mask(text, masked):
    """Keys, tokens and passwords are masked in any text, and masking twice changes nothing."""
    redactor = Redactor(literals=["hunter2"])
    assert redactor.mask(text) == masked
    assert redactor.mask(masked) == masked


@pytest.mark.parametrize("text", ["://" * 50_000, "a" * 200_000 + "://", "://a:" + "b" * 200_000, "bearer " * 30_000])
def test_mask_is_linear(text):
    """No text makes masking slow."""
    began = time.process_time()
    Redactor().mask(text)
    assert time.process_time() - began < 2
