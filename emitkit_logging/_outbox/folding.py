"""Folding: how several records become one event, and how several such events become a digest.

Pure. A fold counts every record and keeps a few of them; a digest keeps names and counts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_TITLE
from emitkit_logging._api.text import MORE, shorten
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey

MOST_SAMPLES = 5
"""Records that a fold keeps: the first four, and the latest."""

MOST_NAMES = 100
"""Names that a digest counts one by one; what has another name is counted under an ellipsis."""

_LONGEST_NAME = 100


class Shape(Protocol):
    """Turns what was captured of records into events: a formatter, in front of it what keeps it from raising."""

    def event(self, captured: CapturedRecord) -> Event | None:
        """Return a record's event, or `None` when none could be made."""

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        """Returns what a record folds by, or `None` when only its event tells."""

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: dict[str, Json]
    ) -> Event:
        """Return an event that stands for no single record; without a channel, where such a level goes."""


class Fold:
    """Records of one channel, level and name.

    Args:
        key: what they have in common.
        age: of the first of them, as a number that grows.
    """

    __slots__ = ("age", "count", "first_seen", "is_of_one_user", "kept", "key", "last_seen", "user")

    def __init__(self, key: FoldKey, age: int) -> None:
        self.key = key
        self.age = age
        self.count = 0
        self.kept: list[CapturedRecord] = []
        self.first_seen = 0.0
        self.last_seen = 0.0
        self.user: object = None
        self.is_of_one_user = True

    @property
    def place(self) -> int:
        """Where it waits: where the first of its records did."""
        return self.age

    @property
    def rank(self) -> tuple[int, float]:
        """When its turn is: less is earlier."""
        return (-self.key.level, self.age)

    def state(self) -> dict[str, Any]:
        """Return all there is to it, for `of`."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "key"} | {"key": list(self.key)}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Fold:
        """Return the fold that `state` told of."""
        channel, level, kind = state["key"]
        fold = cls(FoldKey(channel, level, tuple(kind)), state["age"])
        for name in cls.__slots__:
            if name != "key":
                setattr(fold, name, state[name])
        return fold

    def add(self, captured: CapturedRecord, user: object) -> int:
        """Count a record; return by how many the kept ones became more.

        Args:
            captured: what was taken of it.
            user: whom it names, or `None`.
        """
        created = captured.created
        if not self.count:
            self.first_seen = self.last_seen = created
            self.user = user
        elif user != self.user:
            self.is_of_one_user = False
        if created > self.last_seen:
            self.last_seen = created
        elif created < self.first_seen:
            self.first_seen = created
        self.count += 1
        if len(self.kept) < MOST_SAMPLES:
            self.kept.append(captured)
            return 1
        self.kept[-1] = captured
        return 0

    def event(self, shape: Shape) -> Event | None:
        """Return the one event: that of the first record, which says how many there were.

        Its metadata are what is generated, `occurrences`, `first_seen` and `last_seen` (epoch milliseconds), and
        `samples` with the values of the kept records.
        """
        events = [event for event in map(shape.event, self.kept) if event is not None]
        if not events:
            return None
        event = events[0]
        event.identities = ()  # made known when they were folded
        if self.count == 1:
            return event
        samples: list[Json] = [_sample(each, event) for each in events]
        event.metadata = {key: value for key, value in event.metadata.items() if key in _SHARED}
        event.metadata.update(_counted(self.count, self.first_seen, self.last_seen))
        event.metadata["samples"] = samples
        mark = f" (×{self.count})"
        event.title = shorten(event.title, LONGEST_TITLE - len(mark)) + mark
        if not self.is_of_one_user:
            event.user_id = None
        return event


class Digest:
    """What became of folds for which there is no room: the count of each name.

    Args:
        channel: that they go to.
        place: of the first of them.
    """

    __slots__ = ("age", "channel", "count", "first_seen", "last_seen", "level", "names", "place")

    def __init__(self, channel: str, place: int) -> None:
        self.channel = channel
        self.place = place
        self.level = 0
        self.age = 0.0
        self.count = 0
        self.names: dict[str, int] = {}
        self.first_seen = 0.0
        self.last_seen = 0.0

    @property
    def rank(self) -> tuple[int, float]:
        """When its turn is: that of the most important fold in it."""
        return (-self.level, self.age)

    def state(self) -> dict[str, Any]:
        """Return all there is to it, for `of`."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Digest:
        """Return the digest that `state` told of."""
        digest = cls(state["channel"], state["place"])
        for name in cls.__slots__:
            setattr(digest, name, state[name])
        return digest

    def add(self, fold: Fold) -> None:
        """Count a fold."""
        self.level = max(self.level, fold.key.level) if self.count else fold.key.level
        self.age = min(self.age, fold.age) if self.count else fold.age
        self.first_seen = min(self.first_seen, fold.first_seen) if self.count else fold.first_seen
        self.last_seen = max(self.last_seen, fold.last_seen)
        self.count += fold.count
        name = shorten(fold.key.name, _LONGEST_NAME)
        if name not in self.names and len(self.names) >= MOST_NAMES:
            name = MORE
        self.names[name] = self.names.get(name, 0) + fold.count

    def event(self, shape: Shape) -> Event:
        """Return the one event; its `metadata.digest` counts each name, the most frequent first."""
        names = dict(sorted(self.names.items(), key=lambda entry: -entry[1]))
        metadata: dict[str, Json] = _counted(self.count, self.first_seen, self.last_seen)
        metadata["digest"] = dict(names)
        described = ", ".join(f"{name} ×{count}" for name, count in names.items())
        return shape.summary(self.channel, self.level, f"{self.count} events", described, metadata)


_SHARED = frozenset(("category", "event", "timestamp", "log", "exception", "stack"))
_TOLD_ONCE = frozenset(("category", "event", "log"))


def _counted(count: int, first_seen: float, last_seen: float) -> dict[str, Json]:
    return {"occurrences": count, "first_seen": int(first_seen * 1000), "last_seen": int(last_seen * 1000)}


def _sample(event: Event, first: Event) -> dict[str, Json]:
    sample: dict[str, Json] = {}
    if event.user_id is not None:
        sample["userId"] = event.user_id
    if event is not first:
        if event.title != first.title:
            sample["title"] = event.title
        if event.description is not None and event.description != first.description:
            sample["description"] = event.description
    told = _TOLD_ONCE if event.metadata.get("exception") != first.metadata.get("exception") else _SHARED
    sample.update((key, value) for key, value in event.metadata.items() if key not in told or key == "timestamp")
    return sample
