"""Where a request comes from: its origin, and the address of its client.

The functions here are pure and read headers that anyone can write. An invalid value is `None`, never an exception.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from emitkit_logging.proxy.request import BrowserRequest

UNIX = "unix"
"""The name in `trusted_proxies` for connections without addresses, such as those of a Unix domain socket."""

_PORTS = {"http": 80, "https": 443}

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Origin: TypeAlias = "tuple[str, str, int]"
"""Scheme, host and port."""


class TrustedProxies:
    """The reverse proxies whose forwarding headers are trusted.

    Args:
        names: addresses and networks, and `"unix"` for connections without addresses.

    Raises:
        ValueError: for a name that is none of these.
    """

    def __init__(self, names: Iterable[str]) -> None:
        found = set(names)
        self._trusts_unix = UNIX in found
        self._networks = [_network(name) for name in sorted(found - {UNIX})]

    def include(self, peer: str | None) -> bool:
        """Whether the other end of a connection is a trusted proxy.

        Args:
            peer: its address; empty or `None` for a connection without addresses.
        """
        return self._trusts(parse_address(peer))

    def _trusts(self, address: Address | None) -> bool:
        if address is None:
            return self._trusts_unix
        return any(address.version == network.version and address in network for network in self._networks)

    def client(self, peer: str | None, headers: Mapping[str, str]) -> str | None:
        """Return the address of the browser: the last hop that no trusted proxy has added.

        Args:
            peer: the address at the other end of the connection; empty or `None` for a connection without addresses.
            headers: the headers of the request, of which `X-Forwarded-For` is read.
        """
        client = parse_address(peer)
        hops = headers.get("x-forwarded-for", "").split(",")
        if client is None and not self._trusts_unix:
            return peer or None
        while hops and self._trusts(client):
            hop = parse_address(hops.pop())
            if hop is None:
                break
            client = hop
        return None if client is None else str(client)


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError(f"trusted_proxies: {name!r} is not an address, a network or 'unix'") from None


class AllowedOrigins:
    """The origins whose pages may send events: the endpoint's own, and a list of others.

    Args:
        names: the other origins, such as `https://www.example.com`.
        proxies: the proxies whose `X-Forwarded-Host` is trusted.

    Raises:
        ValueError: for a name that is not an origin.
    """

    def __init__(self, names: Iterable[str], proxies: TrustedProxies) -> None:
        self._listed = {_listed_origin(name) for name in names}
        self._proxies = proxies

    def __bool__(self) -> bool:
        return bool(self._listed)

    def lists(self, origin: str) -> bool:
        """Whether an `Origin` header names one of the other origins."""
        return parse_origin(origin) in self._listed

    def allow(self, request: BrowserRequest) -> bool:
        """Whether a request may send events, judged by `Origin`, or else by `Sec-Fetch-Site` (Fetch Metadata)."""
        header = request.headers.get("origin")
        if header is None:
            # not a browser, or a very old one
            return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        origin = parse_origin(header)
        return origin is not None and (origin in self._listed or self._is_own(origin, request))

    def _is_own(self, origin: Origin, request: BrowserRequest) -> bool:
        scheme, *location = origin
        hosts = [request.headers.get("host")]
        if self._proxies.include(request.peer):
            hosts.append(request.headers.get("x-forwarded-host"))
        # behind a proxy the endpoint does not know the scheme that the browser uses
        return any(host is not None and _location(host, scheme) == tuple(location) for host in hosts)


def _listed_origin(name: str) -> Origin:
    origin = parse_origin(name)
    if origin is None:
        raise ValueError(f"allowed_origins: {name!r} is not an origin such as 'https://www.example.com'")
    return origin


def parse_origin(text: str) -> Origin | None:
    """Return the scheme, host and port of an origin, or `None` for `null` and invalid text."""
    scheme, separator, rest = text.strip().lower().partition("://")
    if not separator or scheme not in _PORTS or any(mark in rest for mark in "/?#@"):
        return None
    location = _location(rest, scheme)
    return None if location is None else (scheme, *location)


def _location(text: str, scheme: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if not host else (host, port or _PORTS[scheme])


def parse_address(text: str | None) -> Address | None:
    """Return an address as `X-Forwarded-For` has it, or `None`.

    Args:
        text: an address, which may have a port, brackets or a zone. An IPv4-mapped IPv6 address becomes IPv4.
    """
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
