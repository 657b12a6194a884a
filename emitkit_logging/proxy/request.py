"""A browser's request to the endpoint, in the same form for every framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from requests.structures import CaseInsensitiveDict


def read_headers(pairs: Iterable[tuple[str, str]]) -> CaseInsensitiveDict[str]:
    """Return HTTP headers as a dict that is looked up in any case; its names are in lower case.

    Args:
        pairs: names and values. The values of headers with the same name are joined (RFC 9110, section 5.3).
    """
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for name, value in pairs:
        headers[name.lower()] = f"{headers[name]}, {value}" if name in headers else value
    return headers


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
