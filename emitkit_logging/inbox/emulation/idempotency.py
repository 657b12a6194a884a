"""Requests that were answered before, by their `Idempotency-Key`.

The rules are the contract's: for 24 hours, the same key with the same request gets the first response again; with
another request, or while the first is still running, it is a conflict. A key is scoped to the API key.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from emitkit_logging.inbox.emulation.refusals import Conflict

LIFETIME = 86_400.0
"""Seconds for which a key is remembered."""

Response = TypeVar("Response")


@dataclass
class _First(Generic[Response]):
    fingerprint: bytes
    at: float
    response: Response | None = None


class IdempotencyKeys(Generic[Response]):
    """The first request of each key and its response; of more than `keep` keys the oldest are forgotten."""

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._first: OrderedDict[tuple[str, str], _First[Response]] = OrderedDict()

    def begin(self, api_key: str, key: str, fingerprint: bytes, now: float) -> Response | None:
        """Return the response to replay, or `None` for a new request.

        `finish` or `abandon` must follow for a new request.

        Args:
            api_key: the API key of the request.
            key: its idempotency key.
            fingerprint: differs between different requests.
            now: seconds.

        Raises:
            Conflict: when the key belongs to a different request, or to one that is still running.
        """
        self._forget(now)
        first = self._first.get((api_key, key))
        if first is None:
            self._first[api_key, key] = _First(fingerprint, now)
            return None
        if first.response is None or first.fingerprint != fingerprint:
            raise Conflict("This idempotency key was already used with a different request")
        return first.response

    def restore(self, api_key: str, key: str, fingerprint: bytes, at: float, response: Response) -> None:
        """Add a request that another process answered at `at` (seconds). The oldest must come first."""
        self._first[api_key, key] = _First(fingerprint, at, response)

    def finish(self, api_key: str, key: str, response: Response) -> None:
        """Remember the response to the key's request."""
        first = self._first.get((api_key, key))
        if first is not None:
            first.response = response

    def abandon(self, api_key: str, key: str) -> None:
        """Forget the key of a request that created nothing."""
        self._first.pop((api_key, key), None)

    def _forget(self, now: float) -> None:
        while self._first:
            oldest = next(iter(self._first.values()))
            if len(self._first) < self._keep and now - oldest.at < LIFETIME:
                break
            self._first.popitem(last=False)
