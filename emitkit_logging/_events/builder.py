"""Make the event of a captured record (design, *What a record becomes*)."""

from __future__ import annotations

import datetime
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emitkit_logging._api.contract import CURRENT, waits
from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import (
    LONGEST_CHANNEL,
    LONGEST_ICON,
    LONGEST_IDEMPOTENCY_KEY,
    LONGEST_TAG,
    LONGEST_TITLE,
    MOST_TAGS,
)
from emitkit_logging._api.requests import DISPLAY_STYLES
from emitkit_logging._api.text import shorten, units
from emitkit_logging._events import extras, inference
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.event import Event
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.identity import IdentityReader
from emitkit_logging._events.kinds import plain_kind
from emitkit_logging._events.merging import merge
from emitkit_logging._events.redaction import REDACTED, Redactor
from emitkit_logging._events.routing import Router

GENERATED = frozenset(
    ("category", "event", "timestamp", "log", "exception")
    + ("occurrences", "first_seen", "last_seen", "samples", "digest")
)
"""Metadata that this library writes; a user's value of the same name stands in `metadata.extra`."""

_CONTEXTS = ("page", "device", "utm", "server")
_WITH_ADDRESS = ("device", "server")
_QUESTIONS = {
    "actions": "actions",
    "fields": "fields",
    "expires_in": "expiresIn",
    "callback_url": "callbackUrl",
    "resume": "resume",
}
_LONGEST_TRACE = 60_000
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
class _Derived:
    """The parts of an event that follow from its name, message and category."""

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
    """

    def __init__(self, defaults: EventDefaults, router: Router, redactor: Redactor, converter: JsonConverter) -> None:
        self._defaults = defaults
        self._router = router
        self._redactor = redactor
        self._converter = converter
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
            or (self._defaults.event_from_message and inference.is_event_name(message))
        )

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
        found = extras.of_record(captured.attributes)
        message, level = captured.message, captured.priority
        only_identifies = level < self._defaults.plain_level and not self.is_event(found, message)
        withheld = [key for key in found if self._redactor.is_secret(key)]
        for key in withheld:
            del found[key]
        values = Extras(found)
        properties = self._take_properties(values)

        text = self._converter.text(message)
        name = self._take_name(values, message)
        category = self._take_text(values, "category")
        title_name = name
        if name is None and category is not None:
            name, title_name = text, text.strip().partition("\n")[0].strip()
        category = category or self._router.category(name, level, str(captured.attributes["levelname"]))
        values.remaining = self._with_nested_context(values.remaining, values.take("context"))
        properties = self._apply_context(captured.context, values, properties)
        contexts = self._take_contexts(values)
        identities, user_id = self.identities.take(values, captured.created)
        title = self._take_text(values, "title")
        if name == inference.PAGE_VIEW and level < logging.ERROR:
            derived = _page_view(contexts.get("page"), captured.created)
        elif name is not None:
            derived = _named(name, inference.title_of(title_name or ""), text, category)
        else:
            derived = self._plain(text, captured.exception, category, is_titled=title is not None)
        questions = self._take_questions(values)
        notify = self._take_notify(values)
        display_as = self._take_text(values, "display_as")
        icon = self._take_text(values, "icon")
        tags = [*derived.tags, category, *self._take_tags(values)]
        event = Event(
            channel=self._channel(self._take_channel(values), category, captured),
            title=title or derived.title or _NO_MESSAGE,
            description=self._take_text(values, "description") or derived.description,
            icon=icon if icon is not None and units(icon) <= LONGEST_ICON else derived.icon,
            tags=list(dict.fromkeys(filter(None, tags))),
            user_id=user_id,
            notify=_first(notify, derived.notify, self._defaults.notify) or bool(questions and waits(questions)),
            display_as=display_as if display_as in DISPLAY_STYLES else derived.display_as or self._defaults.display_as,
            source=self._defaults.source,
            questions=questions,
            level=level,
            created=captured.created,
            idempotency_key=self._take_idempotency_key(values),
            identities=identities,
            only_identifies=only_identifies and bool(identities),
            kind=(name,) if name is not None else plain_kind(captured),
        )
        generated: dict[str, Json] = {"category": category}
        if name is not None:
            generated["event"] = shorten(name, LONGEST_TITLE)
        generated["timestamp"] = int(captured.created * 1000)
        generated.update(derived.metadata)
        session = self._take_text(values, "session_id")
        if session is not None:
            generated["sessionId"] = session
        generated.update(contexts)
        if len(event.tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in event.tags):
            generated["tags"] = list(event.tags)
        generated.update(self._circumstances(captured))
        event.metadata = self._metadata(properties, values.remaining, withheld, generated)
        return event

    # Reading the extras

    def _take_text(self, values: Extras, key: str) -> str | None:
        value = values.take(key)
        return None if value is None else self._converter.text(value)

    def _take_name(self, values: Extras, message: str) -> str | None:
        name = self._take_text(values, "emitkit_event") or self._take_text(values, "event")
        if name is None and self._defaults.event_from_message and inference.is_event_name(message):
            return message
        return name

    @staticmethod
    def _take_properties(values: Extras) -> dict[Any, Any]:
        properties: dict[Any, Any] = values.take("properties") or {}
        for key in extras.OVERRIDES:
            if key in properties:
                values.remaining.setdefault(key, properties[key])
        return properties

    def _with_nested_context(self, found: dict[str, Any], nested: Mapping[Any, Any] | None) -> dict[str, Any]:
        if nested is None:
            return found
        masked = {key: REDACTED if self._redactor.is_secret(str(key)) else value for key, value in nested.items()}
        return extras.with_nested(found, masked)

    def _apply_context(
        self, bound: Mapping[str, Any] | None, values: Extras, properties: dict[Any, Any]
    ) -> dict[Any, Any]:
        """Add the event context where the record itself says nothing.

        Returns:
            The properties, and the record's values that are not of their key's type: those are ordinary metadata, and
            do not hide the context's value.
        """
        if not bound:
            return properties
        masked = {key: REDACTED if self._redactor.is_secret(key) else value for key, value in bound.items()}
        own = values.remaining
        misused = {key: own.pop(key) for key in masked if key in own and extras.is_misused(key, own[key])}
        values.remaining = merge(masked, own)
        return {**properties, **misused}

    def _take_contexts(self, values: Extras) -> dict[str, Json]:
        contexts: dict[str, Json] = {}
        for name in _CONTEXTS:
            given = values.take(name)
            if given is not None:
                contexts[name] = converted = self._converter.items(given)
                if name in _WITH_ADDRESS:
                    converted.pop("ip", None)
                if name == "page":
                    contexts[name] = self._redactor.mask_page(converted)
        return contexts

    def _take_channel(self, values: Extras) -> str | None:
        own, override = self._take_text(values, "channel"), self._take_text(values, "__emitkit_channel")
        values.remaining.pop("__emitkit_channel", None)
        return shorten((override or own or "").strip(), LONGEST_CHANNEL) or None

    @staticmethod
    def _take_notify(values: Extras) -> bool | None:
        own, override = values.take("notify"), values.take("__emitkit_notify")
        values.remaining.pop("__emitkit_notify", None)
        return _first(override, own)

    def _take_tags(self, values: Extras) -> list[str]:
        tags = values.take("tags") or ()
        return [self._converter.text(tag) for tag in (sorted(tags) if isinstance(tags, set | frozenset) else tags)]

    def _take_questions(self, values: Extras) -> dict[str, Json]:
        found = {
            name: self._converter.value(values.get(key)) for key, name in _QUESTIONS.items() if key in values.remaining
        }
        if not found:
            return {}
        accepted = CURRENT.askable(found)
        for key, name in _QUESTIONS.items():
            if name in accepted:
                values.take(key)
        return accepted

    def _take_idempotency_key(self, values: Extras) -> str | None:
        key = self._take_text(values, "idempotency_key")
        if key is None or (
            len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable() and key.strip() == key
        ):
            return key
        return hashlib.sha256(key.encode()).hexdigest()  # the same key gives the same header, in a valid form

    # Deriving

    def _channel(self, named: str | None, category: str, captured: CapturedRecord) -> str:
        if captured.is_trusted:
            return named or self._router.channel(category, captured.level)
        return self._router.untrusted_channel(named, category)

    def _plain(self, text: str, exception: CapturedException | None, category: str, *, is_titled: bool) -> _Derived:
        summary = self._converter.text(exception.summary) if exception else None
        first, _, further = (part.strip() for part in text.strip().partition("\n"))
        rest = text.strip() if is_titled or units(first) > LONGEST_TITLE else further
        return _Derived(first or summary, rest or summary, inference.ICONS.get(category))

    # Metadata

    def _circumstances(self, captured: CapturedRecord) -> dict[str, Json]:
        attributes, text = captured.attributes, self._converter.text
        metadata: dict[str, Json] = {
            "log": {
                "level": str(attributes["levelname"]),
                "logger": text(str(attributes["name"])),
                "file": text(str(attributes["pathname"])),
                "line": self._converter.value(attributes["lineno"]),
                "function": text(str(attributes["funcName"])),
            }
        }
        exception, stack = captured.exception, attributes["stack_info"]
        if exception is not None:
            metadata["exception"] = {
                "type": exception.type,
                "message": text(exception.message),
                "stacktrace": self._converter.ending(exception.stacktrace, _LONGEST_TRACE),
            }
        if isinstance(stack, str) and stack:
            metadata["stack"] = self._converter.ending(stack, _LONGEST_TRACE)
        if captured.unused_args is not None:
            metadata["args"] = captured.unused_args.value
        return metadata

    def _metadata(
        self,
        properties: Mapping[Any, Any],
        remaining: Mapping[str, Any],
        withheld: list[str],
        generated: Mapping[str, Json],
    ) -> dict[str, Json]:
        own = {key: value for key, value in properties.items() if not str(key).startswith(extras.PRIVATE)}
        own.update(remaining)
        metadata = self._converter.items(own)
        metadata.update(dict.fromkeys(withheld, REDACTED))
        displaced = {key: metadata.pop(key) for key in list(metadata) if key in GENERATED or key in generated}
        if displaced:
            extra = metadata.get("extra")
            if not isinstance(extra, dict):
                extra = {} if extra is None else {"extra": extra}
            metadata["extra"] = {**extra, **displaced}
        metadata.update(generated)
        return metadata


def _named(name: str, title: str, text: str, category: str) -> _Derived:
    message = text.strip()
    is_description = "\n" in message or (message and message != name.strip())
    description = message if is_description else inference.DESCRIPTIONS.get(category)
    return _Derived(title, description, inference.ICONS.get(category))


def _page_view(page: Json, created: float) -> _Derived:
    path = page.get("path") if isinstance(page, dict) else None
    return _Derived(
        inference.title_of(inference.PAGE_VIEW),
        path if isinstance(path, str) and path else inference.PAGE_VIEW_DESCRIPTION,
        inference.PAGE_VIEW_ICON,
        tags=(inference.PAGE_VIEW,),
        notify=False,
        display_as="message",
        metadata={"date": _iso(created)},
    )


def _first(*flags: bool | None) -> bool | None:
    return next((flag for flag in flags if flag is not None), None)


def _iso(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, tz=datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
