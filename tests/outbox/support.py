"""An outbox under a clock of the tests' own, and what the tests send through it."""

from __future__ import annotations

import json
import logging
from collections import deque

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.kinds import FoldKey, PlainKinds
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._outbox.backlog import Backlog, Popped
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.factory import EventFactory
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import NO_OBSERVER, BacklogObserver
from emitkit_logging._outbox.outbox import Outbox

ACCEPTED = ApiResponse(Verdict.ACCEPTED)
FAILED = ApiResponse(Verdict.FAILED)
FAULT = ApiResponse(Verdict.FAILED, "HTTP 500", is_event_at_fault=True)
INVALID = ApiResponse(Verdict.INVALID)
REFUSED = ApiResponse(Verdict.REFUSED, "HTTP 403")


class Clock:
    """A monotonic clock that stands still until a test moves it."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Factory:
    """Makes events of a few attributes.

    Records with the same title are of one kind. Those with a `text` are plain: their kind is made of its template.
    """

    shows_revenue = True

    def __init__(self) -> None:
        self.plain_kinds = PlainKinds(Redactor())

    def event(self, record: CapturedRecord) -> Event:
        attributes = record.attributes
        if attributes.get("raises"):
            raise RuntimeError
        return Event(
            attributes.get("channel", "c"),
            attributes["title"],
            level=record.priority,
            created=record.created,
            identities=attributes.get("identities", ()),
            only_identifies=attributes.get("only_identifies", False),
            idempotency_key=attributes.get("key"),
            user_id=attributes.get("user_id"),
            metadata={"event": attributes["title"], **attributes.get("metadata", {})},
            kind=self._kind(attributes),
            notify=attributes.get("notify", True),
            is_notify_given="notify" in attributes,
        )

    def _kind(self, attributes: dict) -> tuple[str, ...]:
        if "text" not in attributes:
            return (attributes["title"],)
        return ("app", self.plain_kinds.templates.of(("app", "a.py", "1"), attributes["text"]), "", "")

    def fold_key(self, captured: CapturedRecord) -> FoldKey | None:
        if captured.attributes.keys() & {"raises", "identities", "key"}:
            return None
        return self.event(captured).fold_key

    def summary(self, channel: str | None, level: int, title: str, description: str, metadata: dict) -> Event:
        return Event(channel or "alerts", title, description, level=level, metadata=metadata)


def record(title: str, priority: int = logging.INFO, created: float = 0.0, **more) -> CapturedRecord:
    """A captured record; `more` are its attributes, which `Factory` reads."""
    captured = CapturedRecord({"levelno": priority, "title": title, "created": created, **more})
    captured.is_trusted = priority != UNTRUSTED_PRIORITY
    return captured


def identity(user_id: str = "u", **properties) -> Identity:
    return Identity(user_id, properties or {"plan": "pro"})


def pop(backlog: Backlog) -> Popped:
    """Take out what goes first of a backlog."""
    rank = backlog.rank()
    assert rank is not None
    return backlog.pop(rank)


class Harness:
    """An outbox with all that it needs."""

    def __init__(
        self,
        size: int = 100,
        rate_limit: int | None = 0,
        observer: BacklogObserver = NO_OBSERVER,
        clock: Clock | None = None,
        factory: EventFactory | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.budget = RateBudget(rate_limit=rate_limit, alert_reserve=0.1, clock=self.clock)
        self.users = KnownUsers(ttl=3_600.0, size=100, clock=self.clock)
        self.kinds = KindMemory(notify_interval=300.0, clock=self.clock)
        self.outbox = Outbox(
            size=size,
            budget=self.budget,
            users=self.users,
            kinds=self.kinds,
            factory=factory or Factory(),
            clock=self.clock,
            observer=observer,
        )

    def put_texts(self, *texts: str, priority: int = logging.ERROR, **more) -> None:
        """Log a plain record for each text."""
        self.outbox.take(deque(record(text, priority, self.clock.now, text=text, **more) for text in texts))

    def put(self, *titles: str, priority: int = logging.INFO, **more) -> None:
        """Log a record for each title."""
        self.outbox.take(deque(record(title, priority, self.clock.now, **more) for title in titles))

    def start(self) -> ApiRequest:
        """Return the request that is to start now."""
        request = self.outbox.next()
        assert isinstance(request, ApiRequest), request
        return request

    def send(self, answer: ApiResponse = ACCEPTED) -> str:
        """Start what is next, settle it with `answer`, and return its title, or who is identified."""
        request = self.start()
        self.outbox.settle(answer)
        return name_of(request)

    def wait(self) -> float:
        """Return the seconds until something may start: nothing may now."""
        step = self.outbox.next()
        assert not isinstance(step, ApiRequest), step
        return step

    def send_all(self) -> list[dict]:
        """Let the server accept everything, and return the bodies in the order of sending."""
        bodies = []
        while not self.outbox.is_empty:
            step = self.outbox.next()
            if isinstance(step, ApiRequest):
                bodies.append(json.loads(step.body))
                self.outbox.settle(ACCEPTED)
            else:
                self.clock.now += step
        return bodies


def spent(**options) -> Harness:
    """A harness in which the budget of requests that are no alerts is used up."""
    harness = Harness(rate_limit=10, **options)
    harness.put(*(f"first {number}" for number in range(9)))
    for _ in range(9):
        harness.send()
    assert harness.wait() > 50
    return harness


def name_of(request: ApiRequest) -> str:
    """The title of an event, or who is identified."""
    body = json.loads(request.body)
    return body.get("title") or f"identify {body['user_id']}"


def titles(bodies: list[dict]) -> list[str]:
    return [body["title"] for body in bodies]
