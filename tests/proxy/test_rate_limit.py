"""The rate limit of a client, alone and as the endpoint applies it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.proxy.policy import EndpointPolicy
from emitkit_logging.proxy.rate_limit import MAX_CLIENTS, ClientRateLimit
from tests.proxy.helpers import Clock, browser_request, payload, reason


def test_rate_limit():
    """Events and KB count. Above the limit a client gets 429 until its minute ends; other clients are not affected."""
    clock = Clock()
    policy = EndpointPolicy(rate_limit=10, clock=clock, logger="test.rate")
    small = payload({"type": "reset"})
    assert [policy.accept(browser_request(), small).status for _ in range(11)] == [200] * 10 + [429]
    clock.now += 20
    refused = policy.accept(browser_request(), small)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "40")
    assert reason(refused) == "more than 10 events in a minute"
    assert policy.accept(browser_request(client="192.0.2.2"), small).status == 200
    clock.now += 40
    assert policy.accept(browser_request(), payload(*[{"type": "reset"}] * 100)).status == 200
    assert policy.accept(browser_request(), small).status == 429
    assert policy.accept(browser_request(client="192.0.2.3"), b" " * 20_000).status == 400
    assert policy.accept(browser_request(client="192.0.2.3"), small).status == 429


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100), st.floats(0, 30)), max_size=40))
def test_rate_limit_for_any_requests(requests):
    """A client is refused only when it has sent the limit in the last minute, and for at most a minute."""
    clock = Clock()
    policy = EndpointPolicy(rate_limit=50, clock=clock, logger="test.rate")
    taken = {"a": [], "b": []}
    for client, events, pause in requests:
        clock.now += pause
        response = policy.accept(browser_request(client=client), payload(*[{"type": "reset"}] * events))
        recent = [number for at, number in taken[client] if clock.now - at < 60]
        if response.status == 200:
            taken[client].append((clock.now, max(1, events)))
        else:
            assert sum(recent) >= 50
            assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_no_rate_limit():
    """With 0 there is no limit."""
    policy = EndpointPolicy(rate_limit=0)
    assert {policy.accept(browser_request(), payload()).status for _ in range(3_000)} == {200}


def test_ipv6_network_is_one_client():
    """All addresses of an IPv6 /64 network share one limit."""
    limit = ClientRateLimit(1, Clock())
    assert limit.count("2001:db8::1", 1) == 0
    assert limit.count("2001:db8::2", 1) > 0
    assert limit.count("2001:db8:0:1::1", 1) == 0


def test_memory_is_bounded():
    """Beyond `MAX_CLIENTS` the client that was seen least recently is forgotten, and may send again."""
    limit = ClientRateLimit(1, Clock())
    clients = [f"10.0.{number // 250}.{number % 250}" for number in range(MAX_CLIENTS + 1)]
    assert {limit.count(client, 1) for client in clients} == {0}
    assert limit.count(clients[-1], 1) > 0
    assert limit.count(clients[1], 1) > 0
    assert limit.count(clients[0], 1) == 0
