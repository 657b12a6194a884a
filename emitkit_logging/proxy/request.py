"""A browser's request to the endpoint, in the same form for every framework."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class RequestHeaders(Mapping[str, str]):
    """The headers of a request, read-only and looked up in any case. Iteration yields names in lower case.

    Args:
        pairs: names and values. The values of headers with the same name are joined (RFC 9110, section 5.3).
        host: the value of `Host` for a request that has none (HTTP/1.0).
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]], *, host: str | None = None) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value
        if host is not None:
            self._values.setdefault("host", host)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class BrowserRequest:
    """One request to the endpoint, as `enrich_context` receives it.

    Attributes:
        headers: the headers; the name is looked up in any case.
        client_ip: the address of the browser, or `None` where it is unknown.
        source: the framework's own request: Django's or Flask's request, a WSGI environ or an ASGI scope. `None` where
            the payload came without one.
        method: the HTTP method, such as `POST`.
        peer: the address at the other end of the connection. It may be the address of a reverse proxy.
    """

    headers: Mapping[str, str]
    client_ip: str | None = None
    source: Any = None
    method: str = "POST"
    peer: str | None = None
