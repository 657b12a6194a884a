"""Gate: who may send events to a public endpoint, how much, and what each request is answered.

Deciding is pure: the clock is passed in, and what a request shows is a `Visit`.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from cachetools import TTLCache

from emitkit_logging import _options as options
from emitkit_logging._api.limits import LONGEST_CHANNEL
from emitkit_logging.proxy.payload import MOST_BYTES, Enrich, PayloadError, enrich_of, events_of, logger_of, replay
from emitkit_logging.proxy.request import Visit

WINDOW = 60.0
"""Seconds for which a client's events are counted together."""

MOST_CLIENTS = 10_000
"""Clients counted at a time; beyond it the one that was counted first is forgotten."""

_UNIX = "unix"
_PORTS = {"http": 80, "https": 443}
_SECONDS_OF_PREFLIGHT = "600"

_log = logging.getLogger("emitkit_logging")

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered: its status, its body, and headers besides the body's length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Gate:
    """Takes what browsers send, or says why not.

    Args:
        logger: the logger of the events, or its name; `emitkit_logging.proxy` when absent.
        enrich_context, on_error: as of `ingest_proxy_events`.
        channels: the channels that a browser may name by `__emitkit_channel`.
        rate_limit: events that one client may send in a minute; each KB of a payload counts as one, too. 0: no limit.
        trusted_proxies: addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Host` are believed; `"unix"`
            stands for whoever comes through a socket without addresses.
        allowed_origins: origins besides the endpoint's own, such as `https://www.example.com`.
        clock: returns seconds on a monotonic clock.

    Raises:
        TypeError, ValueError: for an option that cannot be used, naming it.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger | str | None = None,
        enrich_context: Enrich | Mapping[str, Any] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        channels: Iterable[str] = (),
        rate_limit: int = 1_200,
        trusted_proxies: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger_of(logger)
        self._enrich = enrich_of(enrich_context)
        self._on_error = on_error
        self._channels = frozenset(
            options.text("channels", channel, LONGEST_CHANNEL) for channel in options.names("channels", channels)
        )
        self._rate_limit = options.count("rate_limit", rate_limit, least=0)
        proxies = set(options.names("trusted_proxies", trusted_proxies))
        self._trusts_unix = _UNIX in proxies
        self._trusted = [_network(name) for name in sorted(proxies - {_UNIX})]
        self._origins = {_allowed_origin(origin) for origin in options.names("allowed_origins", allowed_origins)}
        self._clock = clock
        self._counts: TTLCache[str, _Count] = TTLCache(maxsize=MOST_CLIENTS, ttl=WINDOW, timer=clock)
        self._lock = threading.Lock()
        self._is_deaf = False

    # Before the body is read

    def refusal(self, visit: Visit) -> Answer | None:
        """Return the answer to a request whose body need not be read, or `None` for one that may come in."""
        if not self._is_from_here(visit):
            return self._answer(visit, 403, "events are taken from this site's own pages only")
        if visit.method == "OPTIONS":
            asked = {"Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": _SECONDS_OF_PREFLIGHT}
            asked["Access-Control-Allow-Headers"] = visit.headers.get("access-control-request-headers", "content-type")
            return self._answer(visit, 204, more=asked)
        if visit.method != "POST":
            return self._answer(visit, 405, "events are sent by POST", {"Allow": "POST, OPTIONS"})
        length = visit.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MOST_BYTES:
            return self.too_large(visit)
        return self._limited(visit, 0)

    def too_large(self, visit: Visit) -> Answer:
        """Return the answer to a request with a longer body than `MOST_BYTES`."""
        return self._answer(visit, 413, f"the payload has more than {MOST_BYTES} bytes")

    # With the body

    def take(self, visit: Visit, body: bytes | None) -> Answer:
        """Log the events of a request that was not refused, and return its answer; `None` for a body that broke off."""
        if body is None:
            return self._limited(visit, 1) or self._answer(visit, 400, "the payload could not be read")
        if len(body) > MOST_BYTES:
            return self.too_large(visit)
        cost = max(1, math.ceil(len(body) / 1024))
        refused = None
        try:
            events = events_of(body)
            cost = max(cost, len(events))
        except PayloadError as error:
            refused = self._answer(visit, error.status, str(error))
        refused = self._limited(visit, cost) or refused
        if refused is not None:
            return refused
        self._listen()
        replay(
            events,
            visit,
            logger=self._logger,
            enrich=self._enrich,
            on_error=self._on_error,
            channels=self._channels,
        )
        return self._answer(visit, 200)

    def _listen(self) -> None:
        if not self._is_deaf and not self._logger.isEnabledFor(logging.INFO):
            self._is_deaf = True
            _log.warning(
                "what browsers send is logged at INFO on %r, whose level is higher: none of it gets anywhere",
                self._logger.name,
            )

    def _answer(self, visit: Visit, status: int, reason: str = "", more: Mapping[str, str] | None = None) -> Answer:
        headers = dict(more or {})
        origin = visit.headers.get("origin")
        if origin is not None and _origin(origin) in self._origins:
            # a beacon carries the cookies of its target, and is only sent where that is allowed
            headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        if self._origins:
            headers["Vary"] = "Origin"
        if status == 204:
            return Answer(status, b"", headers)
        if status == 200:
            return Answer(status, b"OK", {"Content-Type": "text/plain; charset=utf-8", **headers})
        body = b"" if visit.method == "HEAD" else json.dumps({"error": reason}).encode()
        return Answer(status, body, {"Content-Type": "application/json", **headers})

    # Where a request comes from

    def client(self, peer: str | None, headers: Mapping[str, str]) -> str | None:
        """Return a browser's address: of the last hop that no trusted proxy vouches for.

        Args:
            peer: the address at the other end of the connection; empty for a socket without addresses.
            headers: of the request.
        """
        client = _address(peer)
        hops = headers.get("x-forwarded-for", "").split(",")
        if client is None and not self._trusts_unix:
            return peer or None
        while hops and (client is None or self._is_trusted(client)):
            hop = _address(hops.pop())
            if hop is None:
                break
            client = hop
        return None if client is None else str(client)

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)

    def _is_from_here(self, visit: Visit) -> bool:
        origin = visit.headers.get("origin")
        if origin is None:
            # not a browser, or a very old one; a browser that says otherwise is believed (Fetch Metadata)
            return visit.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        asked = _origin(origin)
        if asked is None:
            return False
        if asked in self._origins:
            return True
        own = {visit.headers.get("host")}
        if self._believes(visit):
            own.add(visit.headers.get("x-forwarded-host"))
        scheme, host, port = asked
        return any(name is not None and _netloc(name, scheme) == (host, port) for name in own)

    def _believes(self, visit: Visit) -> bool:
        peer = _address(visit.peer)
        return self._trusts_unix if peer is None else self._is_trusted(peer)

    # How much

    def _limited(self, visit: Visit, events: int) -> Answer | None:
        if not self._rate_limit:
            return None
        wait = self._count(_household(visit.client_ip), events)
        if wait <= 0:
            return None
        reason = f"more than {self._rate_limit} events in a minute"
        return self._answer(visit, 429, reason, {"Retry-After": str(math.ceil(wait))})

    def _count(self, client: str, events: int) -> float:
        """Count events of a client; return the seconds until it may send again, 0 when it may now."""
        now = self._clock()
        with self._lock:
            count = self._counts.get(client)
            if count is None:
                count = self._counts[client] = _Count(now)
            if count.events >= self._rate_limit:
                return min(max(count.since + WINDOW - now, 1.0), WINDOW)
            count.events += events
            return 0.0


@dataclass(slots=True)
class _Count:
    since: float
    events: int = 0


def _household(client: str | None) -> str:
    """Return what is counted as one client: an IPv6 network, since whoever has an address there has all of them."""
    address = _address(client)
    if address is None or address.version == 4:
        return str(client)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _address(text: str | None) -> Address | None:
    """Read an address as `X-Forwarded-For` has it: with a port, in brackets, or with a zone."""
    text = (text or "").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError(f"trusted_proxies: {name!r} is no address, no network and not 'unix'") from None


def _allowed_origin(text: str) -> tuple[str, str, int]:
    origin = _origin(text)
    if origin is None:
        raise ValueError(f"allowed_origins: {text!r} is no origin such as 'https://www.example.com'")
    return origin


def _origin(text: str) -> tuple[str, str, int] | None:
    """Read an origin: scheme, host, port; `None` for `null` and what is none."""
    scheme, separator, rest = text.strip().lower().partition("://")
    if not separator or scheme not in _PORTS or any(mark in rest for mark in "/?#@"):
        return None
    netloc = _netloc(rest, scheme)
    return None if netloc is None else (scheme, *netloc)


def _netloc(text: str, scheme: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if not host else (host, port or _PORTS[scheme])
