"""Take the fields of an event out of a record's extras, each converted, masked and within its limit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from emitkit_logging._api.contract import askable
from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_CHANNEL, LONGEST_IDEMPOTENCY_KEY
from emitkit_logging._api.text import shorten
from emitkit_logging._events import extras
from emitkit_logging._events.converter import JsonConverter, is_cut
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.merging import merge
from emitkit_logging._events.readable import readable
from emitkit_logging._events.redaction import REDACTED, Redactor

_CONTEXTS = ("page", "device", "utm", "server")
_WITH_ADDRESS = ("device", "server")
_QUESTIONS = {
    "actions": "actions",
    "fields": "fields",
    "expires_in": "expiresIn",
    "callback_url": "callbackUrl",
    "resume": "resume",
}


class FieldReader:
    """Takes fields out of the extras of records.

    Args:
        redactor: says which values are secret.
        converter: converts values to JSON, with that redactor.
    """

    def __init__(self, redactor: Redactor, converter: JsonConverter) -> None:
        self._redactor = redactor
        self._converter = converter

    def withhold(self, found: dict[str, Any]) -> list[str]:
        """Remove the extras with secret names, and return their names."""
        withheld = [key for key in found if self._redactor.is_secret(key)]
        for key in withheld:
            del found[key]
        return withheld

    def text(self, values: Extras, key: str) -> str | None:
        """Take a text, or return `None` if there is none, or nothing to see in it."""
        value = values.take(key)
        return None if value is None else readable(self._converter.text(value)) or None

    def name(self, values: Extras) -> str | None:
        """Take the event's name, or return `None`."""
        return self.text(values, "emitkit_event") or self.text(values, "event")

    @staticmethod
    def properties(values: Extras) -> dict[Any, Any]:
        """Take `properties`, whose private keys count as those of the record do."""
        properties: dict[Any, Any] = values.take("properties") or {}
        for key in extras.OVERRIDES:
            if key in properties:
                values.remaining.setdefault(key, properties[key])
        return properties

    def open_context(self, values: Extras) -> None:
        """Put the items of the dict `context` beside the record's own extras, which win."""
        nested = values.take("context")
        if nested is not None:
            masked = {key: REDACTED if self._redactor.is_secret(str(key)) else value for key, value in nested.items()}
            values.remaining = extras.with_nested(values.remaining, masked)

    def apply_context(
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

    def contexts(self, values: Extras) -> dict[str, Json]:
        """Take `page`, `device`, `utm` and `server`, without the addresses of users."""
        contexts: dict[str, Json] = {}
        for name in _CONTEXTS:
            given = values.take(name)
            if given is None:
                continue
            converted = self._converter.items(given)
            if name in _WITH_ADDRESS:
                converted.pop("ip", None)
                if not converted:
                    continue
            contexts[name] = self._redactor.mask_page(converted) if name == "page" else converted
        return contexts

    @staticmethod
    def occurred_at(values: Extras) -> float | None:
        """Take when it happened, in epoch seconds, or return `None`."""
        moment = values.take("occurred_at")
        return None if moment is None else extras.seconds_of(moment)

    def channel(self, values: Extras) -> str | None:
        """Take the channel that the record names, or return `None`."""
        own, override = self.text(values, "channel"), self.text(values, "__emitkit_channel")
        values.remaining.pop("__emitkit_channel", None)
        return shorten((override or own or "").strip(), LONGEST_CHANNEL) or None

    @staticmethod
    def notify(values: Extras, *, is_waiting: bool) -> bool | None:
        """Take whether the event is to push, or return `None`.

        An event that waits for an answer always pushes (API contract); a record's `False` is then metadata.
        """
        own, override = values.take("notify"), values.take("__emitkit_notify")
        values.remaining.pop("__emitkit_notify", None)
        notify: bool | None = own if override is None else override
        if is_waiting and notify is False:
            values.remaining["notify"] = notify
        return is_waiting or notify

    def tags(self, values: Extras) -> list[str]:
        """Take the tags."""
        tags = values.take("tags") or ()
        return [
            readable(self._converter.text(tag)) for tag in (sorted(tags) if isinstance(tags, set | frozenset) else tags)
        ]

    def questions(self, values: Extras) -> dict[str, Json]:
        """Take `actions`, `fields` and what belongs to them, by the API's names.

        What the server would refuse stays among the values, and so becomes metadata: a part of a list alone, too. So
        does a `resume` that would be cut, because the application could not read it when it comes back.
        """
        found = {
            name: self._converter.value(values.get(key))
            for key, name in _QUESTIONS.items()
            if key in values.remaining and not (key == "resume" and is_cut(values.get(key)))
        }
        if not found:
            return {}
        accepted, refused = askable(found)
        for key, name in _QUESTIONS.items():
            if name in accepted:
                values.take(key)
                if name in refused:
                    values.remaining[key] = refused[name]
        return accepted

    def idempotency_key(self, values: Extras) -> str | None:
        """Take the `Idempotency-Key`, or return `None`; what cannot be a header is replaced by its hash."""
        given = values.take("idempotency_key")
        key = None if given is None else self._converter.text(given)
        if key is None or (
            len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable() and key.strip() == key
        ):
            return key
        return hashlib.sha256(key.encode()).hexdigest()  # the same key gives the same header, in a valid form
