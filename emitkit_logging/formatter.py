"""Formatter: the room where a record becomes an event."""

from __future__ import annotations

import datetime
import hashlib
import logging
import math
from collections.abc import Mapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from emitkit_logging import options, vocabulary
from emitkit_logging import record as records
from emitkit_logging.event import (
    LONGEST_DESCRIPTION,
    LONGEST_ICON,
    LONGEST_KEY,
    LONGEST_TAG,
    LONGEST_TITLE,
    MOST_TAGS,
    Event,
    questions,
)
from emitkit_logging.redaction import REDACTED, Redactor
from emitkit_logging.users import LONGEST_ID, MOST_ALIASES, Person, facts_of
from emitkit_logging.values import Json, Plain, shorten, units

GENERATED = frozenset(
    ("category", "event", "timestamp", "log", "exception")
    + ("occurrences", "first_seen", "last_seen", "samples", "digest")
)
"""Metadata that we write; a user's value of the same name stands in `metadata.extra`."""

_CONTEXTS = ("page", "device", "utm", "server")
_QUESTIONS = ("actions", "fields", "expires_in", "callback_url", "resume")
_IDENTITY = ("id", "user_id", "email", "username", "name", "traits", "aliases")
_MOST_FRAMES_TEXT = 60_000


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
        plain_level: the level from which on a plain record is an event too; `None`: never.
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
        self._channel = options.text("channel_name", channel_name, options.LONGEST_CHANNEL)
        self._category_channels = options.channel_map("category_channel_map", category_channel_map)
        self._level_channels = sorted(
            options.level_channel_map("level_channel_map", level_channel_map).items(), reverse=True
        )
        self._notify = options.flag("notify", notify)
        self._display_as = options.display_as("display_as", display_as)
        self._source = options.text("source", source, options.LONGEST_SOURCE)
        self.plain_level = math.inf if plain_level is None else options.level("plain_level", plain_level)
        self._event_from_message = options.flag("event_from_message", event_from_message)
        self._redactor = Redactor(options.names("redact", redact), secrets)
        self.plain = Plain(self._redactor)

    def parse(self) -> list[str]:
        """Return the record's attributes that the line carries besides the event: none unless `fmt` names them."""
        return [] if self._is_bare else super().parse()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's event as one line of JSON; a record that only identifies, as the identify request."""
        event = self.event(record)
        body: dict[str, Any] = (
            {"identify": [facts_of(person).body() for person in event.people]}
            if event.only_identifies
            else event.body()
        )
        bare = {key: value for key, value in record.__dict__.items() if key in records.STANDARD}
        shell = logging.makeLogRecord({**bare, "message": records.message(record)[0]})
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
        found = records.extras(record)
        return self._is_event(found, record) or self._identified(found, record) is not None

    def _is_event(self, found: Mapping[str, Any], record: logging.LogRecord) -> bool:
        return self._name(found, record) is not None or _string(found.get("category")) is not None

    def event(self, record: logging.LogRecord) -> Event:
        """Turn a record into the event that is sent for it.

        Args:
            record: any record; it is not changed.

        Returns:
            The event, its values within the API contract's limits but for the size of the whole (see `Event.encode`).
        """
        found = records.extras(record)
        if isinstance(found.get("properties"), dict):
            for key in records.OVERRIDES:
                if key in found["properties"]:
                    found.setdefault(key, found["properties"][key])
        only_identifies = record.levelno < self.plain_level and not self._is_event(found, record)
        hidden = [key for key in found if self._redactor.is_secret(key)]
        for key in hidden:
            del found[key]
        text, misfits = records.message(record)
        text = self.plain.text(text)
        name = self._name(found, record)
        explicit_name = name is not None
        if name is not None and _string(found.get("emitkit_event")) == name:
            del found["emitkit_event"]
        elif name is not None and _string(found.get("event")) == name:
            del found["event"]
        name = self.plain.text(name) if name is not None else None
        given = self._take_text(found, "category")
        if name is None and given is not None:
            name = text
        raised = records.raised(record)
        is_error = record.levelno >= logging.ERROR
        is_page_view = name == vocabulary.PAGE_VIEW and not is_error

        if given is not None:
            category = given
        elif is_error:
            category = "error"
        elif is_page_view:
            category = "navigation"
        elif name is not None:
            category = vocabulary.category_of(name)
        else:
            category = self.plain.text(str(record.levelname).lower())

        contexts = self._take_contexts(found)
        people, user_id = self._take_people(found, record)
        channel = self._take_channel(found, category, record.levelno)
        title, description = self._take_text(found, "title"), self._take_text(found, "description")
        notify = self._take_notify(found)
        display_as = self._take_display_as(found)
        tags, all_tags = self._take_tags(found, category)
        if is_page_view:
            page = contexts.get("page", {})
            path = page.get("path") if isinstance(page, dict) else None
            description = description or (path if isinstance(path, str) and path else vocabulary.PAGE_VIEW_DESCRIPTION)
            shown = title or vocabulary.title_of(vocabulary.PAGE_VIEW)
            icon: str | None = self._take_icon(found) or vocabulary.PAGE_VIEW_ICON
            tags = _unique([vocabulary.PAGE_VIEW, *tags])
            notify = False if notify is None else notify
            display_as = display_as or "message"
        else:
            shown, description = self._worded(title, description, name, text, category, raised, explicit=explicit_name)
            icon = self._take_icon(found) or vocabulary.ICONS.get(category)
        asked, taken = questions({key: self.plain.value(found[key]) for key in _QUESTIONS if key in found})
        for key in taken:
            del found[key]
        idempotency_key = self._take_idempotency_key(found)
        session = self._take_text(found, "session_id")

        metadata = self._users_own(found, hidden)
        generated: dict[str, Json] = {"category": category}
        if name is not None:
            generated["event"] = shorten(name, LONGEST_TITLE)
        generated["timestamp"] = int(record.created * 1000)
        if is_page_view:
            generated["date"] = _iso(record.created)
        if session is not None:
            generated["sessionId"] = session
        generated.update(contexts)
        if len(all_tags) > MOST_TAGS or any(units(tag) > LONGEST_TAG for tag in all_tags):
            generated["tags"] = list(all_tags)
        generated["log"] = {
            "level": str(record.levelname),
            "logger": self.plain.text(str(record.name)),
            "file": self.plain.text(str(record.pathname)),
            "line": self.plain.value(record.lineno),
            "function": self.plain.text(str(record.funcName)),
        }
        if raised is not None:
            generated["exception"] = {
                "type": raised.type,
                "message": self.plain.text(raised.message),
                "stacktrace": self._trace(raised.stacktrace),
            }
        if isinstance(record.stack_info, str) and record.stack_info:
            generated["stack"] = self._trace(record.stack_info)
        if misfits is not None:
            generated["args"] = self.plain.value(misfits)
        for key, value in generated.items():
            if key in metadata:
                _displace(metadata, key)
            metadata[key] = value

        return Event(
            channel=channel,
            title=shown,
            description=description,
            icon=icon,
            tags=[shorten(tag, LONGEST_TAG) for tag in tags[:MOST_TAGS]],
            metadata=metadata,
            user_id=user_id,
            notify=self._notify if notify is None else notify,
            display_as=display_as or self._display_as,
            source=self._source,
            questions=asked,
            level=record.levelno,
            created=record.created,
            idempotency_key=idempotency_key,
            people=people,
            only_identifies=only_identifies and bool(people),
            kind=(name,)
            if name is not None
            else (str(record.name), records.template(record), raised.type if raised else ""),
        )

    def _name(self, found: Mapping[str, Any], record: logging.LogRecord) -> str | None:
        name = records.event_name(found)
        if name is None and self._event_from_message:
            text = records.message(record)[0]
            if vocabulary.is_event_name(text):
                name = text
        return name

    def _take_text(self, found: dict[str, Any], key: str) -> str | None:
        value = found.get(key)
        if not isinstance(value, str):
            return None
        del found[key]
        return self.plain.text(str.__str__(value)) if value else None

    def _take_contexts(self, found: dict[str, Any]) -> dict[str, Json]:
        nested = found.pop("context") if isinstance(found.get("context"), dict) else {}
        for key, value in nested.items():
            name = str(key)
            if name in found or name.startswith("__emitkit_"):
                continue
            if self._redactor.is_secret(name):
                value = REDACTED  # noqa: PLW2901 - the value never leaves this loop
            found[name] = value
        taken: dict[str, Json] = {}
        for name in _CONTEXTS:
            if isinstance(found.get(name), dict):
                values = self.plain.items(found.pop(name))
                if name in ("device", "server"):
                    values.pop("ip", None)
                taken[name] = values
        return taken

    def _take_people(self, found: dict[str, Any], record: logging.LogRecord) -> tuple[tuple[Person, ...], str | None]:
        given_id = self._id(found.get("user_id"))
        if given_id is not None:
            del found["user_id"]
        people: list[Person] = []
        user = found.get("user")
        fallback: str | None = None
        if isinstance(user, str):
            del found["user"]
            fallback = self._id(user)
        elif isinstance(user, dict):
            del found["user"]
            person = self._person(user, given_id, record.created)
            if person is not None and person.tells:
                people.append(person)
            fallback = person.user_id if person is not None else None
            for key in ("email", "username"):
                fallback = fallback or self._fact(user, key)
        person = self._identified(found, record)
        if person is not None:
            del found["identify"]
            people.append(person)
            fallback = fallback or person.user_id
        return tuple(people), given_id or fallback

    def _identified(self, found: Mapping[str, Any], record: logging.LogRecord) -> Person | None:
        values = found.get("identify")
        return self._person(values, None, record.created) if isinstance(values, dict) else None

    def _person(self, values: Mapping[Any, Any], given_id: str | None, created: float) -> Person | None:
        user_id = None
        for key in ("id", "user_id"):
            user_id = user_id or (None if self._redactor.is_secret(key) else self._id(values.get(key)))
        user_id = user_id or given_id
        if user_id is None:
            return None
        email, username = self._fact(values, "email"), self._fact(values, "username")
        traits = values.get("traits")
        told: dict[Any, Any] = dict(traits) if isinstance(traits, dict) else {}
        told.update((key, value) for key, value in values.items() if key not in _IDENTITY)
        told.update((key, values[key]) for key in ("email", "username", "name") if values.get(key) not in (None, ""))
        more = values.get("aliases")
        aliases = [email, username]
        if isinstance(more, list | tuple | set | frozenset):
            aliases += [self._id(alias) for alias in more]
        return Person(
            user_id,
            self.plain.items(told) if told else {},
            tuple(_unique([alias for alias in aliases if alias is not None and alias != user_id]))[: MOST_ALIASES - 1],
            created,
        )

    def person(self, user_id: object, traits: object, aliases: object, created: float) -> Person:
        """Check and convert what `EmitKitHandler.identify` was given.

        Raises:
            TypeError, ValueError: for an id that is no string or integer, or is empty or over 255 characters.
        """
        if isinstance(user_id, bool) or not isinstance(user_id, str | int):
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
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        text = self.plain.text(str.__str__(value) if isinstance(value, str) else str(int(value)))
        return text if 0 < units(text) <= LONGEST_ID else None

    def _take_channel(self, found: dict[str, Any], category: str, level: int) -> str:
        plain, override = self._take_text(found, "channel"), self._take_text(found, "__emitkit_channel")
        found.pop("__emitkit_channel", None)
        chosen = (override or plain or "").strip() or self._category_channels.get(category)
        if chosen is None:
            chosen = next((channel for least, channel in self._level_channels if level >= least), self._channel)
        return shorten(chosen, options.LONGEST_CHANNEL)

    def _take_notify(self, found: dict[str, Any]) -> bool | None:
        override = found.pop("__emitkit_notify", None)
        plain = found.pop("notify") if isinstance(found.get("notify"), bool) else None
        return override if isinstance(override, bool) else plain

    def _take_display_as(self, found: dict[str, Any]) -> str | None:
        value = self._take_text(found, "display_as")
        return value if value in options.DISPLAY_STYLES else None

    def _take_tags(self, found: dict[str, Any], category: str) -> tuple[list[str], list[str]]:
        given = found.get("tags")
        more: list[str] = []
        if isinstance(given, list | tuple | set | frozenset) and all(isinstance(tag, str) for tag in given):
            del found["tags"]
            ordered = sorted(given) if isinstance(given, set | frozenset) else given
            more = [self.plain.text(str.__str__(tag)) for tag in ordered if tag]
        tags = _unique([category, *more])
        return tags, tags

    def _worded(
        self,
        title: str | None,
        description: str | None,
        name: str | None,
        text: str,
        category: str,
        raised: records.Raised | None,
        *,
        explicit: bool,
    ) -> tuple[str, str | None]:
        first, _, further = text.strip().partition("\n")
        first, further = first.strip(), further.strip()
        if name is not None:
            title = title or vocabulary.title_of(name if explicit else first).strip()
            if description is None:
                description = text.strip() if (text != name or further) else None
            description = description or vocabulary.DESCRIPTIONS.get(category)
        else:
            summary = self.plain.text(raised.summary) if raised else None
            title = title or first or summary
            if description is None:
                description = further or (text if units(first) > LONGEST_TITLE else None) or summary
        return title or "(no message)", shorten(description, LONGEST_DESCRIPTION) if description else None

    def _take_icon(self, found: dict[str, Any]) -> str | None:
        icon = self._take_text(found, "icon")
        return icon if icon is not None and units(icon) <= LONGEST_ICON else None

    def _take_idempotency_key(self, found: dict[str, Any]) -> str | None:
        key = self._take_text(found, "idempotency_key")
        if key is None or (len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and key.strip() == key):
            return key
        return hashlib.sha256(key.encode()).hexdigest()  # the same key again, in the shape of a header

    def _users_own(self, found: dict[str, Any], hidden: list[str]) -> dict[str, Json]:
        properties = found.pop("properties") if isinstance(found.get("properties"), dict) else {}
        own = {key: value for key, value in properties.items() if not str(key).startswith("__emitkit_")}
        own.update(found)
        metadata = self.plain.items(own)
        for key in hidden:
            metadata[key] = REDACTED
        for key in [key for key in metadata if key in GENERATED]:
            _displace(metadata, key)
        return metadata

    def _trace(self, text: str) -> str:
        return self._redactor.mask(text[-_MOST_FRAMES_TEXT:])


def _displace(metadata: dict[str, Json], key: str) -> None:
    extra = metadata.get("extra")
    if not isinstance(extra, dict):
        extra = {} if extra is None else {"extra": extra}
    extra[key] = metadata.pop(key)
    metadata["extra"] = extra


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _iso(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, tz=datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
