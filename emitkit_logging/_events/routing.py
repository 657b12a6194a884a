"""Which category and which channel an event has (design, *What a record becomes*)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from emitkit_logging._events import inference
from emitkit_logging._events.converter import JsonConverter


class Router:
    """Decides on categories and channels.

    Args:
        channel_name: the channel of events that nothing else assigns to one.
        category_channels: category to channel.
        level_channels: level number to channel; an event takes the entry of the highest level at or below its own.
        converter: masks secrets in level names.
    """

    def __init__(
        self,
        channel_name: str,
        category_channels: Mapping[str, str],
        level_channels: Mapping[int, str],
        converter: JsonConverter,
    ) -> None:
        self._fallback = channel_name
        self._category_channels = category_channels
        self._level_channels = sorted(level_channels.items(), reverse=True)
        self._converter = converter
        self._ordinary = self.channel("", logging.INFO)
        self._alert_channels = self._channels_of_errors() - {channel_name, self._ordinary}

    def _channels_of_errors(self) -> set[str]:
        channels = {channel for level, channel in self._level_channels if level >= logging.ERROR}
        return channels | {self._category_channels.get("error", "")}

    def category(self, name: str | None, level: int, level_name: str) -> str:
        """Return the category of an event that does not give one.

        Args:
            name: the event's name, or `None` for a plain record.
            level: the record's level.
            level_name: the name of that level.
        """
        if level >= logging.ERROR:
            return "error"
        if name is None:
            return self._converter.text(level_name.lower())
        return "navigation" if name == inference.PAGE_VIEW else inference.category_of(name)

    def channel(self, category: str, level: int) -> str:
        """Return the channel of an event that does not name one: by category, then by level, then the fallback."""
        by_category = self._category_channels.get(category)
        if by_category is not None:
            return by_category
        return next((channel for least, channel in self._level_channels if level >= least), self._fallback)

    def untrusted_channel(self, named: str | None, category: str) -> str:
        """Return the channel of an event of an untrusted source, which never reaches a channel of errors.

        Args:
            named: the channel that the event names, or `None`.
            category: its category.
        """
        channel = named or self.channel(category, logging.INFO)
        return self._ordinary if channel in self._alert_channels else channel
