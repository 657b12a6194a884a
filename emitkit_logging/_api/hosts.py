"""Host names and addresses of this machine."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else: `localhost`, `127.0.0.0/8` or `::1`.

    Args:
        host: a name in any case, or an address, without a port. An IPv6 address may stand in brackets, as in a URL.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(without_brackets(host)).is_loopback
    except ValueError:
        return False


def without_brackets(host: str) -> str:
    """Return a host without the brackets that a URL puts around an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host
