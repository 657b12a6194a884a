"""Storms of errors against real servers: a few events that people can read, one push, and an exact account."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox
from tests.conftest import KEY
from tests.server import Reply, Server

LIMIT = 100
DONE = {"success": True, "data": {}}
NAMES = ["ada", "bob", "eve", "ida", "leo", "max", "mia", "noa", "tom", "zoe"]


class Silent:
    """A server that allows as many requests as the others in a minute, and says nothing about it."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self._server = Server()
        self._server.script = self._answer
        self.api_key = KEY

    @property
    def url(self) -> str:
        return self._server.url

    def _answer(self, seen) -> Reply:
        if len(self.events) >= LIMIT:
            return Reply(429, {"success": False, "error": "Too many requests"})
        self.events.append(json.loads(seen.raw))
        return Reply(201, DONE)

    def __enter__(self) -> Silent:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)


SERVERS = {
    "current": lambda: Inbox(rate_limit=LIMIT),
    "self-hosted": lambda: Inbox(rate_limit=LIMIT, generation="self-hosted"),
    "silent": Silent,
}


@pytest.fixture(params=SERVERS)
def remote(request):
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture
def made(remote, logger):
    handler = EmitKitHandler(remote.api_key, base_url=remote.url, shutdown_timeout=30.0)
    logger.addHandler(handler)
    yield handler
    handler.close()


def records(events) -> int:
    return sum(event["metadata"].get("occurrences", 1) for event in events)


def pushes(events) -> int:
    return sum(event["notify"] for event in events)


def fail(logger: logging.Logger, text: str) -> None:
    try:
        raise ValueError(text.partition(" ")[0])
    except ValueError:
        logger.exception(text)


@pytest.mark.parametrize(
    "text",
    [
        lambda number: f"order {number} for user{number}@example.com failed",
        lambda number: f"user {NAMES[number % 10]} cannot log in",
        lambda number: f"charge ch_{number:024x} declined after {number % 97} ms by 10.0.{number % 256}.7:443",
    ],
    ids=["ids", "names", "tokens"],
)
def test_f_strings_of_one_line(remote, made, logger, text):
    """500 f-string errors of one line are at most 9 events, none of them a digest, each with a traceback; one pushes.

    Names that are words are five kinds before they are one, so up to five of them push.
    """
    for number in range(500):
        fail(logger, text(number))
    made.close()
    assert len(remote.events) <= 9
    assert records(remote.events) == 500
    assert not any("digest" in event["metadata"] for event in remote.events)
    for event in remote.events:
        assert "Traceback (most recent call last)" in event["metadata"]["exception"]["stacktrace"]
    assert 1 <= pushes(remote.events) <= (5 if text(0).startswith("user") else 1)
    assert "…" in max(remote.events, key=lambda event: event["metadata"].get("occurrences", 1))["title"]


def test_new_kinds_in_a_storm(remote, made, logger):
    """New kinds arrive each by itself, and push, while a storm goes on."""
    for number in range(3_000):
        fail(logger, f"order {number} failed")
        if number % 600 == 300:
            logger.error(f"the {NAMES[number // 600]} server is down", extra={"fingerprint": NAMES[number // 600]})
    made.close()
    new = [event for event in remote.events if event["title"].endswith("is down")]
    assert len(new) == pushes(new) == 5
    assert records(remote.events) == 3_005
    assert pushes(remote.events) == 6
    assert len(remote.events) <= 5 + 5 + 2


def test_a_job_that_ends_in_a_spent_window(remote, made, logger):
    """300 failures of their own and a CRITICAL at the end are delivered at once, exactly, in one window's requests."""
    for number in range(300):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        fail(logger, f"{word} step failed")
    logger.critical("the job failed")
    made.close()
    assert (made.stats.pending, made.stats.dropped) == (0, {})
    assert made.stats.delivered == 301
    assert len(remote.events) <= LIMIT
    assert records(remote.events) == 301
    assert [event["title"] for event in remote.events if event["title"] == "the job failed"] == ["the job failed"]


def test_cards_for_people(remote, made, logger):
    """5,000 errors of three kinds and 40 sign-ups: few cards, few pushes, users and levels kept, nothing unreadable."""
    for number in range(5_000):
        kind = number % 3
        fail(
            logger, (f"order {number} failed", f"mail to user{number}@example.com bounced", f"job {number} late")[kind]
        )
        if number % 125 == 0:
            logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": f"u{number}", "plan": "pro"})
    made.close()
    alerts = [event for event in remote.events if event["channelName"] == "alerts"]
    signed = [event for event in remote.events if event["channelName"] == "general"]
    assert records(alerts) == 5_000
    assert records(signed) == 40
    assert len(alerts) <= 3 * 6
    assert pushes(alerts) == 3
    users = Counter(event.get("userId") for event in signed if event.get("userId"))
    folded = [user for event in signed for user in event["metadata"].get("users", ())]
    assert {*users, *folded} == {f"u{number}" for number in range(0, 5_000, 125)}
    for event in alerts:
        assert event["metadata"]["log"]["level"] == "ERROR"
        assert len(event["title"]) <= 100
        assert len(event.get("description") or "") <= 700
        assert "Traceback" not in event["title"]
