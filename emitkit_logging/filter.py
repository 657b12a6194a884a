"""Choose which records a handler gets, by event name and by kind of call.

The options and their precedence are those of the seed document's *Provider Routing* and of the npm package
`@stacksee/analytics` 0.14.5.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase

from emitkit_logging import _log
from emitkit_logging import _options as options
from emitkit_logging._events import extras, inference
from emitkit_logging._events.captured import message_of

METHODS = ("track", "identify", "pageView")


class EventFilter(logging.Filter):
    """Accept only some of the records.

    `events` wins over `event_patterns`, and `event_patterns` over `exclude_events`. `methods` wins over `exclude`.
    Empty lists of names and patterns have no effect; an empty list of methods rejects everything.

    Names and patterns apply to tracked events. Identifies pass them, and so do page views (records whose event is
    `page_view`), unless `exclude_events` names `page_view`. A plain record counts as tracked, but has no name.

    Args:
        events: the names of the only events to accept.
        exclude_events: the names of events to reject.
        event_patterns: glob patterns, one of which the name of an event must match.
        methods: the only methods to accept, of `track`, `identify` and `pageView`.
        exclude: the methods to reject.

    Raises:
        TypeError: for a value that is not a list of strings.
        ValueError: for an unknown method.
    """

    def __init__(
        self,
        events: Iterable[str] | None = None,
        exclude_events: Iterable[str] | None = None,
        event_patterns: Iterable[str] | None = None,
        methods: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
    ) -> None:
        super().__init__()
        self._events = frozenset(options.names("events", events))
        self._patterns = options.names("event_patterns", event_patterns)
        self._excluded = frozenset(options.names("exclude_events", exclude_events))
        self._has_names = bool(self._events or self._patterns)
        allowed, stopped = _methods("methods", methods), _methods("exclude", exclude)
        self._methods = allowed if methods is not None else frozenset(METHODS) - stopped
        self._warn(("events", events), ("event_patterns", event_patterns), ("exclude_events", exclude_events))
        self._warn(("methods", methods), ("exclude", exclude))

    @staticmethod
    def _warn(*given: tuple[str, object]) -> None:
        used = [name for name, value in given if value]
        for ignored in used[1:]:
            _log.warn("%s: ignored, since %s is given", ignored, used[0])

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the handler gets `record`."""
        found = extras.of_record(record.__dict__)
        name, category = extras.event_name(found), extras.get(found, "category")
        if name is None and category is None and extras.get(found, "identify") is not None:
            return "identify" in self._methods
        if name == inference.PAGE_VIEW:
            return "pageView" in self._methods and (self._has_names or name not in self._excluded)
        if name is None and category is not None:
            name = message_of(record)[0]
        return "track" in self._methods and self._accepts(name)

    def _accepts(self, name: str | None) -> bool:
        if self._events:
            return name in self._events
        if self._patterns:
            return name is not None and any(fnmatchcase(name, pattern) for pattern in self._patterns)
        return name not in self._excluded


def _methods(option: str, value: Iterable[str] | None) -> frozenset[str]:
    found = frozenset(options.names(option, value))
    unknown = sorted(found - set(METHODS))
    if unknown:
        raise ValueError(f"{option}: {unknown[0]!r} is not one of {', '.join(METHODS)}")
    return found
