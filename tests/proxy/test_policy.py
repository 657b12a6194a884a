"""The policy of the endpoint: its options, and its response to each request."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging.proxy import ingest_proxy_events
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.proxy.helpers import browser_request, payload, track


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("logger", 7, TypeError),
        ("channels", "alerts", TypeError),
        ("channels", [""], ValueError),
        ("rate_limit", -1, ValueError),
        ("rate_limit", "many", TypeError),
        ("trusted_proxies", ["10.0.0.0/99"], ValueError),
        ("trusted_proxies", "10.0.0.1", TypeError),
        ("allowed_origins", ["www.example.com"], ValueError),
        ("allowed_origins", ["https://www.example.com/path"], ValueError),
        ("no_such_option", 1, TypeError),
    ],
)
def test_invalid_options(option, value, error):
    """An invalid option raises an error that names it, before any request."""
    with pytest.raises(error, match=option):
        EndpointPolicy(**{option: value})


def test_coroutine_function_is_refused(logger):
    """An asynchronous `enrich_context` raises where it is configured."""

    async def known(request):
        return {}

    for configure in (lambda **given: ingest_proxy_events({"events": []}, logger=logger, **given), EndpointPolicy):
        with pytest.raises(TypeError, match="enrich_context: must be a plain function"):
            configure(enrich_context=known)


def test_cross_origin_responses():
    """A listed origin gets the CORS headers, in the preflight and in each response."""
    policy = EndpointPolicy(allowed_origins=["https://friend.example"])
    preflight = browser_request(
        "OPTIONS", origin="https://friend.example", access_control_request_headers="content-type,x-a"
    )
    response = policy.check(preflight)
    assert (response.status, response.body) == (204, b"")
    assert response.headers == {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Max-Age": "600",
        "Access-Control-Allow-Headers": "content-type,x-a",
        "Access-Control-Allow-Origin": "https://friend.example",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    accepted = policy.accept(browser_request(origin="https://friend.example"), b"{}")
    assert (accepted.status, accepted.headers["Access-Control-Allow-Origin"]) == (400, "https://friend.example")
    assert "Access-Control-Allow-Origin" not in policy.accept(browser_request(), b"{}").headers


def test_method_and_size():
    """Only POST is accepted, and no body of version 1 that is too long."""
    policy = EndpointPolicy()
    refused = policy.check(browser_request("GET"))
    assert (refused.status, refused.headers["Allow"]) == (405, "POST, OPTIONS")
    assert policy.check(browser_request(content_length="9" * 5_000)) is None  # the body says how much is too much
    assert policy.accept(browser_request(), b" " * 65_536).status == 400
    for length in (65_537, 262_144, 300_000):
        assert policy.accept(browser_request(), b" " * length).status == 413
        assert policy.accept(browser_request(), b'{"events": [' + b" " * length).status == 413


def test_disabled_logger(caplog):
    """When the logger's level is above INFO, one warning says that events are lost."""
    logging.getLogger("test.disabled").setLevel(logging.WARNING)
    policy = EndpointPolicy(logger="test.disabled")
    for _ in range(3):
        assert policy.accept(browser_request(), payload(track())).status == 200
    assert [record.getMessage() for record in caplog.records] == [
        "browser events are lost: their level is INFO, and that of the logger 'test.disabled' is higher"
    ]
