"""Which hosts are this machine."""

from __future__ import annotations

import pytest

from emitkit_logging._api.hosts import is_loopback, without_brackets


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "Localhost", "127.0.0.1", "127.255.255.254", "::1", "[::1]", "0:0:0:0:0:0:0:1"]
)
def test_loopback(host):
    """The name in any case, all of 127.0.0.0/8, and ::1 in any spelling, with or without brackets."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "[]",
        "localhost.",
        "localhost.example.com",
        "localhost:80",
        "127.0.0.1.example.com",
        "127.1",
        "128.0.0.1",
        "0.0.0.0",
        "192.168.1.1",
        "::",
        "[::2]",
        "[::1",
        "example.com",
    ],
)
def test_anything_else(host):
    """A name that resolves to this machine is not accepted: what it resolves to can change."""
    assert not is_loopback(host)


def test_brackets():
    """Only a pair of brackets is removed."""
    assert [without_brackets(host) for host in ("[::1]", "::1", "[::1", "localhost")] == [
        "::1",
        "::1",
        "[::1",
        "localhost",
    ]
