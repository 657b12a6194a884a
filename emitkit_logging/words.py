"""Words: how a name falls into words."""

from __future__ import annotations

import re

_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")


def words(name: str, separators: re.Pattern[str]) -> list[str]:
    """Split a name at separators and camelCase.

    Args:
        name: a key or an event's name, such as `X-Api-Key` or `userSignedUp`.
        separators: what stands between words.

    Returns:
        The words in lower case: `["x", "api", "key"]`, `["user", "signed", "up"]`.
    """
    return [word.lower() for part in separators.split(name) if part for word in _CAMEL.findall(part)]
