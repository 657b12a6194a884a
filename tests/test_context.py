"""What a context says, to whom, and what a record says itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import gc
import io
import json
import logging
import pickle
import threading
import uuid
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter, bind_event_context, context, event_context
from emitkit_logging._events.captured import capture, restore
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._spool import codec

from .records import make

PAGE = {"url": "https://shop.example/cart?x=1", "host": "shop.example", "path": "/cart"}


@pytest.fixture(autouse=True)
def fresh():
    """Each test begins and ends outside of any context."""
    assert context.current() is None
    yield
    assert context.current() is None


def seen(msg="it_happened", formatter=None, **extra):
    """Return the event of a record that is logged now, by way of what is captured."""
    formatter = formatter or EmitKitFormatter()
    return formatter.event(restore(capture(make(msg, event=msg, **extra), formatter.json_converter)))


def own(made):
    return {k: v for k, v in made.metadata.items() if k not in ("category", "event", "timestamp", "log")}


def test_inside_and_outside():
    """Every record inside carries it, none outside does."""
    with event_context(user_id="user-123", session_id="s-1", page=PAGE, tenant="acme", tags=["beta"]):
        made = seen(plan="pro")
    assert made.user_id == "user-123"
    assert made.tags == ["engagement", "beta"]
    assert own(made) == {"plan": "pro", "tenant": "acme", "sessionId": "s-1", "page": PAGE}
    assert own(seen()) == {}


def test_the_record_wins():
    """What a record says itself stands; `device` and `server` are merged, and so is a page that is the same page."""
    with event_context(
        page=PAGE,
        device={"userAgent": "A", "language": "de"},
        server={"method": "GET"},
        utm={"source": "a"},
        plan="free",
    ):
        made = seen(
            page={"title": "Cart"},
            device={"userAgent": "B"},
            server={"region": "eu"},
            utm={"medium": "cpc"},
            plan="pro",
        )
        other = seen(page={"path": "/elsewhere"})
    assert own(made) == {
        "plan": "pro",
        "page": {**PAGE, "title": "Cart"},
        "device": {"userAgent": "B", "language": "de"},
        "server": {"method": "GET", "region": "eu"},
        "utm": {"medium": "cpc"},
    }
    assert other.metadata["page"] == {"path": "/elsewhere"}


@pytest.mark.parametrize(
    ("outer", "inner", "user_id", "emails"),
    [
        ({"user": {"id": 1, "email": "a@x"}}, {"user_id": 2}, "2", []),
        ({"user": {"id": 1, "email": "a@x"}}, {"user_id": 1}, "1", ["a@x"]),
        ({"user": {"id": 1, "email": "a@x"}}, {"user": {"email": "b@x"}}, "b@x", []),
        ({"user_id": 1}, {"user": {"id": 2, "email": "b@x"}}, "2", ["b@x"]),
        ({"user_id": 1}, {"user": "2"}, "2", []),
        ({"user": "1"}, {}, "1", []),
    ],
)
def test_one_person(outer, inner, user_id, emails):
    """Who names a user names another person, unless it is the same one: two are never mixed."""
    with event_context(**outer):
        made = seen(**inner)
    assert (made.user_id, [person.properties.get("email") for person in made.identities]) == (user_id, emails)


def test_nested():
    """The inner one goes over the outer one and ends first; `None` takes a key away."""
    with event_context(page=PAGE, tenant="acme", step=1):
        with event_context(page={"title": "Cart"}, step=None):
            inner = own(seen())
        outer = own(seen())
    assert inner == {"page": {**PAGE, "title": "Cart"}, "tenant": "acme"}
    assert outer == {"page": PAGE, "tenant": "acme", "step": 1}


def test_one_object_entered_again():
    """One context may be entered inside itself, and again later."""
    again = event_context(tenant="acme")
    with again:
        with again:
            pass
        assert own(seen()) == {"tenant": "acme"}
    with again:
        assert own(seen()) == {"tenant": "acme"}
    assert own(seen()) == {}


def test_bound():
    """What is bound lasts until what is around it ends, and may be taken away before."""
    with event_context(a=1):
        bind_event_context(b=2, page={"title": "T"})
        bind_event_context(b=3)
        assert own(seen()) == {"a": 1, "b": 3, "page": {"title": "T"}}
        bind_event_context(b=None, a=None)
        assert own(seen()) == {"page": {"title": "T"}}
    assert own(seen()) == {}


def test_bound_on_what_is_asked_anew():
    """What a framework comes to know later is seen, under what was bound before; however often, nothing grows."""
    known = {"server": {"method": "GET"}}
    with context.within(lambda: known):
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


@pytest.mark.parametrize("key", ["event", "emitkit_event", "category", "identify", "idempotency_key"])
def test_what_belongs_to_one_record(key):
    """What would be wrong for all records but one is refused where it is written."""
    for make_context in (event_context, bind_event_context):
        with pytest.raises(TypeError, match=f"^{key}: belongs to one record"):
            make_context(**{key: "x"})


def test_no_plain_record_becomes_an_event():
    """A context makes no event of a record that is none."""
    with event_context(tenant="acme"):
        assert not EmitKitFormatter().accepts(make("nothing special"))


def test_channel_and_the_rest_of_extra():
    """What `extra` can say, a context can say for all: here a channel for a tenant, quietly."""
    with event_context(channel="acme", notify=False, display_as="message", __emitkit_secret=1):
        made = seen()
        assert seen(channel="other").channel == "other"
    assert (made.channel, made.notify, made.display_as, own(made)) == ("acme", False, "message", {})


def test_a_context_dict_is_opened():
    """`context=` means here what it means in `extra`; a record's own is stronger than what is around it."""
    with event_context(context={"page": PAGE, "user": {"id": 7}, "app": "shop"}, app="other"):
        assert own(seen()) == {"page": PAGE, "app": "other"}
        made = seen(context={"page": {"path": "/x"}, "user": {"id": 8}})
    assert (made.user_id, made.metadata["page"]) == ("8", {"path": "/x"})


def test_a_legacy_key_does_not_hide_it():
    """A value of another type under a key of ours is metadata, and leaves the context's value where it was."""
    with event_context(user_id="u-1", page=PAGE):
        made = seen(user_id=uuid.UUID(int=5), page=3)
    assert made.user_id == "u-1"
    assert made.metadata["page"] == PAGE
    assert made.metadata["user_id"] == str(uuid.UUID(int=5))
    assert made.metadata["extra"] == {"page": 3}


def test_values_of_the_moment():
    """Values are those of when the context was made, whatever they are."""

    @dataclasses.dataclass
    class Cart:
        items: list

    cart = Cart([1])
    with event_context(cart=cart, token="abc", user={"id": 1, "password": "hunter2"}):
        cart.items.append(2)
        made = seen()
    assert own(made) == {"cart": {"items": [1]}, "token": "[redacted]"}
    assert "hunter2" not in str(made)


def test_redacted_by_the_handlers_own_list():
    """A handler's `redact` holds for the context, too."""
    formatter = EmitKitFormatter(redact=["iban"])
    with event_context(iban="DE1", deep={"iban": "DE2"}):
        assert own(seen(formatter=formatter)) == {"iban": "[redacted]", "deep": {"iban": "[redacted]"}}


def test_secrets_in_addresses():
    """Parameters of secret names are masked in a page's addresses; the rest of the address stays."""
    page = {
        "url": "https://x.example/reset?token=abc&a=1#access_token=def",
        "search": "?api%5Fkey=1;next=/a?b=c&password=p",
        "referrer": "https://y.example/?q=a=b",
    }
    with event_context(page=page):
        assert seen().metadata["page"] == {
            "url": "https://x.example/reset?token=[redacted]&a=1#access_token=[redacted]",
            "search": "?api%5Fkey=[redacted];next=/a?b=c&password=[redacted]",
            "referrer": "https://y.example/?q=a=b",
        }


def test_asyncio():
    """Tasks have the context that they were started in, and keep theirs to themselves."""

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
    """A thread with a copied context has it, another one has not."""
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


def failing(**values):
    with event_context(**values):
        raise ValueError("broken")


def test_an_exception_brings_it_along():
    """Whoever logs an exception further out logs it with the context in which it was raised, over its own."""
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


def test_an_exception_that_is_made_once():
    """An exception that is raised again and again brings along the context in which it was raised last."""
    always = ValueError("the same again")
    for step in (1, 2):
        with pytest.raises(ValueError, match="again"), event_context(step=step):
            raise always
        assert seen(exc_info=(ValueError, always, None)).metadata["step"] == step


def test_an_exception_that_was_raised_elsewhere_before():
    """What an exception carries from another place is not the context of the place where it is raised again."""
    always = ValueError("the same again")
    with event_context(place=0):
        for step in (1, 2):
            with contextlib.suppress(ValueError), event_context(step=step):
                with contextlib.suppress(ValueError):
                    raise always
                made = seen(exc_info=(ValueError, always, None))
                assert own_but_error(made) == {"place": 0, "step": step}
                raise always


def own_but_error(made):
    return {key: value for key, value in own(made).items() if key != "exception"}


def test_an_exception_that_several_wait_for():
    """One failure that fails several requests is, for each of them, its own."""

    async def asked(user, failure):
        try:
            with context.within({"user_id": user}):
                await asyncio.shield(failure)
        except ValueError as error:
            return seen(exc_info=(ValueError, error, None)).user_id

    async def run():
        failure = asyncio.get_running_loop().create_future()
        requests = [asyncio.create_task(asked(user, failure)) for user in "AB"]
        await asyncio.sleep(0)
        failure.set_exception(ValueError("the pool is down"))
        return await asyncio.gather(*requests)

    assert asyncio.run(run()) == ["A", "B"]


def test_an_exception_of_a_task_inside():
    """A task of its own is a place further in, also after the code that started it has gone on."""

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


def test_a_request_that_begins_inside_another():
    """Where a server begins a request from within the one before, neither it nor its failure has that one's context."""
    with context.within({"user_id": "A", "tenant": "a"}):
        try:
            with context.within({"page": {"path": "/second"}}):
                assert seen().user_id is None
                raise ValueError
        except ValueError as error:
            made = seen(exc_info=(ValueError, error, None))
    assert (made.user_id, own_but_error(made)) == (None, {"page": {"path": "/second"}})


def test_requests_that_begin_inside_one_another_hold_no_chain():
    """However long a connection lives, what it keeps of requests that are over is bounded."""
    started = []
    at = contextvars.copy_context()
    for _ in range(100):
        at = at.run(begun, started)
    gc.collect()
    assert sum(said() is not None for said in started) <= context.DEEPEST


class Said(dict):
    """A dict that can be watched."""


def begun(started):
    said = Said()
    started.append(weakref.ref(said))
    context.push(lambda: said, "request")
    return contextvars.copy_context()


def test_one_object_in_two_tasks():
    """A context that is made once serves whoever enters it."""
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


def test_a_generator_that_nobody_ends():
    """A generator that is collected inside another request ends no context there."""

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


class Slotted(Exception):  # noqa: N818
    @property
    def __dict__(self):
        raise RuntimeError("none of your business")


def test_an_exception_that_takes_nothing():
    """An exception that cannot carry anything is an exception all the same."""
    with pytest.raises(Slotted), event_context(step=1):
        raise Slotted
    error = Slotted()
    assert seen(exc_info=(Slotted, error, None)).metadata["exception"]["type"].endswith("Slotted")


def test_printed(capsys):
    """A formatter on another handler prints it too."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EmitKitFormatter())
    with event_context(tenant="acme", user_id="u-1"):
        handler.handle(make("x", event="x"))
    handler.handle(make("x", event="x"))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["userId"], first["metadata"]["tenant"]) == ("u-1", "acme")
    assert "tenant" not in second["metadata"]


@pytest.mark.parametrize("extra", [{}, {"items": [1]}])
def test_noted(extra):
    """What was captured in a context is written to a spool and read back."""
    converter = EmitKitFormatter().json_converter
    with event_context(page=PAGE, odd={"__emitkit_kind": "set", "of": [1]}):
        taken = capture(make("x", event="x", **extra), converter)
    back = codec.read_record(codec.write_record(taken, converter))
    assert back.context == taken.context


@pytest.mark.parametrize(
    "values", [{"user_id": "u-1"}, {"channel": "acme"}, {"user": {"id": "u-1", "email": "e"}}, {"page": PAGE}]
)
def test_folds_as_its_event_says(values):
    """The quick key of a record in a context is that of its event, or none."""
    formatter = EmitKitFormatter()
    with event_context(**values):
        taken = capture(make("x", event="x"), formatter.json_converter)
    assert formatter.fold_key(taken) in (None, formatter.event(restore(taken)).fold_key)


def test_a_fold_in_two_contexts(server, handler, logger):
    """A fold over several users has no user of its own, also where their contexts name them."""
    emitkit = handler(rate_limit=5, alert_reserve=0.2)
    logger.addHandler(emitkit)
    for number in range(40):
        with event_context(user_id=f"u-{number}"):
            logger.info("x", extra={"event": "seen"})
    assert not emitkit.flush(0.5)
    emitkit.close()
    bodies = [seen.body for seen in server.requests]
    assert sum(body["metadata"].get("occurrences", 1) for body in bodies) == 40
    fold = next(body for body in bodies if "samples" in body["metadata"])
    assert "userId" not in fold
    assert all(sample["userId"].startswith("u-") for sample in fold["metadata"]["samples"])


def test_another_thread_sends_without_it(server, handler, logger):
    """The background thread, started inside a request, says of later records only what is theirs."""
    logger.addHandler(handler())
    with event_context(tenant="acme"):
        logger.info("a", extra={"event": "first"})
    done = threading.Thread(target=logger.info, args=("b",), kwargs={"extra": {"event": "second"}})
    done.start()
    done.join()
    told = {seen.body["metadata"]["event"]: seen.body["metadata"].get("tenant") for seen in server.wait_for(2)}
    assert told == {"first": "acme", "second": None}


JSON = st.integers() | st.text(max_size=3) | st.dictionaries(st.sampled_from(["path", "id", "a"]), st.integers())
VALUES = st.dictionaries(st.sampled_from(["user", "user_id", "page", "device", "tenant", "utm"]), JSON, max_size=4)


@given(VALUES, VALUES)
def test_over(outer, inner):
    """Nothing that the inner one says is lost, nothing comes from nowhere, and neither is changed."""
    before = repr((outer, inner))
    result = context.over(outer, inner)
    assert repr((outer, inner)) == before
    assert set(inner) <= set(result) <= set(inner) | set(outer)
    for key, value in inner.items():
        if isinstance(value, dict):
            assert value.items() <= result[key].items()
        else:
            assert result[key] == value
    assert context.over({}, inner) == inner
    assert context.over(outer, {}) == outer


def test_key_of_the_channel():
    """A context without a channel leaves the key where the record's own rules put it."""
    formatter = EmitKitFormatter(category_channel_map={"user": "people"})
    with event_context(tenant="acme"):
        taken = capture(make("user_signed_up", event="user_signed_up"), formatter.json_converter)
    assert formatter.fold_key(taken) == FoldKey("people", logging.INFO, ("user_signed_up",))
