"""The options of an inbox, refused at construction."""

from __future__ import annotations

import re

import pytest

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.config import GENERATION_NAMES, InboxConfig, checked_host
from emitkit_logging.inbox.emulation.generations import GENERATIONS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "loopback"),
        ({"host": "192.168.1.1"}, "loopback"),
        ({"host": "example.com"}, "loopback"),
        ({"host": ""}, "loopback"),
        ({"generation": "next"}, "current, self-hosted"),
        ({"scopes": ["events:all"]}, "scopes"),
        ({"keys": {"emitkit_b": ["all"]}}, "scopes must be .*not all"),
        ({"keys": {"": ["events:read"]}}, "empty key"),
        ({"faults": ["sometimes"]}, "fault"),
        ({"faults": "503"}, "list"),
        ({"rate_limit": -1}, "rate_limit"),
        ({"window": 0}, "window"),
        ({"keep": 0}, "keep"),
        ({"prefix": "api"}, "prefix"),
        ({"prefix": "/api/"}, "prefix"),
        ({"host": "[::2]"}, "loopback"),
        ({"callback_secret": "whsec_"}, "callback_secret must be whsec_ and base64$"),
        ({"callback_secret": "whsec_%%%"}, "callback_secret must be whsec_ and base64$"),
        ({"callback_secret": "my secret"}, "callback_secret must be whsec_ and base64$"),
    ],
)
def test_refuses_wrong_options(options, message):
    """The error names the option and what would be right; an address that others can reach needs a key."""
    with pytest.raises(ValueError, match=message):
        Inbox(**options)


def test_makes_up_a_key():
    """A generated key is long enough to be masked as an EmitKit key, and differs each time."""
    with Inbox() as one, Inbox() as other:
        assert re.fullmatch(r"emitkit_[A-Za-z0-9]{24,}", one.api_key)
        assert one.api_key != other.api_key
        assert one.url != other.url


@pytest.mark.parametrize(
    ("host", "is_public", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:1/api"),
        ("LOCALHOST", False, "http://LOCALHOST:1/api"),
        ("[::1]", False, "http://[::1]:1/api"),
        ("::1", False, "http://[::1]:1/api"),
        ("0.0.0.0", True, "http://0.0.0.0:1/api"),
    ],
)
def test_addresses(host, is_public, url):
    """The page asks for the key where others can reach it, and the address is a valid URL with IPv6 too."""
    config = InboxConfig(checked_host(host, "emitkit_key"), {}, 0, 60.0, "current", "/api")
    assert (config.is_public, config.url(1)) == (is_public, url)


def test_the_names_of_the_generations():
    """The names that the options accept are those of the generations that exist."""
    assert list(GENERATIONS) == list(GENERATION_NAMES)
