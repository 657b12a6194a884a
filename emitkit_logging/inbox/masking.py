"""API keys are never shown, wherever they were logged."""

from __future__ import annotations

from collections.abc import Iterable


def mask_keys(text: str, keys: Iterable[str]) -> str:
    """Return `text` with a placeholder for each of the API keys in it."""
    for key in keys:
        text = text.replace(key, "[api key]")
    return text
