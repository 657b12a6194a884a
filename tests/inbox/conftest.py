"""Fixtures for the tests of the inbox: shared servers without a rate limit, and a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from emitkit_logging.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that moves only when a test sets it."""

    def __init__(self, now: float = 1_800_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Client:
    """Calls one inbox as an application would, over one connection."""

    def __init__(self, inbox: Inbox, api_key: str | None = None) -> None:
        self.inbox = inbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {api_key or inbox.api_key}"

    def event(self, key: str | None = None, **fields: Any) -> requests.Response:
        body = {"channelName": "tests", "title": "A title", **fields}
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.session.post(f"{self.inbox.url}/v1/events", json=body, headers=headers, timeout=10)

    def identify(self, **fields: Any) -> requests.Response:
        return self.session.post(f"{self.inbox.url}/v1/identify", json=fields, timeout=10)

    def send(
        self, body: bytes, content_type: str | None = "application/json", path: str = "/v1/events"
    ) -> requests.Response:
        headers = {} if content_type is None else {"Content-Type": content_type}
        return self.session.post(f"{self.inbox.url}{path}", data=body, headers=headers, timeout=10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="package")
def inbox() -> Iterator[Inbox]:
    """The current generation without a rate limit, shared: tests look only for what they have sent."""
    with Inbox(rate_limit=0) as running:
        yield running


@pytest.fixture(scope="package")
def self_hosted() -> Iterator[Inbox]:
    """The self-hosted generation without a rate limit, shared in the same manner."""
    with Inbox(rate_limit=0, generation="self-hosted") as running:
        yield running


@pytest.fixture
def client(inbox: Inbox) -> Iterator[Client]:
    calling = Client(inbox)
    yield calling
    calling.session.close()


@pytest.fixture
def self_hosted_client(self_hosted: Inbox) -> Iterator[Client]:
    calling = Client(self_hosted)
    yield calling
    calling.session.close()


@pytest.fixture
def connect() -> Iterator[Any]:
    """Make clients of a test's own inboxes, and close them after the test."""
    clients: list[Client] = []

    def connecting(inbox: Inbox, api_key: str | None = None) -> Client:
        clients.append(Client(inbox, api_key))
        return clients[-1]

    yield connecting
    for each in clients:
        each.session.close()
