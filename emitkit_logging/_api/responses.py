"""Answers: what a server's response means for the request and for those after it.

Pure: the table of *Errors* and the observations of the API contract, read once, here.
"""

from __future__ import annotations

import email.utils
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST_RETRY_AFTER = 300.0
"""Seconds: a server that asks for more is asked again after this (`Retry-After: 99999`)."""

LONGEST_WINDOW = 3_600.0
"""Seconds a rate-limit window may plausibly last."""


class Verdict(enum.Enum):
    """What became of a request."""

    ACCEPTED = "accepted"
    INVALID = "invalid"
    """400: wrong, and wrong again if sent again."""
    TOO_LARGE = "too large"
    CONFLICT = "conflict"
    """409: its idempotency key is still in work."""
    LIMITED = "rate limited"
    AMBIGUOUS_401 = "unauthorized, or rate limited"
    """401 without `code`: what the open-source server answers over its limit, and to a wrong key."""
    REFUSED = "refused"
    """The key or the address is wrong: no request can succeed."""
    FAILED = "failed"
    """The server or the way to it: the same request later."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The rate-limit headers of one response: requests, and seconds until the window ends by the server's clock."""

    limit: int
    remaining: int
    reset_in: float


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back: headers by lower-case name, the body's first bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response, read.

    Attributes:
        verdict: what it means.
        detail: for people: the server's own words, shortened.
        retry_after: seconds the server asked to wait, clamped, or `None`.
        quota: its rate-limit headers, or `None` where they are absent or make no sense.
        failed_aliases: aliases that an identify could not register.
        is_event_at_fault: whether the failure may be this request's alone (a 500, not a 503 or a broken connection).
    """

    verdict: Verdict
    detail: str = ""
    retry_after: float | None = None
    quota: Quota | None = None
    failed_aliases: tuple[str, ...] = field(default=())
    is_event_at_fault: bool = False


def read(response: HttpResponse, *, success: int) -> ApiResponse:
    """Read a response.

    Args:
        response: what came back.
        success: the one status that can be a success: 201 for an event, 200 for an identify.
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


def unanswered(reason: str) -> ApiResponse:
    """Return the answer that stands for none: a timeout or a broken connection."""
    return ApiResponse(Verdict.FAILED, reason)


def _verdict(status: int, body: Mapping[str, Any]) -> Verdict:
    if status < 300 or status >= 500 or status == 408:
        return Verdict.FAILED  # a 2xx that is not EmitKit's JSON comes from something in between
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
    """Return the JSON object that a body is; an empty one when it is something else."""
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
    said = [f"HTTP {status}"]
    if 300 <= status < 400:
        said.append(f"redirects to {headers.get('location', 'nowhere')}")
    said += [str(body[key]) for key in ("code", "error", "message") if isinstance(body.get(key), str)]
    details = body.get("details")
    if isinstance(details, list):
        for entry in details[:5]:
            if isinstance(entry, dict):
                path = entry.get("path")
                where = ".".join(map(str, path)) if isinstance(path, list) else str(path or "")
                said.append(f"{where}: {entry.get('message', '')}")
    line = "; ".join(dict.fromkeys(said))
    return "".join(char if char.isprintable() else " " for char in line)[:500]


def _quota(headers: Mapping[str, str]) -> Quota | None:
    try:
        limit = int(headers["x-ratelimit-limit"])
        remaining = int(headers["x-ratelimit-remaining"])
        reset = float(headers["x-ratelimit-reset"])
        # the reset is the server's time: only its own Date says how far away that is (API contract)
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
