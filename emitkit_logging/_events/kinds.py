"""What records have in common that are of one kind, and so may fold into one event (design, *Kinds*)."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.extras import PRIVATE
from emitkit_logging._events.masking import LONGEST_MASKED, MASK, headline, mask
from emitkit_logging._events.reading import opened
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._events.routing import Router
from emitkit_logging._events.templates import Templates

_MOST_REMEMBERED = 4_096
"""Keys that are remembered; beyond it all are forgotten."""

_LONGEST_REMEMBERED = 1_000
"""Characters of a message whose key is remembered, at most."""

NEEDING_THE_EVENT = frozenset(
    ("emitkit_event", "channel", f"{PRIVATE}channel", "extra", "context", "properties", "user", "identify")
    + ("idempotency_key", "actions", "fields", "fingerprint")
)
"""Extras of records whose fold key is not known before their event is made."""

FINGERPRINT = "fingerprint:"
"""The first part of a kind that a record's `fingerprint` names."""

_PARTS_OF_PLAIN = 4
_PLACEHOLDER = re.compile(
    r"%(?:\([^)\s]{0,100}\))?[-#0 +]{0,5}(?:\d{1,9}|\*)?(?:\.(?:\d{1,9}|\*))?[hlL]?[diouxXeEfFgGcrsa]"
)
_WORD = re.compile(r"[^\W\d_]{2}")
_DIGIT = re.compile(r"\d")


def source_of(captured: CapturedRecord) -> Hashable:
    """Return what tells records of different kinds apart, nearly always, in a fraction of the time of finding the kind.

    That is where in the code a record comes from, its event's name, its fingerprint and the type of its exception.
    """
    get, exception = captured.attributes.get, captured.exception
    logger, file, line, event, mark = get("name"), get("filename"), get("lineno"), get("event"), get("fingerprint")
    return (  # a value of another type may do anything when it is hashed
        logger if type(logger) is str else None,
        file if type(file) is str else None,
        line if type(line) is int else None,
        event if type(event) is str else None,
        mark if type(mark) is str else None,
        exception and exception.type,
    )


class FoldKey(NamedTuple):
    """Channel, priority and kind: records with the same key may become one event.

    Attributes:
        channel: the channel of their events.
        level: their priority, see `CapturedRecord.priority`.
        kind: the event's name alone; `FINGERPRINT` and the parts of a fingerprint; or of a plain record logger,
            template, type of the exception and where it was raised.
    """

    channel: str
    level: int
    kind: tuple[str, ...]

    @property
    def name(self) -> str:
        """The kind as people read it."""
        if len(self.kind) == 1:
            return self.kind[0]
        if self.kind[0] == FINGERPRINT:
            return " ".join(self.kind[1:])
        logger, template, exception = self.kind[:3]
        return template.strip().partition("\n")[0] or exception or logger


class MergedTemplate(NamedTuple):
    """A template that became part of a more general one: kinds with `before` are kinds with `after` now.

    Attributes:
        logger: the first part of their kinds.
        before: the second part that no record has any more.
        after: the second part that these records have now.
    """

    logger: str
    before: str
    after: str


class RenamedKinds:
    """The kinds whose templates became part of more general ones.

    Args:
        merged: the templates that became part of others, in the order in which they did.

    Attributes:
        templates: logger and template now, by logger and template before.
    """

    def __init__(self, merged: Sequence[MergedTemplate]) -> None:
        self.templates: dict[tuple[str, str], tuple[str, str]] = {}
        for logger, before, after in reversed(merged):  # so that what `after` became later is known
            if before != after:
                self.templates[logger, before] = self.templates.get((logger, after), (logger, after))

    def of(self, key: FoldKey) -> FoldKey:
        """Return what a kind is called now."""
        latest = self.templates.get((key.kind[0], key.kind[1])) if len(key.kind) == _PARTS_OF_PLAIN else None
        return key if latest is None else FoldKey(key.channel, key.level, (*latest, *key.kind[2:]))


class PlainKinds:
    """Finds the kinds of records that are no event.

    Args:
        redactor: masks secrets, since digests show the names of kinds.
        templates: knows the templates of messages without arguments.
    """

    def __init__(self, redactor: Redactor, templates: Templates | None = None) -> None:
        self._mask = redactor.mask_repeated
        self.templates = templates or Templates()

    def of(self, captured: CapturedRecord) -> tuple[str, ...]:
        """Return logger, template, exception type and where that was raised.

        Args:
            captured: a record that is no event.
        """
        exception = captured.exception
        raised = (self._mask(exception.type), exception.raised_at) if exception else ("", "")
        name = str(captured.attributes["name"])[: 2 * LONGEST_MASKED]
        return (self._mask(name)[:LONGEST_MASKED], self._mask(self._template(captured)), *raised)

    def pop_merged(self) -> list[MergedTemplate]:
        """Return the templates that became part of others since the last call, in the order in which they did."""
        return [MergedTemplate(site[0], *templates) for site, *templates in self.templates.pop_merged()]  # type: ignore[index]

    # What another process knows

    def pop_learned(self) -> dict[str, Json]:
        """Return what changed of the templates since the last call, by a name for each; `None`: it is gone.

        Secrets in them are masked: the process that loads a template with one learns it anew.
        """
        return {
            json.dumps([_masked(site, self._mask), self._mask(text)]): None if variables is None else list(variables)
            for site, text, variables in self.templates.pop_learned()
        }

    def load(self, learned: Mapping[str, Json]) -> None:
        """Replace what is known of templates by what all calls of `pop_learned` returned in another process."""
        self.templates.load(_read_learned(learned))

    def _template(self, captured: CapturedRecord) -> str:
        attributes, text = captured.attributes, captured.message
        if (template := template_as_written(captured)) is not None:
            return template
        site = (str(attributes["name"]), str(attributes.get("filename")), str(attributes.get("lineno")))
        try:
            return self.templates.of(site, text)
        except (KeyError, RuntimeError):  # another thread changes them: handlers may share a formatter
            return mask(headline(text))


def _masked(site: Hashable, mask: Callable[[str], str]) -> Json:
    return [mask(str(part)) for part in site] if isinstance(site, tuple) else mask(str(site))


def _read_learned(learned: Mapping[str, Json]) -> Iterator[list[Any]]:
    for name, variables in learned.items():
        with contextlib.suppress(ValueError, TypeError):
            site, text = json.loads(name)
            yield [site, text, variables]


def template_as_written(captured: CapturedRecord) -> str | None:
    """Return the template of a message with arguments, or `None` if it has to be derived from the message's text."""
    written = captured.attributes["msg"]
    has_arguments = captured.text is not None and isinstance(written, str) and written != captured.text
    return template_of_format(written) if has_arguments else None


@lru_cache(1_024)
def template_of_format(written: str) -> str | None:
    """Return the template of a message with `%` placeholders, or `None` if it has no word besides them.

    Digits in it come from an f-string or from `%` applied before the call, or are always the same, so they are masked.
    """
    template = _PLACEHOLDER.sub(MASK, written[: 2 * LONGEST_MASKED])
    if _WORD.search(template) is None:
        return None
    return mask(headline(template)) if _DIGIT.search(template) else template


def fingerprint_kind(fingerprint: object, converter: JsonConverter) -> tuple[str, ...]:
    """Return the kind that a fingerprint names.

    Args:
        fingerprint: a string, or a list or tuple of strings.
        converter: masks secrets in it.
    """
    parts = fingerprint if isinstance(fingerprint, list | tuple) else (fingerprint,)
    return (FINGERPRINT, *(converter.text(str(part)) for part in parts))


class FoldKeys:
    """Finds what records fold by, in a fraction of the time that making their events takes.

    Args:
        router: decides on channels and categories.
        converter: masks secrets in names.
        plain_kinds: finds the kinds of records that are no event.
        is_usable: `False` if the values of `event`, `category` or `user_id` are secret: then no key is known before the
            event is made.
        names_from_messages: whether messages may name events: then no key of a record without `event` is.
    """

    def __init__(
        self,
        router: Router,
        converter: JsonConverter,
        plain_kinds: PlainKinds,
        *,
        is_usable: bool,
        names_from_messages: bool,
    ) -> None:
        self._router = router
        self._converter = converter
        self._plain_kinds = plain_kinds
        self._is_usable = is_usable
        self._names_from_messages = names_from_messages
        # by level, name and category of an event; by level, its name, logger and format of a plain record; by level and
        # its name, for the channel of plain records alone
        self._known: dict[tuple[object, ...], FoldKey] = {}

    def of(self, captured: CapturedRecord) -> FoldKey | None:
        """Return the key that the record's event will have, or `None` if it is not known before the event is made.

        Args:
            captured: a record that the handler accepted.
        """
        attributes = captured.attributes
        if not (self._is_usable and captured.is_trusted and attributes.keys().isdisjoint(NEEDING_THE_EVENT)):
            return None
        if captured.context and not captured.context.keys().isdisjoint(NEEDING_THE_EVENT):
            return None
        name, category = attributes.get("event"), attributes.get("category")
        if type(name) is str and name:
            known = (attributes["levelno"], name, category if type(category) is str else None)
            return self._known.get(known) or self._of_event(name, known[2], captured.level)
        if type(category) is str or self._names_from_messages:
            return None
        return self._of_plain(opened(captured))

    def _of_event(self, name: str, category: str | None, level: int) -> FoldKey:
        given = self._converter.text(category) if category else None
        masked = self._converter.text(name)
        channel = self._router.channel(given or self._router.category(masked, level, ""), level)
        return self._remember((level, name, category), FoldKey(channel, level, (masked,)))

    def _of_plain(self, captured: CapturedRecord) -> FoldKey | None:
        attributes = captured.attributes
        level, written = captured.level, attributes["msg"]
        if type(written) is not str or attributes["exc_text"] is not None:
            return None
        level_name = str(attributes["levelname"])
        of_format = None
        if captured.exception is None and len(written) <= _LONGEST_REMEMBERED and template_as_written(captured):
            of_format = (level, level_name, str(attributes["name"]), written)
            if (key := self._known.get(of_format)) is not None:
                return key
        key = self._known.get((level, level_name))
        if key is None:
            channel = self._router.channel(self._router.category(None, level, level_name), level)
            key = self._remember((level, level_name), FoldKey(channel, level, ()))
        key = FoldKey(key.channel, level, self._plain_kinds.of(captured))
        return key if of_format is None else self._remember(of_format, key)

    def _remember(self, known: tuple[object, ...], key: FoldKey) -> FoldKey:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[known] = key
        return key
