"""The local EmitKit of a test."""

from __future__ import annotations

import logging
from typing import Any

from emitkit_logging.handler import EmitKitHandler
from emitkit_logging.inbox.server import Inbox

__tracebackhide__ = True  # the report of a failed test shows the test

UNLIMITED = 1_000_000
"""Requests a minute. Without any limit there would be no headers, and a handler would keep to its default of 100."""


class EmitKitInbox(Inbox):
    """A local EmitKit without a rate limit, and the handlers that were attached for a test."""

    def __init__(self) -> None:
        super().__init__(rate_limit=UNLIMITED)
        self._attached: list[tuple[logging.Logger, EmitKitHandler]] = []

    def attach(self, logger: logging.Logger | str | None = None, **options: Any) -> EmitKitHandler:
        """Add a handler that sends to this inbox to a logger, until the test ends.

        For applications that configure logging before a test begins, such as Django: the handlers that they have made
        send to the address of their settings, or nowhere.

        Args:
            logger: a logger or its name; the root logger when it is not given.
            options: those of `EmitKitHandler`, such as `category_channel_map`.

        Returns:
            The handler, for example to `flush` it. It is removed and closed when the test ends.

        Raises:
            TypeError, ValueError: for options that cannot be used.
        """
        target = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger)
        try:
            handler = EmitKitHandler(**{"api_key": self.api_key, "base_url": self.url, "enabled": True, **options})
        except (TypeError, ValueError) as error:
            raise error.with_traceback(None) from None
        self._attached.append((target, handler))
        target.addHandler(handler)
        return handler

    def close(self) -> None:
        """Remove and close the attached handlers, and end."""
        while self._attached:
            logger, handler = self._attached.pop()
            logger.removeHandler(handler)
            handler.close()
        super().close()
