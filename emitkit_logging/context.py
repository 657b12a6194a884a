"""Context: what every record of a request, a task or a block of code says, without each call saying it.

It lives in a context variable, so it is seen by synchronous code, by asyncio tasks, and by threads that were started
with a copied context. What a record says itself wins. A record takes its context at the call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from emitkit_logging._events import extras
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.redaction import Redactor

KEY = f"{extras.PRIVATE}context"
"""Where a captured record keeps what its context said, and an exception the context that it left."""

MERGED = ("page", "device", "server")
"""Dicts of which an inner context, or the record, may say a part; of all else the innermost stands alone."""

_OF_ONE_RECORD = ("event", "emitkit_event", "category", "idempotency_key", "identify")
_PAGES_OWN = ("path", "url")
_PERSON = ("user", "user_id")

DEEPEST = 16
"""Requests and tasks inside one another; beyond it the outer ones are let go. A server that begins a request from
within the one before it (uvicorn, for pipelined requests) would hold all of a connection's otherwise."""

_END: Any = object()
_converter = JsonConverter(Redactor())

Values: TypeAlias = "dict[str, Any]"
_Said: TypeAlias = "Values | Callable[[], Values]"
_Piece = TypeVar("_Piece")


class _Scope:
    """A stretch of code with a context of its own: a request, a task, a `with`."""

    __slots__ = ("depth", "outer", "owner")

    def __init__(self, owner: object, outer: _Layer | None = None, depth: int = 0) -> None:
        self.owner = owner
        self.outer = outer
        self.depth = depth


_Layer: TypeAlias = "tuple[_Said, _Scope]"
_current: ContextVar[_Layer | None] = ContextVar("emitkit_logging.context", default=None)


class _Brought:
    """What an exception carries out of a scope: the context in which it was raised.

    Attributes:
        said: that context.
        is_whole: whether it is all that a request or a task said, to which the code around it adds nothing.
        scope: the scope into which the exception has come by now, or `None` outside of all.
    """

    __slots__ = ("is_whole", "said", "scope")

    def __init__(self, said: Values, scope: _Scope | None, *, is_whole: bool) -> None:
        self.said = said
        self.scope = scope
        self.is_whole = is_whole

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()  # a process that unpickles the exception has other scopes, and perhaps no such class


def current() -> Values | None:
    """Return what the context says at this moment, or `None`; the dict is shared and must not be changed."""
    layer = _current.get()
    if layer is None:
        return None
    said = layer[0]
    return said if type(said) is dict else said()  # type: ignore[operator]


def kept() -> _Said:
    """Return the current context for `within`, where code goes on that began here."""
    layer = _current.get()
    return {} if layer is None else layer[0]


def of_record(record: logging.LogRecord) -> Values | None:
    """Return the context of a record that is logged now: the current one, and over it what its exception brought."""
    now = current()
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    brought = None if error is None else _brought(error)
    layer = _current.get()
    if brought is None or (layer is not None and not _is_inside(brought.scope, layer[1])):
        return now
    return brought.said if brought.is_whole or now is None else over(now, brought.said)


def _brought(error: BaseException) -> _Brought | None:
    found = None
    with suppress(Exception):  # an exception whose attributes cannot be read brings nothing
        found = error.__dict__.get(KEY)
    return found if isinstance(found, _Brought) else None


def _is_inside(scope: _Scope | None, outer: _Scope) -> bool:
    while scope is not None and scope is not outer:
        scope = None if scope.outer is None else scope.outer[1]
    return scope is outer


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
    return str(said) if extras.is_id(said) else None


class _Over:
    """A few values over a layer that is asked anew each time."""

    __slots__ = ("inner", "outer")

    def __init__(self, outer: Callable[[], Values], inner: Values) -> None:
        self.outer = outer
        self.inner = inner

    def __call__(self) -> Values:
        return _present(over(self.outer(), self.inner))


def _lay(said: Values, outer: _Layer | None, scope: _Scope) -> None:
    """Put what is said over the layer that is current, as a part of `scope`."""
    result: _Said
    if outer is None:
        result = _present(said)
    elif isinstance(outer[0], _Over):  # one over the other, however often: a chain would grow without end
        result = _Over(outer[0].outer, over(outer[0].inner, said))
    elif isinstance(outer[0], dict):
        result = _present(over(outer[0], said))
    else:
        result = _Over(outer[0], said)
    _current.set((result, scope))


def received(values: Mapping[str, Any]) -> Values:
    """Return what a context may say of what a message from elsewhere says of its own."""
    return _said({key: value for key, value in values.items() if key not in _OF_ONE_RECORD})


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
    return _converter.items({key: value for key, value in values.items() if not extras.is_private(key)})


class within(_Scope):  # noqa: N801 - a context manager, used like a function
    """A context manager inside which one request, or a part of it, has its context, whatever is current around it.

    An exception that leaves it takes the context along, so that whoever logs it further out, a framework or a server,
    logs it with the context in which it was raised. Entered again, it goes on with what was bound inside before: an
    answer that is made in pieces is one request.

    Args:
        said: a dict, or a callable that is asked for one at each record and must not log.
    """

    __slots__ = ("_open", "_said")

    def __init__(self, said: _Said) -> None:
        super().__init__(None)
        self._said = said
        self._open: _Layer | None = None  # a `with` inside that had not ended when this one did

    def __enter__(self) -> None:
        self.outer, self.depth = _around()
        _current.set(self._open or (self._said, self))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        now = _current.get()
        if error is None and now is not None and now[1] is self:  # what follows, in the usual case and in less time
            self._said, self._open = now[0], None
            _current.set(self.outer)
        else:
            self._open = pull(self, error, is_whole=True) or self._open

    def each(self, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
        """Yield the pieces of what is made inside, each time going on with what was bound before."""
        with self:
            left = iter(pieces)
        while True:
            with self:
                piece = next(left, _END)
            if piece is _END:
                return
            yield piece


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

    __slots__ = ("_said",)

    def __init__(self, **values: Any) -> None:
        self._said = _said(values)

    def __enter__(self) -> None:
        outer = _current.get()
        _lay(self._said, outer, _Scope(self, outer, 0 if outer is None else outer[1].depth))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pull(self, error)


def bind_event_context(**values: Any) -> None:
    """Add to the current context, until the request, the task or the `with` around the call ends.

    Args:
        values: as of `event_context`; `None` takes a key away.

    Raises:
        TypeError: as of `event_context`.
    """
    outer = _current.get()
    _lay(_said(values), outer, _Scope(None) if outer is None else outer[1])


def push(said: _Said, owner: object) -> None:
    """Begin a request or a task where no `with` can span it: `said` is its context until `pull(owner)`.

    Args:
        said: as of `within`.
        owner: what tells this request or task from what else there may be in this thread or asyncio task.
    """
    _current.set((said, _Scope(owner, *_around())))


def _around() -> tuple[_Layer | None, int]:
    outer = _current.get()
    depth = 1 if outer is None else outer[1].depth + 1
    return (None, 1) if depth > DEEPEST else (outer, depth)


def pull(owner: object, error: BaseException | None = None, *, is_whole: bool = False) -> _Layer | None:
    """End what `owner` began in this thread or asyncio task, and all that was begun inside it.

    A generator may be collected, and its `with` ended, in quite another place: nothing is done there.

    Args:
        owner: as of `push`, or the context manager or the scope itself.
        error: the exception by which it ended.
        is_whole: whether what was said there was all of a request.

    Returns:
        The layer that was current, or `None` when nothing was ended.
    """
    now = layer = _current.get()
    while layer is not None and layer[1] is not owner and layer[1].owner != owner:
        layer = layer[1].outer
    if layer is None:
        return None
    scope = layer[1]
    if isinstance(error, Exception):
        _bring_along(error, scope, is_whole=is_whole)
    _current.set(scope.outer)
    return now


def _bring_along(error: Exception, scope: _Scope, *, is_whole: bool) -> None:
    """Have an exception that leaves a scope carry the context, unless it came with that of a place further in.

    What it carries from elsewhere is replaced: some exceptions are made once and raised often, or by many.
    """
    with suppress(Exception):  # an exception that takes no attributes goes without
        brought = _brought(error)
        said: Values | None
        if brought is not None and _is_inside(brought.scope, scope):
            said, is_whole = brought.said, is_whole or brought.is_whole
        else:
            said = current()
        if said is not None:
            outer = None if scope.outer is None else scope.outer[1]
            error.__dict__[KEY] = _Brought(said, outer, is_whole=is_whole)
