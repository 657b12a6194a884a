"""`event_context` as a decorator, of every kind of function."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect

import pytest

from emitkit_logging import bind_event_context, context, event_context
from tests.context.helpers import own, seen
from tests.records import make

inside = event_context(tenant="acme")


@pytest.fixture(autouse=True)
def no_context():
    """Each test begins and ends without a context."""
    assert context.current() is None
    yield
    assert context.current() is None


def context_of(error: BaseException) -> object:
    """Return the context of a record with this exception, logged outside of all contexts."""
    record = make("it failed")
    record.exc_info = (type(error), error, error.__traceback__)
    return context.of_record(record)


def test_function():
    """A function's records have the values; its arguments, its result and its name are its own."""

    @event_context(tenant="acme")
    def export(number: int, *, twice: bool = False) -> tuple[int, dict]:
        """Export."""
        return number * (1 + twice), own(seen(number=number))

    assert export(3, twice=True) == (6, {"tenant": "acme", "number": 3})
    assert (export.__name__, export.__doc__) == ("export", "Export.")
    assert list(inspect.signature(export).parameters) == ["number", "twice"]
    assert own(seen()) == {}


def test_recursion_and_nesting():
    """A function that calls itself, and contexts around and inside it."""

    @event_context(tenant="acme", step=0)
    def count(number: int) -> list[dict]:
        with event_context(step=number):
            return [own(seen()), *(count(number - 1) if number else [])]

    with event_context(release="1.4"):
        assert count(1) == [{"release": "1.4", "tenant": "acme", "step": step} for step in (1, 0)]


def test_exception():
    """An exception keeps the context of the function, wherever it is logged."""

    @event_context(tenant="acme")
    def fail() -> None:
        bind_event_context(step=2)
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert context_of(caught.value) == {"tenant": "acme", "step": 2}


def test_methods():
    """Methods of each kind, whichever decorator is the outer one."""

    class Shop:
        @event_context(tenant="acme")
        def instance(self) -> object:
            return self, own(seen())

        @event_context(tenant="acme")
        @classmethod
        def of_class(cls) -> object:
            return cls, own(seen())

        @staticmethod
        @event_context(tenant="acme")
        def static() -> object:
            return own(seen())

        @event_context(tenant="acme")
        @staticmethod
        def static_too() -> object:
            return own(seen())

    shop = Shop()
    assert shop.instance() == (shop, {"tenant": "acme"})
    assert Shop.of_class() == shop.of_class() == (Shop, {"tenant": "acme"})
    assert shop.static() == Shop.static_too() == {"tenant": "acme"}


def test_coroutine():
    """A coroutine has the values across its awaits, and tasks beside it do not."""

    @event_context(tenant="acme")
    async def slow(number: int) -> dict:
        bind_event_context(number=number)
        await asyncio.sleep(0)
        return own(seen())

    async def plain() -> dict:
        await asyncio.sleep(0)
        return own(seen())

    async def main() -> list[dict]:
        return [*await asyncio.gather(slow(1), plain(), slow(2)), await plain()]

    assert inspect.iscoroutinefunction(slow)
    assert asyncio.run(main()) == [{"tenant": "acme", "number": 1}, {}, {"tenant": "acme", "number": 2}, {}]


def test_generator():
    """The body of a generator has the values, and what runs between its items has not."""

    @event_context(tenant="acme")
    def rows():
        yield own(seen())
        yield own(seen())
        return own(seen())

    assert inspect.isgeneratorfunction(rows)
    generator, found = rows(), []
    for _ in range(2):
        found.append(next(generator))
        assert own(seen()) == {}
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert [*found, end.value.value] == [{"tenant": "acme"}] * 3


def test_generator_goes_on():
    """What a generator has bound, and a block that it has open, are there again at its next item."""

    @event_context(tenant="acme")
    def rows():
        bind_event_context(file="a.csv")
        with event_context(row=1):
            yield own(seen())
            yield own(seen())
        yield own(seen())

    generator = rows()
    whole = {"tenant": "acme", "file": "a.csv"}
    assert next(generator) == {**whole, "row": 1}
    with event_context(elsewhere=1):
        assert next(generator) == {**whole, "row": 1}
        assert own(seen()) == {"elsewhere": 1}
    assert next(generator) == whole


def test_generators_side_by_side():
    """Two generators of one function keep apart."""

    @event_context(tenant="acme")
    def rows(number):
        bind_event_context(number=number)
        while True:
            yield own(seen())["number"]

    one, two = rows(1), rows(2)
    assert [next(one), next(two), next(one), next(two)] == [1, 2, 1, 2]


def test_generator_protocol():
    """`send`, `throw` and `close` reach the body, inside the context."""
    closed = []

    @event_context(tenant="acme")
    def echo():
        received = None
        try:
            while True:
                try:
                    received = yield received, own(seen())
                except ValueError as error:
                    received = error
        finally:
            closed.append(own(seen()))

    generator = echo()
    assert next(generator) == (None, {"tenant": "acme"})
    assert generator.send(5) == (5, {"tenant": "acme"})
    thrown = ValueError()
    assert generator.throw(thrown) == (thrown, {"tenant": "acme"})
    generator.close()
    assert closed == [{"tenant": "acme"}]
    with pytest.raises(StopIteration):
        next(generator)


def test_generator_that_raises():
    """An exception of a generator keeps its context."""

    @event_context(tenant="acme")
    def rows():
        yield 1
        raise RuntimeError("no")

    with pytest.raises(RuntimeError) as caught:
        list(rows())
    assert context_of(caught.value) == {"tenant": "acme"}


def test_context_manager():
    """A generator that is a context manager: the body has the values, the block inside it has not."""

    @contextlib.contextmanager
    @event_context(tenant="acme")
    def session():
        assert own(seen()) == {"tenant": "acme"}
        try:
            yield "open"
        finally:
            assert own(seen()) == {"tenant": "acme"}

    with session() as state:
        assert (state, own(seen())) == ("open", {})


def test_async_generator():
    """The same for asynchronous generators: their body only, `asend`, `athrow` and `aclose` too."""
    closed = []

    @event_context(tenant="acme")
    async def rows():
        bind_event_context(file="a.csv")
        received = None
        try:
            while True:
                await asyncio.sleep(0)
                try:
                    received = yield received, own(seen())
                except ValueError:
                    received = "thrown"
        finally:
            await asyncio.sleep(0)
            closed.append(own(seen()))

    async def main() -> None:
        whole = {"tenant": "acme", "file": "a.csv"}
        generator = rows()
        assert await generator.__anext__() == (None, whole)
        assert own(seen()) == {}
        assert await generator.asend(5) == (5, whole)
        assert await generator.athrow(ValueError()) == ("thrown", whole)
        await generator.aclose()
        assert closed == [whole]

        @event_context(tenant="acme")
        async def two():
            yield 1
            yield 2

        assert [item async for item in two()] == [1, 2]

    assert inspect.isasyncgenfunction(rows)
    asyncio.run(main())


class Callable:
    """An object that is called like a function."""

    def __call__(self) -> dict:
        return own(seen())


class CoroutineCallable:
    async def __call__(self) -> dict:
        await asyncio.sleep(0)
        return own(seen())


def test_other_callables():
    """Lambdas, partial functions, built-in functions and objects that can be called."""
    assert inside(lambda: own(seen()))() == {"tenant": "acme"}
    assert inside(functools.partial(seen, plan="pro"))().metadata["tenant"] == "acme"
    assert inside(Callable())() == {"tenant": "acme"}
    assert asyncio.run(inside(CoroutineCallable())()) == {"tenant": "acme"}
    assert inside(len)("abc") == 3


@pytest.mark.parametrize("thing", [Callable, 5, None, "name"])
def test_not_a_function(thing):
    """A class, or what cannot be called, is an error at once."""
    with pytest.raises(TypeError, match="functions and methods"):
        inside(thing)
