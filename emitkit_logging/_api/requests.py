"""A request to the API, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS_PATH = "/v1/events"
IDENTIFY_PATH = "/v1/identify"

DISPLAY_STYLES = ("notification", "message")
"""The values of an event's `displayAs`."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request: the same key and the same bytes at every try.

    Attributes:
        path: below the base URL.
        success: the status that a success has.
        body: JSON, UTF-8.
        key: the `Idempotency-Key`, or `None` for an identify.
    """

    path: str
    success: int
    body: bytes
    key: str | None
