"""Run a function inside an event context: functions, coroutines, and generators of both kinds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from emitkit_logging._context.scopes import inner_scope
from emitkit_logging._events.merging import Values


def decorated(function: Any, values: Values, block: AbstractContextManager[None]) -> Any:
    """Return a function that does the same inside an event context.

    The body of a generator runs inside the context, and what runs between two of its items does not. What the body
    binds, and blocks that it has open, are there again at its next item.

    Args:
        function: a function or a method; also `async`, and generators.
        values: what the context adds.
        block: a context manager that adds them, which may be entered again.

    Raises:
        TypeError: for a class, and for what cannot be called.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(function.__func__, values, block))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"event_context: decorates functions and methods, not {function!r}")
    if _is(inspect.isasyncgenfunction, function):
        return _async_generator(function, values)
    if _is(inspect.isgeneratorfunction, function):
        return _generator(function, values)
    if _is(inspect.iscoroutinefunction, function):
        return _coroutine(function, block)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with block:
            return function(*args, **kwargs)

    return run


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function, or the call of an object, is of a kind."""
    return kind(function) or kind(type(function).__call__)


def _coroutine(function: Any, block: AbstractContextManager[None]) -> Any:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        with block:
            return await function(*args, **kwargs)

    return run


def _generator(function: Any, values: Values) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = inner_scope(values)
        with scope:
            generator = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                with scope:
                    item = step()
            except StopIteration as end:
                return end.value
            try:
                sent = yield item
            except GeneratorExit:
                with scope:
                    generator.close()
                raise
            except BaseException as error:
                step = functools.partial(generator.throw, error)
            else:
                step = functools.partial(generator.send, sent)

    return run


def _async_generator(function: Any, values: Values) -> Any:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = inner_scope(values)
        with scope:
            generator = function(*args, **kwargs)
        step: Callable[[], Any] = generator.__anext__
        while True:
            try:
                with scope:
                    item = await step()
            except StopAsyncIteration:
                return
            try:
                sent = yield item
            except GeneratorExit:
                with scope:
                    await generator.aclose()
                raise
            except BaseException as error:
                step = functools.partial(generator.athrow, error)
            else:
                step = functools.partial(generator.asend, sent)

    return run
