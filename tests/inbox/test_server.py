"""The inbox as an object: what it has, and how one waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from emitkit_logging.inbox import Inbox


def test_waits_for_an_event_or_for_several(client):
    """Events are found by any field, with `channel` as a short name, in the order in which they were stored."""
    sending = threading.Thread(target=lambda: [client.event(channelName="waited", title=name) for name in "abc"])
    sending.start()
    assert client.inbox.wait_for(channel="waited", title="b")["channelName"] == "waited"
    assert [event["title"] for event in client.inbox.wait_for(3, channel="waited")] == ["a", "b", "c"]
    sending.join()


def test_a_failed_wait_lists_what_has_arrived(connect):
    """The error has the events and the refused requests, but no API key."""
    with Inbox() as inbox:
        client = connect(inbox)
        client.event(title=f"Has the key {inbox.api_key}")
        client.event(title="")
        with pytest.raises(AssertionError) as caught:
            inbox.wait_for(2, timeout=0.01, channel="tests")
        shown = str(caught.value)
        assert shown.startswith("1 of 2 events with channelName='tests' after 0.01 s")
        assert "Has the key [api key]" in shown
        assert "1 events, 2 requests, 1 of them refused\n  POST /v1/events: 400" in shown
        with pytest.raises(AssertionError, match="0 of 1 events with title='x'"):
            inbox.wait_for(timeout=0.0, title="x")
        with pytest.raises(AssertionError, match="1 of 9 events after"):
            inbox.wait_for(9, timeout=0.0)


def test_waiting_for_a_field_that_no_event_has(inbox):
    """A misspelt field is an error at once, not after the timeout."""
    with pytest.raises(TypeError, match="no field chanel, name; it has actions"):
        inbox.wait_for(name="x", chanel="y")


def test_echoes_each_event_and_identify_call(connect):
    """The echo gets a line for each, in which the API key is masked."""
    lines: list[str] = []
    with Inbox(echo=lines.append) as inbox:
        client = connect(inbox)
        client.event(title=f"Key {inbox.api_key}", description="First\nSecond", metadata={"occurrences": 3})
        client.identify(user_id="u-1", properties={"plan": "pro"})
        client.event(title="")
    assert [line[10:] for line in lines] == [
        "tests             Key [api key] ×3 · First",
        "identify          u-1 · plan",
    ]


def test_without_the_extra():
    """Without uvicorn the package can be imported, and the error of an inbox names what to install."""
    program = "import sys; sys.modules['uvicorn'] = None; from emitkit_logging.inbox import Inbox; Inbox()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'emitkit-logging[inbox]'" in result.stderr.splitlines()[-1]


def test_options_are_listed_without_the_server():
    """The command line needs neither the extra nor the database to print its help."""
    program = (
        "import argparse, sys; before = set(sys.modules); "  # what measures coverage has loaded some of them
        "from emitkit_logging.inbox.arguments import add_arguments; add_arguments(argparse.ArgumentParser()); "
        "sys.exit(bool((sys.modules.keys() - before) & {'starlette', 'uvicorn', 'sqlite3'}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
