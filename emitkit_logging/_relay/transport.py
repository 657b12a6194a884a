"""Writes an application's batches into Redis: what the worker uses in place of an HTTP client."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from typing import Any

from emitkit_logging import _log
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._relay import scripts, wire
from emitkit_logging._relay.batches import Batch, Receipt, Shipment, read_reply
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.edge import Item
from emitkit_logging._relay.keys import RECORDS, Keys
from emitkit_logging._relay.shaping import Shaper, Unshapable

LIFETIME = 7 * 86_400
"""Seconds for which Redis remembers the last batch of a process that says nothing any more."""

DEFAULT_SIZE = 100_000
"""Lines that Redis holds as long as no relay has said otherwise."""


def make_transport(address: Address, factory: EventFactory, *, debug: bool) -> RedisTransport:
    """Return what writes into Redis for the application's side.

    Args:
        address: of Redis.
        factory: makes events.
        debug: whether each shipment is logged.
    """
    return RedisTransport(address, Keys(address.prefix), Shaper(factory), debug=debug)


class RedisTransport:
    """Shapes the records of batches, and appends the batches to the streams.

    Args:
        address: of Redis.
        keys: the names of the keys.
        shaper: makes the parts of batches.
        debug: whether each shipment is logged, at DEBUG, on the logger `emitkit_logging`.
    """

    def __init__(self, address: Address, keys: Keys, shaper: Shaper, *, debug: bool) -> None:
        self._keys = keys
        self._shaper = shaper
        self._debug = debug
        self._client = address.connect()
        self._name = uuid.uuid4().hex
        self._facts = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})

    def send(self, shipment: Shipment) -> Receipt:
        """Write batches in one pipeline, and return what Redis answered. Nothing is raised."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for batch in shipment.batches:
                    self._add(pipe, batch, shipment)
                answers = pipe.execute(raise_on_error=False)
            receipt = Receipt([read_reply(answer) for answer in answers])
        except Exception as error:  # of the network, of redis-py, or of the shaping
            self.close()
            receipt = Receipt([], error)
        if self._debug:
            _log.debug("%d batches for Redis: %s", len(shipment.batches), receipt.error or "answered")
        return receipt

    def _add(self, pipe: Any, batch: Batch, shipment: Shipment) -> None:
        if batch.payload is None:
            self._shape(batch)
        keys = self._keys
        names = [keys.stream(batch.lane), keys.totals, keys.process(self._name), keys.seen]
        names += [keys.relay("counts"), keys.stream(RECORDS)]
        pipe.eval(
            scripts.APPEND,
            len(names),
            *names,
            batch.lane,
            self._name,
            batch.number,
            shipment.acknowledged[batch.lane],
            batch.parts,
            batch.records - batch.rejected,
            batch.payload,
            wire.FORMAT,
            self._facts,
            shipment.dropped,
            LIFETIME,
            DEFAULT_SIZE,
            *map(keys.relay, ("signal", "lease", "waiting", "config")),
        )

    def _shape(self, batch: Batch) -> None:
        found = [self._part(item) for item in batch.items]
        parts = [part for part in found if isinstance(part, bytes)]
        for item, part in zip(batch.items, found, strict=True):
            if isinstance(part, Unshapable):
                batch.rejected += item.records
                batch.reason = str(part)
        batch.parts = len(parts)
        batch.payload = wire.write_batch(parts)
        batch.items = [Item(item.position, _SHAPED) for item in batch.items]  # the records are not needed any more

    def _part(self, item: Item) -> bytes | Unshapable:
        entry = item.entry
        try:
            if isinstance(entry, Fold):
                return self._shaper.fold(entry)
            if isinstance(entry, Identity):
                return wire.write_identity(entry)
            return b"r" + self._shaper.record(entry)
        except Unshapable as error:
            return error

    def close(self) -> None:
        """Close the connection; the next shipment opens another."""
        with contextlib.suppress(Exception):
            self._client.connection_pool.disconnect()


_SHAPED = CapturedRecord({})
