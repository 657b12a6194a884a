"""Context: what every record of a request, a task or a block of code says, without each call saying it.

It lives in a context variable, so it is seen by synchronous code, by asyncio tasks, and by threads that were started
with a copied context. What a record says itself wins. A record takes its context at the call.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeAlias

from emitkit_logging import keys
from emitkit_logging.redaction import Redactor
from emitkit_logging.values import Plain

KEY = f"{keys.PRIVATE}context"
"""Where a captured record, and an exception that left a context, keep what that context said."""

MERGED = ("page", "device", "server")
"""Dicts of which an inner context, or the record, may say a part; of all else the innermost stands alone."""

_OF_ONE_RECORD = ("event", "emitkit_event", "category", "idempotency_key", "identify")
_PAGES_OWN = ("path", "url")
_PERSON = ("user", "user_id")

_plain = Plain(Redactor())
_moments = itertools.count(1)
moment = _moments.__next__
"""Returns a number that grows: when a layer was entered, for `bring_along`."""

Values: TypeAlias = "dict[str, Any]"
_Layer: TypeAlias = "Values | Callable[[], Values]"

_current: ContextVar[_Layer | None] = ContextVar("emitkit_logging.context", default=None)


def current() -> Values | None:
    """Return what the context says at this moment, or `None`; the dict is shared and must not be changed."""
    layer = _current.get()
    return layer if layer is None or type(layer) is dict else layer()  # type: ignore[operator]


def of_record(record: logging.LogRecord) -> Values | None:
    """Return the context of a record that is logged now: the current one, and over it what its exception brought."""
    brought = _brought(record)
    now = current()
    return now if brought is None else brought if now is None else over(now, brought)


def _brought(record: logging.LogRecord) -> Values | None:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    found = None
    with suppress(Exception):  # an exception whose attributes cannot be read brings nothing
        _, found = error.__dict__[KEY]
    return found if type(found) is dict else None


def over(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Values:
    """Return what `inner` says, and where it says nothing what `outer` does.

    `device` and `server` are merged; so is `page`, unless the inner one names its own path or address: it is another
    page then. Whoever names a user names another person, unless the id is the same.
    """
    result = dict(inner)
    is_other_person = any(key in inner for key in _PERSON) and not _is_same_person(outer, inner)
    for key, value in outer.items():
        if key not in inner:
            if not (is_other_person and key in _PERSON):
                result[key] = value
        elif key in MERGED and type(value) is dict and type(inner[key]) is dict and not _is_other_page(key, inner[key]):
            result[key] = {**value, **inner[key]}
    return result


def _is_other_page(key: str, said: Mapping[str, Any]) -> bool:
    return key == "page" and any(own in said for own in _PAGES_OWN)


def _is_same_person(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    ids = [person_id(values) for values in (outer, inner)]
    return ids[0] is not None and ids[0] == ids[1]


def person_id(values: Mapping[str, Any]) -> str | None:
    """Return the id of the user whom a context names, or `None`."""
    user = values.get("user")
    said = values.get("user_id")
    if said is None:
        said = (user.get("id") or user.get("user_id")) if isinstance(user, dict) else user
    return str(said) if keys.is_id(said) else None


class _Over:
    """A few values over a layer that is asked anew each time."""

    __slots__ = ("inner", "outer")

    def __init__(self, outer: Callable[[], Values], inner: Values) -> None:
        self.outer = outer
        self.inner = inner

    def __call__(self) -> Values:
        return _present(over(self.outer(), self.inner))


def _lay(said: Values) -> _Layer | None:
    """Put what is said over the current layer, and return that one."""
    outer = _current.get()
    if outer is None:
        _current.set(_present(said))
    elif isinstance(outer, _Over):  # one over the other, however often: a chain would grow without end
        _current.set(_Over(outer.outer, over(outer.inner, said)))
    elif type(outer) is dict:
        _current.set(_present(over(outer, said)))
    elif callable(outer):
        _current.set(_Over(outer, said))
    return outer


def _present(values: Values) -> Values:
    return {key: value for key, value in values.items() if value is not None}


def _said(values: Mapping[str, Any]) -> Values:
    for key in _OF_ONE_RECORD:
        if key in values:
            raise TypeError(f"{key}: belongs to one record, a context cannot say it")
    nested = values.get("context")
    if isinstance(nested, Mapping):
        outer = {key: value for key, value in values.items() if key != "context"}
        values = {**{str(key): value for key, value in nested.items()}, **outer}
    return _plain.items({key: value for key, value in values.items() if not keys.is_private(key)})


class within:  # noqa: N801 - a context manager, used like a function
    """A context manager inside which a layer is the current one.

    An exception that leaves it takes the context along, so that whoever logs it further out, a framework or a server,
    logs it with the context in which it was raised.

    Args:
        layer: a dict, or a callable that is asked for one at each record and must not log.
    """

    __slots__ = ("_layer", "_outer", "_since")

    def __init__(self, layer: _Layer) -> None:
        self._layer = layer
        self._since = 0
        self._outer: _Layer | None = None

    def __enter__(self) -> None:
        self._since = moment()
        self._outer = push(self._layer)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception):
            bring_along(error, self._since)
        pull(self._outer)


class event_context:  # noqa: N801 - a context manager, used like a function
    """A context manager inside which every record carries `values`: `with event_context(user_id="user-123"):`.

    An exception that leaves it takes the context along, to whoever logs it further out.

    Args:
        values: what `extra` could say: `user`, `user_id`, `session_id`, `page`, `device`, `utm`, `server`, `context`,
            `tags`, `channel` and so on, anything else being metadata. They are taken as they are now. `None` takes away
            what an outer context said.

    Raises:
        TypeError: for what belongs to one record: `event`, `emitkit_event`, `category`, `identify`, `idempotency_key`.
    """

    __slots__ = ("_outer", "_said")

    def __init__(self, **values: Any) -> None:
        self._said = _said(values)
        self._outer: list[tuple[int, _Layer | None]] = []  # it may be entered again inside itself

    def __enter__(self) -> None:
        self._outer.append((moment(), _lay(self._said)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        since, outer = self._outer.pop()
        if isinstance(error, Exception):
            bring_along(error, since)
        pull(outer)


def bind_event_context(**values: Any) -> None:
    """Add to the current context, until the request, the task or the `with` around the call ends.

    Args:
        values: as of `event_context`; `None` takes a key away.

    Raises:
        TypeError: as of `event_context`.
    """
    _lay(_said(values))


def bring_along(error: BaseException, since: int) -> None:
    """Have an exception carry the current context, unless it carries that of a place further in, entered `since`.

    What it carries from before that was left by another request: some exceptions are made once and raised often.
    """
    with suppress(Exception):  # an exception that takes no attributes goes without
        when, _ = error.__dict__.get(KEY, (0, None))
        said = current()
        if when < since and said is not None:
            error.__dict__[KEY] = (moment(), said)


def push(layer: _Layer) -> _Layer | None:
    """Put a layer in place of the current one and return that, for `pull`: where no `with` can span what is meant."""
    outer = _current.get()
    _current.set(layer)
    return outer


def pull(outer: _Layer | None) -> None:
    """Put back what `push` returned."""
    _current.set(outer)


def base() -> Callable[[], Values] | None:
    """Return the callable that is the current layer, or on which stands what was bound since."""
    now = _current.get()
    if isinstance(now, _Over):
        return now.outer
    return now if callable(now) else None
