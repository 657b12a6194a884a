"""Folds and digests: events that stand for several log records.

Pure. Records of one channel, priority and kind become one fold, which counts all of them and keeps a few as samples.
Folds of one channel become a digest, which keeps names and counts only. When that happens is decided in `scarcity.py`
(the budget is used up, or the process ends) and in `Backlog.shrink` (the memory is full).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_TITLE
from emitkit_logging._api.text import MORE, shorten
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.factory import EventFactory

MOST_SAMPLES = 5
"""Records that a fold keeps: the first four, and the latest."""

MOST_NAMES = 100
"""Names that a digest counts one by one. Further names are counted together under an ellipsis."""

_LONGEST_NAME = 100

Rank: TypeAlias = "tuple[bool, float, float]"
"""The position of what waits in the order of sending, the smallest first: alerts of a new kind, priority, age."""


class Fold:
    """Records of one channel, priority and kind that become one event.

    Args:
        key: channel, priority and kind.
        place: where it waits: the place of its first record.

    Attributes:
        count: how many records it stands for.
        samples: the records that it keeps.
        first_seen: when the oldest record was logged, in epoch seconds.
        last_seen: when the latest record was logged, in epoch seconds.
        user_id: the user of the first record, or `None`.
        has_one_user: whether all records have that user.
        is_new: whether it has the first record of a kind of alerts; it goes before all else.
        is_held: whether it waits for a place of its kind, see `KindMemory`.
    """

    __slots__ = (
        "count",
        "first_seen",
        "has_one_user",
        "is_held",
        "is_new",
        "key",
        "last_seen",
        "place",
        "samples",
        "user_id",
    )

    def __init__(self, key: FoldKey, place: int) -> None:
        self.key = key
        self.place = place
        self.count = 0
        self.samples: list[CapturedRecord] = []
        self.first_seen = 0.0
        self.last_seen = 0.0
        self.user_id: object = None
        self.has_one_user = True
        self.is_new = False
        self.is_held = False

    @property
    def channel(self) -> str:
        """The channel of its event."""
        return self.key.channel

    @property
    def priority(self) -> int:
        """The priority of its records."""
        return self.key.level

    @property
    def age(self) -> int:
        """The age of its oldest record, which is its place."""
        return self.place

    @property
    def rank(self) -> Rank:
        """Its position in the order of sending: the smallest rank goes first."""
        return (not self.is_new, -self.key.level, self.place)

    def state(self) -> dict[str, Any]:
        """Return its content for `of`: JSON values, except for `samples` (captured records) and `user_id`."""
        return {
            "channel": self.key.channel,
            "priority": self.key.level,
            "kind": list(self.key.kind),
            "place": self.place,
            "count": self.count,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "samples": self.samples,
            "user_id": self.user_id,
            "has_one_user": self.has_one_user,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Fold:
        """Return the fold with the content that `state` returned.

        An unknown field is ignored, a missing one has its default.

        Raises:
            ValueError: if channel, priority, kind or place is missing or has a wrong type.
        """
        channel, priority, kind = state.get("channel"), state.get("priority"), state.get("kind")
        if not (isinstance(channel, str) and isinstance(priority, int) and isinstance(kind, list | tuple) and kind):
            raise ValueError("a fold needs channel, priority and kind")
        fold = cls(FoldKey(channel, priority, tuple(map(str, kind))), _place(state))
        fold.samples = [each for each in state.get("samples") or () if isinstance(each, CapturedRecord)]
        fold.count = state.get("count", len(fold.samples))
        fold.first_seen = state.get("first_seen", 0.0)
        fold.last_seen = state.get("last_seen", fold.first_seen)
        fold.user_id = state.get("user_id")
        fold.has_one_user = state.get("has_one_user", True)
        return fold

    def add(self, captured: CapturedRecord, user_id: object) -> int:
        """Add a record.

        Args:
            captured: the record.
            user_id: its user, or `None`.

        Returns:
            By how many records `samples` grew: 1 or 0.
        """
        created = captured.attributes["created"]
        if not self.count:
            self.first_seen = self.last_seen = created
            self.user_id = user_id
        elif user_id != self.user_id:
            self.has_one_user = False
        if created > self.last_seen:
            self.last_seen = created
        elif created < self.first_seen:
            self.first_seen = created
        self.count += 1
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(captured)
            return 1
        self.samples[-1] = captured
        return 0

    def event(self, factory: EventFactory) -> Event | None:
        """Return the event, or `None` where no sample can be made an event.

        It is the event of the first record, with the count in its title. Of the metadata it keeps what is generated,
        and adds `occurrences`, `first_seen` and `last_seen` (epoch milliseconds) and `samples`.
        """
        events = [event for event in map(factory.event, self.samples) if event is not None]
        if not events:
            return None
        event = events[0]
        event.identities = ()  # taken when the records were folded
        if self.count == 1:
            return event
        samples: list[Json] = [_sample(each, event) for each in events]
        event.metadata = {key: value for key, value in event.metadata.items() if key in _GENERATED}
        event.metadata.update(_counted(self.count, self.first_seen, self.last_seen))
        event.metadata["samples"] = samples
        mark = f" (×{self.count})"
        event.title = shorten(event.title, LONGEST_TITLE - len(mark)) + mark
        if not self.has_one_user:
            event.user_id = None
        return event


class Digest:
    """Folds of one channel that become one event, which counts each name.

    Args:
        channel: the channel of its event.
        place: where it waits: the place of its first fold.

    Attributes:
        priority: the highest priority of its folds.
        is_new: whether one of its folds has the first record of a kind of alerts.
        is_held: never; a digest waits for no place.
        age: the age of its oldest record.
        count: how many records it stands for.
        names: how many records each name has.
        first_seen: when the oldest record was logged, in epoch seconds.
        last_seen: when the latest record was logged, in epoch seconds.
    """

    __slots__ = ("age", "channel", "count", "first_seen", "is_new", "last_seen", "names", "place", "priority")
    is_held = False

    def __init__(self, channel: str, place: int) -> None:
        self.channel = channel
        self.place = place
        self.priority = 0
        self.age = 0.0
        self.count = 0
        self.names: dict[str, int] = {}
        self.is_new = False
        self.first_seen = 0.0
        self.last_seen = 0.0

    @property
    def rank(self) -> Rank:
        """Its position in the order of sending: the smallest rank goes first."""
        return (not self.is_new, -self.priority, self.age)

    def state(self) -> dict[str, Any]:
        """Return its content as JSON values, for `of`."""
        return {
            "channel": self.channel,
            "priority": self.priority,
            "place": self.place,
            "age": self.age,
            "count": self.count,
            "names": dict(self.names),
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Digest:
        """Return the digest with the content that `state` returned.

        An unknown field is ignored, a missing one has its default.

        Raises:
            ValueError: if channel or place is missing or has a wrong type.
        """
        channel = state.get("channel")
        if not isinstance(channel, str):
            raise ValueError("a digest needs a channel")  # noqa: TRY004 - data from outside has a wrong value
        digest = cls(channel, _place(state))
        digest.priority = state.get("priority", 0)
        digest.age = state.get("age", digest.place)
        digest.names = dict(state.get("names") or {})
        digest.count = state.get("count", sum(digest.names.values()))
        digest.first_seen = state.get("first_seen", 0.0)
        digest.last_seen = state.get("last_seen", digest.first_seen)
        return digest

    def add(self, fold: Fold) -> None:
        """Add a fold."""
        is_first = not self.count
        self.priority = fold.priority if is_first else max(self.priority, fold.priority)
        self.age = fold.age if is_first else min(self.age, fold.age)
        self.first_seen = fold.first_seen if is_first else min(self.first_seen, fold.first_seen)
        self.last_seen = max(self.last_seen, fold.last_seen)
        self.is_new = self.is_new or fold.is_new
        self.count += fold.count
        name = shorten(fold.key.name, _LONGEST_NAME)
        if name not in self.names and len(self.names) >= MOST_NAMES:
            name = MORE
        self.names[name] = self.names.get(name, 0) + fold.count

    def event(self, factory: EventFactory) -> Event:
        """Return the event. Its `metadata.digest` has the count of each name, the most frequent first."""
        names = dict(sorted(self.names.items(), key=lambda entry: -entry[1]))
        metadata: dict[str, Json] = _counted(self.count, self.first_seen, self.last_seen)
        metadata["digest"] = dict(names)
        description = ", ".join(f"{name} ×{count}" for name, count in names.items())
        return factory.summary(self.channel, self.priority, f"{self.count} events", description, metadata)


_GENERATED = frozenset(("category", "event", "timestamp", "log", "exception", "stack"))
_NEVER_IN_SAMPLES = frozenset(("category", "event", "log"))


def _place(state: Mapping[str, Any]) -> int:
    place = state.get("place")
    if not isinstance(place, int):
        raise ValueError("a fold or a digest needs a place")  # noqa: TRY004 - data from outside has a wrong value
    return place


def _counted(count: int, first_seen: float, last_seen: float) -> dict[str, Json]:
    return {"occurrences": count, "first_seen": int(first_seen * 1000), "last_seen": int(last_seen * 1000)}


def _sample(event: Event, first: Event) -> dict[str, Json]:
    """Return of a sample what the fold's event, made of `first`, does not say."""
    sample: dict[str, Json] = {}
    if event.user_id is not None:
        sample["userId"] = event.user_id
    if event is not first:
        if event.title != first.title:
            sample["title"] = event.title
        if event.description is not None and event.description != first.description:
            sample["description"] = event.description
    is_another_exception = event.metadata.get("exception") != first.metadata.get("exception")
    left_out = _NEVER_IN_SAMPLES if is_another_exception else _GENERATED
    sample.update((key, value) for key, value in event.metadata.items() if key not in left_out or key == "timestamp")
    return sample
