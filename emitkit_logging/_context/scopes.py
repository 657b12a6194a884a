"""Keep the current event context, and attach it to exceptions that leave its scope.

The current context is one immutable layer in a context variable. A layer holds the values and the `Scope` they belong
to. Synchronous code and asyncio tasks see it, and so do threads that were started with a copied context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from threading import get_ident
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from emitkit_logging._context.values import without_none
from emitkit_logging._events import extras
from emitkit_logging._events.merging import Values, merge

KEY = f"{extras.PRIVATE}context"
"""Name of the attribute in which an exception keeps the context it was raised in."""

MAX_DEPTH = 16
"""Most requests and tasks inside one another; beyond this limit the outer ones are dropped.

Some servers begin a request inside the one before it (uvicorn does for pipelined requests). Without a limit, such a
connection would keep all of its requests in memory.
"""

_END: Any = object()

Source: TypeAlias = "Values | Callable[[], Values]"
"""The values of a context, or a function that returns the current ones."""

_Item = TypeVar("_Item")


class Scope:
    """A region of code with a context of its own: a request, a task, or a `with` block.

    Attributes:
        owner: what identifies the scope, see `push`.
        outer: the layer that was current when the scope began, or `None`.
        depth: how many requests and tasks are inside one another here.
        thread: the number of the thread that began it.
        is_over: whether it has ended.
    """

    __slots__ = ("depth", "is_over", "outer", "owner", "thread")

    def __init__(self, owner: object, outer: Layer | None = None, depth: int = 0) -> None:
        self.owner = owner
        self.outer = outer
        self.depth = depth
        self.thread = get_ident()
        self.is_over = False


Layer: TypeAlias = "tuple[Source, Scope]"
_current: ContextVar[Layer | None] = ContextVar("emitkit_logging.context", default=None)


def current() -> Values | None:
    """Return the values of the current context, or `None` without one. The dict is shared: do not change it."""
    layer = _current.get()
    if layer is not None and layer[1].is_over:
        layer = _still_valid(layer)
    if layer is None:
        return None
    source = layer[0]
    return source if type(source) is dict else source()  # type: ignore[operator]


def _still_valid(layer: Layer | None) -> Layer | None:
    """Return the innermost layer whose scope has not ended, or whose scope this thread itself began.

    A thread may begin with a copy of the context in which it was started (`thread_inherit_context`). A thread of a pool
    then still has the context of a request long after that has ended. A task that a request started is different: it
    runs in the request's thread, and is still the request's work.
    """
    while layer is not None and layer[1].is_over and layer[1].thread != get_ident():
        layer = layer[1].outer
    return layer


def kept() -> Source:
    """Return the current context as an argument for `scope`, for code that runs after the current scope has ended."""
    layer = _current.get()
    return {} if layer is None else layer[0]


# Add values


class _Overlay:
    """Fixed values on top of a function that is called again for each record."""

    __slots__ = ("inner", "outer")

    def __init__(self, outer: Callable[[], Values], inner: Values) -> None:
        self.outer = outer
        self.inner = inner

    def __call__(self) -> Values:
        return without_none(merge(self.outer(), self.inner))


def add(values: Values) -> None:
    """Add values to the current scope, or begin an unlimited one where there is none."""
    outer = _current.get()
    _set(values, outer, Scope(None) if outer is None else outer[1])


def push_block(values: Values, owner: object) -> None:
    """Begin the scope of a `with` block, on top of the current context, until `pop(owner)`.

    Args:
        values: the values that the block adds.
        owner: the context manager.
    """
    outer = _current.get()
    _set(values, outer, Scope(owner, outer, 0 if outer is None else outer[1].depth))


def _set(values: Values, outer: Layer | None, scope: Scope) -> None:
    _current.set((without_none(values) if outer is None else _combined(outer[0], values), scope))


def _combined(outer: Source, inner: Values) -> Source:
    if isinstance(outer, _Overlay):  # one overlay, however often values are added: a chain would grow without end
        return _Overlay(outer.outer, merge(outer.inner, inner))
    if isinstance(outer, dict):
        return without_none(merge(outer, inner))
    return _Overlay(outer, inner)


# Begin and end scopes


def push(values: Source, owner: object) -> None:
    """Begin the scope of a request or a task that no `with` block can span, until `pop(owner)`.

    Args:
        values: as for `scope`.
        owner: identifies the request or task among the scopes of this thread or asyncio task.
    """
    _current.set((values, Scope(owner, *_enclosing())))


def _enclosing() -> tuple[Layer | None, int]:
    outer = _current.get()
    depth = 1 if outer is None else outer[1].depth + 1
    return (None, 1) if depth > MAX_DEPTH else (outer, depth)


def pop(owner: object, error: BaseException | None = None, *, is_whole: bool = False) -> Layer | None:
    """End the scope of `owner` in this thread or asyncio task, and all scopes inside it.

    Nothing happens when there is no such scope: the garbage collector may end the `with` block of a generator anywhere.

    Args:
        owner: as for `push`, or the context manager or scope itself.
        error: the exception that ended the scope, or `None`.
        is_whole: whether the scope is a whole request or task, so that outer contexts add nothing to it.

    Returns:
        The layer that was current, or `None` when nothing was ended.
    """
    layer = _current.get()
    scope = _find(owner, layer)
    if scope is None:
        return None
    if isinstance(error, Exception):
        _attach(error, scope, is_whole=is_whole)
    while layer is not None and layer[1] is not scope:  # those inside it end, too
        layer[1].is_over = True
        layer = layer[1].outer
    scope.is_over = True
    layer = _current.get()
    _current.set(scope.outer)
    return layer


def _find(owner: object, layer: Layer | None) -> Scope | None:
    while layer is not None and layer[1] is not owner and layer[1].owner != owner:
        layer = layer[1].outer
    return None if layer is None else layer[1]


def _is_inside(scope: Scope | None, outer: Scope) -> bool:
    while scope is not None and scope is not outer:
        scope = None if scope.outer is None else scope.outer[1]
    return scope is outer


class scope(Scope):  # noqa: N801 - a context manager, used like a function
    """A context manager for one request, or a part of it, whose context replaces the current one.

    An exception that leaves the block keeps the context it was raised in, wherever it is logged. When the block is
    entered again, it continues with the values that were bound inside before: a streamed response is one request.

    Args:
        values: a dict, or a function that returns one. The function is called for each record and must not log.
    """

    __slots__ = ("_open", "_values")

    def __init__(self, values: Source) -> None:
        super().__init__(None)
        self._values = values
        self._open: Layer | None = None  # an inner `with` block that was still open when this one ended

    def __enter__(self) -> None:
        self.outer, self.depth = _enclosing()
        self._begin_again()
        _current.set(self._open or (self._values, self))

    def _begin_again(self) -> None:
        """Mark this scope, and the blocks inside it that are still open, as begun by this thread."""
        layer = self._open
        while layer is not None and layer[1] is not self:
            layer[1].thread, layer[1].is_over = get_ident(), False
            layer = layer[1].outer
        self.thread, self.is_over = get_ident(), False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        layer = _current.get()
        if error is None and layer is not None and layer[1] is self:  # the usual case, without the search of `pop`
            self._values, self._open = layer[0], None
            self.is_over = True
            _current.set(self.outer)
        else:
            self._open = pop(self, error, is_whole=True) or self._open

    def each(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield items that are produced inside the scope. The scope is left between two items."""
        with self:
            iterator = iter(items)
        while True:
            with self:
                item = next(iterator, _END)
            if item is _END:
                return
            yield item


def inner_scope(values: Values) -> scope:
    """Return a scope with the current context and more values, as they are now; it can be left and entered again."""
    layer = _current.get()
    return scope(without_none(values) if layer is None else _combined(layer[0], values))


# Exceptions


class _Attached:
    """The context of an exception that has left a scope.

    Attributes:
        values: the context in which the exception was raised.
        scope: the scope that the exception has reached, or `None` outside of all scopes.
        is_whole: whether `values` are all of a request or task, so that outer contexts add nothing.
    """

    __slots__ = ("is_whole", "scope", "values")

    def __init__(self, values: Values, scope: Scope | None, *, is_whole: bool) -> None:
        self.values = values
        self.scope = scope
        self.is_whole = is_whole

    def __reduce__(self) -> tuple[Any, ...]:
        # the process that unpickles the exception has other scopes, and may not have this class
        return dict, ()


def of_record(record: logging.LogRecord) -> Values | None:
    """Return the context of a record that is logged now, or `None`.

    It is the current context, with the context that the record's exception was raised in on top.
    """
    values = current()
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    attached = None if error is None else _attached(error)
    layer = _current.get()
    if attached is None or (layer is not None and not _is_inside(attached.scope, layer[1])):
        return values
    return attached.values if attached.is_whole or values is None else merge(values, attached.values)


def _attached(error: BaseException) -> _Attached | None:
    found = None
    with suppress(Exception):  # an exception whose attributes cannot be read has no context
        found = error.__dict__.get(KEY)
    return found if isinstance(found, _Attached) else None


def _attach(error: Exception, scope: Scope, *, is_whole: bool) -> None:
    """Attach the context to an exception that leaves `scope`, unless it has that of an inner scope already.

    A context from elsewhere is replaced: some exceptions are created once and raised often, or in several places.
    """
    with suppress(Exception):  # some exceptions accept no attributes
        attached = _attached(error)
        values: Values | None
        if attached is not None and _is_inside(attached.scope, scope):
            values, is_whole = attached.values, is_whole or attached.is_whole
        else:
            values = current()
        if values is not None:
            outer = None if scope.outer is None else scope.outer[1]
            error.__dict__[KEY] = _Attached(values, outer, is_whole=is_whole)
