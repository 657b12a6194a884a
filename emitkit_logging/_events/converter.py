"""Convert any value of a record to JSON values, bounded in size and without secrets.

There are two passes with the same bounds. `snapshot` runs in the application's thread and only copies what could change
after the call. `value` runs in the background thread and makes JSON values of the result. To convert a converted value
again changes nothing.
"""

from __future__ import annotations

import base64
import codecs
import collections
import datetime
import decimal
import enum
import numbers
import pathlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import ParseResult, ParseResultBytes, SplitResult, SplitResultBytes

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.text import MORE, clean, cut
from emitkit_logging._events.asking import asking, is_asked
from emitkit_logging._events.entries import entries_of, ordered, pairs_of, untaken
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.numeric import json_decimal, json_integer, json_number
from emitkit_logging._events.objects import fields_of, http_fields
from emitkit_logging._events.redaction import REDACTED, Redactor

LONGEST_TEXT = 8_000
"""Characters kept of one text; an event has 16 KB, so a longer text could not be sent whole."""

LONGEST_TRACE = 60_000
"""Characters kept of a traceback or a stack, from its end."""

MOST_ITEMS = 100
"""Entries kept of one container, including the entry that says how many more there were."""

MOST_NODES = 2_000
"""Entries kept of one value, in all its containers together."""

MOST_CHARACTERS = 32_000
"""Characters kept of one value, in all its texts together, give or take one text."""

LONGEST_KEY = 256
"""Characters kept of one key."""

LONGEST_NAME = 512
"""Characters kept of a name that logging gives a record, such as that of the logger or of the file."""

DEEPEST = 16
"""Most containers inside one another; servers refuse metadata that is nested too deeply (API contract)."""

_MARGIN = 1_000  # of a text beyond its limit that is searched for secrets, since half a key is no longer recognised
_UNCHANGING = frozenset(
    (int, float, bool, type(None), complex, uuid.UUID, decimal.Decimal)
    + (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
)
_CUT = re.compile(rf"{MORE} \[\d+ characters\]\Z")
_SHORT = 64
"""A text of so many characters may come again: what is masked in it is remembered."""

_SHALLOW = 4
_FEW = 6
_SHORTEST_CUT = 20  # the mark of a text that is left out would be longer than a shorter one
_SEQUENCES = (list, tuple, set, frozenset)
_ADDRESSES = (SplitResult, SplitResultBytes, ParseResult, ParseResultBytes)


class Bounds:
    """What is still kept of one value, or of several values together.

    Args:
        entries: of all containers.
        characters: of all texts, give or take one text.
    """

    __slots__ = ("characters", "entries")

    def __init__(self, entries: int = MOST_NODES, characters: int = MOST_CHARACTERS) -> None:
        self.entries = entries
        self.characters = characters


class Converted:
    """A value that was converted when the record was logged, and no longer has its own type.

    Keys of a record that mean something only for one type (`user` as a dict) must not take it for that type.
    """

    __slots__ = ("value",)

    def __init__(self, value: Json) -> None:
        self.value = value


def is_unchanging(value: object) -> bool:
    """Whether `value` is immutable and small, so that it can be kept as it is."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= LONGEST_TEXT  # type: ignore[arg-type]
    return kind in _UNCHANGING


def is_cut(text: object) -> bool:
    """Whether `text` is the beginning of a longer text, as `JsonConverter.text` returns it."""
    return isinstance(text, str) and _CUT.search(text) is not None


class JsonConverter:
    """Turns any value into JSON values.

    Builtin containers, mappings, sequences and the objects that `objects` knows are walked. Iterators and other
    iterables are never evaluated: they are named by their type. Whatever an object does when asked for its text,
    the result is JSON.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    @property
    def redactor(self) -> Redactor:
        """Decides what is secret."""
        return self._redactor

    def text(self, text: str) -> str:
        """Return `text` cut to `LONGEST_TEXT`, cleaned, and with secrets masked."""
        size = str.__len__(text)
        if size > LONGEST_TEXT:
            return self.part(str.__str__(text)[: LONGEST_TEXT + _MARGIN], f"{size} characters")
        mask = self._redactor.mask_repeated if size <= _SHORT else self._redactor.mask
        return mask(clean(str.__str__(text)))

    def part(self, text: str, whole: str) -> str:
        """Return the beginning of a text that is too long, and how long the `whole` was."""
        mark = f"{MORE} [{whole}]"
        return self._redactor.mask(clean(text))[: LONGEST_TEXT - len(mark)] + mark

    def ending(self, text: str, longest: int) -> str:
        """Return the last `longest` characters of `text`, cleaned, and with secrets masked."""
        if len(text) <= longest:
            return self._redactor.mask(clean(text))
        mark = f"{MORE} [{len(text)} characters]\n"
        return mark + self._redactor.mask(clean(text[-longest - _MARGIN :]))[len(mark) - longest :]

    def key(self, text: str) -> str:
        """Return the name of a value cut to `LONGEST_KEY`, cleaned, and with secrets masked."""
        return cut(self.text(str.__str__(text)[: LONGEST_KEY + _MARGIN]), LONGEST_KEY)

    def name(self, text: str) -> str:
        """Return a name that logging gives a record, cut to `LONGEST_NAME`, cleaned, and with secrets masked."""
        if len(text) <= LONGEST_KEY:
            return self._redactor.mask_repeated(clean(text))
        return cut(self.text(str.__str__(text)[: LONGEST_NAME + _MARGIN]), LONGEST_NAME)

    def value(self, value: object) -> Json:
        """Return `value` as JSON values, at most `MOST_NODES` of them."""
        kind = type(value)
        if kind is str:
            return self.text(value)  # type: ignore[arg-type]
        if kind is int:
            return json_integer(value)  # type: ignore[arg-type]
        walked: Json = _Walk(self, self._redactor, Bounds()).visit(value, 0)
        return walked

    def snapshot(self, value: object, bounds: Bounds | None = None) -> object:
        """Return what `value` is now, safe from later changes.

        Builtin scalars and containers stay what they are, and what derives from them becomes one, so that a check
        of its type has the same result as before; all else is converted and wrapped as `Converted`.

        Args:
            value: any value.
            bounds: what may be kept of it, and of the values after it; those of one value when absent.
        """
        bounds = bounds or Bounds()
        entries, characters = bounds.entries, bounds.characters
        try:
            return _copy(value, 0, bounds)
        except _Foreign:
            bounds.entries, bounds.characters = entries, characters
            return _Snapshot(self, self._redactor, bounds).visit(value, 0)

    def items(self, mapping: Mapping[Any, Any]) -> dict[str, Json]:
        """Return a mapping as a JSON object whose keys are texts, made different by a suffix where they are equal."""
        if type(mapping) is dict and len(mapping) <= MOST_ITEMS and all(map(_is_simple, mapping, mapping.values())):
            # the common case, in a third of the time
            is_secret, mask = self._redactor.is_secret, self._redactor.mask_repeated
            return {mask(key): REDACTED if is_secret(key) else self.value(item) for key, item in mapping.items()}
        walked = self.value(mapping)
        return walked if isinstance(walked, dict) else {"value": walked}


def _is_simple(key: object, value: object) -> bool:
    return type(key) is str and key.isidentifier() and len(key) <= LONGEST_KEY and type(value) in (str, int)


class _Foreign(Exception):  # noqa: N818 - control flow: the value is not made of builtin immutables alone
    pass


def _copy(value: object, depth: int, bounds: Bounds) -> object:
    kind = type(value)
    if is_unchanging(value):
        if kind is str or kind is bytes:
            bounds.characters -= len(value)  # type: ignore[arg-type]
            if bounds.characters < 0:
                raise _Foreign
        return value
    if depth >= _SHALLOW:
        raise _Foreign
    if (kind is dict or kind in _SEQUENCES) and len(value) <= min(_FEW, bounds.entries):  # type: ignore[arg-type]
        bounds.entries -= len(value)  # type: ignore[arg-type]
        # list() of an exact dict is one step for the interpreter: other threads cannot change it half-way
        if kind is dict:
            pairs = list(value.items())  # type: ignore[attr-defined]
            return {_copy(key, _SHALLOW, bounds): _copy(item, depth + 1, bounds) for key, item in pairs}
        return kind([_copy(item, depth + 1, bounds) for item in list(value)])  # type: ignore[arg-type, call-overload]
    raise _Foreign


class _Walk:
    """One conversion. It counts the entries that it keeps, and knows the containers that it is inside of."""

    def __init__(self, converter: JsonConverter, redactor: Redactor, bounds: Bounds) -> None:
        self._converter = converter
        self._redactor = redactor
        self._bounds = bounds
        self._inside: set[int] = set()

    def visit(self, value: object, depth: int) -> Any:
        try:
            return self._visit(value, depth)
        except BaseException as error:  # whatever a foreign object raises, the rest of the event is still sent
            if not is_fault(error):
                raise
            return _named(type(value))

    def _visit(self, value: Any, depth: int) -> Any:
        # Types are judged by type(), not isinstance(): a lazy object's __class__ would evaluate it.
        kind = type(value)
        if kind is str:
            return self._converter.text(self._within_bounds(value))
        if value is None or kind is bool:
            return value
        if kind is int:
            return json_integer(value)
        if kind is Converted:
            return value.value
        if issubclass(kind, enum.Enum):
            return self._visit(value.value, depth)
        if issubclass(kind, int):
            return json_integer(int.__int__(value))
        if issubclass(kind, float):
            return json_number(float.__float__(value))
        if issubclass(kind, decimal.Decimal):
            return json_decimal(decimal.Decimal(value))
        if issubclass(kind, str):
            return self._converter.text(self._within_bounds(str.__str__(value)))
        if issubclass(kind, _ADDRESSES):
            return self._visit(value.geturl(), depth)
        if issubclass(kind, bytes | bytearray | memoryview):
            return self._bytes(memoryview(value).cast("B"))
        if issubclass(kind, datetime.datetime | datetime.date | datetime.time):
            return self._converter.text(str(value.isoformat()))
        if issubclass(kind, BaseException):
            if is_asked(value):
                return kind.__name__
            with asking([value]):
                text = str(value)
            if len(text) > LONGEST_TEXT:
                return self._converter.part(
                    f"{kind.__name__}: {str.__str__(text[: LONGEST_TEXT + _MARGIN])}", f"{len(text)} characters"
                )
            return self._converter.text(f"{kind.__name__}: {text}" if text else kind.__name__)
        if issubclass(kind, type):
            return _named(value)
        if kind is not dict and kind is not list:
            fields = self._fields(value)
            if fields is not None:
                return self._container(value, lambda _, most: pairs_of(fields, most), self._mapping, depth)
        if issubclass(kind, Mapping):
            return self._container(value, pairs_of, self._mapping, depth)
        if issubclass(kind, set | frozenset):
            return self._container(value, ordered, self._sequence, depth)
        if issubclass(kind, Sequence) and not issubclass(kind, collections.UserString):
            return self._container(value, entries_of, self._sequence, depth)
        return self._object(value, kind, depth)

    def _within_bounds(self, text: str) -> str:
        if self._bounds.characters <= 0 and len(text) > _SHORTEST_CUT:
            return f"{MORE} [{len(text)} characters]"
        self._bounds.characters -= min(len(text), LONGEST_TEXT)
        return text

    def _fields(self, value: Any) -> dict[str, Any] | None:
        message = http_fields(value)
        return fields_of(value) if message is None else self._redactor.mask_page(message)

    def _object(self, value: Any, kind: type, depth: int) -> Any:
        if callable(getattr(kind, "item", None)) and getattr(value, "ndim", 0) == 0:
            item = value.item()
            if type(item) is not kind:
                return self._visit(item, depth)
        if kind.__name__.startswith("Secret"):  # as those of pydantic and Starlette, whose text is the secret for some
            return REDACTED
        is_iterable = hasattr(kind, "__iter__") or hasattr(kind, "__next__")
        if is_iterable and not issubclass(kind, pathlib.PurePath | collections.UserString):
            return _named(kind)
        return self._converter.text(str(value))

    def _container(
        self, value: Any, read: Callable[[Any, int], tuple[Any, int]], build: Callable[[Any, int, int], Any], depth: int
    ) -> Any:
        if id(value) in self._inside:
            return "<cycle>"
        if depth >= DEEPEST or (self._bounds.entries <= 0 and len(value)):
            return f"{MORE} [{_named(type(value))[1:-1]}]"
        self._inside.add(id(value))
        try:
            most = max(1, min(MOST_ITEMS, self._bounds.entries))
            entries, size = read(value, most)
            kept = len(entries)
            # reserved before going deeper, the mark included: what was converted already has the same size again
            self._bounds.entries -= kept
            if kept < size:
                entries = entries[: kept - 1]
            return build(entries, size - len(entries), depth)
        finally:
            self._inside.discard(id(value))

    def _mapping(self, pairs: Sequence[tuple[object, object]], more: int, depth: int) -> Any:
        result: dict[str, Any] = {}
        for key, value in pairs:
            text = self._key_text(key)
            name = untaken(self._converter.key(text), result)
            result[name] = REDACTED if self._redactor.is_secret(text) else self.visit(value, depth + 1)
        if more:
            result[untaken(MORE, result)] = f"{more} more"
        return result

    def _sequence(self, values: Sequence[object], more: int, depth: int) -> Any:
        result = [self._element(value, depth + 1) for value in self._redactor.without_options(values)]
        if more:
            result.append(f"{MORE} {more} more")
        return result

    def _element(self, value: object, depth: int) -> Any:
        if self._redactor.is_secret_pair(value):  # a header: ("Authorization", "Basic …")
            value = type(value)((value[0], REDACTED))  # type: ignore[call-arg, index]
        return self.visit(value, depth)

    def _key_text(self, key: object) -> str:
        if type(key) is str:
            return key
        try:
            if type(key) in (tuple, frozenset) and _is_small(key, 0):
                return str.__str__(str(key))
        except Exception:  # keys of foreign objects: named instead
            return _named(type(key))
        return str(_Walk.visit(self, key, DEEPEST))

    def _bytes(self, value: memoryview) -> str:
        if self._bounds.characters <= 0:
            return f"{MORE} [{value.nbytes} bytes]"
        self._bounds.characters -= min(value.nbytes, LONGEST_TEXT)
        kept = value[: LONGEST_TEXT + _MARGIN].tobytes()
        is_whole = value.nbytes <= LONGEST_TEXT
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(kept, is_whole)
        except UnicodeDecodeError:
            text = base64.b64encode(kept).decode("ascii")
        if is_whole and len(text) <= LONGEST_TEXT:
            return self._converter.text(text)
        return self._converter.part(text, f"{value.nbytes} bytes")


class _Snapshot(_Walk):
    """A conversion that keeps builtin types, and wraps what it converts."""

    def __init__(self, converter: JsonConverter, redactor: Redactor, bounds: Bounds) -> None:
        super().__init__(converter, redactor, bounds)
        self._foreign = _Walk(converter, redactor, bounds)
        self._foreign._inside = self._inside

    def visit(self, value: object, depth: int) -> Any:
        try:
            return self._taken(value, depth)
        except Exception:  # such as the elements of a set, when one of them can no longer be an element
            return self._converted(value, depth)

    def _taken(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if issubclass(kind, str):
            text = self._within_bounds(str.__str__(value))
            return self._converter.text(text) if len(text) > LONGEST_TEXT else text
        if kind is bytes:
            self._bounds.characters -= min(len(value), LONGEST_TEXT)
            return value if self._bounds.characters > 0 and is_unchanging(value) else self._converted(value, depth)
        if is_unchanging(value) or kind is Converted:
            return value
        if issubclass(kind, int):
            return int.__int__(value)
        if issubclass(kind, numbers.Integral):
            return int(value)
        if issubclass(kind, float):
            return float.__float__(value)
        if issubclass(kind, uuid.UUID):
            return uuid.UUID(int=value.int)
        if issubclass(kind, datetime.datetime):
            return datetime.datetime.combine(value.date(), value.timetz())
        if issubclass(kind, dict):
            return self._container(value, pairs_of, self._dict, depth)
        if issubclass(kind, tuple) and not issubclass(kind, _ADDRESSES) and fields_of(value) is not None:
            return self._converted(value, depth)
        for builtin in () if issubclass(kind, _ADDRESSES) else _SEQUENCES:
            if issubclass(kind, builtin):
                walked = self._container(value, entries_of, self._sequence, depth)
                return builtin(walked) if type(walked) is list else walked
        return self._converted(value, depth)

    def _converted(self, value: object, depth: int) -> Converted:
        return Converted(self._foreign.visit(value, depth))

    def _dict(self, pairs: Sequence[tuple[object, object]], more: int, depth: int) -> dict[Any, Any]:
        result = {
            self._kept_key(key) if is_unchanging(key) else self._key_text(key): self.visit(value, depth + 1)
            for key, value in pairs
        }
        if more:
            result[untaken(MORE, result)] = f"{more} more"
        return result

    def _kept_key(self, key: object) -> object:
        if type(key) is str and len(key) > LONGEST_KEY:
            return self._converter.key(self._within_bounds(key))
        return key


def _is_small(key: object, depth: int) -> bool:
    """Whether a key made of containers has few parts, so that its text is short."""
    if type(key) in (tuple, frozenset):
        return depth < _SHALLOW and len(key) <= _FEW and all(_is_small(part, depth + 1) for part in key)  # type: ignore[arg-type, attr-defined]
    return not issubclass(type(key), str | bytes | int) or is_unchanging(key)


def _named(kind: type) -> str:
    return f"<{qualified_name(kind)}>"


def qualified_name(kind: type) -> str:
    """Name a type as tracebacks do: with its module, builtins bare."""
    try:
        module = getattr(kind, "__module__", None)
        name = clean(str.__str__(str(getattr(kind, "__qualname__", None) or "object")))
        return name if module in (None, "builtins", "__main__") else f"{clean(str(module))}.{name}"
    except Exception:  # a metaclass that raises
        return "object"
