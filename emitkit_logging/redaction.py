"""Secrets: which keys hold one, and what a text looks like without them.

The list of key names and the three patterns masked in text are those of the design's *redact* rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

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

# A run-together form (dbpassword) is told from an unrelated word only when the secret's name is long enough.
_SHORTEST_SUFFIX = 5
_MOST_REMEMBERED_KEYS = 4096

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W_a-zA-Z\d]+|\d+")
_EMITKIT_KEY = re.compile(r"emitkit_[A-Za-z0-9]{16,}")
_BEARER = re.compile(r"(bearer\s+)[\w.~+/=-]{3,}", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]+@")


def words(name: str) -> list[str]:
    """Split a name at punctuation, digits and camelCase.

    Args:
        name: a key or an event's name, such as `X-Api-Key` or `userSignedUp`.

    Returns:
        The words in lower case: `["x", "api", "key"]`, `["user", "signed", "up"]`.
    """
    return [word.lower() for word in _WORD.findall(name)]


class Redactor:
    """Knows which values must not leave the process.

    Args:
        names: key names besides the built-in list, in any spelling (`card_holder`, `cardHolder`).
        literals: texts that are secret wherever they stand, such as the API key in use.
    """

    def __init__(self, names: Iterable[str] = (), literals: Iterable[str] = ()) -> None:
        self._terms = {tuple(words(name)) for name in (*SECRET_NAMES, *names)} - {()}
        joined = {"".join(term) for term in self._terms}
        self._joined = joined | {f"{name}s" for name in joined}
        self._suffixes = tuple(name for name in self._joined if len(name) >= _SHORTEST_SUFFIX)
        self._literals = tuple(literals)
        self._known: dict[str, bool] = {}

    def is_secret(self, key: str) -> bool:
        """Tell whether the value under `key` is to be withheld.

        Whole words of the key count, in any case and spelling, in the plural and run together
        (`db_password`, `X-Api-Key`, `apikey`, `cookies`; not `sessionId`, not `tokenizer`).
        """
        known = self._known.get(key)
        if known is None:
            known = self._judge(key[:256])
            if len(self._known) < _MOST_REMEMBERED_KEYS:
                self._known[key] = known
        return known

    def _judge(self, key: str) -> bool:
        parts = words(key)
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
