"""Faults: how they are written, and to which requests they happen."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox.emulation.faults import Faults, parse


def affected(text, requests=12):
    """Return the numbers of the requests that a fault happens to."""
    fault = parse(text)
    return [number for number in range(1, requests + 1) if fault.count_request()]


def test_which_requests_are_affected():
    """A fault happens to all requests, to each nth, to the first ones, or to the first of each nth."""
    assert affected("503", 3) == [1, 2, 3]
    assert affected("503 every 5") == [5, 10]
    assert affected("hang 5s times 2") == [1, 2]
    assert affected("drop-response every 3 times 2") == [3, 6]


def test_kinds_of_faults():
    """A fault is a status, a pause in seconds or a word; case and spaces do not matter."""
    assert (parse(" 429 ").kind, parse("429").number) == ("status", 429)
    assert [parse(text).number for text in ("hang 2", "hang 2s", "hang 0.5 s", "HANG 250ms")] == [2.0, 2.0, 0.5, 0.25]
    assert parse("Drop-Request").kind == "drop-request"


@pytest.mark.parametrize("text", ["", "200", "999", "hang", "hang soon", "503 every", "503 every 0", "503 sometimes"])
def test_refuses_other_texts(text):
    """The error lists what would be right."""
    with pytest.raises(ValueError, match="drop-response or html, then every N or times N"):
        parse(text)


def test_several_at_once():
    """Each fault counts by itself, and several may happen to one request."""
    faults = Faults(["hang 1s", "503 every 2"])
    assert [[fault.text for fault in faults.count_request()] for _ in range(2)] == [
        ["hang 1s"],
        ["hang 1s", "503 every 2"],
    ]
    with pytest.raises(ValueError, match="a list"):
        faults.texts = "503"
    assert faults.texts == ["hang 1s", "503 every 2"]
