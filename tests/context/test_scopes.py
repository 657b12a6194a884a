"""Scopes: which code sees a context, and which context an exception keeps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import pickle
import queue
import threading
import weakref

import pytest

from emitkit_logging import bind_event_context, context, event_context
from tests.context.helpers import own, own_but_error, seen

# Tasks, threads and requests


def test_asyncio():
    """A task has the context in which it was created. What it adds stays in the task."""

    async def work(number):
        with event_context(number=number):
            await asyncio.sleep(0)
            bind_event_context(bound=number)
            await asyncio.sleep(0)
            return own(seen())

    async def main():
        with event_context(tenant="acme"):
            return await asyncio.gather(*map(work, range(5)))

    assert asyncio.run(main()) == [{"tenant": "acme", "number": n, "bound": n} for n in range(5)]


def test_threads():
    """A thread that runs in a copied context sees it; another thread does not."""
    results = []
    with event_context(tenant="acme"):
        copied = contextvars.copy_context()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            results += [
                pool.submit(copied.run, lambda: own(seen())).result(),
                pool.submit(contextvars.Context().run, lambda: own(seen())).result(),
                asyncio.run(asyncio.to_thread(lambda: own(seen()))),
            ]
    assert results == [{"tenant": "acme"}, {}, {"tenant": "acme"}]


def test_thread_that_outlives_the_context_it_inherited():
    """A pool thread that began with a copy of a request's context has none of it once the request has ended."""
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    results: queue.SimpleQueue = queue.SimpleQueue()

    def work():
        while (job := jobs.get()) is not None:
            results.put(job())

    with event_context(tenant="acme"):
        with context.scope({"user_id": "u-1"}), event_context(step="pay"):
            # as threading.Thread.start does it where threads inherit the context
            thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
            thread.start()
            jobs.put(lambda: (seen().user_id, own(seen())))
            inside = results.get(timeout=10)
        jobs.put(lambda: own(seen()))
        between = results.get(timeout=10)
    jobs.put(lambda: own(seen()))
    after = results.get(timeout=10)
    jobs.put(None)
    thread.join()
    assert (inside, between, after) == (("u-1", {"step": "pay"}), {"tenant": "acme"}, {})


def test_task_that_outlives_its_request():
    """A task that a request started is still the request's work when the request has ended."""

    async def main():
        async def work(ended):
            await ended.wait()
            return own(seen())

        ended = asyncio.Event()
        with event_context(tenant="acme"):
            task = asyncio.get_running_loop().create_task(work(ended))
            await asyncio.sleep(0)
        ended.set()
        return await task

    assert asyncio.run(main()) == {"tenant": "acme"}


def test_one_context_in_two_tasks():
    """One `event_context` object may be entered by several tasks at the same time."""
    importing = event_context(job="import")

    async def run(user, before, after):
        with event_context(user_id=user):
            await before.wait()
            with importing:
                after.set()
                await asyncio.sleep(0)
                assert own(seen()) == {"job": "import"}
            return seen().user_id, own(seen())

    async def both():
        first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
        first.set()
        return await asyncio.gather(run("A", first, second), run("B", second, third))

    assert asyncio.run(both()) == [("A", {}), ("B", {})]


def test_collected_generator():
    """A generator that is garbage-collected inside another request does not end a context there."""

    def numbers():
        with event_context(user_id="A"):
            yield 1

    left = []

    def begin():
        left.append(numbers())
        next(left[0])

    contextvars.copy_context().run(begin)
    with event_context(user_id="B"):
        left.clear()
        gc.collect()
        assert seen().user_id == "B"


def test_binding_to_a_function():
    """A function as a context is called for each record, under the bound values. Binding often does not grow it."""
    known = {"server": {"method": "GET"}}
    with context.scope(lambda: known):
        for number in range(5_000):
            bind_event_context(step=number, server={"region": "eu"})
        known = {"server": {"method": "GET", "route": "/x"}, "user_id": "u-1"}
        made = seen()
        bind_event_context(user_id=None)
        assert seen().user_id is None
        with event_context(step=None):
            assert own(seen()) == {"server": {"method": "GET", "route": "/x", "region": "eu"}}
    assert made.user_id == "u-1"
    assert own(made) == {"step": 4_999, "server": {"method": "GET", "route": "/x", "region": "eu"}}


def test_request_inside_another():
    """A request that a server begins inside another one, and its exception, do not have the other one's context."""
    with context.scope({"user_id": "A", "tenant": "a"}):
        try:
            with context.scope({"page": {"path": "/second"}}):
                assert seen().user_id is None
                raise ValueError
        except ValueError as error:
            made = seen(exc_info=(ValueError, error, None))
    assert (made.user_id, own_but_error(made)) == (None, {"page": {"path": "/second"}})


def test_nested_requests_are_released():
    """Requests that begin inside one another, as on a long connection, are released beyond `MAX_DEPTH`."""
    started = []
    at = contextvars.copy_context()
    for _ in range(100):
        at = at.run(begin_request, started)
    gc.collect()
    assert sum(reference() is not None for reference in started) <= context.MAX_DEPTH


class Values(dict):
    """A dict that supports weak references."""


def begin_request(started):
    values = Values()
    started.append(weakref.ref(values))
    context.push(lambda: values, "request")
    return contextvars.copy_context()


# Exceptions


def failing(**values):
    with event_context(**values):
        raise ValueError("broken")


def test_exception_keeps_its_context():
    """An exception is logged with the context it was raised in, on top of the context of the log call."""
    with event_context(tenant="acme", step=1):
        try:
            with event_context(step=2):
                failing(step=3)
        except ValueError as error:
            made = seen(exc_info=(ValueError, error, error.__traceback__))
            revived = pickle.loads(pickle.dumps(error))
    assert {key: made.metadata[key] for key in ("tenant", "step")} == {"tenant": "acme", "step": 3}
    assert made.metadata["exception"]["message"] == "broken"
    assert str(revived) == "broken"


def test_exception_raised_repeatedly():
    """An exception object that is raised repeatedly has the context in which it was raised last."""
    always = ValueError("the same again")
    for step in (1, 2):
        with pytest.raises(ValueError, match="again"), event_context(step=step):
            raise always
        assert seen(exc_info=(ValueError, always, None)).metadata["step"] == step


def test_exception_raised_again_elsewhere():
    """An exception object that is raised again in another scope gets the context of that scope."""
    always = ValueError("the same again")
    with event_context(place=0):
        for step in (1, 2):
            with contextlib.suppress(ValueError), event_context(step=step):
                with contextlib.suppress(ValueError):
                    raise always
                made = seen(exc_info=(ValueError, always, None))
                assert own_but_error(made) == {"place": 0, "step": step}
                raise always


def test_exception_shared_by_tasks():
    """An exception that several requests await has in each of them the context of that request."""

    async def request(user, failure):
        try:
            with context.scope({"user_id": user}):
                await asyncio.shield(failure)
        except ValueError as error:
            return seen(exc_info=(ValueError, error, None)).user_id

    async def run():
        failure = asyncio.get_running_loop().create_future()
        requests = [asyncio.create_task(request(user, failure)) for user in "AB"]
        await asyncio.sleep(0)
        failure.set_exception(ValueError("the pool is down"))
        return await asyncio.gather(*requests)

    assert asyncio.run(run()) == ["A", "B"]


def test_exception_of_an_inner_task():
    """An asyncio task is an inner scope of the code that created it, also after that code has left its block."""

    async def work():
        await asyncio.sleep(0)
        with event_context(step=2):
            raise ValueError

    async def run():
        with event_context(tenant="acme"):
            with event_context(step=1):
                task = asyncio.create_task(work())
            try:
                await task
            except ValueError as error:
                return own_but_error(seen(exc_info=(ValueError, error, None)))

    assert asyncio.run(run()) == {"tenant": "acme", "step": 2}


class NoAttributes(Exception):  # noqa: N818
    @property
    def __dict__(self):
        raise RuntimeError("no attributes")


def test_exception_without_attributes():
    """An exception that accepts no attributes is logged without its context."""
    with pytest.raises(NoAttributes), event_context(step=1):
        raise NoAttributes
    error = NoAttributes()
    assert seen(exc_info=(NoAttributes, error, None)).metadata["exception"]["type"].endswith("NoAttributes")
