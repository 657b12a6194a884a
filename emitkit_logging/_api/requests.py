"""A request to the API, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS_PATH = "/v1/events"
IDENTIFY_PATH = "/v1/identify"

DISPLAY_STYLES = ("notification", "message")
"""The values of an event's `displayAs` (API contract)."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request. Each try has the same key and the same bytes.

    Attributes:
        path: its path below the base URL.
        success: the status code of a success.
        body: the JSON body, in UTF-8.
        key: the `Idempotency-Key`, or `None` for an identify request.
    """

    path: str
    success: int
    body: bytes
    key: str | None
