"""Derive title, category, icon and description from the name of an event.

The six predefined categories, their icons and descriptions are those of the seed document and of the npm package
`@stacksee/analytics` 0.14.5; the words from which a category is inferred are the design's.
"""

from __future__ import annotations

import functools
import re

from emitkit_logging._api.text import words

ICONS = {
    "engagement": "👆",
    "user": "👤",
    "navigation": "🧭",
    "error": "❌",
    "performance": "⚡",
    "conversion": "💰",
}

DESCRIPTIONS = {
    "engagement": "User interaction event",
    "user": "User lifecycle event",
    "navigation": "Navigation event",
    "error": "Error or exception occurred",
    "performance": "Performance metric",
    "conversion": "Conversion event",
}

PAGE_VIEW = "page_view"
PAGE_VIEW_ICON = "👁️"
PAGE_VIEW_DESCRIPTION = "User viewed a page"

_CATEGORY_WORDS = (
    ("error", "error exception failed failure crash crashed down timeout"),
    (
        "conversion",
        "purchase purchased payment paid order checkout subscription subscribed invoice refund trial upgrade "
        "upgraded charge revenue",
    ),
    (
        "user",
        "user signup signed registered login logged logout account profile password invite invited member",
    ),
    ("navigation", "page screen view viewed visited navigated"),
    ("performance", "latency slow duration performance memory cpu throughput"),
)
_CATEGORIES = tuple((category, frozenset(names.split())) for category, names in _CATEGORY_WORDS)
_SEPARATORS = re.compile(r"[_\-.\s]+")
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")


@functools.lru_cache(maxsize=256)
def title_of(name: str) -> str:
    """Format an event's name for people: `user_signed_up` becomes `User Signed Up`."""
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_")).strip() or name


@functools.lru_cache(maxsize=256)
def category_of(name: str) -> str:
    """Infer a category from the whole words of an event's name; `engagement` if none of them has one."""
    found = set(words(name, _SEPARATORS))
    for category, names in _CATEGORIES:
        if not names.isdisjoint(found):
            return category
    return "engagement"


def is_event_name(message: str) -> bool:
    """Whether a message is a snake_case name of at least two words."""
    return len(message) <= 255 and _SNAKE_CASE.fullmatch(message) is not None
