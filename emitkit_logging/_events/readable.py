"""Text for people: without what a screen does not show, or shows as something else."""

from __future__ import annotations

import re
import unicodedata

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_HIDDEN = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols without ink
_WITHOUT_WIDTH = frozenset(("Cc", "Cf", "Cn", "Mn", "Me", "Zs", "Zl", "Zp"))


def readable(text: str) -> str:
    """Return a text without terminal sequences, control characters and bidirectional overrides.

    Tabs and the ends of lines stay. A text of which nothing is visible becomes an empty one.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _HIDDEN.sub("", _LINE_END.sub("\n", _TERMINAL.sub("", text)))
    return text if any(map(_is_visible, text)) else ""


def _is_visible(character: str) -> bool:
    return character not in _INVISIBLE and unicodedata.category(character) not in _WITHOUT_WIDTH
