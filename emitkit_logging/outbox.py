"""Outbox: what is sent next, and what becomes of it.

The heart of the library, and pure: no thread, no I/O, the clock is passed in. What waits is ordered by level, then age.
A request that was started keeps its idempotency key and its bytes until the server took it or it is given up.
Every record that comes in is counted exactly once: delivered, pending or dropped.
"""

from __future__ import annotations

import hashlib
import logging
import math
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emitkit_logging.answers import Answer, Verdict
from emitkit_logging.event import SHRUNK_BYTES, Event, dump
from emitkit_logging.pace import REFUSED_PAUSE, Pace, backoff
from emitkit_logging.stats import Stats
from emitkit_logging.users import Facts, Person, Users

EVENTS_PATH = "/v1/events"
IDENTIFY_PATH = "/v1/identify"

MOST_STRIKES = 5
"""Times that one event may be answered with 500 while others pass."""

CONFLICT_PATIENCE = 10.0
"""Seconds for which a 409 must be survived: the first request with that key may still be running."""

MOST_CONFLICTS = 6

NOTICE_PAUSE = 60.0
"""Seconds between two notices for the same reason."""

NEVER = math.inf

# An identify is never an alert: it must not use the room that is kept for them.
_HIGHEST_IDENTIFY = logging.ERROR - 1
_YIELDING = -1


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the same key and the same bytes at every try.

    Attributes:
        path: below the base URL.
        success: the status that a success has.
        body: JSON, UTF-8.
        key: the `Idempotency-Key`, or `None` for an identify.
    """

    path: str
    success: int
    body: bytes
    key: str | None


class _Entry:
    """What waits: an event, or an identify."""

    __slots__ = (
        "age",
        "conflicts",
        "event",
        "facts",
        "first_conflict",
        "level",
        "records",
        "request",
        "rests_until",
        "shrunk",
        "strikes",
        "successes",
        "tries",
    )

    def __init__(self, level: int, age: float, *, event: Event | None = None, facts: Facts | None = None) -> None:
        self.level = level
        self.age = age
        self.event = event
        self.facts = facts
        self.records = 1 if event is not None else 0
        self.request: Request | None = None
        self.rests_until = -math.inf
        self.tries = 0
        self.strikes = 0
        self.successes = -1
        self.conflicts = 0
        self.first_conflict = 0.0
        self.shrunk = False

    @property
    def rank(self) -> tuple[int, float]:
        return (-self.level, self.age)


class Outbox:
    """Holds what waits, and decides.

    Args:
        size: records held; beyond it the least important, of them the oldest, are dropped.
        pace: says when a request may start.
        users: says which identify requests are due.
        shape: turns what was captured of a record into its event.
        clock: returns seconds on a monotonic clock.
    """

    def __init__(
        self,
        *,
        size: int,
        pace: Pace,
        users: Users,
        shape: Callable[[dict[str, Any]], Event],
        clock: Callable[[], float],
    ) -> None:
        self._size = size
        self._pace = pace
        self._users = users
        self._shape = shape
        self._clock = clock
        self._newest = 0
        self._waiting: dict[int, deque[tuple[int, dict[str, Any]]]] = {}
        self._count = 0
        self._chosen: list[_Entry] = []
        self._identifies: dict[str, _Entry] = {}
        self._under_way: _Entry | None = None
        self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._events = 0
        self._identified = 0
        self._requests = 0
        self._retries = 0
        self._successes = 0
        self._identifies_rest_until = -math.inf
        self._is_stop_told = False
        self._notices: list[str] = []
        self._said: dict[str, float] = {}
        self.closed = False

    # What comes in

    def take(self, queue: deque[dict[str, Any]], most: int | None = None) -> None:
        """Move what `queue` holds in, at most `most` of it: what was captured of records, oldest first.

        When that is too much the least important go, counted as `overflow`.
        """
        arrived = len(queue) if most is None else min(len(queue), most)
        if self.closed:
            self._dropped["shutdown"] += arrived
            for _ in range(arrived):
                queue.popleft()
            return
        pop, waiting = queue.popleft, self._waiting
        for age in range(self._newest + 1, self._newest + arrived + 1):
            captured = pop()
            level = captured["levelno"]
            lane = waiting.get(level)
            if lane is None:
                lane = waiting[level] = deque()
            lane.append((age, captured))
        self._newest += arrived
        self._count += arrived
        excess = self._count + len(self._chosen) - self._size
        if excess > 0:
            self._drop_least(min(excess, self._count))

    def refuse(self) -> None:
        """Count a record that came too late to be taken in."""
        self._dropped["shutdown"] += 1

    def tell(self, person: Person) -> None:
        """Take in what is known of a user, to be sent without an event."""
        if not self.closed:
            self._newest += 1
            self._learn(person, logging.INFO, self._newest)

    def _drop_least(self, excess: int) -> None:
        self._count -= excess
        self._dropped["overflow"] += excess
        for level in sorted(self._waiting):
            lane = self._waiting[level]
            fewer = min(excess, len(lane))
            for _ in range(fewer):
                lane.popleft()
            if not lane:
                del self._waiting[level]
            excess -= fewer
            if not excess:
                break
        self._say(
            "overflow", f"{self._dropped['overflow']} records were dropped so far: more were logged than can be sent"
        )

    # What goes out

    def next(self) -> Request | float:
        """Return the request to start now, or the seconds until there may be one (infinite: until something comes in).

        The request is then under way until `settle` is called.
        """
        while True:
            now = self._clock()
            entry = self._best(now)
            if entry is None:
                return self._rest(now)
            wait = self._pace.wait(alert=entry.level >= logging.ERROR)
            if wait > 0:
                return min(wait, self._rest(now))
            if entry.event is not None and entry.event.only_identifies:
                self._chosen.remove(entry)
                self._identify_only(entry)
                continue
            if entry.facts is None and self._introduce(entry):
                continue
            self._start(entry)
            assert entry.request is not None  # noqa: S101 - made by _start
            return entry.request

    def _best(self, now: float) -> _Entry | None:
        best: _Entry | None = None
        rested = [entry for entry in self._chosen if entry.rests_until <= now]
        if rested:
            best = min(rested, key=lambda entry: entry.rank)
        level = max(self._waiting, default=None)
        if level is not None:
            age = self._waiting[level][0][0]
            if best is None or (-level, age) < best.rank:
                best = self._choose(level) or self._best(now)
        identify = min(
            (entry for entry in self._identifies.values() if entry.rests_until <= now),
            key=lambda entry: entry.rank,
            default=None,
        )
        if identify is None or now < self._identifies_rest_until:
            return best
        if best is None or (identify.rank < best.rank and self._pace.wait(alert=False, requests=2) <= 0):
            return identify
        return best

    def _choose(self, level: int) -> _Entry | None:
        lane = self._waiting[level]
        age, captured = lane.popleft()
        if not lane:
            del self._waiting[level]
        self._count -= 1
        try:
            entry = _Entry(level, age, event=self._shape(captured))
            entry.request = _request(entry)
        except Exception as error:  # a formatter of the application's own can raise anything
            self._dropped["rejected"] += 1
            self._say("rejected", f"a record could not be made an event: {type(error).__name__}")
            return None
        self._chosen.append(entry)
        return entry

    def _introduce(self, entry: _Entry) -> bool:
        """Learn what the event tells of users; true when that put something new in line."""
        assert entry.event is not None  # noqa: S101 - only events tell of users
        people, entry.event.people = entry.event.people, ()
        for person in people:
            # half an age before its event, so that the identify comes first among equals
            self._learn(person, entry.level, entry.age - 0.5)
        return bool(people)

    def _learn(self, person: Person, level: int, age: float) -> _Entry | None:
        facts = self._users.learn(person)
        if facts is None:
            return None
        entry = self._identifies.get(facts.user_id)
        if entry is None or entry is self._under_way:
            entry = _Entry(min(level, _HIGHEST_IDENTIFY), age, facts=facts)
            self._identifies[facts.user_id] = entry
            if len(self._identifies) > self._size:
                self._forget_oldest_identify()
        else:
            entry.facts = facts
            entry.request = None
        return entry

    def _forget_oldest_identify(self) -> None:
        oldest = self._identifies.pop(next(iter(self._identifies)))
        self._dropped["overflow"] += oldest.records

    def _identify_only(self, entry: _Entry) -> None:
        assert entry.event is not None  # noqa: S101 - its caller looked
        due = [self._learn(person, entry.level, entry.age) for person in entry.event.people]
        waiting = next((identify for identify in due if identify is not None), None)
        if waiting is None:
            self._delivered += entry.records  # the server has these facts already
        else:
            waiting.records += entry.records

    def _start(self, entry: _Entry) -> None:
        if entry.request is None:
            entry.request = _request(entry)
        self._requests += 1
        self._retries += entry.tries > 0
        entry.tries += 1
        self._under_way = entry
        self._pace.started()

    def _rest(self, now: float) -> float:
        resting = [entry.rests_until for entry in self._chosen]
        resting += [max(entry.rests_until, self._identifies_rest_until) for entry in self._identifies.values()]
        return min((until for until in resting if until > now), default=NEVER) - now

    def _entries(self) -> Iterator[_Entry]:
        yield from self._chosen
        yield from self._identifies.values()

    # What became of it

    def wake_level(self) -> float:
        """Return the level from which on a new record may be sendable before the time that `next` returned."""
        for level, alert in ((logging.NOTSET, False), (logging.ERROR, True)):
            if self._pace.wait(alert=alert) <= 0:
                return level
        return NEVER

    def settle(self, answer: Answer) -> None:
        """Take the answer to the request under way."""
        entry, self._under_way = self._under_way, None
        if entry is None:
            return  # given up in the meantime, and counted
        now = self._clock()
        verdict = answer.verdict
        if verdict is Verdict.REFUSED and entry.facts is not None:
            # a key without the scope, or a server without the endpoint: events may pass all the same
            self._identifies_rest_until = now + REFUSED_PAUSE
            self._say("identify", f"users cannot be identified: {answer.detail}; trying again now and then")
            return
        self._pace.answered(answer)
        if verdict is Verdict.ACCEPTED:
            self._accepted(entry, answer)
        elif verdict is Verdict.INVALID:
            self._reject(entry, answer)
        elif verdict is Verdict.TOO_LARGE:
            self._shrink(entry, answer)
        elif verdict is Verdict.CONFLICT:
            self._conflicted(entry, answer, now)
        elif verdict is Verdict.FAILED:
            self._failed(entry, answer, now)
        else:
            self._stopped(answer)

    def _accepted(self, entry: _Entry, answer: Answer) -> None:
        self._successes += 1
        self._is_stop_told = False
        self._delivered += entry.records
        self._remove(entry)
        if entry.facts is None:
            self._events += 1
            return
        self._identified += 1
        self._users.succeeded(entry.facts, answer.failed_aliases)
        if answer.failed_aliases:
            self._say("aliases", f"the server could not register {len(answer.failed_aliases)} of a user's aliases")

    def _shrink(self, entry: _Entry, answer: Answer) -> None:
        if entry.shrunk or entry.event is None:
            self._reject(entry, answer)
        else:
            entry.shrunk = True
            entry.request = None

    def _conflicted(self, entry: _Entry, answer: Answer, now: float) -> None:
        entry.first_conflict = entry.first_conflict if entry.conflicts else now
        entry.conflicts += 1
        if entry.conflicts >= MOST_CONFLICTS and now - entry.first_conflict >= CONFLICT_PATIENCE:
            self._reject(entry, answer)
        else:
            entry.rests_until = now + max(backoff(entry.conflicts, 4.0), answer.retry_after or 0.0)

    def _failed(self, entry: _Entry, answer: Answer, now: float) -> None:
        if answer.is_event_at_fault:
            if entry.strikes == 0 or self._successes > entry.successes:
                entry.strikes += 1
            entry.successes = self._successes
            if entry.strikes >= MOST_STRIKES:
                self._reject(entry, answer)
                return
        entry.rests_until = now + backoff(entry.tries)
        if entry.facts is not None:
            entry.level = _YIELDING  # it has had its turn before its event; one that hangs must not cost a second one

    def _reject(self, entry: _Entry, answer: Answer) -> None:
        self._dropped["rejected"] += entry.records
        self._remove(entry)
        what = "an identify" if entry.event is None else f"the event {entry.event.title!r}"
        self._say("rejected", f"{what} was rejected: {answer.detail}")

    def _stopped(self, answer: Answer) -> None:
        if self._is_stop_told:
            return
        if answer.verdict is Verdict.REFUSED:
            text = (
                f"nothing can be sent, the API key or the address is wrong: {answer.detail}; trying again now and then"
            )
        elif answer.verdict is Verdict.DISGUISED and self._pace.is_key_in_doubt:
            text = f"nothing can be sent, the API key is wrong or its rate limit is used up: {answer.detail}"
        else:
            return
        self._is_stop_told = True
        self._notices.append(text)

    def _say(self, reason: str, text: str) -> None:
        now = self._clock()
        if now - self._said.get(reason, -math.inf) >= NOTICE_PAUSE:
            self._said[reason] = now
            self._notices.append(text)

    def _remove(self, entry: _Entry) -> None:
        if entry.facts is None:
            self._chosen.remove(entry)
        elif self._identifies.get(entry.facts.user_id) is entry:
            del self._identifies[entry.facts.user_id]

    # What there is

    def notices(self) -> list[str]:
        """Return what the log should say since the last call: at most once a minute for each reason."""
        said, self._notices = self._notices, []
        return said

    def hurry(self) -> None:
        """Prepare for the exit: the reserve is for all, and what waits only because of our own guesses is tried now."""
        self._pace.closing = True
        self._pace.retry_now()
        for entry in self._entries():
            entry.rests_until = -math.inf
        self._identifies_rest_until = -math.inf

    @property
    def newest(self) -> int:
        """The age of what came in last; ages grow by one."""
        return self._newest

    def is_settled(self, age: int) -> bool:
        """Tell whether nothing that came in up to `age` still waits."""
        return all(lane[0][0] > age for lane in self._waiting.values()) and all(
            entry.age > age for entry in (*self._entries(), *filter(None, (self._under_way,)))
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._count or self._chosen or self._identifies or self._under_way)

    @property
    def pending(self) -> int:
        """Log records that wait."""
        entries = list(self._entries())
        if self._under_way is not None and self._under_way not in entries:
            entries.append(self._under_way)  # an identify that newer facts have replaced meanwhile
        return self._count + sum(entry.records for entry in entries)

    def give_up(self, reason: str) -> int:
        """Drop all that waits, counted under `reason`, and whatever comes in later; return how many records it were."""
        lost = self.pending
        self._dropped[reason] += lost
        self._waiting.clear()
        self._chosen.clear()
        self._identifies.clear()
        self._under_way = None
        self._count = 0
        self.closed = True
        return lost

    def stats(self) -> Stats:
        """Return the counts of this moment."""
        pending = self.pending
        dropped = {reason: count for reason, count in self._dropped.items() if count}
        return Stats(
            accepted=self._delivered + pending + sum(dropped.values()),
            delivered=self._delivered,
            pending=pending,
            dropped=dropped,
            events=self._events,
            identifies=self._identified,
            requests=self._requests,
            retries=self._retries,
        )


def _request(entry: _Entry) -> Request:
    if entry.facts is not None:
        return Request(IDENTIFY_PATH, 200, dump(entry.facts.body()), None)
    assert entry.event is not None  # noqa: S101 - an entry is one or the other
    if not entry.shrunk:
        return Request(EVENTS_PATH, 201, entry.event.encode(), entry.event.idempotency_key or uuid.uuid4().hex)
    key = entry.event.idempotency_key
    # another body is another request: a given key is derived from, so that it still tells doubles
    shrunk_key = hashlib.sha256(f"{key} shrunk".encode()).hexdigest() if key else uuid.uuid4().hex
    return Request(EVENTS_PATH, 201, entry.event.encode(SHRUNK_BYTES), shrunk_key)
