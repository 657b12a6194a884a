"""Outbox: what is sent next, and what becomes of it.

The heart of the library, and pure: no thread, no I/O, the clock is passed in. While the budget lasts each record goes
as an event of its own, the most important first. When it does not, what waits folds; when even the folds are too many,
the least important are digested. Every record that comes in is counted exactly once: delivered, pending or dropped.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, Verdict
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.backlog import ALERT, Backlog
from emitkit_logging._outbox.budget import REFUSED_PAUSE, RateBudget
from emitkit_logging._outbox.delivery import Delivery, Outcome
from emitkit_logging._outbox.folding import Digest, Fold, Shape
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.observer import NOBODY, BacklogObserver
from emitkit_logging.stats import Stats

NOTICE_PAUSE = 60.0
"""Seconds between two notices for the same reason, and between two events that report drops."""

REPORT_DELAY = 2.0
"""Seconds after a drop before the event that reports it: others may follow."""

NEVER = math.inf

_HOPELESS = 100
"""Windows that a backlog would fill one by one: more than that folds before the first of them is used up."""

_REPORT_LEVEL = ALERT - 1
_SMOOTHING = 0.2


class Outbox:
    """Holds what waits, and decides.

    Args:
        size: records held in memory; beyond it they fold, and the least important are digested.
        pace: says when a request may start.
        users: says which identify requests are due.
        shape: turns what was captured of records into events.
        clock: returns seconds on a monotonic clock.
        observer: receives the reports of where each record is.
    """

    def __init__(
        self,
        *,
        size: int,
        pace: RateBudget,
        users: KnownUsers,
        shape: Shape,
        clock: Callable[[], float],
        observer: BacklogObserver = NOBODY,
    ) -> None:
        self._size = size
        self._pace = pace
        self._users = users
        self._shape = _Shape(shape)
        self._clock = clock
        self._newest = 0
        self._observer = observer
        self._waiting = Backlog(self._shape, observer)
        self._begun: list[Delivery] = []
        self._identifies: dict[str, Delivery] = {}
        self._under_way: Delivery | None = None
        self._is_scarce = False
        self._was_spent = {False: False, True: False}  # for alerts or not
        self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._events = 0
        self._identified = 0
        self._requests = 0
        self._retries = 0
        self._successes = 0
        self._started_at = 0.0
        self._seconds_each = 0.0
        self._exit_at = 0.0
        self._identifies_rest_until = -math.inf
        self._is_stop_told = False
        self._notices: list[str] = []
        self._said: dict[str, float] = {}
        self._unreported: Counter[str] = Counter()
        self._dropped_at = 0.0
        self._reported_at = -math.inf
        self._report_at = NEVER
        self.closed = False

    # What comes in

    def take(self, queue: deque[CapturedRecord], most: int | None = None) -> None:
        """Move what `queue` holds in, at most `most` of it: what was captured of records, oldest first.

        When that is too much, as many older ones fold: a caller pays for about as much as it brought.
        """
        arrived = len(queue) if most is None else min(len(queue), most)
        if not arrived:
            return
        if self.closed:
            self._dropped["shutdown"] += arrived
            for _ in range(arrived):
                queue.popleft()
            return
        pop, put, age = queue.popleft, self._waiting.put, self._newest
        self._newest += arrived
        for number in range(age + 1, age + arrived + 1):
            put(number, pop())
        self._make_room(self._size, arrived)

    @property
    def _held(self) -> int:
        return self._waiting.held + len(self._begun)

    def halve(self) -> bool:
        """Hold half as much of what waits: fold it, digest it, give up the least important.

        Returns:
            Whether anything was left to do so with.
        """
        held = self._waiting.held
        if held:
            self._make_room(held // 2 + len(self._begun))
        return held > 1

    def _make_room(self, size: int, most: float = math.inf) -> None:
        while (held := self._held) > size and self._waiting.singles():
            self._fold(most=most)
        if held <= size:
            return
        room = max(size - len(self._begun), 1)
        if self._waiting.held > room:
            self._waiting.condense(room)
            lost = self._waiting.drop(room)
            if lost:
                self._drop("overflow", lost, "more were logged than can be sent")

    def expire(self, oldest: float) -> None:
        """Give up what was logged before `oldest`, in epoch seconds; what was started is still tried."""
        lost = self._waiting.expire(oldest)
        if lost:
            self._drop("expired", lost, "it waited too long")

    def refuse(self) -> None:
        """Count a record that came too late to be taken in."""
        self._dropped["shutdown"] += 1

    def tell(self, person: Identity) -> None:
        """Take in what is known of a user, to be sent without an event."""
        if not self.closed:
            self._newest += 1
            self._learn(person, logging.INFO, self._newest)

    def budget(self) -> dict[str, Any]:
        """Return what is known of the budget, as JSON values."""
        return self._pace.state()

    def begin_at(self, newest: int, budget: Mapping[str, Any]) -> None:
        """Go on behind the place where another outbox ended, with the budget that it left."""
        self._newest = newest
        self._pace.resume(budget)

    def remember(self, facts: IdentifyCall, age: float) -> None:
        """Take over what another outbox told the server of a user, `age` seconds ago."""
        self._users.remember(facts, age)

    def resume(
        self,
        place: int,
        entry: CapturedRecord | Fold | Digest | IdentifyCall,
        *,
        level: int = 0,
        age: float = 0.0,
        records: int = 0,
        request: ApiRequest | None = None,
    ) -> None:
        """Take back what waited when another outbox ended, in the order of places; the observer knows of it.

        Args:
            place: where it waits; later ones are greater.
            entry: what waits there.
            level, age, records: of the attempt that it is, if it identifies or its request was started.
            request: that request, which stays the same to the byte.
        """
        self._newest = max(self._newest, place)
        if isinstance(entry, IdentifyCall):
            attempt = Delivery(level, age, place=place, facts=entry, records=records)
            self._identifies[entry.user_id] = attempt
        elif request is None:
            self._waiting.resume(place, entry)
            return
        else:
            event = entry.event(self._shape) if isinstance(entry, Fold | Digest) else self._shape.event(entry)
            attempt = Delivery(level, age, place=place, event=event, records=records)
            self._begun.append(attempt)
        attempt.request = request
        attempt.tries = int(request is not None)

    # What goes out

    def next(self) -> ApiRequest | float:
        """Return the request to start now, or the seconds until there may be one (infinite: until something comes in).

        The request is then under way until `settle` is called.
        """
        self._report()
        step = self._next()
        if not isinstance(step, ApiRequest):
            self._was_spent = {alert: self._pace.is_spent(alert=alert) for alert in (False, True)}
        return step

    def _next(self) -> ApiRequest | float:
        while True:
            self._join()
            now = self._clock()
            chosen = self._best(now)
            if chosen is None:
                # once the budget is back, new records are to be looked at when they come in
                back = self._pace.wait(alert=False)
                return min(back if back > 0 else NEVER, self._rest(now))
            level = chosen.level if isinstance(chosen, Delivery) else -chosen[0]
            wait = self._pace.wait(alert=level >= ALERT, spread=self._is_scarce)
            if wait > 0:
                return min(wait, self._rest(now))
            attempt = chosen if isinstance(chosen, Delivery) else self._begin()
            if attempt is not None:
                return self._start(attempt, now)

    def _join(self) -> None:
        """Fold what cannot go by itself, digest what cannot go as a fold."""
        waiting, pace = self._waiting, self._pace
        if pace.closing:
            self._join_for_exit()
            return
        lesser = waiting.events(below=ALERT)
        room = pace.capacity(alert=False)
        if not lesser:
            self._is_scarce = False
        elif self._is_spent(alert=False) or lesser > _HOPELESS * room:
            self._is_scarce = True
        if self._is_scarce:
            self._fold(below=ALERT)
            waiting.digest(room, below=ALERT)
        if waiting.singles() > waiting.singles(below=ALERT) and self._is_spent(alert=True):
            self._fold()
            waiting.digest(pace.capacity(alert=True))

    def _is_spent(self, *, alert: bool) -> bool:
        # what came in since the last look waited for the budget, even if that is back by now
        was_spent, self._was_spent[alert] = self._was_spent[alert], False
        return was_spent or self._pace.is_spent(alert=alert)

    def _join_for_exit(self) -> None:
        room = self._pace.room(alert=True) or self._pace.capacity(alert=True)
        if self._seconds_each:
            room = min(room, max(1.0, self._exit_at - self._clock()) / self._seconds_each)
        if self._waiting.events() > room - len(self._begun):
            self._fold()
            self._waiting.digest(max(room - len(self._begun), 1))

    def _fold(self, below: float = math.inf, most: float = math.inf) -> None:
        for level, age, event in self._waiting.fold(below, most):
            if event is None:
                self._misshapen(age, {level: 1})
            elif event.only_identifies:
                self._identify_only(event, level, age)
            else:
                self._introduce(event, level, age)

    def _best(self, now: float) -> Delivery | tuple[float, float] | None:
        """Return the attempt to go on with, or the place in the line of the record to begin with."""
        begun = min((attempt for attempt in self._begun if attempt.rests_until <= now), key=_rank, default=None)
        rank = self._waiting.rank()
        best = begun if rank is None or (begun is not None and begun.rank < rank) else rank
        identify = min(
            (attempt for attempt in self._identifies.values() if attempt.rests_until <= now), key=_rank, default=None
        )
        if identify is None or now < self._identifies_rest_until:
            return best
        if best is None:
            return identify
        is_earlier = identify.rank < (best.rank if isinstance(best, Delivery) else best)
        # before its event only while that delays no event
        events = self._waiting.events() + len(self._begun)
        return identify if is_earlier and self._pace.room(alert=False) > events else best

    def _begin(self) -> Delivery | None:
        """Make an event of what goes first; `None` where something else has to be looked at before."""
        level, age, place, records, event = self._waiting.pop()
        if event is None:
            self._misshapen(place, {level: records})
            return None
        if event.only_identifies:
            self._identify_only(event, level, place)
            return None
        attempt = Delivery(level, age, place=place, event=event, records=records)
        try:
            attempt.prepare()
        except Exception as error:  # what a formatter of the application's own made of it is no JSON
            self._shape.error = error
            self._misshapen(place, {level: records})
            return None
        self._begun.append(attempt)
        return None if self._introduce(event, level, age) else attempt

    def _introduce(self, event: Event, level: int, age: float) -> bool:
        """Learn what an event tells of users; true when that put something in line."""
        people, event.identities = event.identities, ()
        if self._is_crowded(level):
            return False
        # half an age before its event, so that the identify comes first among equals
        learned = [self._learn(person, level, age - 0.5) for person in people]
        return any(learned)

    def _learn(self, person: Identity, level: int, age: float) -> Delivery | None:
        facts = self._users.learn(person)
        if facts is None:
            return None
        attempt = self._identifies.get(facts.user_id)
        if attempt is None or attempt is self._under_way:
            self._newest += 1
            attempt = self._identifies[facts.user_id] = Delivery(level, age, place=self._newest, facts=facts)
            if len(self._identifies) > self._size:
                self._forget_oldest_identify()
        else:
            attempt.renew(facts, level)
        self._observer.attempted(attempt)
        return attempt

    def _forget_oldest_identify(self) -> None:
        oldest = self._identifies.pop(next(iter(self._identifies)))
        self._observer.ended(oldest.place, "overflow")
        if oldest.records:
            self._drop("overflow", {oldest.level: oldest.records}, "more users were named than can be identified")

    def _is_crowded(self, level: int) -> bool:
        """Tell whether a user must wait outside: strangers never push out whom the server itself names."""
        return level <= UNTRUSTED_PRIORITY and len(self._identifies) >= self._size // 2

    def _identify_only(self, event: Event, level: int, place: int) -> None:
        if self._is_crowded(level):
            self._observer.ended(place, "overflow")
            self._drop("overflow", {level: 1}, "browsers name more users than can be identified")
            return
        due = [self._learn(person, level, place) for person in event.identities]
        waiting = next((identify for identify in due if identify is not None), None)
        if waiting is None:
            self._delivered += 1  # the server has these facts already
        else:
            waiting.records += 1
        if waiting is None:
            self._observer.ended(place)
        else:
            self._observer.joined(place, waiting.place)

    def _start(self, attempt: Delivery, now: float) -> ApiRequest:
        self._requests += 1
        self._retries += attempt.tries > 0
        self._under_way = attempt
        self._started_at = now
        self._pace.started()
        request = attempt.start()
        self._observer.attempted(attempt)
        return request

    def _rest(self, now: float) -> float:
        resting = [attempt.rests_until for attempt in self._begun]
        resting += [max(attempt.rests_until, self._identifies_rest_until) for attempt in self._identifies.values()]
        resting.append(self._report_at)
        return min((until for until in resting if until > now), default=NEVER) - now

    def _attempts(self) -> Iterator[Delivery]:
        yield from self._begun
        yield from self._identifies.values()
        facts = None if self._under_way is None else self._under_way.facts
        if self._under_way is not None and facts and self._identifies.get(facts.user_id) is not self._under_way:
            yield self._under_way  # newer facts have taken its place in line

    # What became of it

    def wake_level(self) -> float:
        """Return the level from which on a new record may be sendable before the time that `next` returned."""
        for level, alert in ((logging.NOTSET, False), (ALERT, True)):
            if self._pace.wait(alert=alert, spread=self._is_scarce) <= 0:
                return level
        return NEVER

    def settle(self, answer: ApiResponse) -> None:
        """Take the answer to the request under way."""
        attempt, self._under_way = self._under_way, None
        if attempt is None:
            return  # given up in the meantime, and counted
        now = self._clock()
        took = now - self._started_at
        self._seconds_each += (took - self._seconds_each) * (_SMOOTHING if self._seconds_each else 1.0)
        if answer.verdict is Verdict.REFUSED and attempt.facts is not None:
            # a key without the scope, or a server without the endpoint: events may pass all the same
            self._identifies_rest_until = now + REFUSED_PAUSE
            self._say("identify", f"users cannot be identified: {answer.detail}; trying again now and then")
            return
        self._pace.answered(answer)
        outcome = attempt.settle(answer, now, self._successes)
        if outcome is Outcome.DONE:
            self._accepted(attempt, answer, now)
        elif outcome is Outcome.REJECTED:
            self._remove(attempt)
            self._observer.ended(attempt.place, "rejected", answer.detail)
            what = "an identify" if attempt.event is None else f"the event {attempt.event.title!r}"
            self._drop("rejected", {attempt.level: attempt.records}, f"{what} was rejected: {answer.detail}")
        elif answer.verdict in (Verdict.REFUSED, Verdict.AMBIGUOUS_401):
            self._stopped(answer)

    def _accepted(self, attempt: Delivery, answer: ApiResponse, now: float) -> None:
        self._successes += 1
        self._is_stop_told = False
        self._delivered += attempt.records
        self._remove(attempt)
        self._observer.ended(attempt.place)
        if self._unreported and self._report_at == NEVER:
            self._report_at = max(self._dropped_at + REPORT_DELAY, self._reported_at + NOTICE_PAUSE, now)
        if attempt.facts is None:
            self._events += 1
            return
        self._identified += 1
        self._users.succeeded(attempt.facts, answer.failed_aliases)
        if answer.failed_aliases:
            self._say("aliases", f"the server could not register {len(answer.failed_aliases)} of a user's aliases")

    def _stopped(self, answer: ApiResponse) -> None:
        if self._is_stop_told:
            return
        if answer.verdict is Verdict.REFUSED:
            text = (
                f"nothing can be sent, the API key or the address is wrong: {answer.detail}; trying again now and then"
            )
        elif self._pace.is_key_in_doubt:
            text = f"nothing can be sent, the API key is wrong or its rate limit is used up: {answer.detail}"
        else:
            return
        self._is_stop_told = True
        self._notices.append(text)

    def _remove(self, attempt: Delivery) -> None:
        if attempt.facts is None:
            self._begun.remove(attempt)
        elif self._identifies.get(attempt.facts.user_id) is attempt:
            del self._identifies[attempt.facts.user_id]

    # What is lost

    def _misshapen(self, place: int, lost: Mapping[int, int]) -> None:
        self._observer.ended(place, "rejected", type(self._shape.error).__name__)
        self._drop("rejected", lost, f"it could not be made an event: {type(self._shape.error).__name__}")

    def _drop(self, reason: str, lost: Mapping[int, int], text: str) -> None:
        """Count records, by level, that are lost, and have it said; the feed is told of the server's own alone."""
        self._dropped[reason] += sum(lost.values())
        own = sum(records for level, records in lost.items() if level > UNTRUSTED_PRIORITY)
        if own:
            if not self._unreported:
                self._dropped_at = self._clock()
            self._unreported[reason] += own
        self._say(
            reason, f"{self._dropped[reason]} log records were dropped so far ({reason}), the last because {text}"
        )

    def _say(self, reason: str, text: str) -> None:
        now = self._clock()
        if now - self._said.get(reason, -math.inf) >= NOTICE_PAUSE:
            self._said[reason] = now
            self._notices.append(text)

    def _report(self) -> None:
        """Put the event in line that tells of drops, when it is due."""
        now = self._clock()
        if now < self._report_at or self.closed:
            return
        lost, self._unreported = self._unreported, Counter()
        self._report_at, self._reported_at = NEVER, now
        told: dict[str, Json] = {"occurrences": 0, "dropped": dict(lost)}
        reasons = ", ".join(f"{reason} {count}" for reason, count in lost.items())
        event = self._shape.summary(None, ALERT, f"{lost.total()} log records were dropped", reasons, told)
        self._newest += 1
        self._begun.append(Delivery(_REPORT_LEVEL, self._newest, place=self._newest, event=event))

    # What there is

    def notices(self) -> list[str]:
        """Return what the log should say since the last call: at most once a minute for each reason."""
        said, self._notices = self._notices, []
        return said

    def hurry(self, seconds: float) -> None:
        """Prepare for the exit: the reserve is for all, and what waits only because of our own guesses is tried now.

        Args:
            seconds: how long there is; what cannot go one by one in that time is folded.
        """
        self._exit_at = self._clock() + seconds
        self._pace.closing = True
        self._pace.retry_now()
        for attempt in self._attempts():
            attempt.rests_until = -math.inf
        self._identifies_rest_until = -math.inf

    def carry_on(self) -> None:
        """Go on as before `hurry`: the process did not end."""
        self._pace.closing = False

    @property
    def newest(self) -> int:
        """The age of what came in last; ages grow by one."""
        return self._newest

    def is_settled(self, age: int) -> bool:
        """Tell whether nothing that came in up to `age` still waits."""
        return self._waiting.is_after(age) and all(attempt.age > age for attempt in self._attempts())

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._waiting.rank() is None and not any(True for _ in self._attempts())

    @property
    def pending(self) -> int:
        """Log records that wait."""
        return len(self._waiting) + sum(attempt.records for attempt in self._attempts())

    def give_up(self, reason: str) -> int:
        """Drop all that waits, counted under `reason`, and whatever comes in later; return how many records it were."""
        lost = self.pending
        self._dropped[reason] += lost
        self._waiting.clear()
        self._begun.clear()
        self._identifies.clear()
        self._under_way = None
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


class _Shape:
    """Keeps a formatter of the application's own, which can raise anything, from doing so."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.summary = shape.summary
        self.error: Exception | None = None

    def event(self, captured: CapturedRecord) -> Event | None:
        try:
            return self._shape.event(captured)
        except Exception as error:
            self.error = error
            return None

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        return self._shape.fold_key


def _rank(attempt: Delivery) -> tuple[float, float]:
    return attempt.rank
