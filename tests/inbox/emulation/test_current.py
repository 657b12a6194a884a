"""How the hosted service decides and answers."""

from __future__ import annotations

import json

import pytest

from emitkit_logging.inbox.emulation.current import Current, public
from emitkit_logging.inbox.emulation.limiter import Admission
from emitkit_logging.inbox.emulation.refusals import Conflict, Invalid, Refusal, TooLarge

CURRENT = Current()
PROBLEM = {"path": ["title"], "message": "Required"}


@pytest.mark.parametrize(
    ("refusal", "status", "code", "more"),
    [
        (Invalid([PROBLEM]), 400, "validation_error", {"details": [PROBLEM]}),
        (Conflict("used"), 409, "idempotency_conflict", {"message": "used"}),
        (TooLarge("large"), 413, "payload_too_large", {"message": "large"}),
        (Refusal(), 500, "internal_error", {}),
    ],
)
def test_each_refusal_has_its_status_and_code(refusal, status, code, more):
    """A client can distinguish the refusals by status and by code."""
    response = CURRENT.refused("event", refusal, "r-1")
    body = json.loads(response.body)
    assert isinstance(body.pop("error"), str)
    assert (response.status, body) == (status, {"success": False, "code": code, "requestId": "r-1", **more})


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (503, "internal_error"), (599, "internal_error")])
def test_any_status_can_be_emulated(status, code):
    """A fault has the code of its status, or that of an internal error."""
    response = CURRENT.failing(status, "r-1")
    assert (response.status, json.loads(response.body)["code"]) == (status, code)


def test_faults_have_the_headers_of_their_status():
    """A fault of 401 is the answer to a wrong key, and one of 429 says how long to wait."""
    assert CURRENT.failing(401, "r-1") == CURRENT.unauthorized("r-1")
    assert CURRENT.failing(429, "r-1").headers == {"Retry-After": "1"}


@pytest.mark.parametrize(("reset_in", "retry_after"), [(50.0, "50"), (49.2, "50"), (0.0, "1")])
def test_retry_after_is_at_least_the_rest_of_the_window(reset_in, retry_after):
    """A client that waits as long as it is asked is not refused again, and waits at least a second."""
    response = CURRENT.over_limit(Admission(False, 100, 0, 1, reset_in), "r-1")
    assert response.headers["Retry-After"] == retry_after


def test_reads_the_body_by_size_then_by_contract():
    """A body over 1 MiB is refused without being read."""
    with pytest.raises(TooLarge):
        CURRENT.read("event", b"x" * (1024 * 1024 + 1), "")
    with pytest.raises(Invalid):
        CURRENT.read("event", b"x" * 1024 * 1024, "")
    assert CURRENT.read("identify", b'{"userId": "u", "more": 1}', "") == {
        "user_id": "u",
        "properties": {},
        "aliases": [],
    }


def test_what_the_api_does_not_return():
    """The idempotency key and the waiting of an event stay private."""
    event = dict.fromkeys(("id", "title", "idempotencyKey", "expiresIn", "callbackUrl"), 1)
    assert public(event) == {"id": 1, "title": 1}
