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
from emitkit_logging._outbox.observer import NO_OBSERVER, BacklogObserver
from emitkit_logging._outbox.queues import Positions

MOST_PROPERTIES = 100
"""Properties that are remembered of one user."""

FAILED_ALIAS_PAUSE = 60.0
"""Seconds between two tries of an alias that the server reported as failed. The first retry waits for nothing."""


@dataclass(slots=True)
class _User:
    """What is known of one user.

    Attributes:
        properties: the properties, by name.
        aliases: the aliases besides the user's id.
        is_named: whether the application itself has named the user, so that the id is an alias, too.
        claimed: names of the properties that only an untrusted source has set.
        property_times: when the record was logged that set a property, in epoch seconds.
        failed_aliases: those that the server could not register.
        retry_aliases_at: when they are tried again, in seconds of the monotonic clock.
    """

    properties: dict[str, Json] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    is_named: bool = False
    claimed: set[str] = field(default_factory=set)
    property_times: dict[str, float] = field(default_factory=dict)
    failed_aliases: tuple[str, ...] = ()
    retry_aliases_at: float = 0.0

    def add(self, identity: Identity) -> None:
        """Add what a record says.

        An older record does not overwrite what a newer one says, and an untrusted one nothing that a trusted one says.
        """
        for key, value in identity.properties.items():
            if self._may_set(key, identity):
                self.properties[key] = value
                self.property_times[key] = identity.created
                if identity.is_trusted:
                    self.claimed.discard(key)
                else:
                    self.claimed.add(key)
        self.is_named = self.is_named or identity.is_trusted
        for alias in identity.aliases:
            self.aliases.setdefault(alias)
        for alias in list(self.aliases)[: len(self.aliases) - MOST_ALIASES + 1]:
            del self.aliases[alias]  # the oldest ones

    def _may_set(self, key: str, identity: Identity) -> bool:
        if key not in self.properties:
            return len(self.properties) < MOST_PROPERTIES
        is_newer = identity.created >= self.property_times.get(key, 0.0)
        if key in self.claimed:
            return is_newer or identity.is_trusted
        return is_newer and identity.is_trusted

    def facts(self, user_id: str) -> IdentifyCall:
        """Return the content of the request that says all of it."""
        aliases = (user_id, *self.aliases) if self.is_named else tuple(self.aliases)
        return IdentifyCall(user_id, dict(self.properties), aliases, frozenset(self.claimed))


class _Users(LRUCache[str, _User]):
    """The users named last, and whose aliases they have.

    Attributes:
        owners: the user of each alias.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.owners: dict[str, str] = {}

    def add(self, identity: Identity) -> _User:
        """Add what a record says, and return all that is known of its user."""
        user = self.get(identity.user_id)
        if user is None:
            user = self[identity.user_id] = _User()
        self._forget_aliases(identity.user_id, user)
        user.add(identity)
        self.owners.update(dict.fromkeys(user.aliases, identity.user_id))
        return user

    def popitem(self) -> tuple[str, _User]:
        """Forget the user that was not named for the longest time."""
        user_id, user = super().popitem()
        self._forget_aliases(user_id, user)
        return user_id, user

    def _forget_aliases(self, user_id: str, user: _User) -> None:
        for alias in user.aliases:
            if self.owners.get(alias) == user_id:
                del self.owners[alias]


class KnownUsers:
    """Remembers what is known of users and what the server was sent, and decides which identify requests are due.

    Users that only untrusted sources have named are remembered apart: they never push out one that the application
    itself has named, and have no alias.

    Args:
        ttl: seconds for which the same facts are not sent again.
        size: how many users are remembered; half as many that only untrusted sources have named.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._named = _Users(size)
        self._claimed = _Users(max(1, size // 2))
        self._sent: TTLCache[str, IdentifyCall] = TTLCache(maxsize=size, ttl=ttl, timer=clock)
        self._sent_of_claimed: TTLCache[str, IdentifyCall] = TTLCache(maxsize=max(1, size // 2), ttl=ttl, timer=clock)

    def learn(self, identity: Identity) -> IdentifyCall | None:
        """Add what a record says about a user.

        Returns:
            The facts to send, or `None` when the server has them. They are all that is known of the user, because
            self-hosted servers replace the properties (API contract). `None` also for an untrusted record that names
            a user by another user's alias: the server would have two users of that name.
        """
        user_id = identity.user_id
        if identity.is_trusted or user_id in self._named:
            user = self._named.get(user_id)
            if user is None and (claimed := self._claimed.pop(user_id, None)) is not None:
                self._named[user_id] = claimed
            user = self._named.add(identity)
        elif user_id in self._named.owners:
            return None
        else:
            user = self._claimed.add(identity)
        facts = user.facts(user_id)
        if self._sent_for(user_id).get(user_id) != facts:
            return facts
        is_retry_due = bool(user.failed_aliases) and self._clock() >= user.retry_aliases_at
        return facts if is_retry_due else None

    def _sent_for(self, user_id: str) -> TTLCache[str, IdentifyCall]:
        return self._sent if user_id in self._named else self._sent_of_claimed

    def succeeded(self, facts: IdentifyCall, failed_aliases: Iterable[str] = ()) -> None:
        """Remember that the server accepted `facts`, except for the aliases that it reported as failed."""
        user_id = facts.user_id
        self._sent_for(user_id)[user_id] = facts
        user = self._named.get(user_id)
        if user is None:
            return
        user.retry_aliases_at = self._clock() + FAILED_ALIAS_PAUSE if user.failed_aliases else 0.0
        user.failed_aliases = tuple(alias for alias in failed_aliases if alias == user_id or alias in user.aliases)

    def remember(self, facts: IdentifyCall, age: float) -> None:
        """Take over facts that another process sent `age` seconds ago."""
        user_id = facts.user_id
        aliases = dict.fromkeys(alias for alias in facts.aliases if alias != user_id)
        is_named = bool(facts.aliases)
        user = _User(dict(facts.properties), aliases, is_named=is_named, claimed=set(facts.claimed))
        users = self._named if is_named else self._claimed
        users[user_id] = user
        users.owners.update(dict.fromkeys(aliases, user_id))
        if age < self._sent.ttl:
            self._sent_for(user_id)[user_id] = facts


class IdentifyQueue:
    """The identify requests that wait, at most one for each user.

    A record that says about a user what the server does not have yet causes one. Further records add to the request
    that waits, unless it is under way; then the user gets a second one.

    Args:
        users: decides which requests are due.
        size: how many requests may wait; beyond it the oldest is dropped.
        positions: numbers the positions.
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
        positions: Positions,
        losses: Losses,
        observer: BacklogObserver = NO_OBSERVER,
    ) -> None:
        self.users = users
        self._size = size
        self._positions = positions
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

    def add(self, identity: Identity, priority: int, first_position: float) -> IdentifyDelivery | None:
        """Add what a record says about a user.

        Args:
            identity: what it says.
            priority: of the record.
            first_position: where the record came in.

        Returns:
            The request that waits for it, or `None` when the server has these facts.
        """
        facts = self.users.learn(identity)
        if facts is None:
            return None
        delivery = self._waiting.get(facts.user_id)
        if delivery is None or delivery is self._under_way:
            self._make_space()
            delivery = IdentifyDelivery(priority, first_position, position=self._positions.add(), facts=facts)
            self._waiting[facts.user_id] = delivery
        else:
            delivery.renew(facts, priority)
        self._observer.attempted(delivery)
        return delivery

    def add_record(self, identities: Iterable[Identity], priority: int, position: int) -> bool:
        """Let a record that only identifies wait with its request.

        Args:
            identities: what it says.
            priority: of the record.
            position: where it came in.

        Returns:
            Whether it waits. It does not when the server has all that it says.
        """
        due = [self.add(identity, priority, position) for identity in identities]
        delivery = next((each for each in due if each is not None and self._waits(each)), None)
        if delivery is None:
            return False
        delivery.records += 1
        self._observer.joined(position, delivery.position)
        return True

    @property
    def without_records(self) -> int:
        """How many requests stand for no log record of their own."""
        return sum(not delivery.records for delivery in self)

    def is_full_for(self, priority: int) -> bool:
        """Whether records of `priority` may add no more users: untrusted records may fill half of it only."""
        return priority <= UNTRUSTED_PRIORITY and len(self._waiting) >= self._size // 2

    def resume(self, delivery: IdentifyDelivery) -> None:
        """Take over a request that waited in another outbox, in the order of positions."""
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
        self._observer.ended(oldest.position, "overflow")
        if not oldest.records:
            self._losses.identifies += 1
        else:
            lost = {oldest.priority: oldest.records}
            self._losses.add("overflow", lost, "more users were named than can be identified")

    def _join(self, delivery: IdentifyDelivery, newer: IdentifyDelivery) -> None:
        newer.records += delivery.records
        self._observer.joined(delivery.position, newer.position)

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
        """Remember that a request is under way."""
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
