"""Lines in a terminal: their colors, and what its encoding cannot show."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Mapping
from typing import TextIO


class Color(enum.Enum):
    """The color of a text, by the number in its escape sequence."""

    RED = 31
    GREEN = 32
    YELLOW = 33


def has_colors(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that shows colors, and NO_COLOR (https://no-color.org) is not set.

    Args:
        stream: where lines are written.
        environment: the variables of the environment.
    """
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb" or not stream.isatty():
        return False
    return sys.platform != "win32" or "WT_SESSION" in environment  # older consoles print the sequences


def marked(mark: str, text: str) -> str:
    """Return a text after a mark, aligned with other lines."""
    return f"{mark:8} {text}"


class Terminal:
    """Writes lines to a stream at once, whatever its encoding.

    Args:
        stream: standard output, for example.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._has_colors = has_colors(stream, os.environ)
        self._encoding = stream.encoding or "utf-8"

    def write(self, text: str, *, mark: str = "", color: Color | None = None) -> None:
        """Write a line.

        Args:
            text: without characters that control a terminal.
            mark: a word before it.
            color: of the mark, or of a text without one.
        """
        line = marked(mark, text) if mark else text
        if color is not None and self._has_colors:
            colored = mark or line
            line = f"\x1b[{color.value}m{colored}\x1b[0m{line[len(colored) :]}"
        print(line.encode(self._encoding, "replace").decode(self._encoding), file=self._stream, flush=True)
