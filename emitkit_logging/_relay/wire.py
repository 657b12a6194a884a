"""The format of what waits in Redis: the parts of the batches in the streams, and the values of what waits.

Pure. Everything is strict JSON in UTF-8, in which no control character occurs: these separate the parts. A reader
ignores unknown fields and gives missing ones their default. The format has a version, which each batch and the state
name; one that is greater than `FORMAT` is left to a newer relay.

A **record** is already shaped and redacted; nothing of it is interpreted again. It is ``header TAB event``:

* the header is an array: priority, when it was logged (epoch seconds), channel, kind (an array of texts, or null where
  the record cannot fold by its header alone), title, description, user id, type and message of the exception, amount
  (a text) and currency, and what tells occurrences of an exception apart; nulls at the end are left out;
* the event is an object with the fields of `Event`, those with their defaults left out.

A part begins with a letter: ``r`` a record; ``f`` a **fold** (``f state RS record RS record …``, the state that of
`Fold.state` without samples); ``d`` a **digest** (the same, the state with ``sampled``, the names of the records);
``i`` what a record says about a **user** (an object with ``user_id``, ``properties``, ``aliases``, ``created``); ``c``
an **identify call** (the same). The parts of a batch are separated by a newline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY, CapturedException, CapturedRecord
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.revenue import revenue_of
from emitkit_logging._outbox.folding import Digest, Fold

FORMAT = 1
"""The version that is written."""

_BODY = b"\t"
_SAMPLE = b"\x1e"
_PART = b"\n"
_HEADER_LENGTH = 12
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_PLAIN_FIELDS = ("title", "description", "icon", "user_id", "notify", "display_as", "source", "idempotency_key")
_ALWAYS = frozenset(("title",))
_DEFAULTS: Mapping[str, Any] = {
    "description": None,
    "icon": None,
    "user_id": None,
    "notify": True,
    "display_as": "notification",
    "source": "emitkit-logging",
    "idempotency_key": None,
}

Part: TypeAlias = "ShapedRecord | Fold | Identity"
"""What one part of a batch holds."""


class ShapedRecord(CapturedRecord):
    """A record that was shaped in the process that logged it.

    Args:
        line: it, as it stands in Redis.

    Attributes:
        key: what it folds by, or `None` where only its event says that.
        line: as above.

    Raises:
        ValueError: if it cannot be read.
    """

    is_scalar = False  # `Backlog` would compare it by attributes that it does not have

    def __init__(self, line: bytes) -> None:
        header, separator, _ = line.partition(_BODY)
        try:
            values = _decode(header.decode())
            values += [None] * (_HEADER_LENGTH - len(values))
            priority, created, channel, kind, title, description, user_id = values[:7]
            raised, message, amount, currency, report = values[7:_HEADER_LENGTH]
            if not separator or type(priority) is not int or not isinstance(channel, str):
                raise ValueError("a record needs priority, channel and event")
            self.key = None if kind is None else FoldKey(channel, priority, tuple(kind))
        except _UNREADABLE as error:
            raise ValueError(f"it is no record: {error}") from error
        self.line = line
        self._channel = channel
        self.is_trusted = priority != UNTRUSTED_PRIORITY
        attributes = {"levelno": priority if self.is_trusted else 0, "created": created, "msg": "", "title": title}
        if description is not None:
            attributes["description"] = description
        if user_id is not None:
            attributes["user_id"] = user_id
        if isinstance(amount, str):
            attributes["amount"], attributes["currency"] = _decimal(amount), currency
        if raised is not None:
            self.exception = CapturedException(str(raised), str(message or ""), "")
        if report is not None:
            self.report = str(report)
        super().__init__(attributes)

    @property
    def channel(self) -> str:
        """The channel of its event."""
        return self._channel

    def event(self) -> Event:
        """Return its event, a new one at each call.

        Raises:
            ValueError: if it cannot be read.
        """
        try:
            return _event(self, json.loads(self.line.partition(_BODY)[2]))
        except _UNREADABLE as error:
            raise ValueError(f"it is no event: {error}") from error


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


# Writing


def write_record(event: Event, captured: CapturedRecord) -> bytes:
    """Return an event, which the shaping process made of `captured`, as the line of a record.

    Raises:
        Exception: what encoding raises for an event of a formatter of the application's own that is not JSON.
    """
    key = event.fold_key
    can_fold = key is not None and not event.identities and not event.only_identifies
    exception = event.metadata.get("exception")
    raised = (exception.get("type"), exception.get("message")) if isinstance(exception, dict) else (None, None)
    header: list[Any] = [
        event.level,
        event.created if math.isfinite(event.created) else 0.0,
        event.channel,
        list(event.kind) if can_fold else None,
        event.title,
        event.description,
        event.user_id,
        *raised,
        *_money(event, captured),
        captured.report or None,
    ]
    while header[-1] is None:
        header.pop()
    return _encode(header).encode() + _BODY + _encode(_fields(event)).encode()


def _money(event: Event, captured: CapturedRecord) -> tuple[str | None, str | None]:
    """Return amount and currency, as far as the event shows them: they may be secret."""
    earned = revenue_of(captured)
    if earned is None or event.metadata.get("currency") != earned[0]:
        return None, None
    is_shown = type(event.metadata.get("amount")) in (int, float)
    return (str(earned[1]), earned[0]) if is_shown else (None, None)


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in _PLAIN_FIELDS:
        value = getattr(event, name)
        if name in _ALWAYS or value != _DEFAULTS[name]:
            fields[name] = value
    fields["metadata"] = event.metadata
    if event.tags:
        fields["tags"] = event.tags
    if event.questions:
        fields["questions"] = event.questions
    if event.kind:
        fields["kind"] = list(event.kind)
    if event.identities:
        fields["identities"] = [_user(identity) | {"created": identity.created} for identity in event.identities]
    if event.is_notify_given:
        fields["is_notify_given"] = True
    if event.only_identifies:
        fields["only_identifies"] = True
    return fields


def _user(user: Identity | IdentifyCall) -> dict[str, Any]:
    return {"user_id": user.user_id, "properties": dict(user.properties), "aliases": list(user.aliases)}


def write_fold(fold: Fold, samples: Iterable[bytes]) -> bytes:
    """Return a fold.

    Args:
        fold: its samples are left out.
        samples: the lines of its samples.
    """
    state = fold.state()
    del state["samples"]
    if not fold.has_one_user:
        state["users"] = list(fold.users)  # the samples may not name all
    if fold.user_id is not None:
        state["user_id"] = str(fold.user_id)
    return b"f" + _SAMPLE.join((_encode(state).encode(), *samples))


def write_digest(digest: Digest) -> bytes:
    """Return a digest whose samples are shaped records."""
    state = digest.state()
    samples = state.pop("samples", {})
    state["sampled"] = list(samples)
    return b"d" + _SAMPLE.join((_encode(state).encode(), *(each.line for each in samples.values())))


def write_identity(identity: Identity) -> bytes:
    """Return what a record says about a user."""
    return b"i" + _encode(_user(identity) | {"created": identity.created}).encode()


def write_call(call: IdentifyCall) -> bytes:
    """Return an identify call."""
    return b"c" + _encode(_user(call)).encode()


def write_entry(entry: CapturedRecord | Fold | Digest | IdentifyCall) -> bytes:
    """Return what waits at one position, of a relay's outbox: its records are shaped."""
    if isinstance(entry, ShapedRecord):
        return b"r" + entry.line
    if isinstance(entry, Fold):
        return write_fold(entry, [each.line for each in entry.samples if isinstance(each, ShapedRecord)])
    if isinstance(entry, Digest):
        return write_digest(entry)
    if isinstance(entry, IdentifyCall):
        return write_call(entry)
    raise TypeError(f"a {type(entry).__name__} does not wait in a relay")


def write_batch(parts: Iterable[bytes]) -> bytes:
    """Return the payload of a batch."""
    return _PART.join(parts)


# Reading


def read_batch(payload: bytes) -> list[bytes]:
    """Return the parts of a batch."""
    return payload.split(_PART) if payload else []


def read_part(part: bytes, position: int = 0) -> Part:
    """Return what a part of a batch holds.

    Args:
        part: the part.
        position: where a fold waits.

    Raises:
        ValueError: if it cannot be read; the text says why.
    """
    entry = read_entry(part, position)
    if isinstance(entry, ShapedRecord | Fold | Identity):
        return entry
    raise ValueError("no process writes that")


def read_entry(data: bytes, position: int) -> Any:
    """Return what waits at a position: a record, a fold, a digest, an identity or an identify call.

    Raises:
        ValueError: if it cannot be read; the text says why.
    """
    letter, content = data[:1], data[1:]
    try:
        if letter == b"r":
            return ShapedRecord(content)
        if letter == b"f":
            return _fold(content, position)
        if letter == b"d":
            return _digest(content, position)
        if letter in (b"i", b"c"):
            return _read_user(json.loads(content), is_call=letter == b"c")
    except _UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    raise ValueError("it is of no known kind")


def records_of(part: bytes) -> int:
    """Return how many log records a part stands for, as far as it can be read."""
    if part[:1] == b"r":
        return 1
    if part[:1] == b"i":
        return 0
    try:
        return int(json.loads(part[1:].partition(_SAMPLE)[0])["count"])
    except _UNREADABLE:
        return 1


def _fold(content: bytes, position: int) -> Fold:
    header, *samples = content.split(_SAMPLE)
    state = _decode(header.decode())
    state["place"] = position
    state["samples"] = [ShapedRecord(sample) for sample in samples]
    fold = Fold.of(state)
    if not (type(fold.count) is int and fold.count > 0):
        raise ValueError("a fold needs a count")
    return fold


def _digest(content: bytes, position: int) -> Digest:
    header, *samples = content.split(_SAMPLE)
    state = _decode(header.decode())
    state["place"] = position
    names = state.get("sampled") or []
    state["samples"] = {name: ShapedRecord(sample) for name, sample in zip(names, samples, strict=False)}
    return Digest.of(state)


def _read_user(value: Any, *, is_call: bool) -> Identity | IdentifyCall:
    user_id, properties = value["user_id"], dict(value.get("properties") or {})
    aliases = tuple(map(str, value.get("aliases") or ()))
    if not isinstance(user_id, str):
        raise ValueError("a user needs an id")  # noqa: TRY004 - data has a wrong value
    if is_call:
        return IdentifyCall(user_id, properties, aliases)
    return Identity(user_id, properties, aliases, float(value.get("created") or 0.0))


def _event(record: ShapedRecord, fields: Mapping[str, Any]) -> Event:
    plain = {name: fields[name] for name in _PLAIN_FIELDS if name in fields}
    return Event(
        channel=record.channel,
        metadata=dict(fields.get("metadata") or {}),
        tags=list(fields.get("tags") or ()),
        questions=dict(fields.get("questions") or {}),
        level=record.priority,
        created=record.created,
        kind=tuple(map(str, fields.get("kind") or ())),
        identities=tuple(
            identity
            for each in fields.get("identities") or ()
            if isinstance(identity := _read_user(each, is_call=False), Identity)
        ),
        is_notify_given=bool(fields.get("is_notify_given")),
        only_identifies=bool(fields.get("only_identifies")),
        **plain,
    )
