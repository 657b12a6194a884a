"""The two servers in use: how each reads a request, decides on it and words its answer. Pure.

`Current` is the hosted service, `SelfHosted` the open-source server as it was seen to behave, which is not
always as it is documented. A generation says where they differ; what they share is said once, in
`Generation`.
"""

from __future__ import annotations

import http
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from emitkit_logging._api import contract
from emitkit_logging._api.contract import Conflict, Invalid, Refusal, TooLarge, Unstorable
from emitkit_logging.inbox.limiter import FixedWindow, Limiter, SilenceWindow, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

Call = Literal["event", "identify"]
"""What a request that stores something asks for."""

SCOPES = ("events:write", "events:read", "identities:write")
"""What an API key may be allowed."""

_KEPT_BACK = frozenset(("idempotencyKey", "expiresIn", "callbackUrl"))

KIB = 1024


@dataclass(frozen=True)
class Answer:
    """One response, but for the headers that every response has."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        """Return this answer with `headers` added."""
        return Answer(self.status, self.body, self.content_type, {**self.headers, **headers})


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, contract.encode(content), headers=headers or {})


class Generation(ABC):
    """One generation of the server."""

    name: ClassVar[str]
    body_limit: ClassVar[int]
    """Bytes that the body of a request may have."""
    event_limit: ClassVar[int | None]
    """Bytes that a stored event may have, all of its fields together."""
    display_as: ClassVar[str | None]
    """How an event is shown that does not say."""
    keeps_idempotency: ClassVar[bool]
    merges_properties: ClassVar[bool]
    makes_channels_in: ClassVar[float]
    """Seconds that a new channel takes; other first events to it fail in the meantime."""
    only_creates: ClassVar[bool]
    """Whether there are no endpoints but the two that store something, and no scopes."""

    @abstractmethod
    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key: `limit` requests in `window` seconds."""

    def at_the_door(self, content_type: str) -> Answer | None:  # noqa: ARG002
        """Return the answer to a request that gets no further, before its key is looked at."""
        return None

    @abstractmethod
    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:
        """Return the fields to store of the request's `body`; raise `Refusal` when it is not taken."""

    @abstractmethod
    def unauthorized(self, request_id: str) -> Answer:
        """Return the answer to a missing or unknown API key."""

    @abstractmethod
    def over_limit(self, verdict: Verdict, request_id: str) -> Answer:
        """Return the answer to a request over the rate limit."""

    @abstractmethod
    def refused(self, call: Call, refusal: Refusal, request_id: str) -> Answer:
        """Return the answer to a request that raised `refusal`."""

    @abstractmethod
    def not_found(self, request_id: str) -> Answer:
        """Return the answer to a path or method that does not exist."""

    def beside_the_api(self, path: str, request_id: str) -> Answer:  # noqa: ARG002
        """Return the answer to `path` outside the prefix below which the API is served."""
        return self.not_found(request_id)

    @abstractmethod
    def created(self, event: Mapping[str, Any], request_id: str) -> Answer:
        """Return the answer to the request that stored `event`."""

    def identified(self, identity: Mapping[str, Any], request_id: str) -> Answer:
        """Return the answer to the call that led to `identity`, which is as `Feed.identify` returns it."""
        return self.told(identity, request_id)

    def told(self, data: Mapping[str, Any], request_id: str) -> Answer:
        """Return 200 with `data`."""
        return _json(200, {"success": True, "data": data, "requestId": request_id})

    @abstractmethod
    def failing(self, status: int, request_id: str) -> Answer:
        """Return what a server that fails with `status` answers."""

    def crashed(self, call: Call, request_id: str) -> Answer:
        """Return the answer to a request that failed for a reason of the server's own."""
        return self.refused(call, Refusal(), request_id)


def rate_headers(verdict: Verdict | None) -> dict[str, str]:
    """Return the rate-limit headers of a response; none where there is no limit."""
    if verdict is None:
        return {}
    return {
        "X-RateLimit-Limit": str(verdict.limit),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(verdict.reset_at),
    }


def public(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the current API tells of a stored event."""
    return {name: value for name, value in event.items() if name not in _KEPT_BACK}


_CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "idempotency_conflict",
    413: "payload_too_large",
    429: "rate_limited",
}
_FAILED: Mapping[Call, str] = {"event": "Failed to create event", "identify": "Failed to identify user"}
_UNAUTHORIZED = {"error": "Unauthorized", "message": "Invalid or missing authentication credentials"}


class Current(Generation):
    """The hosted service, autumn 2026."""

    name = "current"
    body_limit = KIB * KIB
    event_limit = 16 * KIB
    display_as = "message"
    keeps_idempotency = True
    merges_properties = True
    makes_channels_in = 0.0
    only_creates = False

    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key."""
        return FixedWindow(limit, window)

    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields to store; raise `TooLarge` for the body, `Invalid` for what is in it."""
        if len(body) > self.body_limit:
            raise TooLarge("Request body exceeds the 1 MiB limit")
        value = contract.mend(contract.parse(body))
        return contract.CURRENT.read_event(value) if call == "event" else contract.CURRENT.read_identify(value)

    def unauthorized(self, request_id: str) -> Answer:
        """Return 401 with a code."""
        answer = _error(401, "Unauthorized", "unauthorized", request_id, message=_UNAUTHORIZED["message"])
        return answer.with_headers({"WWW-Authenticate": "Bearer"})

    def over_limit(self, verdict: Verdict, request_id: str) -> Answer:
        """Return 429 with `Retry-After` and the rate-limit headers."""
        message = "Too many requests. Please try again later."
        answer = _error(429, "Rate limit exceeded", "rate_limited", request_id, message=message)
        wait = {"Retry-After": str(max(1, math.ceil(verdict.reset_in)))}
        return answer.with_headers({**wait, **rate_headers(verdict)})

    def refused(self, call: Call, refusal: Refusal, request_id: str) -> Answer:
        """Return 400, 409, 413 or 500, each with its code."""
        if isinstance(refusal, Invalid):
            return _error(400, "Validation error", "validation_error", request_id, details=refusal.problems)
        if isinstance(refusal, Conflict):
            return _error(409, "Idempotency conflict", "idempotency_conflict", request_id, message=str(refusal))
        if isinstance(refusal, TooLarge):
            return _error(413, "Payload too large", "payload_too_large", request_id, message=str(refusal))
        return _error(500, _FAILED[call], "internal_error", request_id)

    def not_found(self, request_id: str) -> Answer:
        """Return 404 as JSON."""
        return self.no_such("endpoint", request_id)

    def created(self, event: Mapping[str, Any], request_id: str) -> Answer:
        """Return 201 with the whole event."""
        return _json(201, {"success": True, "data": public(event), "requestId": request_id})

    def forbidden(self, scope: str, request_id: str) -> Answer:
        """Return 403: the key lacks `scope`."""
        return _error(403, "Forbidden", "forbidden", request_id, message=f"This API key lacks the scope {scope}")

    def failing(self, status: int, request_id: str) -> Answer:
        """Return `status` with its code."""
        return _error(status, _phrase(status), _CODES.get(status, "internal_error"), request_id)

    def no_such(self, what: str, request_id: str) -> Answer:
        """Return 404 for something that an endpoint was asked for."""
        return _error(404, "Not found", "not_found", request_id, message=f"No such {what}")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _error(status: int, error: str, code: str, request_id: str, **more: object) -> Answer:
    return _json(status, {"success": False, "error": error, "code": code, **more, "requestId": request_id})


SIGN_IN = "/sign-in"


def _page(status: int, text: str) -> Answer:
    page = f"<!doctype html>\n<html lang='en'><title>EmitKit</title><h1>{text}</h1></html>\n"
    return Answer(status, page.encode(), "text/html; charset=utf-8")


class SelfHosted(Generation):
    """The open-source server, May 2026, its surprises included."""

    name = "self-hosted"
    body_limit = 512 * KIB
    event_limit = None
    display_as = None
    keeps_idempotency = False
    merges_properties = False
    makes_channels_in = 0.005
    only_creates = True

    FORMS = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})

    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key."""
        return SilenceWindow(limit, window)

    def at_the_door(self, content_type: str) -> Answer | None:
        """Return 403 for what a form in a web page could send, which is never counted."""
        if content_type.partition(";")[0].strip().lower() not in self.FORMS:
            return None
        return Answer(403, b"Cross-site POST form submissions are forbidden", "text/plain; charset=utf-8")

    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:
        """Return the fields to store; raise `Invalid` for wrong types, `Unstorable` for all else."""
        if not content_type or len(body) > self.body_limit:
            raise Unstorable("the body could not be read")
        try:
            value = contract.parse(body, exact_integers=False)
        except Invalid as error:
            raise Unstorable(str(error)) from None
        rules = contract.SELF_HOSTED
        fields = rules.read_event(value) if call == "event" else rules.read_identify(value)
        if call == "event":
            fields["channelName"] = contract.slugify(fields["channelName"])
        contract.require_storable(fields)
        mended: dict[str, Any] = contract.mend(fields)
        return mended

    def unauthorized(self, request_id: str) -> Answer:  # noqa: ARG002
        """Return 401 without a code and without a request id."""
        return _json(401, _UNAUTHORIZED)

    def over_limit(self, verdict: Verdict, request_id: str) -> Answer:  # noqa: ARG002
        """Return what a wrong key gets, byte for byte and without headers."""
        return self.unauthorized(request_id)

    def refused(self, call: Call, refusal: Refusal, request_id: str) -> Answer:
        """Return 400 for wrong types and missing fields, 500 for everything else."""
        if isinstance(refusal, Invalid):
            details = {"error": "Validation error", "details": refusal.problems}
            return _json(400, {"success": False, **details, "requestId": request_id})
        message = {"message": str(refusal)} if call == "identify" else {}
        return _json(500, {"success": False, "error": _FAILED[call], **message, "requestId": request_id})

    def failing(self, status: int, request_id: str) -> Answer:
        """Return `status` without a code."""
        return _json(status, {"success": False, "error": _phrase(status), "requestId": request_id})

    def not_found(self, request_id: str) -> Answer:  # noqa: ARG002
        """Return 404 as a web page."""
        return _page(404, "Not found")

    def beside_the_api(self, path: str, request_id: str) -> Answer:
        """Return what the web application does with strangers: sends them to its sign-in page."""
        if path == SIGN_IN:
            return _page(200, "Sign in")
        if path.startswith("/v1/"):
            return _page(302, "Sign in").with_headers({"Location": SIGN_IN})
        return self.not_found(request_id)

    def created(self, event: Mapping[str, Any], request_id: str) -> Answer:
        """Return 201 with the five fields that this server tells."""
        told = ("id", "channelId", "channelName", "title", "createdAt")
        return _json(201, {"success": True, "data": {name: event[name] for name in told}, "requestId": request_id})

    def identified(self, identity: Mapping[str, Any], request_id: str) -> Answer:
        """Return 200; this server lists every alias under `created`."""
        aliases = identity["aliases"]
        named = [*aliases["created"], *(each["alias"] for each in aliases.get("failed", ()))]
        return super().identified({**identity, "aliases": {"created": named}}, request_id)


GENERATIONS: Mapping[str, Generation] = {each.name: each for each in (Current(), SelfHosted())}
"""The generations by the name that `--generation` takes."""
