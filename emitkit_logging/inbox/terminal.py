"""How an event and an identify call read as a line in a terminal. Pure."""

from __future__ import annotations

import time
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDEST = 160
"""Characters of a line; what is longer ends in an ellipsis."""

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Format characters can reverse or hide text, but this one joins emoji into one sign.
_JOINER = "\N{ZERO WIDTH JOINER}"


def plain(text: str) -> str:
    """Return `text` as one line without any character that could drive a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character == _JOINER or unicodedata.category(character) not in _UNSAFE
        else " " * character.isspace()
        for character in text
    )


def event_line(event: Mapping[str, Any]) -> str:
    """Return a stored event as a line: time, channel, icon, title, ×N, first line of the description."""
    title = event["title"]
    occurrences = event["metadata"].get("occurrences")
    # A fold's own title often says so already.
    if type(occurrences) is int and f"(×{occurrences})" not in title:
        title = f"{title} ×{occurrences}"
    first_line = next(iter((event["description"] or "").strip().splitlines()), "")
    words = (event["icon"] or "", title, f"· {first_line}" if first_line else "")
    created = datetime.fromisoformat(event["createdAt"].replace("Z", "+00:00"))
    return _line(created.timestamp(), event["channelName"], " ".join(filter(None, words)))


def identify_line(call: Mapping[str, Any], at: float) -> str:
    """Return an identify call of `at` (Unix seconds) as a line: time, user, property names, aliases."""
    told = ", ".join(call["properties"])
    aliases = ", ".join(call["aliases"])
    words = (call["user_id"], f"· {told}" if told else "", f"· also {aliases}" if aliases else "")
    return _line(at, "identify", " ".join(filter(None, words)))


def _line(at: float, where: str, what: str) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    line = plain(f"{clock}  {where:<16}  {what}")
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"
