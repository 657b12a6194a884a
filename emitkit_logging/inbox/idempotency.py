"""Which requests were answered before: the memory behind `Idempotency-Key`, pure, with its clock passed in.

The rules are the contract's: the same key with the same request replays the first answer for 24 hours; with
another request, or while the first is still running, it is a conflict. A key is scoped to the API key.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from emitkit_logging._api.contract import Conflict

LIFETIME = 86_400.0
"""Seconds for which a key is remembered."""

Answer = TypeVar("Answer")


@dataclass
class _First(Generic[Answer]):
    fingerprint: bytes
    at: float
    answer: Answer | None = None


class IdempotencyKeys(Generic[Answer]):
    """The first request of each key and its answer; of more than `keep` keys the oldest are forgotten."""

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._first: OrderedDict[tuple[str, str], _First[Answer]] = OrderedDict()

    def begin(self, api_key: str, key: str, fingerprint: bytes, now: float) -> Answer | None:
        """Return the answer to replay, or `None` for a new request, which must `finish` or `abandon`.

        `fingerprint` tells requests apart, `now` is in seconds. Raises `Conflict` for a different request and
        while the first is running.
        """
        self._forget(now)
        first = self._first.get((api_key, key))
        if first is None:
            self._first[api_key, key] = _First(fingerprint, now)
            return None
        if first.answer is None or first.fingerprint != fingerprint:
            raise Conflict("This idempotency key was already used with a different request")
        return first.answer

    def remember(self, api_key: str, key: str, fingerprint: bytes, at: float, answer: Answer) -> None:
        """Take over what another process was asked at `at` (seconds) and answered; the oldest come first."""
        self._first[api_key, key] = _First(fingerprint, at, answer)

    def finish(self, api_key: str, key: str, answer: Answer) -> None:
        """Remember `answer` as what the key's request got."""
        first = self._first.get((api_key, key))
        if first is not None:
            first.answer = answer

    def abandon(self, api_key: str, key: str) -> None:
        """Free the key of a request that created nothing."""
        self._first.pop((api_key, key), None)

    def _forget(self, now: float) -> None:
        while self._first:
            oldest = next(iter(self._first.values()))
            if len(self._first) < self._keep and now - oldest.at < LIFETIME:
                break
            self._first.popitem(last=False)
