"""Recognise keys with secret values, and mask secrets in text (design, *redact*)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from emitkit_logging._api.text import words

REDACTED = "[redacted]"

SECRET_NAMES = (
    "password",
    "passwd",
    "secret",
    "token",
    "api key",
    "authorization",
    "cookie",
    "csrf",
    "credential",
    "private key",
    "card number",
    "cvv",
    "ssn",
)

# A run-together form (dbpassword) is distinguished from an unrelated word only if the secret's name is long enough.
_SHORTEST_SUFFIX = 5
_LONGEST_KEY = 4_096
_LONGEST_REMEMBERED_KEY = 256
_MOST_REMEMBERED_KEYS = 4_096

_ADDRESSES = ("url", "search", "referrer")
_SEPARATORS = re.compile(r"[\W_\d]+")
_EMITKIT_KEY = re.compile(r"emitkit_[A-Za-z0-9]{16,}")
_BEARER = re.compile(r"""(bearer\s+)(?!\[redacted\])[^\s"'<>,;)\]}]+""", re.IGNORECASE)
# a user name may hold an @ (cloud databases); a quote ends what can be a password, else JSON would be swallowed
_PARAMETER = re.compile(r"(?<![^?&#;])([^?&#;=]+)=([^&#;]+)")
_URL_PASSWORD = re.compile(r"""(://[^\s/:"]*:)[^\s/"]+@""")


class Redactor:
    """Knows which values must not leave the process.

    Args:
        names: key names besides the built-in list, in any spelling (`card_holder`, `cardHolder`).
        literals: texts that are secret wherever they stand, such as the API key in use.
    """

    def __init__(self, names: Iterable[str] = (), literals: Iterable[str] = ()) -> None:
        self._terms = {tuple(words(name, _SEPARATORS)) for name in (*SECRET_NAMES, *names)} - {()}
        joined = {"".join(term) for term in self._terms}
        self._joined = joined | {f"{name}s" for name in joined}
        self._suffixes = tuple(name for name in self._joined if len(name) >= _SHORTEST_SUFFIX)
        self._literals = tuple(literals)
        self._known: dict[str, bool] = {}

    def add_literal(self, text: str) -> None:
        """Mask `text` wherever it stands from now on."""
        if text and text not in self._literals:
            self._literals = (*self._literals, text)

    def is_secret(self, key: str) -> bool:
        """Whether the value under `key` is to be withheld.

        Whole words of the key count, in any case and spelling, in the plural and run together
        (`db_password`, `X-Api-Key`, `apikey`, `cookies`; not `sessionId`, not `tokenizer`).
        """
        known = self._known.get(key)
        if known is None:
            known = self._judge(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]} {key[-_LONGEST_KEY:]}")
            if len(key) <= _LONGEST_REMEMBERED_KEY and len(self._known) < _MOST_REMEMBERED_KEYS:
                self._known[key] = known
        return known

    def _judge(self, key: str) -> bool:
        parts = words(key, _SEPARATORS)
        if any(part in self._joined or part.endswith(self._suffixes) for part in parts):
            return True
        if "".join(parts).endswith(self._suffixes):
            return True
        for term in self._terms:
            size = len(term)
            for start in range(len(parts) - size + 1):
                last = parts[start + size - 1]
                if tuple(parts[start : start + size - 1]) == term[:-1] and last in (term[-1], f"{term[-1]}s"):
                    return True
        return False

    def mask(self, text: str) -> str:
        """Return `text` with EmitKit keys, bearer tokens and passwords in URLs masked."""
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, REDACTED)
        if "emitkit_" in text:
            text = _EMITKIT_KEY.sub(REDACTED, text)
        if "earer" in text or "EARER" in text:
            text = _BEARER.sub(rf"\1{REDACTED}", text)
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
        return text

    def mask_page(self, page: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page (seed document, *Rich Metadata*) with the secrets in the queries of its addresses masked."""
        return {
            key: self.mask_query(value) if key in _ADDRESSES and isinstance(value, str) else value
            for key, value in page.items()
        }

    def mask_query(self, address: str) -> str:
        """Return a web address, or its query alone, with the values of parameters masked whose names are secret."""
        if "=" not in address:
            return address
        return _PARAMETER.sub(
            lambda found: f"{found[1]}={REDACTED}" if self.is_secret(unquote_plus(found[1])) else found[0], address
        )
