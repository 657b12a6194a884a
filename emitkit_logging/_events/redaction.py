"""Redact: withhold values with secret names, and mask secrets in text (design, *redact*).

Everything that leaves the process passes here. Which names are secret is in `secret_names`; what is masked in text by
the name before it is in `secret_pairs`, by its shape in `secret_shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from emitkit_logging._events.secret_names import SECRET_NAMES, SecretNames
from emitkit_logging._events.secret_pairs import PairMasker
from emitkit_logging._events.secret_shapes import REDACTED, mask_shapes, mask_urls

__all__ = ["REDACTED", "SECRET_NAMES", "Redactor"]

_LONGEST_REMEMBERED = 256
_MOST_REMEMBERED = 1_024
_PARAMETER = re.compile(r"(?<![^?&#;])([^?&#;=]+)=([^&#;]+)")
_PAIR_SIGNS = re.compile(r"""=|:| is | was |>|%3[DdAa]|--[a-zA-Z]|"\s*,|'\s*,""")
_MOST_PASSES = 4
_ESCAPE = re.compile(r"\\([nrt])")
_ESCAPE_MARK = "\x1f"  # white space to regular expressions, and in no ordinary text
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_LETTERS = {escaped: letter for letter, escaped in _ESCAPED.items()}
_MARKED = re.compile(f"([\n\r\t]){_ESCAPE_MARK}")
_LONG_NUMBER = re.compile("|".join(rf"{first}(?:[ -]?\d){{11}}" for first in "23456"))
_SHAPE_SIGNS = (
    *("emitkit_", "whsec_", "eyj", "akia", "asia", "aiza", "xox", "xapp-", "ya29.", "private key", "secret-key", ":aa"),
    *("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-"),
    *("k_live_", "k_test_", "hooks.slack", "sk-", "sg.", "npm_", "pypi-", "hf_", "dop_v1_", "shp", "key-"),
    *("bearer", "basic"),
)
"""Texts in lower case; each text with a secret that has a shape has one of them, except for card numbers."""


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
        self._hints = secret_names.hints
        self._literals = tuple(literals)
        self._masked: dict[str, str] = {}

    def add_literal(self, text: str) -> None:
        """Mask `text` wherever it stands from now on."""
        if text and text not in self._literals:
            self._literals = (*self._literals, text)
            self._masked = {}  # not cleared: another thread may be about to add what it masked without `text`

    def mask(self, text: str) -> str:
        """Return `text` with the secrets masked that can be recognised in it.

        To mask a masked text again changes nothing. A short text without a sign of a secret costs about a microsecond.
        """
        if "\\" not in text or _ESCAPE.search(text) is None or _ESCAPE_MARK in text:
            return self._settled(text)
        # `\n` as two characters, as a repr or JSON has it, separates words as the end of a line does
        masked = self._settled(_ESCAPE.sub(lambda found: f"{_ESCAPED[found[1]]}{_ESCAPE_MARK}", text))
        return _MARKED.sub(lambda found: f"\\{_LETTERS[found[1]]}", masked).replace(_ESCAPE_MARK, "")

    def _settled(self, text: str) -> str:
        """Mask a text until that changes nothing: what one rule masks may have hidden a secret from another."""
        for _ in range(_MOST_PASSES):
            masked = self._mask(text)
            if masked == text:
                break
            text = masked
        return text

    def _mask(self, text: str) -> str:
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, REDACTED)
        if "@" in text and ("://" in text or "@tcp(" in text or "@unix(" in text):
            text = mask_urls(text)
        lower = text.lower()
        if any(map(lower.__contains__, _SHAPE_SIGNS)) or _LONG_NUMBER.search(text) is not None:
            text = mask_shapes(text)
        if _PAIR_SIGNS.search(text) is not None and any(map(lower.__contains__, self._hints)):
            text = self._pairs.mask(text)
        return text

    def mask_repeated(self, text: str) -> str:
        """Return what `mask` returns, remembered for texts that may come again, such as names of loggers and events."""
        remembered = self._masked
        masked = remembered.get(text)
        if masked is None:
            masked = self.mask(text)
            if len(text) <= _LONGEST_REMEMBERED:
                if len(remembered) >= _MOST_REMEMBERED:
                    remembered.clear()
                remembered[text] = masked
        return masked

    def is_secret_pair(self, pair: object) -> bool:
        """Whether `pair` is a name and its value, and the value is secret: `("Authorization", "Basic …")`."""
        if type(pair) not in (tuple, list) or len(pair) != 2:  # type: ignore[arg-type]
            return False
        name = pair[0]  # type: ignore[index]
        if type(name) is bytes and len(name) <= 256:
            name = name.decode("latin-1")
        return type(name) is str and self.is_secret(name)

    def without_options(self, values: Sequence[object]) -> Sequence[object]:
        """Return the words of a command without the values of its secret options: `["--password", "…"]`."""
        places = [at for at, value in enumerate(values[:-1]) if type(value) is str and value.startswith("--")]
        secret = {at + 1 for at in places if self.is_secret(str(values[at]))} - set(places)
        return [REDACTED if at in secret else value for at, value in enumerate(values)] if secret else values

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
