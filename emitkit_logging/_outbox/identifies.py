"""Which users the server knows, and the identify requests that wait.

Pure: no thread and no I/O, and the clock is passed in. The rules are those of the design's section *Users*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import MOST_ALIASES
from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._outbox.delivery import IdentifyDelivery
from emitkit_logging._outbox.losses import Losses
from emitkit_logging._outbox.observer import NOBODY, BacklogObserver
from emitkit_logging._outbox.queues import Places

MOST_PROPERTIES = 100
"""Properties that are remembered of one user."""

FAILED_ALIAS_PAUSE = 60.0
"""Seconds between two tries of an alias that the server reported as failed. The first retry waits for nothing."""


@dataclass(slots=True)
class _User:
    """What is known of one user.

    Attributes:
        properties: the properties, by name.
        aliases: the aliases, the user's id first.
        property_times: when the record was logged that set a property, in epoch seconds.
        failed_aliases: those that the server could not register.
        retry_aliases_at: when they are tried again, in seconds of the monotonic clock.
    """

    properties: dict[str, Json] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    property_times: dict[str, float] = field(default_factory=dict)
    failed_aliases: tuple[str, ...] = ()
    retry_aliases_at: float = 0.0

    def add(self, identity: Identity) -> None:
        """Add what a record says; an older record does not overwrite what a newer one says."""
        for key, value in identity.properties.items():
            is_newer = identity.created >= self.property_times.get(key, 0.0)
            if is_newer and (key in self.properties or len(self.properties) < MOST_PROPERTIES):
                self.properties[key] = value
                self.property_times[key] = identity.created
        for alias in (identity.user_id, *identity.aliases):
            self.aliases.setdefault(alias)
        for alias in list(self.aliases)[1 : len(self.aliases) - MOST_ALIASES + 1]:
            del self.aliases[alias]  # the oldest ones, but not the id, which is the first


class KnownUsers:
    """Remembers what is known of users and what the server was sent, and decides which identify requests are due.

    Args:
        ttl: seconds for which the same facts are not sent again.
        size: how many users are remembered.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._users: LRUCache[str, _User] = LRUCache(maxsize=size)
        self._sent: TTLCache[str, IdentifyCall] = TTLCache(maxsize=size, ttl=ttl, timer=clock)

    def learn(self, identity: Identity) -> IdentifyCall | None:
        """Add what a record says about a user.

        Returns:
            The facts to send, or `None` when the server has them. They are all that is known of the user, because
            self-hosted servers replace the properties (API contract).
        """
        user = self._users.get(identity.user_id)
        if user is None:
            user = self._users[identity.user_id] = _User()
        user.add(identity)
        facts = IdentifyCall(identity.user_id, dict(user.properties), tuple(user.aliases))
        if self._sent.get(identity.user_id) != facts:
            return facts
        is_retry_due = bool(user.failed_aliases) and self._clock() >= user.retry_aliases_at
        return facts if is_retry_due else None

    def succeeded(self, facts: IdentifyCall, failed_aliases: Iterable[str] = ()) -> None:
        """Remember that the server accepted `facts`, except for the aliases that it reported as failed."""
        self._sent[facts.user_id] = facts
        user = self._users.get(facts.user_id)
        if user is None:
            return
        user.retry_aliases_at = self._clock() + FAILED_ALIAS_PAUSE if user.failed_aliases else 0.0
        user.failed_aliases = tuple(alias for alias in failed_aliases if alias in user.aliases)

    def remember(self, facts: IdentifyCall, age: float) -> None:
        """Take over facts that another process sent `age` seconds ago."""
        self._users[facts.user_id] = _User(dict(facts.properties), dict.fromkeys(facts.aliases))
        if age < self._sent.ttl:
            self._sent[facts.user_id] = facts


class IdentifyQueue:
    """The identify requests that wait, at most one for each user.

    A record that says about a user what the server does not have yet causes one. Further records add to the request
    that waits, unless it is under way; then the user gets a second one.

    Args:
        users: decides which requests are due.
        size: how many requests may wait; beyond it the oldest is dropped.
        places: numbers the places.
        losses: counts what is dropped.
        observer: receives the reports of where each record is.

    Attributes:
        users: as above.
    """

    def __init__(
        self,
        users: KnownUsers,
        *,
        size: int,
        places: Places,
        losses: Losses,
        observer: BacklogObserver = NOBODY,
    ) -> None:
        self.users = users
        self._size = size
        self._places = places
        self._losses = losses
        self._observer = observer
        self._waiting: dict[str, IdentifyDelivery] = {}
        self._under_way: IdentifyDelivery | None = None
        self._not_before = -math.inf

    def __iter__(self) -> Iterator[IdentifyDelivery]:
        """Yield all requests, the one under way included."""
        yield from self._waiting.values()
        if self._under_way is not None and not self._waits(self._under_way):
            yield self._under_way

    def _waits(self, delivery: IdentifyDelivery) -> bool:
        return self._waiting.get(delivery.facts.user_id) is delivery

    # What comes in

    def add(self, identity: Identity, priority: int, age: float) -> IdentifyDelivery | None:
        """Add what a record says about a user.

        Args:
            identity: what it says.
            priority: of the record.
            age: of the record.

        Returns:
            The request that waits for it, or `None` when the server has these facts.
        """
        facts = self.users.learn(identity)
        if facts is None:
            return None
        delivery = self._waiting.get(facts.user_id)
        if delivery is None or delivery is self._under_way:
            self._make_space()
            delivery = IdentifyDelivery(priority, age, place=self._places.add(), facts=facts)
            self._waiting[facts.user_id] = delivery
        else:
            delivery.renew(facts, priority)
        self._observer.attempted(delivery)
        return delivery

    def add_record(self, identities: Iterable[Identity], priority: int, place: int) -> bool:
        """Let a record that only identifies wait with its request.

        Args:
            identities: what it says.
            priority: of the record.
            place: where it came in.

        Returns:
            Whether it waits. It does not when the server has all that it says.
        """
        due = [self.add(identity, priority, place) for identity in identities]
        delivery = next((each for each in due if each is not None and self._waits(each)), None)
        if delivery is None:
            return False
        delivery.records += 1
        self._observer.joined(place, delivery.place)
        return True

    @property
    def without_records(self) -> int:
        """How many requests stand for no log record of their own."""
        return sum(not delivery.records for delivery in self)

    def is_full_for(self, priority: int) -> bool:
        """Whether records of `priority` may add no more users: untrusted records have half of the places only."""
        return priority <= UNTRUSTED_PRIORITY and len(self._waiting) >= self._size // 2

    def resume(self, delivery: IdentifyDelivery) -> None:
        """Take over a request that waited in another outbox, in the order of places."""
        older = self._waiting.get(delivery.facts.user_id)
        self._waiting[delivery.facts.user_id] = delivery
        if older is not None:  # it was under way, and newer facts waited behind it
            self._join(older, delivery)

    def _make_space(self) -> None:
        if len(self._waiting) < self._size:
            return
        oldest = next((each for each in self._waiting.values() if each is not self._under_way), None)
        if oldest is None:
            return
        del self._waiting[oldest.facts.user_id]
        self._observer.ended(oldest.place, "overflow")
        if not oldest.records:
            self._losses.identifies += 1
        else:
            lost = {oldest.priority: oldest.records}
            self._losses.add("overflow", lost, "more users were named than can be identified")

    def _join(self, delivery: IdentifyDelivery, newer: IdentifyDelivery) -> None:
        newer.records += delivery.records
        self._observer.joined(delivery.place, newer.place)

    # What is sent

    def first(self, now: float) -> IdentifyDelivery | None:
        """Return the request that goes first, or `None` when none may be sent at `now`."""
        if now < self._not_before:
            return None
        ready = (delivery for delivery in self._waiting.values() if delivery.not_before <= now)
        return min(ready, key=lambda delivery: delivery.rank, default=None)

    def retry_times(self) -> Iterator[float]:
        """Yield for each request when it may be sent, in seconds of the monotonic clock."""
        return (max(delivery.not_before, self._not_before) for delivery in self._waiting.values())

    def retry_now(self) -> None:
        """Let each request be sent at once."""
        self._not_before = -math.inf
        for delivery in self:
            delivery.not_before = -math.inf

    def started(self, delivery: IdentifyDelivery) -> None:
        """Take note that a request is under way."""
        self._under_way = delivery

    def remove(self, delivery: IdentifyDelivery) -> None:
        """Take out the request that was under way."""
        self._under_way = None
        if self._waits(delivery):
            del self._waiting[delivery.facts.user_id]

    def retry(self, delivery: IdentifyDelivery, not_before: float = -math.inf) -> None:
        """Let the request that was under way wait again. Where newer facts wait, its records wait with them.

        Args:
            delivery: the request.
            not_before: when any identify request may be sent again, in seconds of the monotonic clock.
        """
        self._under_way = None
        self._not_before = max(self._not_before, not_before)
        newer = self._waiting.setdefault(delivery.facts.user_id, delivery)
        if newer is not delivery:
            self._join(delivery, newer)

    def clear(self) -> None:
        """Forget all requests."""
        self._waiting.clear()
        self._under_way = None
