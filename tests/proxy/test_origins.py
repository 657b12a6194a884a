"""Origins whose pages may send events, and the address of the client behind proxies."""

from __future__ import annotations

import pytest

from emitkit_logging.proxy.origins import TrustedProxies
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.proxy.helpers import browser_request, reason


@pytest.mark.parametrize(
    ("host", "origin", "is_allowed"),
    [
        ("shop.example", "https://shop.example", True),
        ("shop.example:8000", "http://shop.example:8000", True),
        ("shop.example", "http://shop.example:80", True),
        ("shop.example:443", "https://SHOP.example", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("shop.example", "https://shop.example:444", False),
        ("shop.example", "https://evil.example", False),
        ("shop.example", "https://shop.example.evil.example", False),
        ("shop.example", "https://evil.example/shop.example", False),
        ("shop.example", "https://evil.example@shop.example", False),
        ("shop.example", "null", False),
        ("shop.example", "", False),
        ("shop.example", "file://shop.example", False),
        ("shop.example", "https://shop.example:http", False),
        ("shop.example", "https://friend.example", True),
        ("shop.example", "http://friend.example", False),
    ],
)
def test_origin(host, origin, is_allowed):
    """Pages of the same host and port may send, with any scheme, and pages of the listed origins."""
    policy = EndpointPolicy(allowed_origins=["https://friend.example"])
    refused = policy.check(browser_request(host=host, origin=origin))
    assert (refused is None) is is_allowed
    assert refused is None or (refused.status, reason(refused)) == (
        403,
        "events are accepted from this site's own pages only",
    )


def test_no_origin():
    """A request without `Origin` may send, unless the browser says that it comes from another site."""
    policy = EndpointPolicy()
    assert policy.check(browser_request()) is None
    assert policy.check(browser_request(sec_fetch_site="same-origin")) is None
    assert policy.check(browser_request(sec_fetch_site="cross-site")).status == 403


def test_forwarded_host():
    """`X-Forwarded-Host` counts only when a trusted proxy sends it."""
    policy = EndpointPolicy(trusted_proxies=["10.0.0.0/8"])
    headers = {"host": "backend:8000", "origin": "https://shop.example", "x_forwarded_host": "shop.example"}
    assert policy.check(browser_request(peer="10.1.2.3", **headers)) is None
    assert policy.check(browser_request(peer="192.0.2.9", **headers)).status == 403


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "6.6.6.6", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7:1234", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::7]:1234", "2001:db8::7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "192.0.2.7", "fe80::1"),
        ("", "192.0.2.7", "192.0.2.7"),
        (None, None, None),
    ],
)
def test_client_behind_proxies(peer, forwarded, client):
    """The client is the last hop that no trusted proxy added. Anyone can write the hops before it."""
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert TrustedProxies(["10.0.0.0/8", "unix"]).client(peer, headers) == client


def test_no_trusted_proxies():
    """Without `trusted_proxies` the `X-Forwarded-For` header is ignored."""
    proxies = TrustedProxies([])
    for peer in ("127.0.0.1", "10.0.0.1"):
        assert proxies.client(peer, {"x-forwarded-for": "6.6.6.6"}) == peer
    assert proxies.client("", {"x-forwarded-for": "6.6.6.6"}) is None
    assert proxies.client("testclient", {}) == "testclient"


def test_client_of_the_request():
    """The request that `enrich_context` gets has the address of the browser and that of the proxy."""
    request = EndpointPolicy(trusted_proxies=["10.0.0.1"]).request(
        {"x-forwarded-for": "192.0.2.7"}, None, "POST", "10.0.0.1"
    )
    assert (request.client_ip, request.peer) == ("192.0.2.7", "10.0.0.1")
