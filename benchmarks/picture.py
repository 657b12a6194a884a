"""Pictures of delays: horizontal bars on a logarithmic scale, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

OURS = "#2a7de1"
BEFORE = "#e0a030"
OTHERS = "#bbbbbb"

_SHORTEST = 0.01
_DECADE = 90.0
_LONGEST = 2e5


class Bar(NamedTuple):
    """One delay.

    Attributes:
        label: whose it is.
        seconds: the delay; infinite: it never ended.
        colour: of the bar.
    """

    label: str
    seconds: float
    colour: str


def drawn(title: str, groups: Mapping[str, Sequence[Bar]]) -> str:
    """Return a picture of bars in groups, each below its heading."""
    parts, y = [], 40
    for heading, bars in groups.items():
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{html.escape(heading)}</text>')
        y += 8
        for bar in bars:
            width = max(2.0, _DECADE * math.log10(max(min(bar.seconds, _LONGEST), _SHORTEST) / _SHORTEST))
            parts.append(f'<rect x="190" y="{y}" width="{width:.0f}" height="12" fill="{bar.colour}"/>')
            parts.append(f'<text x="10" y="{y + 10}">{html.escape(bar.label)}</text>')
            parts.append(f'<text x="{196 + width:.0f}" y="{y + 10}">{duration(bar.seconds)}</text>')
            y += 15
        y += 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{y}" font-family="sans-serif" font-size="11">'
    shown = f'<text x="10" y="18" font-size="14">{html.escape(title)}</text>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', shown, *parts, "</svg>", ""])


def duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds == math.inf:
        return "never"
    for unit, size in (("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
