"""Event: what is sent to the server, within its limits.

The limits are those of the API contract; where the hosted service and the open-source server differ, the stricter one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emitkit_logging._api.contract import waits
from emitkit_logging._api.encoding import Json, dump
from emitkit_logging._api.limits import LONGEST_CHANNEL, LONGEST_DESCRIPTION, LONGEST_TAG, LONGEST_TITLE, MOST_TAGS
from emitkit_logging._api.text import MORE, cut, shorten
from emitkit_logging._events.identity import Identity
from emitkit_logging._events.kinds import FoldKey

MOST_BYTES = 15 * 1024
"""Bytes of one event's JSON: a stored event has 16 KB, of which the server's own fields take some."""

SHRUNK_BYTES = 4 * 1024
"""Bytes of an event that the server found too large nevertheless (413)."""

_TRACE = "stacktrace"
_SHRINKING = ((4_000, 60), (2_000, 40), (1_000, 25), (500, 15), (200, 8), (80, 4), (40, 2))
_SHRINKING_GENERATED = ((4_000, 60), (2_000, 40), (1_000, 25), (1_000, 25), (1_000, 25), (500, 15), (200, 8))


@dataclass(slots=True)
class Event:
    """One event, as the server is to store it.

    The fields down to `questions` are those of the API contract. The others are not part of the body.

    Attributes:
        questions: `actions`, `fields` and what belongs to them, by their names in the API.
        level: the priority of the record, see `CapturedRecord.priority`.
        created: when it was logged, in epoch seconds.
        idempotency_key: the application's own `Idempotency-Key`, or `None`.
        identities: what its record says about users.
        kind: what it has in common with others that it may fold with, see `FoldKey.kind`.
        is_notify_given: whether the record itself says whether it pushes.
        only_identifies: whether its record causes an identify request and no event.
    """

    channel: str
    title: str
    description: str | None = None
    icon: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Json] = field(default_factory=dict)
    user_id: str | None = None
    notify: bool = True
    display_as: str = "notification"
    source: str = "emitkit-logging"
    questions: dict[str, Json] = field(default_factory=dict)
    level: int = 0
    created: float = 0.0
    idempotency_key: str | None = None
    identities: tuple[Identity, ...] = ()
    kind: tuple[str, ...] = ()
    is_notify_given: bool = False
    only_identifies: bool = False

    @property
    def fold_key(self) -> FoldKey | None:
        """What it folds by; `None` if it never folds: it has an idempotency key of its own, or waits for an answer."""
        if self.idempotency_key is not None or (self.questions and waits(self.questions)):
            return None
        return FoldKey(self.channel, self.level, self.kind)

    def body(self) -> dict[str, Json]:
        """Return the request's JSON object; what is absent is left out, since `null` may be refused."""
        body: dict[str, Json] = {
            "channelName": shorten(self.channel, LONGEST_CHANNEL),
            "title": shorten(self.title, LONGEST_TITLE),
        }
        if self.description:
            body["description"] = shorten(self.description, LONGEST_DESCRIPTION)
        if self.icon:
            body["icon"] = self.icon
        if self.tags:
            body["tags"] = [shorten(tag, LONGEST_TAG) for tag in self.tags[:MOST_TAGS]]
        body["metadata"] = self.metadata
        if self.user_id is not None:
            body["userId"] = self.user_id
        body["notify"] = self.notify
        body["displayAs"] = self.display_as
        body["source"] = self.source
        body.update(self.questions)
        return body

    def encode(self, limit: int = MOST_BYTES) -> bytes:
        """Return the request's body as UTF-8 JSON of at most `limit` bytes, visibly shortened where it must be."""
        body = self.body()
        encoded = dump(body)
        if len(encoded) <= limit:
            return encoded
        for own, generated in zip(_SHRINKING, _SHRINKING_GENERATED, strict=True):
            body["metadata"] = self._shrunk_metadata(own, generated)
            encoded = dump(body)
            if len(encoded) <= limit:
                return encoded
        least: dict[str, Json] = {
            **{key: _shrunk(self.metadata[key], 200, 8) for key in _KEPT if key in self.metadata},
            MORE: "more than fits into an event",
        }
        body["metadata"] = least
        for longest in (1_000, 300, 100):
            body["description"] = shorten(self.description or "", longest)
            body["title"] = shorten(self.title, longest)
            encoded = dump(body)
            if len(encoded) <= limit:
                return encoded
        for names in (["resume"], list(self.questions)):
            least |= {name: _shrunk(body.pop(name), 80, 4) for name in names if name in body}
            encoded = dump(body)
            if len(encoded) <= limit:
                break
        return encoded

    def _shrunk_metadata(self, own: tuple[int, int], generated: tuple[int, int]) -> dict[str, Json]:
        """Return the metadata with the application's values shortened, and those of this library less so.

        Args:
            own: characters of one text and entries of one container that are kept of the application's values.
            generated: the same for what this library adds, of which each key is kept.
        """
        values = {key: value for key, value in self.metadata.items() if key not in _GENERATED}
        kept = {key: _shrunk(value, *generated) for key, value in self.metadata.items() if key in _GENERATED}
        shrunk = _shrunk(values, *own)
        return {**shrunk, **kept} if isinstance(shrunk, dict) else kept


_KEPT = ("category", "event", "timestamp", "occurrences", "first_seen", "last_seen", "log", "exception")
_GENERATED = frozenset(_KEPT)


def _shrunk(value: Json, longest: int, most: int, key: str = "") -> Json:
    if isinstance(value, str):
        if key != _TRACE:
            return cut(value, longest)
        # of a traceback the end says most: where it was raised, and what
        kept = 3 * longest
        return value if len(value) <= kept else f"{MORE} [{len(value)} characters]\n{value[-kept:]}"
    if isinstance(value, list):
        kept_items = [_shrunk(item, longest, most) for item in value[:most]]
        return [*kept_items, f"{MORE} {len(value) - most} more"] if len(value) > most else kept_items
    if isinstance(value, dict):
        kept_pairs = {name: _shrunk(value[name], longest, most, name) for name in list(value)[:most]}
        if len(value) > most:
            kept_pairs[MORE] = f"{len(value) - most} more"
        return kept_pairs
    return value
