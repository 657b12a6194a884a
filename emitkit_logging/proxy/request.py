"""Visit: one request of a browser to the endpoint, the same from whichever framework it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class Headers(dict[str, str]):
    """HTTP headers by their names in any case.

    Args:
        pairs: names and values; of several headers with one name the values are joined (RFC 9110, section 5.3).
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        for name, value in pairs:
            key = name.lower()
            super().__setitem__(key, f"{self[key]}, {value}" if key in self else value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, or `default`."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the endpoint, as `enrich_context` gets it.

    Attributes:
        headers: by their names in any case.
        client_ip: the address of the browser, or `None` where nobody knows.
        source: the framework's own request: Django's or Flask's request, a WSGI environ, an ASGI scope; `None` where
            there was only a payload.
        method: such as `POST`.
        peer: the address at the other end of the connection, which may be a proxy's.
    """

    headers: Mapping[str, str]
    client_ip: str | None = None
    source: Any = None
    method: str = "POST"
    peer: str | None = None
