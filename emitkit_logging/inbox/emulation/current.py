"""The hosted service, autumn 2026."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.contract import CURRENT
from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.emulation.base import (
    FAILED,
    KIB,
    UNAUTHORIZED,
    Call,
    EmulatedResponse,
    Generation,
    Operation,
    json_response,
    phrase,
    rate_headers,
    read_call,
)
from emitkit_logging.inbox.emulation.limiter import Admission, FixedWindow, Limiter
from emitkit_logging.inbox.emulation.refusals import Conflict, Invalid, NotPending, NotWaiting, Refusal, TooLarge

DEFAULT_PAGE = 50
LARGEST_PAGE = 100
"""Events in one response to `GET /v1/events`: by default, and at most."""

CODES: Mapping[int, str] = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_conflict",
    413: "payload_too_large",
    429: "rate_limited",
    500: "internal_error",
}
"""The `code` of each status of an error; any other status has that of 500."""

CANCEL_CODES: Mapping[type[Refusal], str] = {NotWaiting: "not_waiting", NotPending: "not_pending"}
"""The `code` of a 409 to a cancellation."""

_PRIVATE = frozenset(("idempotencyKey", "expiresIn", "callbackUrl"))


def public(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored event that the API returns."""
    return {name: value for name, value in event.items() if name not in _PRIVATE}


class Current(Generation):
    """The hosted service."""

    name = "current"
    body_limit = KIB * KIB
    event_limit = 16 * KIB
    display_as = "message"
    supports_idempotency = True
    merges_properties = True
    channel_creation_time = 0.0

    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key."""
        return FixedWindow(limit, window)

    def api_key(self, headers: Mapping[str, str]) -> str:
        """Return the bearer token, or the value of `X-API-Key`."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()

    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields that are stored.

        Raises:
            TooLarge: when the body is over its limit.
            Invalid: when the body breaks the contract.
        """
        if len(body) > self.body_limit:
            raise TooLarge("Request body exceeds the 1 MiB limit")
        return read_call(CURRENT, call, javascript.mend(javascript.parse(body)))

    def unauthorized(self, request_id: str) -> EmulatedResponse:
        """Return 401 with a code."""
        response = _error(401, "Unauthorized", request_id, message=UNAUTHORIZED["message"])
        return response.with_headers({"WWW-Authenticate": "Bearer"})

    def over_limit(self, admission: Admission, request_id: str) -> EmulatedResponse:
        """Return 429 with `Retry-After` and the rate-limit headers."""
        message = "Too many requests. Please try again later."
        response = _error(429, "Rate limit exceeded", request_id, message=message)
        wait = {"Retry-After": str(max(1, math.ceil(admission.reset_in)))}
        return response.with_headers({**wait, **rate_headers(admission)})

    def refused(self, operation: Operation, refusal: Refusal, request_id: str) -> EmulatedResponse:
        """Return 400, 409, 413 or 500, each with its code."""
        if (code := CANCEL_CODES.get(type(refusal))) is not None:
            error = code.replace("_", " ").capitalize()
            return _error(409, error, request_id, code=code, message=str(refusal))
        if isinstance(refusal, Invalid):
            return _error(400, "Validation error", request_id, details=refusal.problems)
        if isinstance(refusal, Conflict):
            return _error(409, "Idempotency conflict", request_id, message=str(refusal))
        if isinstance(refusal, TooLarge):
            return _error(413, "Payload too large", request_id, message=str(refusal))
        return _error(500, FAILED[operation], request_id)

    def not_found(self, request_id: str) -> EmulatedResponse:
        """Return 404 as JSON."""
        return self.missing("endpoint", request_id)

    def method_not_allowed(self, method: str, allowed: str, request_id: str) -> EmulatedResponse:
        """Return 405 as JSON, with `Allow`."""
        message = f"There is no {method} here, only {allowed}"
        return _error(405, "Method not allowed", request_id, message=message).with_headers({"Allow": allowed})

    def missing(self, what: str, request_id: str) -> EmulatedResponse:
        """Return 404: there is no such event, identity or endpoint."""
        return _error(404, "Not found", request_id, message=f"No such {what}")

    def created(self, event: Mapping[str, Any], request_id: str) -> EmulatedResponse:
        """Return 201 with the whole event."""
        return json_response(201, {"success": True, "data": public(event), "requestId": request_id})

    def forbidden(self, scope: str, request_id: str) -> EmulatedResponse:
        """Return 403: the API key lacks `scope`."""
        return _error(403, "Forbidden", request_id, message=f"This API key lacks the scope {scope}")

    def failing(self, status: int, request_id: str) -> EmulatedResponse:
        """Return `status` with its code; 401 as for a wrong key, and 429 with `Retry-After`."""
        if status == 401:
            return self.unauthorized(request_id)
        response = _error(status, phrase(status), request_id)
        return response.with_headers({"Retry-After": "1"}) if status == 429 else response


def _error(status: int, error: str, request_id: str, **more: object) -> EmulatedResponse:
    content = {"code": CODES.get(status, CODES[500]), **more}
    return json_response(status, {"success": False, "error": error, **content, "requestId": request_id})
