"""Redact: withhold values with secret names, and mask secrets in text (design, *redact*).

Everything that leaves the process passes here. Which names are secret is in `secret_names`; what is masked in text by
the name before it is in `secret_pairs`, by its shape in `secret_shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from emitkit_logging._events.secret_names import SECRET_NAMES, SecretNames
from emitkit_logging._events.secret_pairs import PairMasker
from emitkit_logging._events.secret_shapes import REDACTED, mask_shapes, mask_urls

__all__ = ["REDACTED", "SECRET_NAMES", "Redactor"]

_PARAMETER = re.compile(r"(?<![^?&#;])([^?&#;=]+)=([^&#;]+)")
_PAIR_SIGNS = re.compile(r"""=|:|>|%3[DdAa]|--[a-zA-Z]|"\s*,|'\s*,""")
_SHAPE_SIGNS = re.compile(  # each begins with one fixed character, so that the search skips all others quickly
    r"2(?:[ -]?\d){11}|3(?:[ -]?\d){11}|4(?:[ -]?\d){11}|5(?:[ -]?\d){11}|6(?:[ -]?\d){11}|"
    r"b[Ee][Aa][Rr][Ee][Rr]|B[Ee][Aa][Rr][Ee][Rr]|b[Aa][Ss][Ii][Cc]\s|B[Aa][Ss][Ii][Cc]\s|"
    "PRIVATE KEY|eyJ|AKIA|ASIA|AIza|AGE-S|xox|xapp|ya29|emitkit_|whsec_|gh[opsur]_|github_pat|gl[a-z]+-|:AA|"
    r"sk_|rk_|hooks\.slack|sk-|SG\.|SK[0-9a-f]{32}|npm_|pypi-|hf_|dop_v1|shp[a-z]{2}_|key-[0-9a-f]"
)


class Redactor:
    """Knows which values must not leave the process.

    Args:
        names: key names besides the built-in list, in any spelling (`card_holder`, `cardHolder`).
        literals: texts that are secret wherever they stand, such as the API key in use.

    Attributes:
        known: keys that `is_secret` was asked for, and its answer.
    """

    def __init__(self, names: Iterable[str] = (), literals: Iterable[str] = ()) -> None:
        secret_names = SecretNames(names)
        self.is_secret = secret_names.is_secret
        self.known = secret_names.known
        self._pairs = PairMasker(secret_names.in_text)
        self._literals = tuple(literals)

    def add_literal(self, text: str) -> None:
        """Mask `text` wherever it stands from now on."""
        if text and text not in self._literals:
            self._literals = (*self._literals, text)

    def mask(self, text: str) -> str:
        """Return `text` with the secrets masked that can be recognised in it.

        To mask a masked text again changes nothing. A short text without a sign of a secret costs about a microsecond.
        """
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, REDACTED)
        if "@" in text and ("://" in text or "@tcp(" in text or "@unix(" in text):
            text = mask_urls(text)
        if _SHAPE_SIGNS.search(text) is not None:
            text = mask_shapes(text)
        return text if _PAIR_SIGNS.search(text) is None else self._pairs.mask(text)

    def is_secret_pair(self, pair: object) -> bool:
        """Whether `pair` is a name and its value, and the value is secret: `("Authorization", "Basic …")`."""
        if type(pair) not in (tuple, list) or len(pair) != 2:  # type: ignore[arg-type]
            return False
        name = pair[0]  # type: ignore[index]
        if type(name) is bytes and len(name) <= 256:
            name = name.decode("latin-1")
        return type(name) is str and self.is_secret(name)

    def mask_page(self, page: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page (seed document, *Rich Metadata*) with the secrets in the queries of its addresses masked."""
        return {key: self.mask_query(value) if isinstance(value, str) else value for key, value in page.items()}

    def mask_query(self, address: str) -> str:
        """Return a web address, or its query alone, with the values of parameters masked whose names are secret."""
        if "=" not in address:
            return address
        return _PARAMETER.sub(
            lambda found: f"{found[1]}={REDACTED}" if self.is_secret(unquote_plus(found[1])) else found[0], address
        )
