"""The official client for JavaScript, version 2, against the inbox as the open-source server.

Needs node; `make sdk` installs the client and sets the folder in which it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox

CLIENT = Path(os.environ.get("EMITKIT_SDK_CLIENT", "client"))
"""The folder with the program and the installed client."""


@pytest.fixture(scope="module")
def ran():
    """Run the program; return its outcomes by name, and the inbox after it."""
    with Inbox(generation="self-hosted") as inbox:
        done = subprocess.run(
            ["node", str(CLIENT / "main.js")],
            env={**os.environ, "EMITKIT_BASE_URL": inbox.url, "EMITKIT_API_KEY": inbox.api_key},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        yield {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}, inbox


def test_creates_events(ran):
    """An event has the five fields that the server returns, a request id and the limit of requests."""
    outcomes, inbox = ran
    created = outcomes["create"]
    assert created["data"].keys() == {"id", "channelId", "channelName", "title", "createdAt"}
    assert created["data"]["channelName"] == "sign-ups"
    assert (created["limit"], created["wasReplayed"]) == (100, False)
    uuid.UUID(created["requestId"])
    stored = inbox.events[0]
    assert (stored["userId"], stored["tags"], stored["metadata"]) == ("ada@example.com", ["signup"], {"plan": "pro"})


def test_identifies_users(ran):
    """An alias is resolved in the events after the call that names it."""
    outcomes, inbox = ran
    assert outcomes["identify"]["data"]["aliases"] == {"created": ["ada@example.com"]}
    assert inbox.events[1]["userId"] == "user-1"


def test_idempotency_keys_do_nothing(ran):
    """The same key creates two events, and the client sees no replay."""
    outcomes, _ = ran
    assert outcomes["key"]["data"]["id"] != outcomes["key again"]["data"]["id"]
    assert outcomes["key again"]["wasReplayed"] is False


def test_errors(ran):
    """The client makes its own errors of the responses: which field is wrong, and the id of the request."""
    outcomes, inbox = ran
    invalid = outcomes["invalid"]
    assert (invalid["error"], invalid["statusCode"]) == ("ValidationError", 400)
    assert [each["path"] for each in invalid["validationErrors"]] == [["title"], ["notify"]]
    assert {each["code"] for each in invalid["validationErrors"]} == {"invalid_type"}
    uuid.UUID(invalid["requestId"])
    assert (outcomes["too long"]["error"], outcomes["too long"]["statusCode"]) == ("EmitKitError", 500)
    assert outcomes["wrong key"]["statusCode"] == 401
    assert len(inbox.events) == 4
