"""Count the events of each client, so that none sends more than its share."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache

from emitkit_logging.proxy.origins import parse_address

WINDOW = 60.0
"""Seconds in which the events of a client are counted together."""

MAX_CLIENTS = 10_000
"""Most clients counted at a time. Beyond this number the client that was seen least recently is forgotten."""


@dataclass(slots=True)
class _Count:
    since: float
    events: int = 0


class ClientRateLimit:
    """Counts the events of each client in windows of one minute; safe for use in several threads.

    Args:
        limit: most events of one client in a window; 0: no limit.
        clock: returns seconds on a monotonic clock.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._counts: TTLCache[str, _Count] = TTLCache(maxsize=MAX_CLIENTS, ttl=WINDOW, timer=clock)
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Most events of one client in a window; 0: no limit."""
        return self._limit

    def count(self, client: str | None, events: int) -> float:
        """Count the events of a client, unless it has reached the limit.

        Args:
            client: the address of the client, or `None` where it is unknown.
            events: how many events it sent; 0 only checks the limit.

        Returns:
            The seconds until the client may send again; 0 when it may send now.
        """
        if not self._limit:
            return 0.0
        network, now = _client_network(client), self._clock()
        with self._lock:
            count = self._counts.get(network)
            if count is None:
                count = self._counts[network] = _Count(now)
            if count.events >= self._limit:
                return min(max(count.since + WINDOW - now, 1.0), WINDOW)
            count.events += events
            return 0.0

    def take(self, client: str | None, events: int) -> int:
        """Count the events of a client as far as its limit goes, and return how many of them that were."""
        if not self._limit:
            return events
        network, now = _client_network(client), self._clock()
        with self._lock:
            count = self._counts.get(network)
            if count is None:
                count = self._counts[network] = _Count(now)
            taken = min(events, max(self._limit - count.events, 0))
            count.events += taken
            return taken


def _client_network(client: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 /64 network.

    A client with an IPv6 address usually has the whole /64 network, and can send from any address there.
    """
    address = parse_address(client)
    if address is None or address.version == 4:
        return str(client)
    return str(ipaddress.ip_network((address, 64), strict=False))
