"""The file of an inbox: what it keeps for a later one, and when it cannot be used."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import requests

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.store.database import VERSION
from emitkit_logging.inbox.store.feed import Feed

from ..http.calls import ask, call, refusal


def test_a_file_survives_a_restart(tmp_path, clock, connect):
    """Events, channels, identities, unread counts, the key, and the responses to idempotency keys are kept."""
    path = tmp_path / "inbox.db"
    with Inbox(db=path, clock=clock) as inbox:
        client = connect(inbox)
        first = client.event("key", title="Once", channelName="a").json()
        client.identify(user_id="u", properties={"plan": "pro"}, aliases=["u@example.com"])
        requests.post(f"{inbox.url}/_inbox/read", json={"channel": "a"}, timeout=10)
        client.event(title="Unread", channelName="a")
        asked = ask(client, expiresIn=60)
        key, secret = inbox.api_key, inbox.callback_secret
    assert path.stat().st_mode & 0o777 == 0o600
    clock.now += 60
    with Inbox(db=path, clock=clock) as inbox:
        client = connect(inbox)
        assert (inbox.api_key, inbox.callback_secret) == (key, secret)
        again = client.event("key", title="Once", channelName="a")
        assert (again.json(), again.headers["X-Idempotent-Replay"]) == (first, "true")
        refusal(client.event("key", title="Another"), 409, "idempotency_conflict")
        assert client.event(userId="u@example.com", channelName="b").json()["data"]["userId"] == "u"
        assert [event["title"] for event in inbox.events] == ["Once", "Unread", "A title", "A title"]
        feed = requests.get(f"{inbox.url}/_inbox/feed", timeout=10).json()
        counts = {each["name"]: (each["events"], each["unread"]) for each in feed["channels"]}
        assert counts == {"a": (2, 1), "b": (1, 1), "tests": (1, 1)}
        assert call(client, "GET", f"/v1/events/{asked['id']}").json()["data"]["answer"]["status"] == "expired"
    with Inbox(db=path, api_key="emitkit_other", clock=clock) as inbox:
        assert inbox.api_key == "emitkit_other"


def test_a_file_that_cannot_be_used(tmp_path):
    """The error is raised at construction, and names the file."""
    other = tmp_path / "other.db"
    other.write_text("no database, but more than a few bytes of something else entirely" * 20)
    for path in (other, tmp_path, tmp_path / "nowhere" / "inbox.db"):
        with pytest.raises(OSError, match=str(path)):
            Inbox(db=path)
    with Inbox(db=tmp_path / "inbox.db"), pytest.raises(OSError, match="locked"):
        Inbox(db=tmp_path / "inbox.db")


def test_a_file_of_another_version_is_refused(tmp_path):
    """A file that a later version wrote is neither read nor changed."""
    path = tmp_path / "inbox.db"
    Feed(path=path).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(OSError, match=f"version {VERSION + 1}, this inbox reads version {VERSION}"):
        Inbox(db=path)
