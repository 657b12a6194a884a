"""Folds and digests: events that stand for several log records.

Pure. Records of one channel, priority and kind become one fold, which counts all of them and keeps a few as samples.
Folds of one channel become a digest, which keeps names and counts, and of alerts a few samples. When that happens is
decided in `scarcity.py` (the budget is used up, or the process ends), in `Backlog.shrink` (the memory is full) and, for
repeats of an alert, in `admission.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from emitkit_logging._api.encoding import Json, dump
from emitkit_logging._api.limits import LONGEST_TITLE
from emitkit_logging._api.text import MORE, cut, shorten
from emitkit_logging._events import revenue
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.revenue import AMOUNT, Amounts, revenue_of
from emitkit_logging._events.series import CONTENT_KEYS, Series
from emitkit_logging._outbox.factory import EventFactory

MOST_SAMPLES = 5
"""Records that a fold keeps: the first four that differ, and the latest."""

MOST_USERS = 50
"""Users that a fold of product events names."""

MOST_NAMES = 100
"""Names that a digest counts one by one. Further names are counted together under an ellipsis."""

_LONGEST_NAME = 100

Rank: TypeAlias = "tuple[bool, float, float]"
"""The order of sending, the smallest first: alerts of a new kind, then by priority, then by the first position."""


class Fold:
    """Records of one channel, priority and kind that become one event.

    Args:
        key: channel, priority and kind.
        position: where it waits: the position of its first record.

    Attributes:
        count: how many records it stands for.
        samples: the records that it keeps.
        first_seen: when the oldest record was logged, in epoch seconds.
        last_seen: when the latest record was logged, in epoch seconds.
        user_id: the user of the first record, or `None`.
        has_one_user: whether all records have that user.
        has_one_title: whether the events of all records have the title of the first.
        users: the users of product events, at most `MOST_USERS`.
        amounts: the sum of the records' `amount` for each `currency`.
        is_new: whether it has the first record of a kind of alerts; it goes before all else.
        is_held: whether it waits for a place of its kind, see `KindMemory`.
        is_gone: whether it waits no more: it was sent or dropped, or became part of a digest or of another fold.
    """

    __slots__ = (
        "_is_plain",
        "_repeated",
        "_signatures",
        "amounts",
        "count",
        "first_seen",
        "has_one_title",
        "has_one_user",
        "is_gone",
        "is_held",
        "is_new",
        "key",
        "last_seen",
        "position",
        "samples",
        "user_id",
        "users",
    )

    def __init__(self, key: FoldKey, position: int) -> None:
        self.key = key
        self.position = position
        self.count = 0
        self.samples: list[CapturedRecord] = []
        self.first_seen = 0.0
        self.last_seen = 0.0
        self.user_id: object = None
        self.has_one_user = True
        self.has_one_title = True
        self.users: dict[str, None] = {}
        self.amounts: Amounts = {}
        self._is_plain = len(key.kind) > 1
        # of all samples but the latest; `None` as soon as all of them differ
        self._signatures: list[object] | None = []
        self._repeated: object = _NO_MESSAGE
        self.is_new = False
        self.is_held = False
        self.is_gone = False

    @property
    def channel(self) -> str:
        """The channel of its event."""
        return self.key.channel

    @property
    def priority(self) -> int:
        """The priority of its records."""
        return self.key.level

    @property
    def first_position(self) -> int:
        """The position of its oldest record, which is its own."""
        return self.position

    @property
    def rank(self) -> Rank:
        """Its position in the order of sending: the smallest rank goes first."""
        return (not self.is_new, -self.key.level, self.position)

    def state(self) -> dict[str, Any]:
        """Return its content for `of`: JSON values, except for `samples` (captured records) and `user_id`."""
        more = {
            "has_one_title": self.has_one_title,
            "users": [] if self.has_one_user or self.count <= len(self.samples) else list(self.users),
            "amounts": _written(self.amounts),
        }
        return {
            "channel": self.key.channel,
            "priority": self.key.level,
            "kind": list(self.key.kind),
            "place": self.position,
            "count": self.count,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "samples": self.samples,
            "user_id": self.user_id,
            "has_one_user": self.has_one_user,
            **{name: value for name, value in more.items() if value not in (True, [], {})},  # the others have defaults
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Fold:
        """Return the fold with the content that `state` returned.

        An unknown field is ignored, a missing one has its default.

        Raises:
            ValueError: if channel, priority, kind or position is missing or has a wrong type.
        """
        channel, priority, kind = state.get("channel"), state.get("priority"), state.get("kind")
        if not (isinstance(channel, str) and isinstance(priority, int) and isinstance(kind, list | tuple) and kind):
            raise ValueError("a fold needs channel, priority and kind")
        fold = cls(FoldKey(channel, priority, tuple(map(str, kind))), _position(state))
        fold.samples = [each for each in state.get("samples") or () if isinstance(each, CapturedRecord)]
        fold.count = state.get("count", len(fold.samples))
        fold.first_seen = state.get("first_seen", 0.0)
        fold.last_seen = state.get("last_seen", fold.first_seen)
        fold.user_id = state.get("user_id")
        fold.has_one_user = state.get("has_one_user", True)
        fold.has_one_title = state.get("has_one_title", True)
        users = [user for each in fold.samples if (user := each.user_id) is not None] if len(kind) == 1 else []
        fold.users = dict.fromkeys(map(str, state.get("users") or users))
        fold.amounts = _amounts(state)
        fold._signatures = list(map(_signature, fold.samples[: MOST_SAMPLES - 1]))
        return fold

    def add(self, captured: CapturedRecord, user_id: object) -> int:
        """Add a record.

        Args:
            captured: the record.
            user_id: its user, or `None`.

        Returns:
            By how many records `samples` grew: 1 or 0.
        """
        attributes = captured.attributes
        if captured.is_scalar and attributes.get("msg") is self._repeated and _says_message_only(attributes):
            self.repeat(captured, user_id)
            return 0
        created = captured.created
        if not self.count:
            self.first_seen = self.last_seen = created
            self.user_id = user_id
        elif user_id != self.user_id:
            self.has_one_user = False
        if user_id is not None and not self._is_plain and len(self.users) < MOST_USERS:
            self.users[str(user_id)] = None
        if created > self.last_seen:
            self.last_seen = created
        elif created < self.first_seen:
            self.first_seen = created
        self.count += 1
        if (earned := revenue_of(captured)) is not None:
            revenue.add(self.amounts, *earned)
        if self.has_one_title and self.samples:
            first = self.samples[0]
            self.has_one_title = _title_source(captured, self._is_plain) == _title_source(first, self._is_plain)
        grown = self._add_sample(captured)
        latest = self.samples[-1]
        message = latest.attributes.get("msg")
        is_repeatable = latest.is_scalar and len(self.samples) == MOST_SAMPLES and _says_message_only(latest.attributes)
        self._repeated = message if is_repeatable and AMOUNT not in str(message) else _NO_MESSAGE
        return grown

    def series(self) -> Series | None:
        """Return the series of the last record, to which `repeat` can add the next ones; `None` if it is in none.

        Only records of product events are in a series: finding the kind of any other record takes longer.
        """
        if self._is_plain or self._repeated is _NO_MESSAGE or self.samples[-1].context is not None:
            return None
        sample = self.samples[-1]
        latest = sample.attributes
        name, category = latest.get("event"), latest.get("category")
        if type(name) is not str or latest["msg"] is not self._repeated:
            return None
        return Series(name, latest["levelno"], category, self._repeated, sample, self, sample.created)

    def repeat(self, captured: CapturedRecord, user_id: object) -> None:
        """Add a record that differs from the one before by values alone.

        In a storm nearly every record is one, and this takes a fraction of the time of the whole of `add`.
        """
        self.count_repeat(captured.created, user_id)
        self.samples[-1] = captured

    def count_repeat(self, created: float, user_id: object) -> None:
        """Count a record that differs from the one before by values alone, and that may be no sample."""
        if created > self.last_seen:
            self.last_seen = created
        elif created < self.first_seen:
            self.first_seen = created
        if user_id != self.user_id:
            self.has_one_user = False
            if user_id is not None and not self._is_plain and len(self.users) < MOST_USERS:
                self.users[str(user_id)] = None
        self.count += 1

    def keep_samples(self, most: int) -> None:
        """Forget samples, except for the first `most`."""
        del self.samples[most:]
        self._signatures = list(map(_signature, self.samples[: MOST_SAMPLES - 1]))

    def _add_sample(self, captured: CapturedRecord) -> int:
        samples, signatures = self.samples, self._signatures
        if len(samples) < MOST_SAMPLES:
            if signatures is not None and len(samples) < MOST_SAMPLES - 1:
                signatures.append(_signature(captured))
            samples.append(captured)
            return 1
        if signatures is not None:
            self._vary(captured, signatures)
        # what repeats the latest sample joins when it comes in, before older records that wait to be looked at
        if captured.created >= samples[-1].created:
            samples[-1] = captured
        return 0

    def _vary(self, captured: CapturedRecord, signatures: list[object]) -> None:
        """Replace a sample that is equal to an earlier one by a record that differs from all."""
        signature = _signature(captured)
        if signature in signatures:
            return
        equal = [n for n, each in enumerate(signatures) if each in signatures[:n]]
        if equal:
            # those that differ stay in the order in which they came
            del self.samples[equal[0]], signatures[equal[0]]
            self.samples.insert(MOST_SAMPLES - 2, captured)
            signatures.append(signature)
        if len(equal) <= 1:
            self._signatures = None

    def absorb(self, other: Fold) -> int:
        """Add the records of another fold, whose kind is this one's now, and which came in later.

        Returns:
            By how many records `samples` grew.
        """
        first, second = self.samples[0], other.samples[0]
        is_equal = _title_source(first, self._is_plain) == _title_source(second, self._is_plain)
        self.has_one_title = self.has_one_title and other.has_one_title and is_equal
        self.has_one_user = self.has_one_user and other.has_one_user and self.user_id == other.user_id
        self.users = dict.fromkeys(list({**self.users, **other.users})[:MOST_USERS])
        self.first_seen = min(self.first_seen, other.first_seen)
        self.last_seen = max(self.last_seen, other.last_seen)
        self.count += other.count
        self.is_new = self.is_new or other.is_new
        self.is_held = self.is_held and other.is_held
        for earned in other.amounts.items():
            revenue.add(self.amounts, *earned)
        return sum(map(self._add_sample, other.samples))

    def event(self, factory: EventFactory) -> Event | None:
        """Return the event, or `None` where no sample can be made an event.

        It is the event of the first record, with the count in its title; where titles differ, the title is the template
        of the kind. Of the metadata it keeps what is generated, and adds `occurrences`, `first_seen` and `last_seen`
        (epoch milliseconds), `samples`, the `users` of product events, and the sum of their amounts where all have one
        currency.
        """
        events = [event for event in map(factory.event, self.samples) if event is not None]
        if not events:
            return None
        event = events[0]
        event.identities = ()  # taken when the records were folded
        if self.count == 1:
            return event
        samples: list[Json] = [_sample(each, event, has_own_title=not self.has_one_title) for each in events]
        event.metadata = {key: value for key, value in event.metadata.items() if key in _GENERATED}
        event.metadata.update(_counted(self.count, self.first_seen, self.last_seen))
        event.metadata["samples"] = samples
        event.metadata.update(_earned(self.amounts, factory))
        is_one_exception = self._is_one_exception()
        mark = "" if is_one_exception else f" (×{self.count})"
        title = (
            event.title
            if self.has_one_title or is_one_exception
            else _PLACEHOLDER.sub(MORE, self.key.name) or event.title
        )
        event.title = shorten(title, LONGEST_TITLE - len(mark)) + mark
        if not self.has_one_user:
            event.user_id = None
            if self.users:
                event.metadata["users"] = list(self.users)
        given = [each.notify for each in events if each.is_notify_given]
        if any(given) or len(given) == len(events):
            event.notify, event.is_notify_given = any(given), True
        else:
            event.is_notify_given = False
        return event

    def _is_one_exception(self) -> bool:
        """Whether all records report one occurrence of an exception, so that its title needs no count."""
        reports = {each.report for each in self.samples}
        return self.count == len(self.samples) and len(reports) == 1 and "" not in reports


class Digest:
    """Folds of one channel that become one event, which counts each name.

    Args:
        channel: the channel of its event.
        position: where it waits: the position of its first fold.

    Attributes:
        priority: the highest priority of its folds.
        is_new: whether one of its folds has the first record of a kind of alerts.
        is_held: never; a digest waits for no place.
        first_position: the position of its oldest record.
        count: how many records it stands for.
        lowest: the lowest priority of its folds.
        names: how many records each name has.
        samples: of alerts one record for each of the first names.
        amounts: the sum of the records' `amount` for each `currency`.
        is_push_due: whether one of its kinds of alerts has not pushed lately.
        first_seen: when the oldest record was logged, in epoch seconds.
        last_seen: when the latest record was logged, in epoch seconds.
    """

    __slots__ = (
        "amounts",
        "channel",
        "count",
        "first_position",
        "first_seen",
        "is_new",
        "is_push_due",
        "last_seen",
        "lowest",
        "names",
        "position",
        "priority",
        "samples",
    )
    is_held = False

    def __init__(self, channel: str, position: int) -> None:
        self.channel = channel
        self.position = position
        self.priority = 0
        self.first_position = 0.0
        self.count = 0
        self.lowest = 0
        self.names: dict[str, int] = {}
        self.samples: dict[str, CapturedRecord] = {}
        self.amounts: Amounts = {}
        self.is_push_due = False
        self.is_new = False
        self.first_seen = 0.0
        self.last_seen = 0.0

    @property
    def rank(self) -> Rank:
        """Its position in the order of sending: the smallest rank goes first."""
        return (not self.is_new, -self.priority, self.first_position)

    def state(self) -> dict[str, Any]:
        """Return its content for `of`: JSON values, except for `samples` (captured records)."""
        more: dict[str, Any] = {
            "lowest": None if self.lowest == self.priority else self.lowest,
            "samples": dict(self.samples),
            "amounts": _written(self.amounts),
            "is_push_due": self.is_push_due,
        }
        return {
            "channel": self.channel,
            "priority": self.priority,
            "place": self.position,
            "age": self.first_position,
            "count": self.count,
            "names": dict(self.names),
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            **{name: value for name, value in more.items() if value},  # the others have defaults
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Digest:
        """Return the digest with the content that `state` returned.

        An unknown field is ignored, a missing one has its default.

        Raises:
            ValueError: if channel or position is missing or has a wrong type.
        """
        channel = state.get("channel")
        if not isinstance(channel, str):
            raise ValueError("a digest needs a channel")  # noqa: TRY004 - data from outside has a wrong value
        digest = cls(channel, _position(state))
        digest.priority = state.get("priority", 0)
        digest.lowest = state.get("lowest", digest.priority)
        digest.first_position = state.get("age", digest.position)
        samples = state.get("samples") or {}
        digest.samples = {name: each for name, each in samples.items() if isinstance(each, CapturedRecord)}
        digest.amounts = _amounts(state)
        digest.is_push_due = state.get("is_push_due", False)
        digest.names = dict(state.get("names") or {})
        digest.count = state.get("count", sum(digest.names.values()))
        digest.first_seen = state.get("first_seen", 0.0)
        digest.last_seen = state.get("last_seen", digest.first_seen)
        return digest

    def add(self, fold: Fold) -> None:
        """Add a fold."""
        is_first = not self.count
        self.priority = fold.priority if is_first else max(self.priority, fold.priority)
        self.lowest = fold.priority if is_first else min(self.lowest, fold.priority)
        self.first_position = fold.first_position if is_first else min(self.first_position, fold.first_position)
        self.first_seen = fold.first_seen if is_first else min(self.first_seen, fold.first_seen)
        self.last_seen = max(self.last_seen, fold.last_seen)
        self.is_new = self.is_new or fold.is_new
        self.count += fold.count
        for earned in fold.amounts.items():
            revenue.add(self.amounts, *earned)
        name = shorten(_PLACEHOLDER.sub(MORE, fold.key.name), _LONGEST_NAME)
        if name not in self.names and len(self.names) >= MOST_NAMES:
            name = MORE
        self.names[name] = self.names.get(name, 0) + fold.count
        is_wanted = fold.priority >= logging.ERROR and len(self.samples) < _MOST_DIGEST_SAMPLES
        if is_wanted and fold.samples and name != MORE:
            self.samples.setdefault(name, fold.samples[0])

    def event(self, factory: EventFactory) -> Event:
        """Return the event, which says what it stands for, how much of it, and the five most frequent names.

        Its `metadata.digest` has the count of each name, as many as fit, the most frequent first. A digest of alerts
        has `samples`, one of a name, those of the rarest names first.
        """
        names = dict(sorted(self.names.items(), key=lambda entry: (entry[0] == MORE, -entry[1])))
        metadata: dict[str, Json] = _counted(self.count, self.first_seen, self.last_seen)
        metadata["digest"] = _fitting(names)
        metadata.update(_earned(self.amounts, factory))
        if self.priority >= 0:
            metadata["log"] = {"level": logging.getLevelName(self.priority)}
        if samples := self._event_samples(factory, _MOST_DIGEST_BYTES - len(dump(metadata))):
            metadata["samples"] = samples
        event = factory.summary(self.channel, self.priority, self._title(names), _description(names), metadata)
        if self.priority >= logging.ERROR:
            event.notify = event.notify and self.is_push_due
        return event

    def _title(self, names: Mapping[str, int]) -> str:
        if len(names) == 1:
            return next(iter(names)) + (f" (×{self.count})" if self.count > 1 else "")
        kinds = f"more than {MOST_NAMES}" if MORE in names else str(len(names))
        what = "errors" if self.lowest >= logging.ERROR else "warnings" if self.lowest >= logging.WARNING else "events"
        return f"{self.count:,} more {what} of {kinds} kinds"

    def _event_samples(self, factory: EventFactory, most_bytes: int) -> list[Json]:
        samples: list[Json] = []
        for name in sorted(self.samples, key=lambda name: self.names.get(name, 0)):
            event = factory.event(self.samples[name])
            if event is None:
                continue
            sample = _digest_sample(event)
            most_bytes -= len(dump(sample)) + 1
            if most_bytes < 0:
                break
            samples.append(sample)
        return samples


_MOST_DIGEST_SAMPLES = 50
_MOST_DIGEST_BYTES = 13 * 1024  # of metadata, so that the event with its description is not shortened
_MOST_NAME_BYTES = 8 * 1024
_NAMES_IN_DESCRIPTION = 5
_LONGEST_SAMPLE_TEXT = 300
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*(?:\d+|\*)?(?:\.(?:\d+|\*))?[diouxXeEfFgGcrsa]")
"""What stands for an argument in a message template of logging."""

_FRAME = re.compile(r'File "[^"\n]*", line \d+(?:, in [^\n]*)?')
_NO_MESSAGE = object()
_GENERATED = frozenset(("category", "event", "timestamp", "log", "exception", "stack"))
_NEVER_IN_SAMPLES = frozenset(("category", "event", "log"))


def _position(state: Mapping[str, Any]) -> int:
    position = state.get("place")
    if not isinstance(position, int):
        raise ValueError("a fold or a digest needs a position")  # noqa: TRY004 - data from outside has a wrong value
    return position


def _amounts(state: Mapping[str, Any]) -> Amounts:
    """Return the amounts that `_written` wrote into a state."""
    try:
        return {str(currency): Decimal(amount) for currency, amount in (state.get("amounts") or {}).items()}
    except ArithmeticError as error:
        raise ValueError("an amount is no number") from error


def _written(amounts: Amounts) -> dict[str, Json]:
    return {currency: str(amount) for currency, amount in amounts.items()}


def _earned(amounts: Amounts, factory: EventFactory) -> dict[str, str | int | float]:
    return revenue.metadata(amounts) if factory.shows_revenue else {}


def _counted(count: int, first_seen: float, last_seen: float) -> dict[str, Json]:
    return {"occurrences": count, "first_seen": int(first_seen * 1000), "last_seen": int(last_seen * 1000)}


def _sample(event: Event, first: Event, *, has_own_title: bool) -> dict[str, Json]:
    """Return of a sample what the fold's event, made of `first`, does not say."""
    sample: dict[str, Json] = {}
    if event.user_id is not None:
        sample["userId"] = event.user_id
    if has_own_title or event.title != first.title:
        sample["title"] = event.title
    if event.description is not None and event.description != first.description:
        sample["description"] = event.description
    is_another_exception = event.metadata.get("exception") != first.metadata.get("exception")
    left_out = _NEVER_IN_SAMPLES if is_another_exception else _GENERATED
    sample.update((key, value) for key, value in event.metadata.items() if key not in left_out or key == "timestamp")
    return sample


def _says_message_only(attributes: Mapping[str, Any]) -> bool:
    """Whether the title, description and revenue of a record's event follow from its message."""
    return attributes.keys().isdisjoint(CONTENT_KEYS)


def _title_source(captured: CapturedRecord, is_plain: bool) -> object:  # noqa: FBT001 - in the hot path
    """Return what a record's title is made of, besides what all records of its kind have in common."""
    title = captured.attributes.get("title")
    if title is not None or not is_plain:
        return title
    return captured.attributes["msg"] if captured.text is None else captured.text


def _signature(captured: CapturedRecord) -> object:
    """Return what tells samples apart: what titles, descriptions and exceptions are made of, as text."""
    attributes, exception = captured.attributes, captured.exception
    title, description = attributes.get("title"), attributes.get("description")
    text = attributes.get("msg") if captured.text is None else captured.text
    # values of other types are never compared: they are the application's, and may raise
    content = (
        title if type(title) is str else None,
        description if type(description) is str else None,
        text if type(text) is str else None,
    )
    return content if exception is None else (*content, exception.type, exception.message)


def _fitting(names: Mapping[str, int]) -> dict[str, Json]:
    """Return the counts of the first names, as many as fit, and the count of all others under an ellipsis."""
    fitting: dict[str, Json] = {}
    others, left = 0, _MOST_NAME_BYTES
    for name, count in names.items():
        left -= len(dump({name: count}))
        if name == MORE or left < 0:
            others += count
        else:
            fitting[name] = count
    return {**fitting, MORE: others} if others else fitting


def _description(names: Mapping[str, int]) -> str:
    listed = [f"{name} ×{count:,}" for name, count in names.items() if name != MORE][:_NAMES_IN_DESCRIPTION]
    others = len(names) - len(listed)
    if MORE in names:
        return f"{', '.join(listed)} and more than {others - 1} others"
    return ", ".join(listed) + (f" and {others} other{'s' if others > 1 else ''}" if others else "")


def _digest_sample(event: Event) -> dict[str, Json]:
    """Return what a digest's sample says: title, description, and type, message and frame of the exception."""
    sample: dict[str, Json] = {"title": cut(event.title, _LONGEST_SAMPLE_TEXT)}
    if event.description:
        sample["description"] = cut(event.description, _LONGEST_SAMPLE_TEXT)
    exception = event.metadata.get("exception")
    if isinstance(exception, dict):
        kept = {key: cut(str(exception.get(key, "")), _LONGEST_SAMPLE_TEXT) for key in ("type", "message")}
        frames = _FRAME.findall(str(exception.get("stacktrace", "")))
        sample["exception"] = {**kept, **({"frame": frames[-1]} if frames else {})}
    return sample
