"""Events and identify calls as lines in a terminal."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from emitkit_logging._api.moments import read_moment
from emitkit_logging.inbox.masking import mask_keys

WIDEST = 160
"""Characters of a line; a longer one ends in an ellipsis."""

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Format characters can reverse or hide text, but this one joins emoji into one sign.
_JOINER = "\N{ZERO WIDTH JOINER}"


def safe(text: str) -> str:
    """Return `text` as one line without any character that could control a terminal."""
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
    # The title of a fold often has the number already.
    if type(occurrences) is int and f"(×{occurrences})" not in title:
        title = f"{title} ×{occurrences}"
    first_line = next(iter((event["description"] or "").strip().splitlines()), "")
    words = (event["icon"] or "", title, f"· {first_line}" if first_line else "")
    return _line(read_moment(event["createdAt"]) or 0.0, event["channelName"], " ".join(filter(None, words)))


def identify_line(call: Mapping[str, Any], at: float) -> str:
    """Return an identify call of `at` (Unix seconds) as a line: time, user, property names, aliases."""
    names = ", ".join(call["properties"])
    aliases = ", ".join(call["aliases"])
    words = (call["user_id"], f"· {names}" if names else "", f"· also {aliases}" if aliases else "")
    return _line(at, "identify", " ".join(filter(None, words)))


def _line(at: float, where: str, what: str) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    line = safe(f"{clock}  {where:<16}  {what}")
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"


class Echo:
    """Writes a line for each event and identify call that is stored, without API keys.

    The first event with a callback is followed by the secret that signs it.

    Args:
        write: called with each line.
        keys: the API keys.
        secret: signs callbacks.
        clock: returns Unix seconds.
    """

    def __init__(
        self, write: Callable[[str], None], keys: tuple[str, ...], secret: str, clock: Callable[[], float]
    ) -> None:
        self._write = write
        self._keys = keys
        self._secret: str | None = secret
        self._clock = clock

    def __call__(self, kind: str, stored: dict[str, Any]) -> None:
        """Write the line of what was stored; `kind` is `"event"` or `"identify"`."""
        line = event_line(stored) if kind == "event" else identify_line(stored, self._clock())
        self._write(mask_keys(line, self._keys))
        if self._secret is not None and stored.get("callback"):
            self._write(f"  its callback will be signed with {self._secret}")
            self._secret = None


class LineWriter:
    """Writes lines to a stream at once, whatever its encoding, until its reader closes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_open = True

    def write(self, line: str) -> None:
        """Write `line` and flush."""
        if not self._is_open:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            print(line.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)
        except OSError:
            self._is_open = False
