"""What every generation of the server decides, and how a response is written down."""

from __future__ import annotations

import http
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from emitkit_logging._api.contract import Contract
from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.emulation.limiter import Admission, Limiter
from emitkit_logging.inbox.emulation.refusals import Invalid, Refusal

Call = Literal["event", "identify"]
"""The two kinds of requests that store something."""

Operation = Literal["event", "identify", "list", "get", "cancel", "channels", "erase", "me"]
"""All operations of the API."""

KIB = 1024

UNAUTHORIZED = {"error": "Unauthorized", "message": "Invalid or missing authentication credentials"}
FAILED: Mapping[Operation, str] = {
    "event": "Failed to create event",
    "identify": "Failed to identify user",
    "list": "Failed to list events",
    "get": "Failed to read event",
    "cancel": "Failed to cancel event",
    "channels": "Failed to list channels",
    "erase": "Failed to delete identity",
    "me": "Failed to read the credential",
}
"""What a 500 of each operation has as its `error`."""


@dataclass(frozen=True)
class EmulatedResponse:
    """One response, without the headers that every response has."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> EmulatedResponse:
        """Return this response with `headers` added."""
        return EmulatedResponse(self.status, self.body, self.content_type, {**self.headers, **headers})


class Generation(ABC):
    """One generation of the server: how it reads a request, decides on it and words its response.

    Attributes:
        name: as the option `generation` has it.
        body_limit: bytes that the body of a request may have.
        event_limit: bytes that a stored event may have, all of its fields together; `None`: no limit.
        display_as: how an event is shown when its request does not have it.
        supports_idempotency: whether an `Idempotency-Key` means anything.
        merges_properties: whether the properties of an identify call are added to the known ones, or replace them.
        channel_creation_time: seconds that a new channel takes; other first events to it fail in the meantime.
    """

    name: ClassVar[str]
    body_limit: ClassVar[int]
    event_limit: ClassVar[int | None]
    display_as: ClassVar[str | None]
    supports_idempotency: ClassVar[bool]
    merges_properties: ClassVar[bool]
    channel_creation_time: ClassVar[float]

    @abstractmethod
    def limiter(self, limit: int, window: float) -> Limiter:
        """Make the limiter of one API key: `limit` requests in `window` seconds."""

    def reject_early(self, content_type: str) -> EmulatedResponse | None:  # noqa: ARG002
        """Return the response to a request that is rejected before its API key is looked at, or `None`."""
        return None

    @abstractmethod
    def api_key(self, headers: Mapping[str, str]) -> str:
        """Return the API key of a request, or an empty text. Names of headers are in lower case."""

    @abstractmethod
    def read(self, call: Call, body: bytes, content_type: str) -> dict[str, Any]:
        """Return the fields of a request that are stored.

        Raises:
            Refusal: when the request is not accepted.
        """

    @abstractmethod
    def unauthorized(self, request_id: str) -> EmulatedResponse:
        """Return the response to a missing or unknown API key."""

    @abstractmethod
    def over_limit(self, admission: Admission, request_id: str) -> EmulatedResponse:
        """Return the response to a request over the rate limit."""

    @abstractmethod
    def refused(self, operation: Operation, refusal: Refusal, request_id: str) -> EmulatedResponse:
        """Return the response to a request that raised `refusal`."""

    @abstractmethod
    def not_found(self, request_id: str) -> EmulatedResponse:
        """Return the response to a path that does not exist."""

    @abstractmethod
    def method_not_allowed(self, method: str, allowed: str, request_id: str) -> EmulatedResponse:
        """Return the response to a method that a path does not have, with the `allowed` ones in `Allow`."""

    def trailing_slash(self, location: str, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return the response to a path with a slash after it; `location` is without it."""
        return self.not_found(request_id)

    def outside_prefix(self, path: str, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return the response to a `path` outside the prefix below which the API is served."""
        return self.not_found(request_id)

    @abstractmethod
    def created(self, event: Mapping[str, Any], request_id: str) -> EmulatedResponse:
        """Return the response to the request that stored `event`."""

    def identified(self, identity: Mapping[str, Any], request_id: str) -> EmulatedResponse:
        """Return the response to an identify call that led to `identity`, which is as `Feed.identify` returns it."""
        return self.ok(identity, request_id)

    def ok(self, data: Mapping[str, Any], request_id: str) -> EmulatedResponse:
        """Return 200 with `data`."""
        return json_response(200, {"success": True, "data": data, "requestId": request_id})

    @abstractmethod
    def failing(self, status: int, request_id: str) -> EmulatedResponse:
        """Return the response of a server that fails with `status`."""

    def crashed(self, operation: Operation, request_id: str) -> EmulatedResponse:
        """Return the response to a request that failed because of an error in the server."""
        return self.refused(operation, Refusal(), request_id)


def json_response(status: int, content: Mapping[str, Any]) -> EmulatedResponse:
    """Return a response with `content` as JSON."""
    return EmulatedResponse(status, javascript.encode(content))


def phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def rate_headers(admission: Admission | None) -> dict[str, str]:
    """Return the rate-limit headers of a response; none where there is no limit."""
    if admission is None:
        return {}
    return {
        "X-RateLimit-Limit": str(admission.limit),
        "X-RateLimit-Remaining": str(admission.remaining),
        "X-RateLimit-Reset": str(admission.reset_at),
    }


def read_call(contract: Contract, call: Call, body: object) -> dict[str, Any]:
    """Return the fields of a request that are stored.

    Args:
        contract: what the request may hold.
        call: its kind.
        body: its body as JSON.

    Returns:
        Of an event, the fields that the contract has; of an identify call, `user_id`, `properties` and `aliases`.

    Raises:
        Invalid: when the body breaks the contract.
    """
    rules = contract.event if call == "event" else contract.identify
    problems = rules.problems(body)
    if problems or not isinstance(body, dict):
        raise Invalid(problems)
    known = {name: value for name, value in body.items() if name in rules.fields}
    if call == "event":
        return known
    return {
        "user_id": known["user_id"] if "user_id" in known else known["userId"],
        "properties": known.get("properties", {}),
        "aliases": known.get("aliases", []),
    }
