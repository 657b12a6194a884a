"""Keep the current event context, and attach it to exceptions that leave its scope.

The current context is a layer in a context variable. A layer holds the values and the `Scope` they belong to.
Synchronous code and asyncio tasks see it, and so do threads that were started with a copied context.

Frameworks run parts of one request in copies of its context: a dependency of FastAPI in a thread, the application below
an `@app.middleware("http")` in a task. So what is bound inside a request belongs to the request, whichever copy it is
bound in (`_Bound`). Outside of requests and tasks, each copy goes on by itself.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import reduce
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

_MOST_ADDED = 32
"""Most parts in which bound values are kept; beyond it, the older ones are merged."""

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
        task: where values were bound outside of all requests, the asyncio task that did it; else `None`.
        is_over: whether it has ended.
    """

    __slots__ = ("depth", "is_over", "outer", "owner", "task", "thread")

    def __init__(self, owner: object, outer: Layer | None = None, depth: int = 0) -> None:
        self.owner = owner
        self.outer = outer
        self.depth = depth
        self.thread = get_ident()
        self.task: weakref.ref[Any] | None = None
        self.is_over = False


Layer: TypeAlias = "tuple[Source, Scope]"
_current: ContextVar[Layer | None] = ContextVar("emitkit_logging.context", default=None)

is_in_context: Callable[[], object] = _current.get
"""Return something else than `None` where `current` may return values; without a context it is quicker to ask this."""


def current() -> Values | None:
    """Return the values of the current context, or `None` without one. The dict is shared: do not change it."""
    layer = _current.get()
    if layer is not None and layer[1].is_over:
        layer = _still_valid(layer)
    if layer is None:
        return None
    return _now(layer[0])


def _now(source: Source) -> Values:
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


class _Bound:
    """The values of a request, or of a block inside one, and what was bound there; all copies of its context share it.

    No lock: appending is one step of the interpreter.

    Args:
        base: the values below; a function is called for each record.
        added: what is bound from the beginning.
    """

    __slots__ = ("_added", "_merged", "base")

    def __init__(self, base: Source, *added: Values) -> None:
        self.base = base
        self._added: deque[Values] = deque(added)
        self._merged: tuple[Values, tuple[Values, ...], Values] | None = None

    def add(self, values: Values) -> None:
        """Bind values, on top of all that is here."""
        self._added.append(values)
        if len(self._added) > _MOST_ADDED:
            first = reduce(merge, [self._added.popleft() for _ in range(_MOST_ADDED // 2)])
            self._added.appendleft(first)

    def __call__(self) -> Values:
        """Return the values as they are now."""
        base = _now(self.base)
        if not self._added:
            return base
        added, known = tuple(self._added), self._merged
        if known is not None and known[0] is base and known[1] == added:
            return known[2]
        merged = without_none(reduce(merge, added, base))
        self._merged = (base, added, merged)
        return merged


def add(values: Values) -> None:
    """Add values to the current scope, or begin an unlimited one where there is none."""
    outer = _current.get()
    if outer is None:
        scope = Scope(None)
        scope.task = _task()
        _current.set((without_none(values), scope))
    elif isinstance(outer[0], _Bound):
        outer[0].add(values)
    else:
        _current.set((without_none(merge(_now(outer[0]), values)), outer[1]))


def push_block(values: Values, owner: object) -> None:
    """Begin the scope of a `with` block, on top of the current context, until `pop(owner)`.

    Args:
        values: the values that the block adds.
        owner: the context manager.
    """
    outer = _current.get()
    source: Source
    if outer is None:
        source = without_none(values)
    elif isinstance(outer[0], _Bound):
        source = _Bound(outer[0], values)
    else:
        source = without_none(merge(_now(outer[0]), values))
    _current.set((source, Scope(owner, outer, 0 if outer is None else outer[1].depth)))


def _of_request(values: Source) -> _Bound:
    """Return the values of a request or a task that begins.

    What a middleware outside of it has bound in the same asyncio task, or in one that waits for this one, is the
    request's, too.
    """
    if isinstance(values, _Bound):
        return values
    outer = _current.get()
    task = None if outer is None or outer[1].task is None else outer[1].task()
    if outer is None or task is None or task.done() or not isinstance(outer[0], dict):
        return _Bound(values)
    return _Bound(values, outer[0])


def _task() -> weakref.ref[Any] | None:
    """Return the asyncio task that runs now, or `None`."""
    asyncio = sys.modules.get("asyncio")
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
    return None if task is None else weakref.ref(task)


def describe(values: Source, owner: object) -> bool:
    """Set the values under what was bound in the request of `owner` so far; return whether such a request has begun."""
    layer = _current.get()
    scope = _find(owner, layer)
    while layer is not None and layer[1] is not scope:
        layer = layer[1].outer
    if scope is None or layer is None or not isinstance(layer[0], _Bound):
        return False
    layer[0].base = values
    return True


# Begin and end scopes


def push(values: Source, owner: object) -> None:
    """Begin the scope of a request or a task that no `with` block can span, until `pop(owner)`.

    Args:
        values: as for `scope`.
        owner: identifies the request or task among the scopes of this thread or asyncio task.
    """
    _current.set((_of_request(values), Scope(owner, *_enclosing())))


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
        self._values: Source = values
        self._open: Layer | None = None  # an inner `with` block that was still open when this one ended

    def __enter__(self) -> None:
        self.outer, self.depth = _enclosing()
        self._values = _of_request(self._values)
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
    """Return a scope with more values on top of the current context; it can be left and entered again."""
    return scope(_Bound(kept(), values))


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
