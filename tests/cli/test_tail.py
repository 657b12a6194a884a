"""`emitkit-logging tail` against a local EmitKit and a scripted server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import unicodedata

import pytest
import requests

from emitkit_logging import EmitKitHandler
from emitkit_logging.cli import main, tail
from emitkit_logging.inbox import Inbox
from tests.conftest import KEY
from tests.server import Reply

PATIENCE = 30.0


@pytest.fixture
def inbox(monkeypatch):
    with Inbox(rate_limit=0) as inbox:
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        yield inbox


def send(inbox: Inbox, title: str, channel: str = "general", level: str | None = None, **fields: object) -> None:
    metadata = {} if level is None else {"log": {"level": level}}
    body = {"channelName": channel, "title": title, "metadata": metadata, **fields}
    headers = {"Authorization": f"Bearer {inbox.api_key}"}
    requests.post(f"{inbox.url}/v1/events", json=body, headers=headers, timeout=10).raise_for_status()


def titles(output: str) -> list[str]:
    return [line.split()[-1] for line in output.splitlines()]


def test_latest(inbox, capsys):
    """Without following, the latest events are printed, one a line: time, channel and title."""
    for number in range(12):
        send(inbox, f"event-{number}")
    assert main(["tail", "--no-follow"]) == 0
    output = capsys.readouterr()
    assert (titles(output.out), output.err) == ([f"event-{number}" for number in range(2, 12)], "")
    assert re.fullmatch(r"\d\d:\d\d:\d\d  general +event-2", output.out.splitlines()[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--channel", "alerts"], ["c", "d"]),
        (["--channel", "user-*", "--channel", "general"], ["a", "b"]),
        (["--channel", "user-?*"], ["b"]),
        (["--level", "error"], ["d"]),
        (["--level", "WARNING"], ["c", "d"]),
        (["--level", "DEBUG"], ["a", "c", "d"]),
        (["--channel", "alerts", "--level", "CRITICAL"], []),
        (["--lines", "1", "--level", "WARNING"], ["d"]),
        (["-n", "0"], []),
    ],
)
def test_filters(inbox, capsys, arguments, expected):
    """Channels, with wildcards, and the level of the log record, if there is one; lines are counted after that."""
    send(inbox, "a", level="INFO")
    send(inbox, "b", "user-activity")
    send(inbox, "c", "alerts", "WARNING")
    send(inbox, "d", "alerts", "ERROR")
    assert main(["tail", "--no-follow", *arguments]) == 0
    assert titles(capsys.readouterr().out) == expected


def test_json(inbox, capsys):
    """As JSON each event is one line with all of its fields."""
    send(inbox, "a\x1b[31m\n", description="ü")
    assert main(["tail", "--no-follow", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["description"] == "ü"


def test_nothing_controls_the_terminal(inbox, capsys):
    """Control characters, line breaks and reversals in an event are not printed, and neither is the key."""
    send(inbox, f"a\x1b[31m\u202eb\n{inbox.api_key}", "x\x07y", description="\x1b]0;title\x07")
    assert main(["tail", "--no-follow"]) == 0
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert {unicodedata.category(each) for each in output.rstrip("\n")}.isdisjoint({"Cc", "Cf"})
    assert inbox.api_key not in output


def test_colors(inbox, capsys, monkeypatch):
    """Errors are red in a terminal; NO_COLOR and any other output have no colors."""
    send(inbox, "a", level="ERROR")
    send(inbox, "b", level="WARNING")
    send(inbox, "c", level="INFO")
    main(["tail", "--no-follow"])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["tail", "--no-follow"])
    red, yellow, plain = capsys.readouterr().out.splitlines()
    assert (red[:5], red[-5:], yellow[:5], plain[:1]) == ("\x1b[31m", "a\x1b[0m", "\x1b[33m", plain[:1].strip("\x1b"))
    monkeypatch.setenv("NO_COLOR", "1")
    main(["tail", "--no-follow"])
    assert "\x1b" not in capsys.readouterr().out


@contextlib.contextmanager
def following(inbox: Inbox, *arguments: str):
    """Run the command as a process; the value has its output so far."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emitkit_logging", "tail", "--interval", "0.1", *arguments],
        env={
            **os.environ,
            "EMITKIT_API_KEY": inbox.api_key,
            "EMITKIT_BASE_URL": inbox.url,
            "PYTHONIOENCODING": "utf-8",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # a shell in the background has its children ignore the interrupt
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_follows(inbox):
    """New events appear, in order and once; Ctrl-C ends it quietly, with success."""
    send(inbox, "before")
    handler = EmitKitHandler(inbox.api_key, base_url=inbox.url)
    with following(inbox) as process:
        assert process.stdout.readline().endswith("before\n")
        for number in range(5):
            send(inbox, f"event-{number}")
            assert process.stdout.readline().endswith(f"event-{number}\n")
        handler.close()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert (process.returncode, rest, errors) == (0, "", "")


def test_survives_an_outage(inbox):
    """It goes on when the server is away for a while, and says so once for each end of the outage."""
    send(inbox, "before")
    with following(inbox) as process:
        assert process.stdout.readline().endswith("before\n")
        inbox.faults = ["503 times 3"]
        first = process.stderr.readline()
        assert "HTTP 503" in first
        assert "tried again" in first
        assert "answers again" in process.stderr.readline()
        send(inbox, "after")
        assert process.stdout.readline().endswith("after\n")


def test_a_closed_pipe(inbox):
    """When the reader has seen enough, it ends without a traceback."""
    send(inbox, "a")
    with following(inbox) as process:
        process.stdout.readline()
        process.stdout.close()
        send(inbox, "b")
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("generation", ["current", "self-hosted"])
def test_wrong_key(monkeypatch, capsys, generation):
    """A wrong key ends it at once, with the remedy."""
    with Inbox(generation=generation) as inbox:
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        monkeypatch.setenv("EMITKIT_API_KEY", KEY)
        assert main(["tail"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "EMITKIT_API_KEY" in output.err or "open-source server" in output.err
    assert KEY not in output.err


def test_without_the_scope(monkeypatch, capsys):
    """A key that may only write is refused by name of the missing scope."""
    with Inbox(scopes=["events:write"]) as inbox:
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        assert main(["tail"]) == 1
    assert "events:read" in capsys.readouterr().err


def test_open_source_server(monkeypatch, capsys):
    """A server that lists no events is named as such."""
    with Inbox(generation="self-hosted") as inbox:
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        assert main(["tail"]) == 1
    assert "lists none" in capsys.readouterr().err


def test_no_server(monkeypatch, capsys):
    """Without following, a server that does not answer is an error with its reason."""
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", "http://127.0.0.1:9")
    assert main(["tail", "--no-follow"]) == 1
    assert "http://127.0.0.1:9: the connection is refused" in capsys.readouterr().err


def test_configuration(monkeypatch, capsys):
    """A missing key is an error that names its variable; plain http to another machine needs permission."""
    monkeypatch.delenv("EMITKIT_API_KEY", raising=False)
    assert main(["tail"]) == 1
    assert "EMITKIT_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", "http://emitkit:8025")
    assert main(["tail"]) == 1
    assert "EMITKIT_ALLOW_HTTP=1" in capsys.readouterr().err


def test_whatever_a_server_returns(server, monkeypatch, capsys):
    """Fields of a wrong type and missing fields are shown as far as they can be."""
    events = [
        {"id": "1", "title": "one", "metadata": None, "createdAt": None, "icon": 7},
        {"id": "2", "title": None, "channelName": [], "createdAt": "yesterday"},
    ]
    server.script = [Reply(200, {"success": True, "data": {"events": events}})]
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", server.url)
    assert main(["tail", "--no-follow"]) == 0
    assert "one" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--lines", "-1"], ["--lines", "101"], ["--interval", "0"], ["--level", "LOUD"]])
def test_wrong_usage(capsys, arguments):
    """Impossible values are usage errors that name the option."""
    with pytest.raises(SystemExit) as caught:
        main(["tail", *arguments])
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_large_pages(inbox, capsys):
    """A hundred of the largest events are one response, which is read whole."""
    for number in range(100):
        send(inbox, f"event-{number}", description="x" * 12_000)
    assert main(["tail", "--no-follow", "-n", "100"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 100


def test_channel_of_the_server():
    """A pattern is matched here, a single name is asked of the server; names are compared exactly."""
    shows = tail.event_filter(["user-*"], None)
    assert shows({"channelName": "user-activity"})
    assert not shows({"channelName": "User-activity"})
