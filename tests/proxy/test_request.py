"""Headers of a browser's request, and its public names."""

from __future__ import annotations

import pytest

from emitkit_logging import proxy
from emitkit_logging.proxy.request import RequestHeaders


def test_headers_are_found_in_any_case():
    """Names of headers are not case-sensitive, in every method of a mapping."""
    headers = RequestHeaders([("X-Region", "eu")])
    assert headers["x-region"] == headers["X-REGION"] == headers.get("x-Region") == "eu"
    assert "X-region" in headers
    assert "region" not in headers
    assert headers.get("region", "none") == "none"
    assert dict(headers) == {"x-region": "eu"}


def test_headers_with_the_same_name_are_joined():
    """Several headers with one name are one list (RFC 9110, section 5.3)."""
    assert RequestHeaders([("x-a", "1"), ("X-A", "2"), ("x-b", "3")]) == {"x-a": "1, 2", "x-b": "3"}


def test_missing_host():
    """The server's own host stands for a `Host` header that is missing, and for no other."""
    assert RequestHeaders([], host="shop.example")["Host"] == "shop.example"
    assert dict(RequestHeaders([("Host", "x")], host="shop.example")) == {"host": "x"}


def test_headers_are_read_only():
    """The headers that `enrich_context` gets cannot be changed, so that no write is lost."""
    with pytest.raises(TypeError, match="item assignment"):
        RequestHeaders([])["host"] = "x"


def test_old_name_of_the_request():
    """`Visit` is still importable, with a warning that names its successor."""
    with pytest.warns(DeprecationWarning, match=r"Visit is now emitkit_logging\.proxy\.BrowserRequest"):
        assert proxy.Visit is proxy.BrowserRequest
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        proxy.Nothing  # noqa: B018
