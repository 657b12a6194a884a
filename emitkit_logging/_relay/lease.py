"""Which relay leads: one at a time, for as long as it says so again and again.

Pure, except for the client that is passed in. A relay that stands still loses the lease when it runs
out. One that has died is noticed earlier: each relay keeps a subscription to a channel of its own, which ends with its
connection. The connection of a machine that is gone without a word stays open for a while; then the lease runs out.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import uuid
from collections.abc import Callable
from typing import Any

from emitkit_logging._relay import scripts
from emitkit_logging._relay.connection import Address
from emitkit_logging._relay.keys import Keys

LEASE = 5.0
"""Seconds for which a relay leads without saying so again, besides those that a request may take."""

RENEWAL = 1.0
"""Seconds between two renewals."""

LOOK = 0.25
"""Seconds between two looks of a relay that stands by."""

_HOST = re.compile(r"[^\w.-]")
_LOOKS = 2
"""Looks at which nobody may be subscribed before a leader counts as dead."""


class LeaseLost(Exception):  # noqa: N818 - no error: another relay took over while this one stood still
    """Another relay leads; what this one holds is no longer its own."""


class Lease:
    """The lease, as one relay sees it.

    Args:
        address: of Redis.
        keys: the names of the keys.
        seconds: for which a relay leads without saying so again.
        clock: returns seconds of a monotonic clock.

    Attributes:
        value: what `commit` compares; empty while another relay leads.
        leader: who leads, as of the last look.
        format: the version of the state in Redis, as of the last look; 0 if there is none.
    """

    def __init__(self, address: Address, keys: Keys, *, seconds: float, clock: Callable[[], float]) -> None:
        self._address = address
        self._keys = keys
        self._seconds = seconds
        self._clock = clock
        self._owner = f"{_HOST.sub('-', socket.gethostname())}/{os.getpid()}/{uuid.uuid4().hex[:12]}"
        self._subscription: Any = None
        self._next_at = -math.inf
        self._dead = ""
        self._absent = 0
        self.value = ""
        self.leader = ""
        self.format = 0

    @property
    def is_held(self) -> bool:
        """Whether this relay leads, as far as it knows."""
        return bool(self.value)

    def hold(self, client: Any) -> bool:
        """Take the lease, or renew it when that is due; return whether this relay leads.

        Raises:
            LeaseLost: it did, and does not any more.
            Exception: those of redis-py.
        """
        now = self._clock()
        if now < self._next_at:
            return self.is_held
        self._subscribe(client)
        keys = [self._keys.relay(name) for name in ("lease", "token", "state")]
        arguments = (self._owner, int(self._seconds * 1000), self.value, self._dead)
        is_held, value, version = client.eval(scripts.ACQUIRE, len(keys), *keys, *arguments)
        self.leader, self.format = value.decode(), int(version or 0)
        had, self.value = self.value, self.leader if is_held else ""
        self._next_at = now + (RENEWAL if is_held else LOOK)
        if had and self.value != had:
            self.value = ""
            if is_held:  # it had run out: what was read since the last commit may have been changed by others
                self._release(client, self.leader)
            self._next_at = -math.inf
            raise LeaseLost
        if not is_held:
            self._watch(client)
        return self.is_held

    def _watch(self, client: Any) -> None:
        """Look whether the leader still has its subscription."""
        channel = self._keys.alive(self.leader.rpartition(":")[0])
        ((_, subscribers),) = client.pubsub_numsub(channel)
        self._absent = self._absent + 1 if not subscribers else 0
        self._dead = self.leader if self._absent >= _LOOKS else ""

    def _subscribe(self, client: Any) -> None:
        channel = self._keys.alive(self._owner)
        if self._subscription is not None:
            ((_, subscribers),) = client.pubsub_numsub(channel)
            if subscribers:
                return
            self._unsubscribe()
        subscription = self._address.connect().pubsub()  # type: ignore[no-untyped-call]
        self._subscription = subscription
        subscription.subscribe(channel)
        subscription.get_message(timeout=self._address.timeout)

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        with contextlib.suppress(Exception):
            subscription.close()
            subscription.connection_pool.disconnect()

    def lose(self) -> None:
        """Remember that another relay leads."""
        self.value = ""
        self._next_at = -math.inf

    def release(self, client: Any) -> None:
        """Let another relay lead, at once."""
        value, self.value = self.value, ""
        if value:
            self._release(client, value)

    def _release(self, client: Any, value: str) -> None:
        client.eval(scripts.RELEASE, 1, self._keys.relay("lease"), value)

    def stand_back(self, seconds: float) -> None:
        """Do not try to lead for some seconds."""
        self._next_at = self._clock() + seconds

    def close(self) -> None:
        """Close the subscription."""
        if self._subscription is not None:
            self._unsubscribe()
