"""Names of keys whose values are secret (design, *redact*)."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from emitkit_logging._api.text import words

SECRET_NAMES = (
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "db pass",
    "database pass",
    "smtp pass",
    "mail pass",
    "email pass",
    "redis pass",
    "user pass",
    "admin pass",
    "secret",
    "token",
    "api key",
    "access key",
    "account key",
    "private key",
    "signing key",
    "encryption key",
    "authorization",
    "cookie",
    "csrf",
    "xsrf",
    "credential",
    "card number",
    "credit card",
    "cvv",
    "cvc",
    "ssn",
    "iban",
)
"""Names that are secret wherever they stand in a key, as whole words."""

LAST_NAMES = frozenset(
    ("auth", "otp", "totp", "pin", "jwt", "pw", "signature", "sig", "bearer")
    + ("sessionid", "phpsessid", "jsessionid", "sid", "passwort", "kennwort")
)
"""Names that are secret as the last word of a key only: `signature`, but not `signature_date`. A session's id is secret
where it is written as cookies are (`sessionid`); `session_id` and `sessionId` are EmitKit's."""

_VAGUE = frozenset(
    ("token", "tokens", "authorization", "cookie", "cookies", "csrf", "xsrf", "credential", "credentials")
    + tuple(LAST_NAMES - {"pw", "passwort", "kennwort"})
)
_LAST_WORDS = """
type types count counts length len size name names id ids at on date time expires expiry expiration expired ttl age
url uri path file filename dir directory endpoint status state policy required enabled disabled valid invalid hint
changed change reset updated created rotated limit limits budget usage used left remaining per total max min ms
seconds secs minutes strength score field fields attempt attempts retries version algorithm alg method provider
scheme backend service server host manager store cache issuer scope scopes format prefix suffix source kind level
mode check rate index position error errors failures middleware handler class module function validator generator
verification country
"""
_DESCRIBING = frozenset(_LAST_WORDS.split())
# A run-together form (dbpassword) is distinguished from an unrelated word only if the secret's name is long enough.
_SHORTEST_SUFFIX = 5
_LONGEST_KEY = 4_096
_LONGEST_REMEMBERED_KEY = 256
_MOST_REMEMBERED_KEYS = 4_096
_SEPARATORS = re.compile(r"[\W_\d]+")


class Secrecy(enum.Enum):
    """What the name before a value in a text says about the value."""

    NONE = 0
    VAGUE = 1
    """The value is secret only if it looks like a secret: `token=expired` is not."""
    CERTAIN = 2
    """The value is secret unless it is plainly none: `password=None`."""


class SecretNames:
    """Decides which keys have secret values.

    Args:
        names: key names besides the built-in ones, in any spelling (`card_holder`, `cardHolder`).
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._terms = {tuple(words(name, _SEPARATORS)) for name in (*SECRET_NAMES, *names)} - {()}
        joined = {"".join(term) for term in self._terms}
        self._joined = joined | {f"{name}s" for name in joined}
        self._suffixes = tuple(name for name in self._joined if len(name) >= _SHORTEST_SUFFIX)
        self.hints = tuple({max(term, key=len) for term in self._terms} | LAST_NAMES)
        """Texts in lower case of which one at least stands in each text with a secret name."""
        self.known: dict[str, bool] = {}
        """Keys already decided on, and whether their values are secret."""
        self._known_in_text: dict[str, Secrecy] = {}

    def is_secret(self, key: str) -> bool:
        """Whether the value under `key` is to be withheld.

        Whole words of the key count, in any case and spelling, in the plural and run together
        (`db_password`, `X-Api-Key`, `apikey`, `cookies`; not `sessionId`, not `tokenizer`).
        """
        known = self.known.get(key)
        if known is None:
            known = self._judge(words(_bounded(key), _SEPARATORS))
            if len(key) <= _LONGEST_REMEMBERED_KEY and len(self.known) < _MOST_REMEMBERED_KEYS:
                self.known[key] = known
        return known

    def in_text(self, key: str) -> Secrecy:
        """Return what a name in a text, before `=` or `:`, says about the value after it."""
        known = self._known_in_text.get(key)
        if known is None:
            known = self._judge_in_text(words(_bounded(key), _SEPARATORS))
            if len(self._known_in_text) >= _MOST_REMEMBERED_KEYS:
                self._known_in_text.clear()
            self._known_in_text[key] = known
        return known

    def _judge_in_text(self, parts: list[str]) -> Secrecy:
        if not self._judge(parts) or parts[-1] in _DESCRIBING:
            return Secrecy.NONE
        is_vague = parts[-1] in _VAGUE or parts[-1].endswith(("token", "cookie"))
        return Secrecy.VAGUE if is_vague and not self._judge(parts[:-1]) else Secrecy.CERTAIN

    def _judge(self, parts: list[str]) -> bool:
        if not parts:
            return False
        if parts[-1] in LAST_NAMES or any(part in self._joined or part.endswith(self._suffixes) for part in parts):
            return True
        if "".join(parts).endswith(self._suffixes):
            return True
        return any(self._contains(parts, term) for term in self._terms)

    @staticmethod
    def _contains(parts: list[str], term: tuple[str, ...]) -> bool:
        size = len(term)
        for start in range(len(parts) - size + 1):
            last = parts[start + size - 1]
            if tuple(parts[start : start + size - 1]) == term[:-1] and last in (term[-1], f"{term[-1]}s"):
                return True
        return False


def _bounded(key: str) -> str:
    return key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]} {key[-_LONGEST_KEY:]}"
