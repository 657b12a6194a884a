"""Creation of events, once for each idempotency key."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emitkit_logging._api.limits import LONGEST_IDEMPOTENCY_KEY
from emitkit_logging.inbox.emulation.base import EmulatedResponse, Generation
from emitkit_logging.inbox.emulation.idempotency import LIFETIME, IdempotencyKeys
from emitkit_logging.inbox.emulation.refusals import Invalid, Unstorable

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from emitkit_logging.inbox.store.feed import Feed


class EventCreation:
    """Creates events, and replays the response to a request that is sent again with its idempotency key."""

    def __init__(
        self,
        feed: Feed,
        generation: Generation,
        answer_page: str,
        latency: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._feed = feed
        self._generation = generation
        self._answer_page = answer_page
        self._latency = latency
        self._clock = clock
        self._channels_in_creation: set[str] = set()
        self._idempotency: IdempotencyKeys[EmulatedResponse] = IdempotencyKeys()
        for api_key, key, at, reply in feed.replies(clock() - LIFETIME):
            response = EmulatedResponse(reply["status"], base64.b64decode(reply["body"]))
            self._idempotency.restore(api_key, key, base64.b64decode(reply["fingerprint"]), at, response)

    async def create(
        self, fields: dict[str, Any], body: bytes, api_key: str, headers: Headers, request_id: str
    ) -> EmulatedResponse:
        """Store the event of `fields`, or return the response to the first request with its idempotency key."""
        key = headers.get("idempotency-key")
        if key is None or not self._generation.supports_idempotency:
            return await self._store(fields, key, request_id)
        if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY:
            message = f"Must have 1 to {LONGEST_IDEMPOTENCY_KEY} characters"
            raise Invalid([{"path": ["Idempotency-Key"], "message": message}])
        fingerprint, now = hashlib.sha256(body).digest(), self._clock()
        first = self._idempotency.begin(api_key, key, fingerprint, now)
        if first is not None:
            return first.with_headers({"X-Idempotent-Replay": "true"})
        try:
            response = await self._store(fields, key, request_id)
        except BaseException:
            self._idempotency.abandon(api_key, key)
            raise
        self._idempotency.finish(api_key, key, response)
        self._keep(api_key, key, now, fingerprint, response)
        return response

    def _keep(self, api_key: str, key: str, at: float, fingerprint: bytes, response: EmulatedResponse) -> None:
        if self._feed.is_lasting:
            encoded = {"fingerprint": fingerprint, "body": response.body}
            texts = {name: base64.b64encode(value).decode() for name, value in encoded.items()}
            self._feed.keep_reply(api_key, key, at, {"status": response.status, **texts})

    async def _store(self, fields: dict[str, Any], key: str | None, request_id: str) -> EmulatedResponse:
        channel, seconds = fields["channelName"], self._latency()
        if self._generation.channel_creation_time and not self._feed.has_channel(channel):
            if channel in self._channels_in_creation:
                raise Unstorable("duplicate key value violates unique constraint")
            self._channels_in_creation.add(channel)
            seconds = max(seconds, self._generation.channel_creation_time)
        try:
            if seconds:
                await asyncio.sleep(seconds)
            return self._add(fields, key, request_id)
        finally:
            self._channels_in_creation.discard(channel)

    def _add(self, fields: dict[str, Any], key: str | None, request_id: str) -> EmulatedResponse:
        event = self._feed.add_event(
            fields,
            now=self._clock(),
            display_as=self._generation.display_as,
            answer_page=self._answer_page,
            most_bytes=self._generation.event_limit,
            idempotency_key=key,
        )
        return self._generation.created(event, request_id)
