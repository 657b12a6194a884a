"""The open-source server, May 2026, as it was seen to behave, which is not always as it is documented.

Its validation looks at types only. Its lengths are those of its database's columns, and what they do not hold is a 500
at every try.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.contract import Contract, RequestRules
from emitkit_logging._api.limits import LONGEST_ID, MOST_ALIASES
from emitkit_logging._api.rules import ANYTHING, BOOLEAN, OBJECT, Problem, list_of, or_null, text
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
    read_call,
)
from emitkit_logging.inbox.emulation.limiter import Admission, Limiter, SilenceWindow
from emitkit_logging.inbox.emulation.refusals import Invalid, Refusal, Unstorable

SELF_HOSTED = Contract(
    event=RequestRules(
        fields={
            "channelName": text(),
            "title": text(),
            "description": text(),
            "icon": text(),
            "tags": list_of(text()),
            "metadata": OBJECT,
            "userId": or_null(text()),
            "notify": BOOLEAN,
            "source": text(),
        },
        required=("channelName", "title"),
        between_fields=ANYTHING,
    ),
    identify=RequestRules(
        fields={"user_id": text(1), "properties": OBJECT, "aliases": list_of(text(1, LONGEST_ID), MOST_ALIASES)},
        required=("user_id",),
        between_fields=ANYTHING,
    ),
)
"""What the server's validation accepts."""

COLUMNS: Mapping[str, int] = {"title": 500, "icon": 50, "channelName": 255, "source": 50}
"""Characters (code points) that the columns of the server's database hold."""

SIGN_IN = "/sign-in"
FORMS = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
"""The content types that a form in a web page can send."""


def require_storable(fields: Mapping[str, Any]) -> None:
    """Check that the server's database takes the fields of a valid event. It takes any identify call.

    Raises:
        Unstorable: for a text that is too long for its column, a NUL character anywhere, or a lone surrogate inside
            an object.
    """
    for name, most in COLUMNS.items():
        if len(fields.get(name, "")) > most:
            raise Unstorable(f"value too long for type character varying({most})")
    if "\\u0000" in javascript.to_text(fields).replace("\\\\", ""):
        raise Unstorable("invalid byte sequence for encoding: 0x00")
    if any(javascript.has_lone_surrogate(value) for value in fields.values() if isinstance(value, dict)):
        raise Unstorable("unsupported Unicode escape sequence")


def slugify(name: str) -> str:
    """Return a channel's name as the server stores it: `My Channel` as `my-channel`."""
    kept = re.sub(r"[^A-Za-z0-9_\s-]", "", name.lower().strip())
    return re.sub(r"[\s_-]+", "-", kept).strip("-")


class SelfHosted(Generation):
    """The open-source server."""

    name = "self-hosted"
    body_limit = 512 * KIB
    event_limit = None
    display_as = None
    supports_idempotency = False
    merges_properties = False
    channel_creation_time = 0.005

    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key."""
        return SilenceWindow(limit, window)

    def reject_early(self, content_type: str) -> EmulatedResponse | None:
        """Return 403 for what a form in a web page could send; it is not counted by the rate limit."""
        if content_type.partition(";")[0].strip().lower() not in FORMS:
            return None
        return EmulatedResponse(403, b"Cross-site POST form submissions are forbidden", "text/plain; charset=utf-8")

    def api_key(self, headers: Mapping[str, str]) -> str:
        """Return the second word of `Authorization`, whatever its scheme."""
        return headers.get("authorization", "").partition(" ")[2].strip()

    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:
        """Return the fields that are stored.

        Raises:
            Invalid: for missing fields, wrong types and numbers beyond a float.
            Unstorable: for everything else.
        """
        if not content_type or len(body) > self.body_limit:
            raise Unstorable("the body could not be read")
        try:
            value = javascript.parse(body, exact_integers=False)
        except javascript.NotFinite:
            raise
        except Invalid as error:
            raise Unstorable(str(error)) from None
        fields = read_call(SELF_HOSTED, call, value)
        if call == "event":
            fields["channelName"] = slugify(fields["channelName"])
            require_storable(fields)
        mended: dict[str, Any] = javascript.mend(fields)
        return mended

    def unauthorized(self, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return 401 without a code and without a request id."""
        return json_response(401, UNAUTHORIZED)

    def over_limit(self, admission: Admission, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return the response to a wrong key, byte for byte and without rate-limit headers."""
        return self.unauthorized(request_id)

    def refused(self, operation: Operation, refusal: Refusal, request_id: str) -> EmulatedResponse:
        """Return 400 for wrong types and missing fields, 500 for everything else."""
        if isinstance(refusal, Invalid):
            details = {"error": "Validation error", "details": [_issue(each) for each in refusal.problems]}
            return json_response(400, {"success": False, **details, "requestId": request_id})
        message = {"message": str(refusal)} if operation == "identify" else {}
        return json_response(500, {"success": False, "error": FAILED[operation], **message, "requestId": request_id})

    def failing(self, status: int, request_id: str) -> EmulatedResponse:
        """Return `status` without a code; 401 as for a wrong key: its answer while its database is down."""
        if status == 401:
            return self.unauthorized(request_id)
        return json_response(status, {"success": False, "error": phrase(status), "requestId": request_id})

    def not_found(self, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return 404 as a web page."""
        return _page(404, "Not found")

    def method_not_allowed(self, method: str, allowed: str, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return 405 as text, with `Allow`."""
        text = f"{method} method not allowed"
        return EmulatedResponse(405, text.encode(), "text/plain; charset=utf-8", {"Allow": allowed})

    def trailing_slash(self, location: str, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return a redirect to the path without the slash."""
        return EmulatedResponse(308, b"", "text/plain; charset=utf-8", {"Location": location})

    def outside_prefix(self, path: str, request_id: str) -> EmulatedResponse:
        """Return what the web application returns without a session: a redirect to its sign-in page."""
        if path == SIGN_IN:
            return _page(200, "Sign in")
        if path.startswith("/v1/"):
            return _page(302, "Sign in").with_headers({"Location": SIGN_IN})
        return self.not_found(request_id)

    def created(self, event: Mapping[str, Any], request_id: str) -> EmulatedResponse:
        """Return 201 with the five fields of the event that this server returns."""
        returned = ("id", "channelId", "channelName", "title", "createdAt")
        data = {name: event[name] for name in returned}
        return json_response(201, {"success": True, "data": data, "requestId": request_id})


_EXPECTED = re.compile("expected (array|boolean|number|object|string), received")
_ISSUE_CODES = {"Too small": "too_small", "Too big": "too_big"}


def _issue(problem: Problem) -> dict[str, Any]:
    """Return a problem as this server's validation writes it: with a code, and the type that was expected."""
    found = _EXPECTED.search(problem["message"])
    if found is not None:
        return {"expected": found[1], "code": "invalid_type", **problem}
    return {"code": _ISSUE_CODES.get(problem["message"].partition(":")[0], "custom"), **problem}


def _page(status: int, heading: str) -> EmulatedResponse:
    page = f"<!doctype html>\n<html lang='en'><title>EmitKit</title><h1>{heading}</h1></html>\n"
    return EmulatedResponse(status, page.encode(), "text/html; charset=utf-8")
