"""What records have in common that fold into one event."""

from __future__ import annotations

from typing import NamedTuple

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.extras import PRIVATE
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._events.routing import Router

_MOST_REMEMBERED = 4_096
_NEEDING_THE_EVENT = frozenset(
    ("emitkit_event", "channel", f"{PRIVATE}channel", "extra", "context", "properties", "user", "identify")
    + ("idempotency_key", "actions", "fields")
)
"""Extras with which only the event itself says what its record folds by."""


class FoldKey(NamedTuple):
    """Channel, priority and kind: records with the same key may become one event.

    Attributes:
        channel: the channel of their events.
        level: their priority, see `CapturedRecord.priority`.
        kind: the event's name alone, or of a plain record logger, message template and type of the exception.
    """

    channel: str
    level: int
    kind: tuple[str, ...]

    @property
    def name(self) -> str:
        """The kind as people read it."""
        if len(self.kind) == 1:
            return self.kind[0]
        logger, template, exception = self.kind
        return template.strip().partition("\n")[0] or exception or logger


def plain_kind(captured: CapturedRecord, redactor: Redactor) -> tuple[str, str, str]:
    """Return logger, message template and exception type of a record that is no event, masked: digests name them."""
    template = captured.attributes["msg"]
    exception = captured.exception
    return (
        redactor.mask_repeated(str(captured.attributes["name"])),
        redactor.mask_repeated(template if isinstance(template, str) else captured.message),
        redactor.mask_repeated(exception.type) if exception else "",
    )


class FoldKeys:
    """Returns what records fold by, in a fraction of the time that their events take.

    Args:
        router: decides on channels and categories.
        converter: masks secrets in names.
        is_usable: `False` where a key name that decides on the kind is secret, or messages name events: then only the
            event says what a record folds by.
    """

    def __init__(self, router: Router, converter: JsonConverter, *, is_usable: bool, names_from_messages: bool) -> None:
        self._router = router
        self._converter = converter
        self._is_usable = is_usable
        self._names_from_messages = names_from_messages
        self._known: dict[tuple[object, ...], FoldKey] = {}

    def of(self, captured: CapturedRecord) -> FoldKey | None:
        """Return the key that the record's event has, or `None` where only the event itself says.

        Args:
            captured: a record that the handler accepted.
        """
        attributes = captured.attributes
        if not (self._is_usable and captured.is_trusted and _NEEDING_THE_EVENT.isdisjoint(attributes)):
            return None
        if captured.context and not _NEEDING_THE_EVENT.isdisjoint(captured.context):
            return None
        name, category = attributes.get("event"), attributes.get("category")
        if type(name) is str and name:
            return self._of_event(name, category if type(category) is str else None, attributes["levelno"])
        if type(category) is str or self._names_from_messages:
            return None
        return self._of_plain(captured)

    def _of_event(self, name: str, category: str | None, level: int) -> FoldKey:
        key = self._known.get((level, name, category))
        if key is None:
            given = self._converter.text(category) if category else None
            masked = self._converter.text(name)
            channel = self._router.channel(given or self._router.category(masked, level, ""), level)
            key = self._remember((level, name, category), FoldKey(channel, level, (masked,)))
        return key

    def _of_plain(self, captured: CapturedRecord) -> FoldKey | None:
        attributes = captured.attributes
        level = attributes["levelno"]
        if type(attributes["msg"]) is not str or attributes["exc_text"] is not None:
            return None
        level_name = str(attributes["levelname"])
        key = self._known.get((level, level_name))
        if key is None:
            channel = self._router.channel(self._router.category(None, level, level_name), level)
            key = self._remember((level, level_name), FoldKey(channel, level, ()))
        return FoldKey(key.channel, level, plain_kind(captured, self._converter.redactor))

    def _remember(self, known: tuple[object, ...], key: FoldKey) -> FoldKey:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[known] = key
        return key
