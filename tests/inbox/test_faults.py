"""Trouble on demand: what can be asked for, and what a client sees of it."""

from __future__ import annotations

import time

import pytest
import requests

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.faults import Faults, parse


def strikes(text, requests=12):
    fault = parse(text)
    return [number for number in range(1, requests + 1) if fault.strikes()]


def test_which_requests_are_struck():
    """All, each nth, the first ones, or the first of each nth."""
    assert strikes("503", 3) == [1, 2, 3]
    assert strikes("503 every 5") == [5, 10]
    assert strikes("hang 5s times 2") == [1, 2]
    assert strikes("drop-response every 3 times 2") == [3, 6]


def test_what_they_are():
    """A status, a pause in seconds, or a word; upper case and spaces do not matter."""
    assert (parse(" 429 ").kind, parse("429").number) == ("status", 429)
    assert [parse(text).number for text in ("hang 2", "hang 2s", "hang 0.5 s", "HANG 250ms")] == [2.0, 2.0, 0.5, 0.25]
    assert parse("Drop-Request").kind == "drop-request"


@pytest.mark.parametrize("text", ["", "200", "999", "hang", "hang soon", "503 every", "503 every 0", "503 sometimes"])
def test_what_is_none(text):
    """The error says what there is."""
    with pytest.raises(ValueError, match="drop-response or html, then every N or times N"):
        parse(text)


def test_several_at_once():
    """Each counts for itself, and all that strike a request do."""
    faults = Faults(["hang 1s", "503 every 2"])
    assert [[fault.text for fault in faults.strike()] for _ in range(2)] == [["hang 1s"], ["hang 1s", "503 every 2"]]
    with pytest.raises(ValueError, match="a list"):
        faults.texts = "503"
    assert faults.texts == ["hang 1s", "503 every 2"]


def test_a_bad_day(connect):
    """Each kind over HTTP: only a dropped response is carried out all the same."""
    with Inbox(faults=["503 times 1"]) as inbox:
        client = connect(inbox)
        response = client.event()
        assert (response.status_code, response.json()["code"]) == (503, "internal_error")
        assert client.event().status_code == 201
        inbox.faults = ["html"]
        assert client.event().headers["content-type"].startswith("text/html")
        inbox.faults = ["hang 200ms"]
        began = time.monotonic()
        assert client.event().status_code == 201
        assert time.monotonic() - began >= 0.2
        assert len(inbox.events) == 2
        for fault, stored in (("drop-request", 2), ("drop-response", 3)):
            inbox.faults = [fault]
            with pytest.raises(requests.ConnectionError):
                client.event()
            assert len(inbox.events) == stored
        inbox.faults = []
        assert client.event().status_code == 201


def test_at_runtime_over_http(connect):
    """For an application's own tests, in whatever language; and not for its API key's budget."""
    with Inbox(rate_limit=2) as inbox:
        client, url = connect(inbox), f"{inbox.url}/_inbox/faults"
        assert requests.post(url, json={"faults": ["500 times 1"]}, timeout=10).json() == {"faults": ["500 times 1"]}
        assert requests.get(url, timeout=10).json() == {"faults": ["500 times 1"]}
        assert client.event().status_code == 500
        for wrong in ({"faults": ["never"]}, {"faults": "503"}, {"faults": [1]}, {"faults": None}):
            assert requests.post(url, json=wrong, timeout=10).status_code == 400
        assert requests.post(url, json={}, timeout=10).json() == {"faults": []}
        assert client.event().status_code == 201


def test_the_open_source_servers_way(connect):
    """Its errors have no code."""
    with Inbox(generation="self-hosted", faults=["503"]) as inbox:
        response = connect(inbox).event()
        assert (response.status_code, "code" in response.json()) == (503, False)
