"""Text as the API takes it: valid, of limited length, and split into words."""

from __future__ import annotations

import re

MORE = "…"
"""Marks what was shortened: at the end of a text, as a list's last entry, as a dict's last key."""

_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")


def clean(text: str) -> str:
    """Return `text` without NUL characters and lone surrogates, which servers answer with 500 (API contract)."""
    if text.isascii():
        return text.replace("\x00", "\ufffd") if "\x00" in text else text
    if _UNSENDABLE.search(text) is None:
        return text
    return replace_lone_surrogates(text).replace("\x00", "\ufffd")


def replace_lone_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate, as JavaScript writes it in UTF-8."""
    if _PAIR.search(text) is not None:
        text = _PAIR.sub(lambda found: found[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
    return _SURROGATE.sub("\ufffd", text)


def shorten(text: str, limit: int) -> str:
    """Return `text` cut to `limit` UTF-16 code units; a text that is cut ends in an ellipsis."""
    if len(text) * 2 <= limit or units(text) <= limit:
        return text
    kept = text[: limit - 1]
    while units(kept) > limit - 1:
        kept = kept[: len(kept) - max(1, (units(kept) - limit + 1) // 2)]
    return kept + MORE


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 code units, as JavaScript counts it and the contract's limits mean it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text` cut to `limit` characters; a text that is cut ends in its original length."""
    if len(text) <= limit:
        return text
    mark = f"{MORE} [{len(text)} characters]"
    return text[: max(0, limit - len(mark))] + mark


def words(name: str, separators: re.Pattern[str]) -> list[str]:
    """Return the words of a name, which separators or camelCase set apart.

    Args:
        name: a key or an event's name, such as `X-Api-Key` or `userSignedUp`.
        separators: what stands between words.

    Returns:
        The words in lower case: `["x", "api", "key"]`, `["user", "signed", "up"]`.
    """
    return [word.lower() for part in separators.split(name) if part for word in _CAMEL.findall(part)]
