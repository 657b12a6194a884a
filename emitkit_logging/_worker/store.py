"""Where accepted records wait until they are delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.kinds import source_of
from emitkit_logging._events.series import BriefRecord, Series
from emitkit_logging._outbox.losses import Undelivered
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._worker.clock import monotonic
from emitkit_logging.stats import Stats


class Store(Protocol):
    """Holds accepted records, and decides with an outbox which request is next.

    The application's threads call `append`, `append_alert` and `identify`, at any time and without a lock. All else is
    called under the worker's lock.

    Attributes:
        queue: records in memory that the outbox has not taken yet; producers only append.
        on_long: set by the worker; `append` calls it where too much waits, so that the caller does a part of the work.
        starts_at_once: whether the thread has something to do before this process has logged anything.
        series: the series of which producers may append brief records, by the name of their event.
    """

    queue: deque[Any]
    on_long: Callable[[], None]
    starts_at_once: bool
    series: Mapping[object, Series]

    @property
    def append(self) -> Callable[[Any], object]:
        """Accepts a `CapturedRecord`, or a `BriefRecord` of one of its `series`."""

    @property
    def append_alert(self) -> Callable[[CapturedRecord], object]:
        """Accepts an alert, which may go before other records."""

    def identify(self, identity: Identity) -> None:
        """Accept what is known of a user, without an event."""

    def refuse(self) -> None:
        """Count a record that came after `close`."""

    def take(self, most: int | None = None) -> None:
        """Let the outbox take what was accepted, about `most` records of it."""

    def next(self) -> Any:
        """Return the request to start now, or the seconds (a number) until there may be one.

        A request is what the worker's transport sends: an `ApiRequest`, or what another store's own transport takes.
        """

    def wake_level(self) -> float:
        """Return the level from which on a new record may be sendable before the time that `next` returned."""

    def settle(self, response: Any) -> None:
        """Take the transport's response to the request that `next` returned."""

    def notices(self) -> list[str]:
        """Return what the log should say since the last call."""

    def mark(self) -> Callable[[], bool]:
        """Return a function that says whether all that was accepted before now is settled."""

    def hurry(self, deadline: float) -> Callable[[], bool]:
        """Prepare for the end of the process.

        Args:
            deadline: when it is, on the monotonic clock.

        Returns:
            A function that says whether this process has nothing more to do.
        """

    def carry_on(self) -> None:
        """Go on as before `hurry`: the process did not end."""

    def is_done(self) -> bool:
        """Whether the background thread may end."""

    def give_up(self) -> Undelivered:
        """Stop; return what is lost by that."""

    def stats(self) -> Stats:
        """Return the counts of this moment."""

    def close(self) -> None:
        """Release what it holds: the background thread has ended."""

    def before_fork(self) -> None:
        """Prepare for a fork; the child must find no open database."""

    def abandon(self) -> None:
        """Close, without a lock and in a forked child, what it has inherited."""


_MOST_SOURCES = 4_096
"""Sources of alerts that are remembered; beyond it all are forgotten."""

_MOST_FIRST = 100
"""Alerts of unseen sources that wait before all other records, at most."""


class MemoryStore:
    """Keeps everything in memory: what is not delivered when the process ends is lost, counted.

    In a storm that takes all of a processor, thousands of records wait to be looked at. An alert from an unseen source
    may be the first of its kind: it is looked at before them. `source_of` says what a source is.

    Args:
        outbox: decides what is sent next.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._identities: deque[Identity] = deque()
        self._sources: set[Hashable] = set()
        self._first: deque[CapturedRecord] = deque()
        self.queue: deque[CapturedRecord | BriefRecord] = deque()
        self.append: Callable[[CapturedRecord | BriefRecord], object] = self.queue.append
        self.on_long: Callable[[], None] = lambda: None
        self.starts_at_once = False
        self.series = outbox.series

    def append_alert(self, captured: CapturedRecord) -> None:
        """Accept an alert; one from an unseen source goes before all records that wait to be looked at."""
        source = source_of(captured)
        if source in self._sources or not captured.is_trusted or len(self._first) >= _MOST_FIRST:
            self.queue.append(captured)
            return
        if len(self._sources) >= _MOST_SOURCES:
            self._sources.clear()
        self._sources.add(source)
        self._first.append(captured)

    def identify(self, identity: Identity) -> None:
        """Accept what is known of a user, without an event."""
        self._identities.append(identity)

    def refuse(self) -> None:
        """Count a record that came after `close`."""
        self._outbox.refuse()

    def take(self, most: int | None = None) -> None:
        """Let the outbox take what was accepted, about `most` records of it."""
        # what was logged after `identify` is sent after it: the records are counted before the identities are looked at
        first, waiting = len(self._first), len(self.queue)
        while self._identities:
            self._outbox.identify(self._identities.popleft())
        self._outbox.take(self._first, first)
        self._outbox.take(self.queue, waiting if most is None else min(waiting, most))

    def next(self) -> ApiRequest | float:
        """Return the request to start now, or the seconds until there may be one."""
        step = self._outbox.next()
        if step == 0.0:
            self.take()
            step = self._outbox.next()
        return step

    def wake_level(self) -> float:
        """Return the level from which on a new record may be sendable before the time that `next` returned."""
        return self._outbox.wake_level()

    def settle(self, response: ApiResponse) -> None:
        """Take the response to the request that `next` returned."""
        self._outbox.settle(response)

    def notices(self) -> list[str]:
        """Return what the log should say since the last call."""
        return self._outbox.notices()

    def mark(self) -> Callable[[], bool]:
        """Return a function that says whether all that was accepted before now is settled."""
        self._outbox.release()
        newest = self._outbox.newest
        return lambda: self._outbox.is_settled(newest)

    def hurry(self, deadline: float) -> Callable[[], bool]:
        """Prepare for the end of the process: everything that waits is to be delivered by the deadline."""
        self._outbox.hurry(max(0.0, deadline - monotonic()))
        return lambda: self._outbox.is_empty

    def carry_on(self) -> None:
        """Go on as before `hurry`: the process did not end."""
        self._outbox.carry_on()

    def is_done(self) -> bool:
        """Whether the background thread may end: nothing waits."""
        return self._outbox.is_empty

    def give_up(self) -> Undelivered:
        """Drop what waits, and return what it was."""
        return self._outbox.give_up("shutdown")

    def stats(self) -> Stats:
        """Return the counts of this moment."""
        return self._outbox.stats()

    def close(self) -> None:
        """Do nothing."""

    def before_fork(self) -> None:
        """Do nothing: the child makes a store of its own."""

    def abandon(self) -> None:
        """Do nothing: there are no files."""
