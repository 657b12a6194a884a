"""The command line of the inbox, run as a process and parsed in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import requests

from emitkit_logging.inbox.__main__ import main


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_runs_until_it_is_interrupted(ending):
    """The first line has the address, the next two the environment; then a line for each event, even in ASCII."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emitkit_logging.inbox", "--port", "0", "--rate-limit", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        # a shell in the background has its children ignore the interrupt
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        environment = dict(process.stdout.readline().strip().removeprefix("export ").split("=") for _ in range(2))
        assert environment["EMITKIT_BASE_URL"] == url
        response = requests.post(
            f"{url}/v1/events",
            json={"channelName": "alerts", "title": "Boom", "icon": "🚨"},
            headers={"Authorization": f"Bearer {environment['EMITKIT_API_KEY']}"},
            timeout=10,
        )
        assert (response.status_code, response.headers["X-RateLimit-Limit"]) == (201, "2")
        assert process.stdout.readline().endswith("  alerts            ? Boom\n")
    finally:
        process.send_signal(ending)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--host", "0.0.0.0"], 2, "api_key"),
        (["--scopes", "events:all"], 2, "scopes must be of events:write"),
        (["--key", "emitkit_reader"], 2, "such as emitkit_reader=events:read"),
        (["--key", "emitkit_reader=events:all"], 2, "scopes must be of events:write"),
        (["--fault", "sometimes"], 2, "drop-response"),
        (["--db", "/dev/null/inbox.db"], 1, "/dev/null/inbox.db"),
        (["--generation", "next"], 2, "invalid choice"),
        (
            ["--port", "{taken}"],
            1,
            "port {taken} of 127.0.0.1 is in use, perhaps by another inbox; end that program, or ",
        ),
        (["--port", "{taken}"], 1, "take another port: --port {next}, or --port 0 for a free one"),
        (["--port", "65536"], 2, "port must be 0 to 65535"),
        (["--port", "-1"], 2, "port must be 0 to 65535"),
        (["--host", "192.0.2.1", "--api-key", "emitkit_mine"], 1, "cannot listen on port 8025 of 192.0.2.1"),
    ],
)
def test_wrong_options_are_reported_in_a_line(inbox, capsys, arguments, status, message):
    """An error that the user can correct is one line without a traceback."""
    taken = inbox.url.rpartition(":")[2]
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            main([each.format(taken=taken) for each in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == status
    shown = capsys.readouterr().err
    assert message.format(taken=taken, next=int(taken) % 65535 + 1) in shown
    assert "Traceback" not in shown


def test_every_option_is_passed_on(tmp_path):
    """The server obeys every option, and the terminal shows the secret with the first event that has a callback."""
    arguments = [
        "--port",
        "0",
        "--db",
        str(tmp_path / "inbox.db"),
        "--api-key",
        "emitkit_mine",
        "--scopes",
        "events:write",
        "--key",
        "emitkit_reader=events:read",
        "--key",
        "emitkit_other=events:read, events:write",
    ]
    arguments += ["--fault", "503 times 1", "--fault", "429 every 2 times 1", "--callback-secret", "whsec_c2VjcmV0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "emitkit_logging", "inbox", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        process.stdout.readline()
        assert process.stdout.readline() == "  export EMITKIT_API_KEY=emitkit_mine\n"
        question = {"fields": [{"id": "n", "type": "text", "label": "N"}], "callbackUrl": "https://localhost:9/x"}
        statuses = []
        for _ in range(3):
            response = requests.post(
                f"{url}/v1/events",
                json={"channelName": "c", "title": "Q", **question},
                headers={"Authorization": "Bearer emitkit_mine"},
                timeout=10,
            )
            statuses.append(response.status_code)
        assert statuses == [503, 429, 201]
        listed = requests.get(f"{url}/v1/events", headers={"Authorization": "Bearer emitkit_mine"}, timeout=10)
        assert listed.status_code == 403
        scopes = {}
        for key in ("emitkit_reader", "emitkit_other"):
            me = requests.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {key}"}, timeout=10)
            scopes[key] = me.json()["data"]["scopes"]
        assert scopes == {"emitkit_reader": ["events:read"], "emitkit_other": ["events:write", "events:read"]}
        assert process.stdout.readline().endswith("Q\n")
        assert process.stdout.readline() == "  its callback will be signed with whsec_c2VjcmV0\n"
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert (tmp_path / "inbox.db").is_file()
