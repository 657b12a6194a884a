"""Values: how anything that stands in a record becomes JSON, bounded in size, without secrets.

Two passes share the same bounds. `snapshot` runs in the application's thread and only copies what could
change after the call; `Plain` runs wherever there is time and turns the result into JSON values.
Converting what is already converted changes nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from emitkit_logging.redaction import REDACTED, Redactor

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"

LONGEST_TEXT = 8_000
"""Characters kept of one text: with the 16 KB of an event nothing longer could be sent whole."""

MOST_ITEMS = 100
"""Entries kept of one container, the line that says how many more there were included."""

MOST_NODES = 2_000
"""Entries kept of one value, all its containers together."""

DEEPEST = 16
"""Containers inside one another; servers refuse metadata that is nested without end (API contract)."""

MORE = "…"
"""Marks what was shortened: at the end of a text, as a list's last entry, as a dict's last key."""

_SAFE_INTEGER = 2**53  # beyond it, servers written in JavaScript lose digits (API contract)
_SCALARS = (str, int, float, bool, type(None))
_UNCHANGING = frozenset(
    (*_SCALARS, complex, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
    + (decimal.Decimal, datetime.timezone)
)
_CONTAINERS = frozenset((dict, list, tuple, set, frozenset))
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` without NUL characters and lone surrogates, which servers answer with 500 (API contract)."""
    if text.isascii():
        return text.replace("\x00", "\ufffd") if "\x00" in text else text
    if _UNSENDABLE.search(text) is None:
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\x00", "\ufffd")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to `limit` UTF-16 units, as JavaScript counts length, ending in an ellipsis where cut."""
    if len(text) * 2 <= limit or units(text) <= limit:
        return text
    kept = text[: limit - 1]
    while units(kept) > limit - 1:
        kept = kept[: len(kept) - max(1, (units(kept) - limit + 1) // 2)]
    return kept + MORE


def units(text: str) -> int:
    """Count the UTF-16 units of `text`."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Cut `text` to `limit` characters and say how many there were."""
    if len(text) <= limit:
        return text
    mark = f"{MORE} [{len(text)} characters]"
    return text[: max(0, limit - len(mark))] + mark


class Frozen:
    """A value that was converted when the record was logged, and no longer has its own type.

    Keys of a record that mean something only for one type (`user` as a dict) must not take it for that type.
    """

    __slots__ = ("value",)

    def __init__(self, value: Json) -> None:
        self.value = value


def is_unchanging(value: object) -> bool:
    """Tell whether `value` is immutable and small, so that it can be kept as it is."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= LONGEST_TEXT  # type: ignore[arg-type]
    return kind in _UNCHANGING


class Plain:
    """Turns any value into JSON values.

    Only builtin containers, dataclasses, mappings and sequences are walked. Iterators and other iterables are
    never evaluated: they are named by their type. Whatever an object does when asked for its text, the result
    is JSON.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def text(self, text: str) -> str:
        """Return `text` cut to `LONGEST_TEXT`, cleaned, and with secrets masked."""
        # Masked before the cut, since half a key is no longer recognised; the margin bounds the work.
        if len(text) > LONGEST_TEXT:
            margin = self._redactor.mask(text[: LONGEST_TEXT + 1_000])[:LONGEST_TEXT]
            mark = f"{MORE} [{len(text)} characters]"
            return clean(margin[: LONGEST_TEXT - len(mark)] + mark)
        return self._redactor.mask(clean(text))

    def value(self, value: object) -> Json:
        """Return `value` as JSON values, at most `MOST_NODES` of them."""
        return _Walk(self, self._redactor).visit(value, 0)

    def snapshot(self, value: object) -> object:
        """Return what `value` is now, safe from later changes.

        Builtin containers are copied and keep their types, so do immutable values; anything else, inside of them
        too, is converted and wrapped as `Frozen`.
        """
        try:
            return self._copy(value, 0)
        except _Uncopied:
            return Frozen(self.value(value))

    def _copy(self, value: object, depth: int) -> object:
        if is_unchanging(value):
            return value
        kind: Any = type(value)
        if kind not in _CONTAINERS:
            return Frozen(self.value(value))
        if depth >= DEEPEST or len(value) > MOST_ITEMS:  # type: ignore[arg-type]
            raise _Uncopied
        if kind is dict:
            # list() of an exact dict is one step for the interpreter: other threads cannot change it half-way
            pairs = list(value.items())  # type: ignore[attr-defined]
            if all(is_unchanging(key) for key, _ in pairs):
                return {key: self._copy(item, depth + 1) for key, item in pairs}
        items = list(value)  # type: ignore[call-overload]
        if kind in (list, tuple):
            return kind([self._copy(item, depth + 1) for item in items])
        if kind is not dict and all(map(is_unchanging, items)):
            return kind(items)
        raise _Uncopied

    def items(self, mapping: Mapping[Any, Any]) -> dict[str, Json]:
        """Return a mapping as a JSON object whose keys are texts, equal ones told apart by a suffix."""
        walked = self.value(mapping)
        return walked if isinstance(walked, dict) else {"value": walked}


class _Uncopied(Exception):  # noqa: N818 - control flow: the container is too large, too deep, or keyed by objects
    pass


class _Walk:
    """One conversion: counts what it keeps and remembers which containers it is inside of."""

    def __init__(self, plain: Plain, redactor: Redactor) -> None:
        self._plain = plain
        self._redactor = redactor
        self._left = MOST_NODES
        self._inside: set[int] = set()

    def visit(self, value: object, depth: int) -> Json:
        try:
            return self._visit(value, depth)
        except Exception:  # whatever a foreign object raises, the rest of the event is still sent
            return _named(value)

    def _visit(self, value: object, depth: int) -> Json:
        kind = type(value)
        if kind is str:
            return self._plain.text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value  # type: ignore[return-value]
        if isinstance(value, Frozen):
            return value.value
        if isinstance(value, enum.Enum):
            return self._visit(value.value, depth)
        if isinstance(value, bool | int):
            return _integer(int(value))
        if isinstance(value, float):
            return _number(float(value))
        if isinstance(value, str):
            return self._plain.text(str.__str__(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return self._plain.text(_bytes(bytes(value[:LONGEST_TEXT])))
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, BaseException):
            return self._plain.text(f"{kind.__name__}: {value}")
        if isinstance(value, type):
            return _named(value)
        if dataclasses.is_dataclass(value):
            fields = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
            return self._container(value, lambda: self._mapping(fields, depth), depth)
        if isinstance(value, Mapping):
            return self._container(value, lambda: self._mapping(_pairs(value), depth, len(value)), depth)
        if isinstance(value, set | frozenset):
            return self._container(value, lambda: self._sequence(_ordered(value), depth, len(value)), depth)
        if isinstance(value, Sequence) and not isinstance(value, range):
            return self._container(value, lambda: self._sequence(value, depth, len(value)), depth)
        item = getattr(value, "item", None)
        if callable(item) and getattr(value, "ndim", 0) == 0 and not isinstance(item := item(), kind):
            return self._visit(item, depth)
        if isinstance(value, pathlib.PurePath | range) or not (hasattr(kind, "__iter__") or hasattr(kind, "__next__")):
            return self._plain.text(str(value))
        return _named(value)

    def _container(self, value: object, walk: Any, depth: int) -> Json:
        if id(value) in self._inside:
            return "<cycle>"
        if depth >= DEEPEST:
            return f"{MORE} [{type(value).__name__}]"
        self._inside.add(id(value))
        try:
            return walk()  # type: ignore[no-any-return]
        finally:
            self._inside.discard(id(value))

    def _mapping(self, pairs: Iterable[tuple[object, object]], depth: int, size: int = 0) -> Json:
        result: dict[str, Json] = {}
        for key, value in pairs:
            if len(result) >= MOST_ITEMS - (size > MOST_ITEMS) or self._left <= 0:
                result[MORE] = f"{size - len(result)} more"
                break
            self._left -= 1
            name = _untaken(self._key(key), result)
            result[name] = REDACTED if self._redactor.is_secret(name) else self.visit(value, depth + 1)
        return result

    def _sequence(self, values: Iterable[object], depth: int, size: int) -> Json:
        result: list[Json] = []
        for value in values:
            if len(result) >= MOST_ITEMS - (size > MOST_ITEMS) or self._left <= 0:
                result.append(f"{MORE} {size - len(result)} more")
                break
            self._left -= 1
            result.append(self.visit(value, depth + 1))
        return result

    def _key(self, key: object) -> str:
        if isinstance(key, str) and not isinstance(key, enum.Enum):
            return cut(self._plain.text(str.__str__(key)), 256)
        if isinstance(key, tuple | frozenset):
            return cut(self._plain.text(str(key)), 256)
        return cut(str(self.visit(key, DEEPEST)), 256)


def _pairs(mapping: Mapping[Any, Any]) -> Iterator[tuple[object, object]]:
    if type(mapping) is dict and len(mapping) <= MOST_NODES:
        return iter(list(mapping.items()))
    return ((key, mapping[key]) for key in islice(mapping, MOST_ITEMS + 1))


def _ordered(values: set[Any] | frozenset[Any]) -> Sequence[object]:
    some = list(islice(values, MOST_ITEMS + 1))
    try:
        return sorted(some)
    except TypeError:
        return sorted(some, key=lambda value: (type(value).__name__, str(value)))


def _integer(value: int) -> Json:
    if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return value
    try:
        return cut(str(value), LONGEST_TEXT)
    except ValueError:  # more digits than the interpreter is willing to convert
        return hex(value)[:64] + MORE


def _number(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


def _untaken(name: str, taken: Mapping[str, object]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _named(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"<{qualified_name(kind)}>"


def qualified_name(kind: type) -> str:
    """Name a type as tracebacks do: with its module, builtins bare."""
    module = getattr(kind, "__module__", None)
    name = getattr(kind, "__qualname__", None) or "object"
    return str(name) if module in (None, "builtins", "__main__") else f"{module}.{name}"
