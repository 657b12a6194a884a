"""The formatter that turns log records into EmitKit events."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter

from emitkit_logging import _options as options
from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_CHANNEL
from emitkit_logging._context.capture import capture, capture_minimal
from emitkit_logging._context.redacted import share_names
from emitkit_logging._events import extras
from emitkit_logging._events.builder import EventBuilder, EventDefaults
from emitkit_logging._events.captured import UNCAUGHT_KEY, CapturedRecord, RestoredRecord, message_of
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.event import Event
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.identity import Identity, identify_call
from emitkit_logging._events.kinds import FoldKey, FoldKeys, PlainKinds
from emitkit_logging._events.minimal import minimal_of
from emitkit_logging._events.reading import rendered
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._events.revenue import AMOUNT, CURRENCY
from emitkit_logging._events.routing import Router

_KEYS_OF_EVENTS = ("event", "category", "extra", "emitkit_event", "identify")


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
        json_options: what else `JsonFormatter` takes, such as `static_fields` and `rename_fields`; they shape the
            printed line, not what is sent.

    Attributes:
        json_converter: converts the values of records to JSON, without secrets.
        plain_level: as above, as a number.

    Raises:
        ValueError, TypeError: for an option that cannot be used; the message names it.
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
        display_as: Literal["notification", "message"] = "notification",
        source: str = "emitkit-logging",
        plain_level: str | int | None = "ERROR",
        event_from_message: bool = False,
        redact: Any = None,
        **json_options: Any,
    ) -> None:
        self._is_bare = fmt is None
        super().__init__(fmt, datefmt, style, validate, **json_options)
        self.plain_level = math.inf if plain_level is None else options.level("plain_level", plain_level)
        self._event_from_message = options.flag("event_from_message", event_from_message)
        names = options.names("redact", redact)
        share_names(names)
        self._redactor = Redactor(names)
        self.json_converter = JsonConverter(self._redactor)
        router = Router(
            options.text("channel_name", channel_name, LONGEST_CHANNEL),
            options.channel_map("category_channel_map", category_channel_map),
            options.level_channel_map("level_channel_map", level_channel_map),
            self.json_converter,
        )
        defaults = EventDefaults(
            notify=options.flag("notify", notify),
            display_as=options.display_as("display_as", display_as),
            source=options.text("source", source, options.LONGEST_SOURCE),
            plain_level=self.plain_level,
            event_from_message=self._event_from_message,
        )
        self.plain_kinds = PlainKinds(self._redactor)
        self.shows_revenue = not any(map(self._redactor.is_secret, (AMOUNT, CURRENCY)))
        self._builder = EventBuilder(defaults, router, self._redactor, self.json_converter, self.plain_kinds)
        self._fold_keys = FoldKeys(
            router,
            self.json_converter,
            self.plain_kinds,
            is_usable=not any(map(self._redactor.is_secret, ("event", "category", "user_id"))),
            names_from_messages=self._event_from_message,
        )

    def mask(self, secret: str) -> None:
        """Mask a text wherever it stands from now on, such as the API key in use."""
        self._redactor.add_literal(secret)

    def parse(self) -> list[str]:
        """Return the record's attributes that the line carries besides the event: none unless `fmt` names them."""
        return [] if self._is_bare else super().parse()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's event as one line of JSON; if the record only identifies, the identify request."""
        event = self.event(record)
        body: dict[str, Any] = (
            {"identify": [identify_call(identity).body() for identity in event.identities]}
            if event.only_identifies
            else event.body()
        )
        standard = {key: value for key, value in record.__dict__.items() if key in extras.STANDARD}
        shell = logging.LogRecord("", logging.NOTSET, "", 0, "", (), None)  # not by the application's factory
        shell.__dict__.update({**standard, "message": message_of(record)[0]})
        if "asctime" in self._required_fields:
            shell.asctime = self.formatTime(record, self.datefmt)
        for key in self._required_fields:
            value = getattr(shell, key, None)
            if value is not None and type(value) not in (int, float, bool):
                setattr(shell, key, self.json_converter.value(value))
        line: dict[str, Any] = {}
        self.add_fields(line, shell, body)
        return self.serialize_log_record(self.process_log_record(line))

    def accepts(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be sent: an event, a plain record of `plain_level` or above, or an identify."""
        if record.levelno >= self.plain_level:
            return True
        attributes = record.__dict__
        if UNCAUGHT_KEY in attributes:
            return True
        message = record.msg
        if type(message) is str and not self._event_from_message and attributes.keys().isdisjoint(_KEYS_OF_EVENTS):
            if message[:1] != "{" and "event=" not in message:
                return False
            attributes = {**attributes, "msg": rendered(message)}
        found = extras.of_record(attributes)
        if self._builder.is_event(found, message_of(record)[0]):
            return True
        return self._builder.identities.identify(Extras(found), time.time()) is not None

    def event(self, record: logging.LogRecord) -> Event:
        """Return the event that is sent for a record.

        Args:
            record: any record; it is not changed.

        Returns:
            The event, its values within the limits of the API contract except for the size of the whole (see
            `Event.encode`); a minimal one if anything raises.
        """
        try:
            return self._builder.build(capture(record, self.json_converter))
        except Exception as error:
            if isinstance(record, RestoredRecord):
                return self.minimal_event(record.captured, error)
            return self._builder.build(capture_minimal(record, error))

    def minimal_event(self, captured: CapturedRecord, error: BaseException) -> Event:
        """Return the event of a record whose own event cannot be built.

        Args:
            captured: the record.
            error: what was raised.
        """
        return self._builder.build(minimal_of(captured, error))

    def fold_key(self, captured: CapturedRecord) -> FoldKey | None:
        """Return what a record that `accepts` let through folds by, or `None` where only its event says."""
        try:
            return self._fold_keys.of(captured)
        except Exception:  # keys of a record's that raise when they are compared: its event leaves them out
            return None

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: Mapping[str, Json]
    ) -> Event:
        """Return an event that stands for no single record, see `EventBuilder.summary`."""
        return self._builder.summary(channel, level, title, description, metadata)

    def identity(self, user_id: object, traits: object, aliases: Iterable[str], created: float) -> Identity:
        """Return what `EmitKitHandler.identify` was given, checked and converted.

        Args:
            user_id: a string or an integer.
            traits: a mapping, or `None`.
            aliases: strings.
            created: epoch seconds.

        Raises:
            TypeError: for an id, traits or aliases of a wrong type.
            ValueError: for an id that is empty or has over 255 characters.
        """
        return self._builder.identities.check(user_id, traits, options.names("aliases", aliases), created)
