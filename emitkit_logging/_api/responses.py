"""What the server's response means for the request, and for the requests after it.

Pure. The rules are the table *Errors* and the observations of the API contract.
"""

from __future__ import annotations

import email.utils
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST_RETRY_AFTER = 300.0
"""Seconds that a server can make a request wait at most: a `Retry-After: 99999` is shortened to this."""

LONGEST_WINDOW = 3_600.0
"""Seconds that a rate-limit window can plausibly last. Headers that say more are ignored."""


class Verdict(enum.Enum):
    """What a response means."""

    ACCEPTED = "accepted"
    """201 for an event or 200 for an identify request, with `"success": true`."""
    INVALID = "invalid"
    """400: the request is wrong, and would be refused again."""
    TOO_LARGE = "too large"
    """413: a smaller request may be accepted."""
    CONFLICT = "conflict"
    """409: the first request with this idempotency key is still being processed."""
    LIMITED = "rate limited"
    """429: the rate limit is used up."""
    AMBIGUOUS_401 = "unauthorized, or rate limited"
    """401 without `code`: the open-source server answers so to a wrong key, and when its rate limit is used up."""
    REFUSED = "refused"
    """The key or the address is wrong: no request can succeed."""
    FAILED = "failed"
    """The server or the connection failed: the same request may succeed later."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The rate-limit headers of one response.

    Attributes:
        limit: requests in a window.
        remaining: requests that are left in it.
        reset_in: seconds until the window ends, by the server's clock.
    """

    limit: int
    remaining: int
    reset_in: float


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response.

    Attributes:
        status: the status code.
        headers: the headers, by lower-case name.
        body: the first bytes of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What a response means, and what it says.

    Attributes:
        verdict: what it means.
        detail: the server's explanation for people, shortened.
        retry_after: seconds that the server asked to wait, at most `LONGEST_RETRY_AFTER`, or `None`.
        quota: the rate-limit headers, or `None` where they are absent or contradict themselves.
        failed_aliases: aliases that an identify request could not register.
        is_event_at_fault: whether the request itself may cause the failure: true for a 500, false for a 503 or a broken
            connection.
        reached_server: whether the request may have reached the server; false where no connection was made.
    """

    verdict: Verdict
    detail: str = ""
    retry_after: float | None = None
    quota: Quota | None = None
    failed_aliases: tuple[str, ...] = field(default=())
    is_event_at_fault: bool = False
    reached_server: bool = True


def read(response: HttpResponse, *, success: int) -> ApiResponse:
    """Return what a response means.

    Args:
        response: the HTTP response.
        success: the only status that can be a success: 201 for an event, 200 for an identify request.
    """
    body = json_object(response.body)
    status = response.status
    quota = _quota(response.headers)
    retry_after = _retry_after(response.headers)
    if status == success and body.get("success") is True:
        return ApiResponse(Verdict.ACCEPTED, quota=quota, failed_aliases=_failed_aliases(body))
    detail = _detail(status, body, response.headers)
    verdict = _verdict(status, body)
    at_fault = verdict is Verdict.FAILED and status >= 500 and status not in (502, 503, 504)
    return ApiResponse(verdict, detail, retry_after, quota, is_event_at_fault=at_fault)


def unanswered(reason: str, *, reached_server: bool = True) -> ApiResponse:
    """Return the answer for a request without a response.

    Args:
        reason: what happened, for people: a timeout or a broken connection.
        reached_server: whether the request may have reached the server.
    """
    return ApiResponse(Verdict.FAILED, reason, reached_server=reached_server)


def _verdict(status: int, body: Mapping[str, Any]) -> Verdict:
    if status < 300 or status >= 500 or status == 408:
        return Verdict.FAILED  # a 2xx without EmitKit's JSON comes from a proxy
    if status == 401:
        return Verdict.REFUSED if isinstance(body.get("code"), str) else Verdict.AMBIGUOUS_401
    return _BY_STATUS.get(status, Verdict.REFUSED)


_BY_STATUS = {
    400: Verdict.INVALID,
    409: Verdict.CONFLICT,
    413: Verdict.TOO_LARGE,
    429: Verdict.LIMITED,
}


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body, or an empty one where the body is anything else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _failed_aliases(body: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        failed = body["data"]["aliases"]["failed"]
        return tuple(entry["alias"] for entry in failed if isinstance(entry["alias"], str))
    except (KeyError, TypeError):
        return ()


def _detail(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    parts = [f"HTTP {status}"]
    if 300 <= status < 400:
        parts.append(f"redirects to {headers.get('location', 'nowhere')}")
    parts += [str(body[key]) for key in ("code", "error", "message") if isinstance(body.get(key), str)]
    details = body.get("details")
    if isinstance(details, list):
        for entry in details[:5]:
            if isinstance(entry, dict):
                path = entry.get("path")
                where = ".".join(map(str, path)) if isinstance(path, list) else str(path or "")
                parts.append(f"{where}: {entry.get('message', '')}")
    line = "; ".join(dict.fromkeys(parts))
    return "".join(char if char.isprintable() else " " for char in line)[:500]


def _quota(headers: Mapping[str, str]) -> Quota | None:
    try:
        limit = int(headers["x-ratelimit-limit"])
        remaining = int(headers["x-ratelimit-remaining"])
        reset = float(headers["x-ratelimit-reset"])
        # the reset is a time of the server's clock, whose present time is in `Date` (API contract)
        reset_in = reset - email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    if limit < 1 or not 0 <= remaining <= limit or not -1.0 <= reset_in <= LONGEST_WINDOW:
        return None
    return Quota(limit, remaining, max(0.0, reset_in))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(value)
            now = email.utils.parsedate_to_datetime(headers["date"])
            seconds = (until - now).total_seconds()
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None
