"""Make the event of a captured record (design, *What a record becomes*)."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging._api.contract import waits
from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_ICON, LONGEST_TAG, LONGEST_TITLE, MOST_TAGS
from emitkit_logging._api.requests import DISPLAY_STYLES
from emitkit_logging._api.text import shorten, units
from emitkit_logging._events import extras, inference, metadata
from emitkit_logging._events.captured import UNCAUGHT_KEY, CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.event import Event
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.fields import FieldReader
from emitkit_logging._events.identity import IdentityReader
from emitkit_logging._events.kinds import PlainKinds, fingerprint_kind
from emitkit_logging._events.readable import readable
from emitkit_logging._events.reading import opened
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._events.routing import Router

_SUMMARY_ICON = "🧾"
_NO_MESSAGE = "(no message)"


@dataclass(frozen=True, slots=True)
class EventDefaults:
    """What an event has where its record says nothing, and which records are sent at all.

    Attributes:
        notify: whether it pushes.
        display_as: one of `DISPLAY_STYLES`.
        source: what it names as its origin.
        plain_level: the level from which on plain records are sent; infinite: none.
        event_from_message: whether a snake_case message is the name of an event.
    """

    notify: bool
    display_as: str
    source: str
    plain_level: float
    event_from_message: bool


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a record is about.

    Attributes:
        name: the event's name, or `None` for a plain record.
        heading: the text that an event's title is made of.
        category: the event's category.
        text: the record's message, masked.
    """

    name: str | None
    heading: str
    category: str
    text: str


@dataclass(frozen=True, slots=True)
class _Derived:
    """The parts of an event that follow from its subject where the record does not give them."""

    title: str | None
    description: str | None
    icon: str | None
    tags: tuple[str, ...] = ()
    notify: bool | None = None
    display_as: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


class EventBuilder:
    """Makes events, each within the limits of the API contract except for its size as a whole (see `Event.encode`).

    Args:
        defaults: what an event has where its record says nothing.
        router: decides on categories and channels.
        redactor: says which values are secret.
        converter: converts values to JSON, with that redactor.

    Attributes:
        identities: reads what a record says about users.
    """

    def __init__(
        self,
        defaults: EventDefaults,
        router: Router,
        redactor: Redactor,
        converter: JsonConverter,
        plain_kinds: PlainKinds,
    ) -> None:
        self._defaults = defaults
        self._plain_kinds = plain_kinds
        self._router = router
        self._converter = converter
        self._fields = FieldReader(redactor, converter)
        self.identities = IdentityReader(converter, redactor)

    def is_event(self, found: Mapping[str, Any], message: str) -> bool:
        """Whether a record is an event: it has a name or a category, or its message is a name and may be one.

        Args:
            found: its extras.
            message: its message.
        """
        return (
            extras.event_name(found) is not None
            or extras.get(found, "category") is not None
            or self._is_named_by(message)
        )

    def _is_named_by(self, message: str) -> bool:
        return self._defaults.event_from_message and inference.is_event_name(message)

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: Mapping[str, Json]
    ) -> Event:
        """Return an event that stands for no single record.

        Args:
            channel: its channel; `None`: the channel of errors of that level.
            level: of the most important record that it stands for.
            title: its title.
            description: its description.
            metadata: its metadata besides the time.
        """
        now = time.time()
        return Event(
            channel=channel or self._router.channel("error", level),
            title=title,
            description=description,
            icon=_SUMMARY_ICON,
            metadata={"timestamp": int(now * 1000), **metadata},
            notify=self._defaults.notify,
            display_as=self._defaults.display_as,
            source=self._defaults.source,
            level=level,
            created=now,
        )

    def build(self, captured: CapturedRecord) -> Event:
        """Return the event of a record."""
        captured = opened(captured)
        fields = self._fields
        found = extras.of_record(captured.attributes)
        is_sent = captured.priority >= self._defaults.plain_level or self.is_event(found, captured.message)
        is_sent = is_sent or UNCAUGHT_KEY in captured.attributes
        withheld = fields.withhold(found)
        values = Extras(found)
        properties = fields.properties(values)
        subject = self._subject(captured, values)
        fields.open_context(values)
        properties = fields.apply_context(captured.context, values, properties)
        contexts = fields.contexts(values)
        identities, user_id = self.identities.take(values, captured.created, is_trusted=captured.is_trusted)
        title = fields.text(values, "title")
        given_time = fields.occurred_at(values)
        occurred_at = captured.created if given_time is None else given_time
        derived = self._derive(captured, subject, contexts, occurred_at, is_titled=title is not None)
        event = self._event(captured, values, subject, derived)
        event.title = title or event.title
        event.user_id, event.identities = user_id, identities
        event.only_identifies = bool(identities) and not is_sent
        generated = self._generated(values, subject, event.tags, occurred_at)
        generated.update(derived.metadata)
        generated.update(contexts)
        generated.update(metadata.circumstances(captured, self._converter))
        own = {**properties, **values.remaining}
        event.metadata = metadata.merged(own, withheld, generated, self._converter, captured.exception)
        return event

    def _subject(self, captured: CapturedRecord, values: Extras) -> _Subject:
        text = readable(self._converter.text(captured.message))
        name, category = self._fields.name(values), self._fields.text(values, "category")
        if name is None and self._is_named_by(captured.message):
            name = text
        heading = name or ""
        if name is None and category is not None:
            name, heading = text, text.strip().partition("\n")[0].strip()
        level_name = str(captured.attributes["levelname"])
        return _Subject(name, heading, category or self._router.category(name, captured.priority, level_name), text)

    def _derive(
        self,
        captured: CapturedRecord,
        subject: _Subject,
        contexts: Mapping[str, Json],
        occurred_at: float,
        *,
        is_titled: bool,
    ) -> _Derived:
        if subject.name == inference.PAGE_VIEW and captured.priority < logging.ERROR:
            return _page_view(contexts.get("page"), occurred_at)
        summary = readable(self._converter.text(captured.exception.summary)) if captured.exception else None
        if subject.name is not None:
            return _named(subject.name, subject, summary)
        return _plain(subject, summary, is_titled=is_titled)

    def _event(self, captured: CapturedRecord, values: Extras, subject: _Subject, derived: _Derived) -> Event:
        fields, defaults = self._fields, self._defaults
        questions = fields.questions(values)
        is_waiting = waits(questions)
        given = fields.notify(values, is_waiting=is_waiting)
        notify = _first(given, derived.notify, defaults.notify)
        display_as = fields.text(values, "display_as")
        icon = fields.text(values, "icon")
        tags = [*derived.tags, subject.category, *fields.tags(values)]
        return Event(
            channel=self._channel(fields.channel(values), subject.category, captured),
            title=derived.title or _NO_MESSAGE,
            description=fields.text(values, "description") or derived.description,
            icon=icon if icon is not None and units(icon) <= LONGEST_ICON else derived.icon,
            tags=list(dict.fromkeys(filter(None, tags))),
            notify=bool(notify) or is_waiting,
            display_as=display_as if display_as in DISPLAY_STYLES else derived.display_as or defaults.display_as,
            source=defaults.source,
            questions=questions,
            level=captured.priority,
            created=captured.created,
            idempotency_key=fields.idempotency_key(values),
            is_notify_given=given is not None or is_waiting,
            kind=self._kind(captured, values, subject),
        )

    def _kind(self, captured: CapturedRecord, values: Extras, subject: _Subject) -> tuple[str, ...]:
        fingerprint = values.take("fingerprint")
        if fingerprint is not None:
            return fingerprint_kind(fingerprint, self._converter)
        return (subject.name,) if subject.name is not None else self._plain_kinds.of(captured)

    def _channel(self, named: str | None, category: str, captured: CapturedRecord) -> str:
        if captured.is_trusted:
            return named or self._router.channel(category, captured.level)
        return self._router.untrusted_channel(named, category)

    def _generated(self, values: Extras, subject: _Subject, tags: list[str], occurred_at: float) -> dict[str, Json]:
        generated: dict[str, Json] = {"category": subject.category}
        if subject.name is not None:
            generated["event"] = shorten(subject.name, LONGEST_TITLE)
        generated["timestamp"] = int(occurred_at * 1000)
        session = self._fields.text(values, "session_id")
        if session is not None:
            generated["sessionId"] = session
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            generated["tags"] = list(tags)
        return generated


def _named(name: str, subject: _Subject, summary: str | None) -> _Derived:
    message = subject.text.strip() or summary or ""
    is_description = "\n" in message or (message and message != name.strip())
    description = message if is_description else inference.DESCRIPTIONS.get(subject.category)
    return _Derived(inference.title_of(subject.heading), description, inference.ICONS.get(subject.category))


def _plain(subject: _Subject, summary: str | None, *, is_titled: bool) -> _Derived:
    message = subject.text.strip()
    first, _, further = (part.strip() for part in message.partition("\n"))
    rest = message if is_titled or units(first) > LONGEST_TITLE else further
    title = first or (summary or "").partition("\n")[0]
    return _Derived(title, rest or summary, inference.ICONS.get(subject.category))


def _page_view(page: Json, occurred_at: float) -> _Derived:
    path = page.get("path") if isinstance(page, dict) else None
    return _Derived(
        inference.title_of(inference.PAGE_VIEW),
        path if isinstance(path, str) and path else inference.PAGE_VIEW_DESCRIPTION,
        inference.PAGE_VIEW_ICON,
        tags=(inference.PAGE_VIEW,),
        notify=False,
        display_as="message",
        metadata={"date": _iso(occurred_at)},
    )


def _first(*flags: bool | None) -> bool | None:
    return next((flag for flag in flags if flag is not None), None)


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
