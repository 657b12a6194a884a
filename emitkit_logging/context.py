"""Event context: values that every record of a request, a task or a block of code gets.

The context is kept in a context variable. Synchronous code and asyncio tasks see it, and so do threads that were
started with a copied context. A record takes its context when it is logged. Its own values win over the context's.

Applications use `event_context` and `bind_event_context`. The other names are for the middleware of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from emitkit_logging._context.decorating import decorated
from emitkit_logging._context.scopes import (
    KEY,
    MAX_DEPTH,
    add,
    current,
    describe,
    kept,
    of_record,
    pop,
    push,
    push_block,
    scope,
)
from emitkit_logging._context.values import checked, received
from emitkit_logging._events.merging import Values, merge, person_id

__all__ = [
    "KEY",
    "MAX_DEPTH",
    "Values",
    "bind_event_context",
    "current",
    "describe",
    "event_context",
    "kept",
    "merge",
    "of_record",
    "person_id",
    "pop",
    "push",
    "received",
    "scope",
]


Function = TypeVar("Function", bound=Callable[..., Any])


class event_context:  # noqa: N801 - a context manager, used like a function
    """A context manager whose block adds `values` to every record: `with event_context(user_id="user-123"):`.

    It is a decorator, too: `@event_context(job="import")` adds them to the records of a function, a coroutine or a
    generator. An exception that leaves the block keeps the context it was raised in, wherever it is logged.

    Args:
        values: keys as in `extra`: `user`, `user_id`, `session_id`, `page`, `device`, `utm`, `server`, `context`,
            `tags`, `channel` and so on. Other keys are metadata. The values are copied at this call. `None` removes a
            key of an outer context.

    Raises:
        TypeError: for a key that belongs to a single record: `event`, `emitkit_event`, `category`, `identify` or
            `idempotency_key`.
    """

    __slots__ = ("_values",)

    def __init__(self, **values: Any) -> None:
        self._values = checked(values)

    def __call__(self, function: Function) -> Function:
        """Return a function that does the same inside this context.

        Raises:
            TypeError: for a class, and for what cannot be called.
        """
        decorating: Function = decorated(function, self._values, self)
        return decorating

    def __enter__(self) -> None:
        push_block(self._values, self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pop(self, error)


def bind_event_context(**values: Any) -> None:
    """Add values to the current context until the enclosing request, task or `with` block ends.

    Args:
        values: as for `event_context`. `None` removes a key.

    Raises:
        TypeError: as for `event_context`.
    """
    add(checked(values))
