"""The options of the inbox, and their checks. A wrong one is a `ValueError` that names what would be right."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emitkit_logging._api.hosts import is_loopback, without_brackets

GENERATION_NAMES = ("current", "self-hosted")
"""The servers that the inbox can behave as: the hosted service, and the open-source server."""

SCOPES = ("events:write", "events:read", "identities:write")
"""What an API key may be allowed to do."""


SECRET_PREFIX = "whsec_"  # noqa: S105 - what precedes a secret
"""How a secret for callbacks begins (Standard Webhooks)."""


@dataclass(frozen=True)
class InboxConfig:
    """The options that decide how the inbox answers.

    Attributes:
        host: the address that it listens at, without brackets.
        keys: the accepted API keys, each with its scopes.
        rate_limit: requests in a window of each key; 0: no limit.
        window: seconds.
        generation: one of `GENERATION_NAMES`.
        prefix: the path below which everything is served.
    """

    host: str
    keys: Mapping[str, frozenset[str]]
    rate_limit: int
    window: float
    generation: str
    prefix: str

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the inbox."""
        return not is_loopback(self.host)

    def url(self, port: int) -> str:
        """Return the address of the API, when it listens on `port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}{self.prefix}"


def checked_host(host: str, api_key: str | None) -> str:
    """Return the address to listen at, without brackets.

    Raises:
        ValueError: when other machines could reach it and the user has given no API key.
    """
    if not is_loopback(host) and not api_key:
        raise ValueError(f"host must be a loopback name or address such as 127.0.0.1, or have an api_key: {host!r}")
    return without_brackets(host)


def check_port(port: int) -> None:
    """Raise `ValueError` for a number that is no port; 0 takes a free one."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, not {port}")


def check_generation(generation: str) -> None:
    """Raise `ValueError` for a name that is not one of `GENERATION_NAMES`."""
    if generation not in GENERATION_NAMES:
        raise ValueError(f"generation must be one of {', '.join(GENERATION_NAMES)}, not {generation!r}")


def check_limits(rate_limit: int, window: float, keep: int) -> None:
    """Raise `ValueError` for a negative rate limit, or a window or a number to keep that is not positive."""
    if rate_limit < 0 or window <= 0 or keep < 1:
        raise ValueError("rate_limit must not be negative, window and keep must be above 0")


def check_prefix(prefix: str) -> None:
    """Raise `ValueError` for a path that does not start with a slash, or that ends with one; it may be empty."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ValueError(f"prefix must start with a slash and end without one, not {prefix!r}")


def checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return the scopes of an API key; raise `ValueError` for one that is not in `SCOPES`."""
    found = frozenset(scopes)
    if unknown := sorted(found - set(SCOPES)):
        raise ValueError(f"scopes must be of {', '.join(SCOPES)}, not {', '.join(unknown)}")
    return found


def checked_keys(keys: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Return API keys with their scopes; raise `ValueError` for an empty key or an unknown scope."""
    if "" in keys:
        raise ValueError("keys must not have an empty key")
    return {key: checked_scopes(each) for key, each in keys.items()}


def check_callback_secret(secret: str) -> None:
    """Raise `ValueError`, without the secret, for one that is not `whsec_` and base64, as a receiver needs it."""
    try:
        is_valid = bool(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(f"callback_secret must be {SECRET_PREFIX} and base64")


def make_api_key() -> str:
    """Return a new API key, long enough to be masked as one."""
    return "emitkit_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))
