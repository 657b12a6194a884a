"""What the server's responses mean."""

from __future__ import annotations

import json

import pytest

from emitkit_logging._api.responses import LONGEST_RETRY_AFTER, HttpResponse, Quota, Verdict, read

DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
NOW = 1795428000


def answer(status: int, body: object = None, success: int = 201, **headers: str):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return read(HttpResponse(status, named, raw), success=success)


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, {"success": True}, Verdict.ACCEPTED),
        (200, {"success": True}, Verdict.FAILED),
        (201, {"success": False}, Verdict.FAILED),
        (201, {"success": 1}, Verdict.FAILED),
        (201, b"<html>", Verdict.FAILED),
        (201, b"[" * 100_000, Verdict.FAILED),
        (201, [], Verdict.FAILED),
        (302, b"", Verdict.REFUSED),
        (400, {}, Verdict.INVALID),
        (401, {"error": "Unauthorized"}, Verdict.AMBIGUOUS_401),
        (401, {"code": "unauthorized"}, Verdict.REFUSED),
        (403, b"", Verdict.REFUSED),
        (404, b"<html>", Verdict.REFUSED),
        (408, {}, Verdict.FAILED),
        (409, {}, Verdict.CONFLICT),
        (413, {}, Verdict.TOO_LARGE),
        (418, {}, Verdict.REFUSED),
        (429, {}, Verdict.LIMITED),
        (500, {}, Verdict.FAILED),
        (503, {}, Verdict.FAILED),
    ],
)
def test_verdict(status, body, verdict):
    """Each status means what the API contract's table of errors says; a success needs its JSON, too."""
    assert answer(status, body).verdict is verdict


def test_fault():
    """A 500 may be caused by the event itself; a 502, 503 or 504 is not."""
    assert [answer(status).is_event_at_fault for status in (500, 501, 502, 503, 504)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_identify():
    """An identify request succeeds with 200, and the response says which aliases failed."""
    body = {"success": True, "data": {"aliases": {"failed": [{"alias": "a", "reason": "x"}]}}}
    assert answer(200, body, 200).failed_aliases == ("a",)
    assert answer(200, {"success": True, "data": []}, 200).failed_aliases == ()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "5"}, 5.0),
        ({"retry_after": "99999"}, LONGEST_RETRY_AFTER),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": DATE}, 30.0),
    ],
)
def test_retry_after(headers, seconds):
    """`Retry-After` is limited, and a date in it is compared with the server's own clock."""
    assert answer(429, {}, **headers).retry_after == seconds


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "quota"),
    [
        ("100", "40", NOW + 30, Quota(100, 40, 30.0)),
        ("100", "100", NOW, Quota(100, 100, 0.0)),
        ("0", "0", NOW, None),
        ("100", "101", NOW, None),
        ("100", "-1", NOW, None),
        ("100", "40", (NOW + 30) * 1000, None),
        ("100", "40", NOW - 60, None),
        ("x", "40", NOW, None),
    ],
)
def test_quota(limit, remaining, reset, quota):
    """Rate-limit headers count where they are consistent; the reset is compared with the server's own clock."""
    headers = {"x_ratelimit_limit": limit, "x_ratelimit_remaining": remaining, "x_ratelimit_reset": str(reset)}
    assert answer(201, {"success": True}, date=DATE, **headers).quota == quota
    assert answer(201, {"success": True}, **headers).quota is None


def test_detail():
    """The server's explanation is kept for people, in one printable line of limited length."""
    body = {"error": "bad\x1b[31m", "code": "validation_error", "details": [{"path": ["title"], "message": "short"}]}
    assert answer(400, body).detail == "HTTP 400; validation_error; bad [31m; title: short"
    assert answer(302, b"", location="https://elsewhere/").detail == "HTTP 302; redirects to https://elsewhere/"
    assert len(answer(400, {"error": "x" * 5_000}).detail) == 500
