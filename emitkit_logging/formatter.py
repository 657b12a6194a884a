"""Formatter: the room where a record becomes an event."""

from __future__ import annotations

import datetime
import hashlib
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from emitkit_logging import _options as options
from emitkit_logging import context
from emitkit_logging._api.contract import CURRENT, waits
from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import (
    LONGEST_CHANNEL,
    LONGEST_ICON,
    LONGEST_ID,
    LONGEST_IDEMPOTENCY_KEY,
    LONGEST_TAG,
    LONGEST_TITLE,
    MOST_ALIASES,
    MOST_TAGS,
)
from emitkit_logging._api.text import shorten, units
from emitkit_logging._events import captured, extras, inference
from emitkit_logging._events.captured import plain_kind
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.event import Event, FoldKey
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.identity import Identity, identify_call
from emitkit_logging._events.redaction import REDACTED, Redactor

GENERATED = frozenset(
    ("category", "event", "timestamp", "log", "exception")
    + ("occurrences", "first_seen", "last_seen", "samples", "digest")
)
"""Metadata that we write; a user's value of the same name stands in `metadata.extra`."""

_CONTEXTS = ("page", "device", "utm", "server")
_WITH_ADDRESS = ("device", "server")
_QUESTIONS = {
    "actions": "actions",
    "fields": "fields",
    "expires_in": "expiresIn",
    "callback_url": "callbackUrl",
    "resume": "resume",
}
_NAMES = ("email", "username", "name")
_IDENTITY = ("id", "user_id", *_NAMES, "traits", "aliases")
_LONGEST_TRACE = 60_000
_OWN_ICON = "🧾"
_MOST_REMEMBERED_KEYS = 4_096
_TELLING = frozenset(
    ("emitkit_event", "channel", "__emitkit_channel", "extra", "context", "properties", "user", "identify")
    + ("idempotency_key", "actions", "fields", captured.GUEST)
)
"""Keys with which what a record folds by takes more than a look."""

_NOTHING_SAID = "(no message)"


class EmitKitFormatter(JsonFormatter):
    """Turns log records into EmitKit events.

    On an `EmitKitHandler` it decides what is sent; on any other handler it prints each event as one line of JSON.

    Args:
        fmt, datefmt, style, validate: as of `pythonjsonlogger.json.JsonFormatter`: the record's attributes that the
            line carries besides the event.
        channel_name: the channel of events that nothing else assigns to one.
        category_channel_map: category to channel.
        level_channel_map: level name or number to channel; a record takes the entry of the highest level at or
            below its own.
        notify: whether events push.
        display_as: `"notification"` or `"message"`.
        source: what events name as their origin, at most 50 characters.
        plain_level: the level from which on `accepts` lets plain records through; `None`: never. What is formatted is
            an event in any case.
        event_from_message: whether a snake_case message names an event.
        redact: key names, besides the built-in list, whose values are withheld.
        secrets: texts that are masked wherever they stand.
        json_options: what else `JsonFormatter` takes, such as `static_fields` and `rename_fields`; they shape the
            printed line, not what is sent.

    Raises:
        ValueError, TypeError: for an option that cannot be used, naming it.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002 - the order of logging.Formatter
        *,
        channel_name: str = "general",
        category_channel_map: Mapping[str, str] | None = None,
        level_channel_map: Mapping[str | int, str] | None = options.DEFAULT_LEVEL_CHANNELS,
        notify: bool = True,
        display_as: str = "notification",
        source: str = "emitkit-logging",
        plain_level: str | int | None = "ERROR",
        event_from_message: bool = False,
        redact: Any = None,
        secrets: tuple[str, ...] = (),
        **json_options: Any,
    ) -> None:
        self._is_bare = fmt is None
        super().__init__(fmt, datefmt, style, validate, **json_options)
        self._channel = options.text("channel_name", channel_name, LONGEST_CHANNEL)
        self._category_channels = options.channel_map("category_channel_map", category_channel_map)
        self._level_channels = sorted(
            options.level_channel_map("level_channel_map", level_channel_map).items(), reverse=True
        )
        self._error_channels = {channel for level, channel in self._level_channels if level >= logging.ERROR}
        self._error_channels.add(self._category_channels.get("error", ""))
        self._ordinary_channel = self._channel_of("", logging.INFO)
        self._error_channels -= {self._channel, self._ordinary_channel}
        self._notify = options.flag("notify", notify)
        self._display_as = options.display_as("display_as", display_as)
        self._source = options.text("source", source, options.LONGEST_SOURCE)
        self.plain_level = math.inf if plain_level is None else options.level("plain_level", plain_level)
        self._event_from_message = options.flag("event_from_message", event_from_message)
        self._redactor = Redactor(options.names("redact", redact), secrets)
        self.json_converter = JsonConverter(self._redactor)
        self._hides_kind = any(map(self._redactor.is_secret, ("event", "category", "user_id")))
        self._keys: dict[tuple[object, ...], FoldKey] = {}

    def parse(self) -> list[str]:
        """Return the record's attributes that the line carries besides the event: none unless `fmt` names them."""
        return [] if self._is_bare else super().parse()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's event as one line of JSON; a record that only identifies, as the identify request."""
        said = context.of_record(record)
        if said is not None:
            record = captured.restore({**record.__dict__, context.KEY: said})
        event = self.event(record)
        body: dict[str, Any] = (
            {"identify": [identify_call(person).body() for person in event.people]}
            if event.only_identifies
            else event.body()
        )
        bare = {key: value for key, value in record.__dict__.items() if key in captured.STANDARD}
        shell = logging.makeLogRecord({**bare, "message": captured.message(record)[0]})
        if "asctime" in self._required_fields:
            shell.asctime = self.formatTime(record, self.datefmt)
        line: dict[str, Any] = {}
        self.add_fields(line, shell, body)
        return self.serialize_log_record(self.process_log_record(line))

    def accepts(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be sent: an event, a plain record of `plain_level` or above, or an identify."""
        if record.levelno >= self.plain_level:
            return True
        attributes = record.__dict__
        if (
            type(record.msg) is str
            and not self._event_from_message
            and "event" not in attributes
            and "category" not in attributes
            and "extra" not in attributes
            and "emitkit_event" not in attributes
            and "identify" not in attributes
        ):
            return False
        found = captured.extras(record)
        return self._is_event(found, record) or self._identified(Extras(found), record) is not None

    def _is_event(self, found: Mapping[str, Any], record: logging.LogRecord) -> bool:
        return (
            extras.event_name(found) is not None
            or extras.get(found, "category") is not None
            or (self._event_from_message and inference.is_event_name(captured.message(record)[0]))
        )

    def event(self, record: logging.LogRecord) -> Event:
        """Turn a record into the event that is sent for it.

        Args:
            record: any record; it is not changed.

        Returns:
            The event, its values within the API contract's limits but for the size of the whole (see `Event.encode`).
        """
        found = captured.extras(record)
        only_identifies = record.levelno < self.plain_level and not self._is_event(found, record)
        withheld = [key for key in found if self._redactor.is_secret(key)]
        for key in withheld:
            del found[key]
        said = Extras(found)
        properties = said.take("properties") or {}
        for key in extras.OVERRIDES:
            if key in properties:
                found.setdefault(key, properties[key])

        message, misfits = captured.message(record)
        text = self.json_converter.text(message)
        raised = captured.raised(record)
        name = self._take_name(said, message)
        given_category = self._take_text(said, "category")
        title_name = inference.title_of(name) if name is not None else None
        if name is None and given_category is not None:
            name, title_name = text, inference.title_of(text.strip().partition("\n")[0].strip())
        category = given_category or self._category(name, record.levelno, str(record.levelname))
        said.rest = self._opened(said.rest, said.take("context"))
        properties = self._stand_on(record.__dict__.get(context.KEY), said, properties)
        contexts = self._take_contexts(said)
        people, user_id = self._take_people(said, record)
        title = self._take_text(said, "title")
        if name == inference.PAGE_VIEW and record.levelno < logging.ERROR:
            default = _page_view(contexts.get("page"), record.created)
        elif name is not None:
            default = _named(name, title_name, text, category)
        else:
            default = self._unnamed(text, raised, category, is_titled=title is not None)
        questions = self._take_questions(said)
        notify = self._take_notify(said)
        display_as = self._take_text(said, "display_as")
        icon = self._take_text(said, "icon")
        tags = [*default.tags, category, *self._take_tags(said)]
        event = Event(
            channel=self._decided_channel(self._take_channel(said), category, record),
            title=title or default.title or _NOTHING_SAID,
            description=self._take_text(said, "description") or default.description,
            icon=icon if icon is not None and units(icon) <= LONGEST_ICON else default.icon,
            tags=list(dict.fromkeys(filter(None, tags))),
            user_id=user_id,
            notify=_first(notify, default.notify, self._notify) or bool(questions and waits(questions)),
            display_as=display_as if display_as in options.DISPLAY_STYLES else default.display_as or self._display_as,
            source=self._source,
            questions=questions,
            level=record.levelno,
            created=record.created,
            idempotency_key=self._take_idempotency_key(said),
            people=people,
            only_identifies=only_identifies and bool(people),
            kind=(name,) if name is not None else _kind(record, raised),
        )
        generated: dict[str, Json] = {"category": category}
        if name is not None:
            generated["event"] = shorten(name, LONGEST_TITLE)
        generated["timestamp"] = int(record.created * 1000)
        generated.update(default.metadata)
        session = self._take_text(said, "session_id")
        if session is not None:
            generated["sessionId"] = session
        generated.update(contexts)
        if len(event.tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in event.tags):
            generated["tags"] = list(event.tags)
        generated.update(self._circumstances(record, raised, misfits))
        event.metadata = self._metadata(properties, said.rest, withheld, generated)
        return event

    def key(self, captured: Mapping[str, Any]) -> FoldKey | None:
        """Return what a record folds by, as its event's `key` says, in a fraction of the time.

        Args:
            captured: what `record.capture` took of a record that `accepts` let through.

        Returns:
            The key, or `None` where only the event tells.
        """
        if not _TELLING.isdisjoint(captured) or self._hides_kind:
            return None
        if context.KEY in captured and not _TELLING.isdisjoint(captured[context.KEY]):
            return None
        name, category, level = captured.get("event"), captured.get("category"), captured["levelno"]
        if type(name) is str and name:
            known = (level, name, category if type(category) is str else None)
            key = self._keys.get(known)
            if key is None:
                given = self.json_converter.text(category) if type(category) is str and category else None
                name = self.json_converter.text(name)
                key = FoldKey(self._channel_of(given or self._category(name, level, ""), level), level, (name,))
                self._remember(known, key)
            return key
        if type(category) is str or self._event_from_message:
            return None
        kind = plain_kind(captured)
        if kind is None:
            return None
        levelname = str(captured["levelname"])
        key = self._keys.get((level, levelname))
        if key is None:
            key = FoldKey(self._channel_of(self._category(None, level, levelname), level), level, ())
            self._remember((level, levelname), key)
        return FoldKey(key.channel, level, kind)

    def _remember(self, known: tuple[object, ...], key: FoldKey) -> None:
        if len(self._keys) >= _MOST_REMEMBERED_KEYS:
            self._keys.clear()
        self._keys[known] = key

    def own(self, channel: str | None, level: int, title: str, description: str, metadata: Mapping[str, Json]) -> Event:
        """Return an event that stands for no single record.

        Args:
            channel: where it goes; `None`: where records of that level go.
            level: of the most important record that it stands for.
            title: what people see.
            description: what they see below it.
            metadata: what it carries besides the time.
        """
        now = time.time()
        return Event(
            channel=channel or self._channel_of("error", level),
            title=title,
            description=description,
            icon=_OWN_ICON,
            metadata={"timestamp": int(now * 1000), **metadata},
            notify=self._notify,
            display_as=self._display_as,
            source=self._source,
            level=level,
            created=now,
        )

    # What is read

    def _take_text(self, said: Extras, key: str) -> str | None:
        value = said.take(key)
        return None if value is None else self.json_converter.text(value)

    def _take_name(self, said: Extras, message: str) -> str | None:
        name = self._take_text(said, "emitkit_event") or self._take_text(said, "event")
        if name is None and self._event_from_message and inference.is_event_name(message):
            return message
        return name

    def _opened(self, found: dict[str, Any], nested: Mapping[Any, Any] | None) -> dict[str, Any]:
        if nested is None:
            return found
        return extras.nested(
            found, {key: REDACTED if self._redactor.is_secret(str(key)) else value for key, value in nested.items()}
        )

    def _stand_on(self, bound: context.Values | None, said: Extras, properties: dict[Any, Any]) -> dict[Any, Any]:
        """Put the record's context behind what it says itself; return its properties, and what no key can be."""
        if not bound:
            return properties
        bound = {key: REDACTED if self._redactor.is_secret(key) else value for key, value in bound.items()}
        # what is not of its key's type is ordinary metadata, and says nothing about the context's value
        odd = {key: said.rest.pop(key) for key in bound if key in said.rest and extras.is_misused(key, said.rest[key])}
        said.rest = context.over(bound, said.rest)
        return {**properties, **odd}

    def _take_contexts(self, said: Extras) -> dict[str, Json]:
        taken: dict[str, Json] = {}
        for name in _CONTEXTS:
            values = said.take(name)
            if values is not None:
                taken[name] = told = self.json_converter.items(values)
                if name in _WITH_ADDRESS:
                    told.pop("ip", None)
                if name == "page":
                    taken[name] = self._redactor.mask_page(told)
        return taken

    def _take_people(self, said: Extras, record: logging.LogRecord) -> tuple[tuple[Identity, ...], str | None]:
        people: list[Identity] = []
        given_id = self._id(said.take("user_id"))
        user = said.take("user")
        fallback = self._id(user)
        if fallback is None and user is not None and extras.is_dict(user):
            person = self._person(user, given_id, record.created)
            if person is not None:
                fallback = person.user_id
                if person.tells:
                    people.append(person)
            fallback = fallback or self._fact(user, "email") or self._fact(user, "username")
        person = self._identified(said, record)
        if person is not None:
            said.take("identify")
            people.append(person)
            fallback = fallback or person.user_id
        return tuple(people), given_id or fallback

    def _identified(self, said: Extras, record: logging.LogRecord) -> Identity | None:
        values = said.get("identify")
        return None if values is None else self._person(values, None, record.created)

    def _person(self, values: Mapping[Any, Any], given_id: str | None, created: float) -> Identity | None:
        user_id = self._fact(values, "id") or self._fact(values, "user_id") or given_id
        if user_id is None:
            return None
        traits: Any = values.get("traits")
        told: dict[Any, Any] = dict(traits) if extras.is_dict(traits) else {}
        told.update((key, value) for key, value in values.items() if key not in _IDENTITY)
        told.update((key, values[key]) for key in _NAMES if values.get(key) not in (None, ""))
        aliases = [self._fact(values, key) for key in ("email", "username") if extras.is_text(values.get(key))]
        more = values.get("aliases")
        if isinstance(more, list | tuple | set | frozenset):
            aliases += [self._id(alias) for alias in more]
        unique = dict.fromkeys(alias for alias in aliases if alias is not None and alias != user_id)
        return Identity(
            user_id, self.json_converter.items(told) if told else {}, tuple(unique)[: MOST_ALIASES - 1], created
        )

    def person(self, user_id: object, traits: object, aliases: object, created: float) -> Identity:
        """Check and convert what `EmitKitHandler.identify` was given.

        Args:
            user_id: a string or an integer.
            traits: a mapping, or `None`.
            aliases: strings.
            created: epoch seconds.

        Raises:
            TypeError, ValueError: for an id that is no string or integer, or is empty or over 255 characters.
        """
        if not extras.is_id(user_id):
            raise TypeError(f"user_id: must be a string or an integer, not {user_id!r}")
        if self._id(user_id) is None:
            raise ValueError(f"user_id: must have 1 to {LONGEST_ID} characters")
        if traits is not None and not isinstance(traits, Mapping):
            raise TypeError(f"traits: must be a dict, not {type(traits).__name__}")
        given = {**(traits or {}), "id": user_id, "aliases": options.names("aliases", aliases)}
        person = self._person(given, None, created)
        assert person is not None  # noqa: S101 - the id was checked above
        return person

    def _fact(self, values: Mapping[Any, Any], key: str) -> str | None:
        return None if self._redactor.is_secret(key) else self._id(values.get(key))

    def _id(self, value: object) -> str | None:
        if not extras.is_id(value):
            return None
        text = self.json_converter.text(str.__str__(value) if isinstance(value, str) else str(int(value)))  # type: ignore[call-overload]
        return text if 0 < units(text) <= LONGEST_ID else None

    def _take_channel(self, said: Extras) -> str | None:
        own, override = self._take_text(said, "channel"), self._take_text(said, "__emitkit_channel")
        said.rest.pop("__emitkit_channel", None)
        return shorten((override or own or "").strip(), LONGEST_CHANNEL) or None

    def _take_notify(self, said: Extras) -> bool | None:
        own, override = said.take("notify"), said.take("__emitkit_notify")
        said.rest.pop("__emitkit_notify", None)
        return _first(override, own)

    def _take_tags(self, said: Extras) -> list[str]:
        tags = said.take("tags") or ()
        return [self.json_converter.text(tag) for tag in (sorted(tags) if isinstance(tags, set | frozenset) else tags)]

    def _take_questions(self, said: Extras) -> dict[str, Json]:
        found = {name: self.json_converter.value(said.get(key)) for key, name in _QUESTIONS.items() if key in said.rest}
        if not found:
            return {}
        asked = CURRENT.askable(found)
        for key, name in _QUESTIONS.items():
            if name in asked:
                said.take(key)
        return asked

    def _take_idempotency_key(self, said: Extras) -> str | None:
        key = self._take_text(said, "idempotency_key")
        if key is None or (
            len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable() and key.strip() == key
        ):
            return key
        return hashlib.sha256(key.encode()).hexdigest()  # the same key again, in the shape of a header

    # What is decided

    def _category(self, name: str | None, level: int, levelname: str) -> str:
        if level >= logging.ERROR:
            return "error"
        if name is None:
            return self.json_converter.text(levelname.lower())
        return "navigation" if name == inference.PAGE_VIEW else inference.category_of(name)

    def _decided_channel(self, own: str | None, category: str, record: logging.LogRecord) -> str:
        if captured.GUEST not in record.__dict__:
            return own or self._channel_of(category, record.levelno)
        # strangers fill no channel of errors, whatever they name and whoever allowed it
        channel = own or self._channel_of(category, logging.INFO)
        return self._ordinary_channel if channel in self._error_channels else channel

    def _channel_of(self, category: str, level: int) -> str:
        chosen = self._category_channels.get(category)
        if chosen is None:
            chosen = next((channel for least, channel in self._level_channels if level >= least), self._channel)
        return chosen

    def _unnamed(
        self, text: str, raised: captured.CapturedException | None, category: str, *, is_titled: bool
    ) -> _Default:
        summary = self.json_converter.text(raised.summary) if raised else None
        first, _, further = (part.strip() for part in text.strip().partition("\n"))
        rest = text.strip() if is_titled or units(first) > LONGEST_TITLE else further
        return _Default(first or summary, rest or summary, inference.ICONS.get(category))

    # What is told besides

    def _circumstances(
        self, record: logging.LogRecord, raised: captured.CapturedException | None, misfits: object
    ) -> dict[str, Json]:
        told: dict[str, Json] = {
            "log": {
                "level": str(record.levelname),
                "logger": self.json_converter.text(str(record.name)),
                "file": self.json_converter.text(str(record.pathname)),
                "line": self.json_converter.value(record.lineno),
                "function": self.json_converter.text(str(record.funcName)),
            }
        }
        if raised is not None:
            told["exception"] = {
                "type": raised.type,
                "message": self.json_converter.text(raised.message),
                "stacktrace": self.json_converter.ending(raised.stacktrace, _LONGEST_TRACE),
            }
        if isinstance(record.stack_info, str) and record.stack_info:
            told["stack"] = self.json_converter.ending(record.stack_info, _LONGEST_TRACE)
        if misfits is not None:
            told["args"] = self.json_converter.value(misfits)
        return told

    def _metadata(
        self,
        properties: Mapping[Any, Any],
        rest: Mapping[str, Any],
        withheld: list[str],
        generated: Mapping[str, Json],
    ) -> dict[str, Json]:
        own = {key: value for key, value in properties.items() if not str(key).startswith(extras.PRIVATE)}
        own.update(rest)
        metadata = self.json_converter.items(own)
        metadata.update(dict.fromkeys(withheld, REDACTED))
        displaced = {key: metadata.pop(key) for key in list(metadata) if key in GENERATED or key in generated}
        if displaced:
            extra = metadata.get("extra")
            if not isinstance(extra, dict):
                extra = {} if extra is None else {"extra": extra}
            metadata["extra"] = {**extra, **displaced}
        metadata.update(generated)
        return metadata


@dataclass(frozen=True, slots=True)
class _Default:
    """What an event shows where its record does not say."""

    title: str | None
    description: str | None
    icon: str | None
    tags: tuple[str, ...] = ()
    notify: bool | None = None
    display_as: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


def _named(name: str, title: str | None, text: str, category: str) -> _Default:
    said = text.strip()
    tells_more = "\n" in said or (said and said != name.strip())
    return _Default(title, said if tells_more else inference.DESCRIPTIONS.get(category), inference.ICONS.get(category))


def _page_view(page: Json, created: float) -> _Default:
    path = page.get("path") if isinstance(page, dict) else None
    return _Default(
        inference.title_of(inference.PAGE_VIEW),
        path if isinstance(path, str) and path else inference.PAGE_VIEW_DESCRIPTION,
        inference.PAGE_VIEW_ICON,
        tags=(inference.PAGE_VIEW,),
        notify=False,
        display_as="message",
        metadata={"date": _iso(created)},
    )


def _kind(record: logging.LogRecord, raised: captured.CapturedException | None) -> tuple[str, ...]:
    return (
        str(record.name),
        captured.template(record),
        raised.type if raised else "",
    )  # `records.plain_kind` says the same


def _first(*flags: bool | None) -> bool | None:
    return next((flag for flag in flags if flag is not None), None)


def _iso(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, tz=datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
