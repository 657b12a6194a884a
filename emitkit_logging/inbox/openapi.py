"""What the inbox serves, as an OpenAPI document. Pure."""

from __future__ import annotations

from typing import Any


def document(url: str, *, rate_limit: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API at `url`, which takes `rate_limit` requests in a window (0: any)."""
    limit = f"{rate_limit} requests in a window" if rate_limit else "no rate limit"
    return {
        "openapi": "3.1.0",
        "info": {"title": "EmitKit API", "version": "1.0.0", "description": limit},
        "servers": [{"url": url}],
        "paths": {},
    }
