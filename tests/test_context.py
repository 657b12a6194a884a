"""`event_context` and `bind_event_context`: what records and events have of a context."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import threading

import pytest

from emitkit_logging import EmitKitFormatter, bind_event_context, context, event_context
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._spool import codec
from tests.context.helpers import PAGE, own, seen
from tests.records import make


@pytest.fixture(autouse=True)
def no_context():
    """Each test begins and ends without a context."""
    assert context.current() is None
    yield
    assert context.current() is None


# The values of a record


def test_inside_and_outside():
    """Records inside the block have the values, records outside have not."""
    with event_context(user_id="user-123", session_id="s-1", page=PAGE, tenant="acme", tags=["beta"]):
        made = seen(plan="pro")
    assert made.user_id == "user-123"
    assert made.tags == ["engagement", "beta"]
    assert own(made) == {"plan": "pro", "tenant": "acme", "sessionId": "s-1", "page": PAGE}
    assert own(seen()) == {}


def test_nested():
    """The inner context wins until it ends; `None` removes a key."""
    with event_context(page=PAGE, tenant="acme", step=1):
        with event_context(page={"title": "Cart"}, step=None):
            inner = own(seen())
        outer = own(seen())
    assert inner == {"page": {**PAGE, "title": "Cart"}, "tenant": "acme"}
    assert outer == {"page": PAGE, "tenant": "acme", "step": 1}


def test_reentrant():
    """One object may be entered inside itself, and again later."""
    again = event_context(tenant="acme")
    with again:
        with again:
            pass
        assert own(seen()) == {"tenant": "acme"}
    with again:
        assert own(seen()) == {"tenant": "acme"}
    assert own(seen()) == {}


def test_binding():
    """Bound values last until the enclosing block ends; `None` removes one before."""
    with event_context(a=1):
        bind_event_context(b=2, page={"title": "T"})
        bind_event_context(b=3)
        assert own(seen()) == {"a": 1, "b": 3, "page": {"title": "T"}}
        bind_event_context(b=None, a=None)
        assert own(seen()) == {"page": {"title": "T"}}
    assert own(seen()) == {}


def test_record_wins():
    """A record's own values win. `device` and `server` are merged, and so is `page` unless it is another page."""
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


@pytest.mark.parametrize("key", ["event", "emitkit_event", "category", "identify", "idempotency_key"])
def test_keys_of_one_record(key):
    """A key that belongs to a single record raises an error where the context is written."""
    for make_context in (event_context, bind_event_context):
        with pytest.raises(TypeError, match=f"^{key}: belongs to one record"):
            make_context(**{key: "x"})


def test_plain_records_stay_plain():
    """A context does not turn a plain record into an event."""
    with event_context(tenant="acme"):
        assert not EmitKitFormatter().accepts(make("nothing special"))


def test_routing_keys():
    """A context may set the channel, the push and the display of all its records."""
    with event_context(channel="acme", notify=False, display_as="message", __emitkit_secret=1):
        made = seen()
        assert seen(channel="other").channel == "other"
    assert (made.channel, made.notify, made.display_as, own(made)) == ("acme", False, "message", {})


def test_nested_context_dict():
    """The key `context` is unpacked as in `extra`. The `context` of a record wins."""
    with event_context(context={"page": PAGE, "user": {"id": 7}, "app": "shop"}, app="other"):
        assert own(seen()) == {"page": PAGE, "app": "other"}
        made = seen(context={"page": {"path": "/x"}, "user": {"id": 8}})
    assert (made.user_id, made.metadata["page"]) == ("8", {"path": "/x"})


def test_value_of_a_wrong_type():
    """A record's value of a wrong type is metadata and does not replace the value of the context."""
    with event_context(user_id="u-1", page=PAGE):
        made = seen(user_id=5.5, page=3)
    assert made.user_id == "u-1"
    assert made.metadata["page"] == PAGE
    assert made.metadata["user_id"] == 5.5
    assert made.metadata["extra"] == {"page": 3}


def test_values_are_copied():
    """Values are copied when the context is created, whatever their type."""

    @dataclasses.dataclass
    class Cart:
        items: list

    cart = Cart([1])
    with event_context(cart=cart, token="abc", user={"id": 1, "password": "hunter2"}):
        cart.items.append(2)
        made = seen()
    assert own(made) == {"cart": {"items": [1]}, "token": "[redacted]"}
    assert "hunter2" not in str(made)


def test_redact_option():
    """The `redact` option of a handler applies to the context too."""
    formatter = EmitKitFormatter(redact=["iban"])
    with event_context(iban="DE1", deep={"iban": "DE2"}):
        assert own(seen(formatter=formatter)) == {"iban": "[redacted]", "deep": {"iban": "[redacted]"}}


def test_secrets_in_urls():
    """Query parameters with secret names are masked in the URLs of a page; the rest of the URL stays."""
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


# Handlers, folds and the spool


def test_formatter_of_another_handler(capsys):
    """`EmitKitFormatter` on another handler prints the context too."""
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
def test_spool(extra):
    """The context of a record is written to the spool and read back unchanged."""
    converter = EmitKitFormatter().json_converter
    with event_context(page=PAGE, odd={"__emitkit_kind": "set", "of": [1]}):
        taken = capture(make("x", event="x", **extra), converter)
    back = codec.read_record(codec.write_record(taken, converter))
    assert back.context == taken.context


@pytest.mark.parametrize(
    "values", [{"user_id": "u-1"}, {"channel": "acme"}, {"user": {"id": "u-1", "email": "e"}}, {"page": PAGE}]
)
def test_fold_key(values):
    """The fold key of a captured record is that of its event, or `None`."""
    formatter = EmitKitFormatter()
    with event_context(**values):
        taken = capture(make("x", event="x"), formatter.json_converter)
    assert formatter.fold_key(taken) in (None, formatter.event(restore(taken)).fold_key)


def test_fold_key_without_a_channel():
    """A context without a channel does not change the channel in the fold key."""
    formatter = EmitKitFormatter(category_channel_map={"user": "people"})
    with event_context(tenant="acme"):
        taken = capture(make("user_signed_up", event="user_signed_up"), formatter.json_converter)
    assert formatter.fold_key(taken) == FoldKey("people", logging.INFO, ("user_signed_up",))


def test_fold_of_several_users(server, handler, logger):
    """A fold of several users has no user, also when contexts name the users."""
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


def test_background_thread(server, handler, logger):
    """The background thread, which may start inside a request, does not add the request's context to other records."""
    logger.addHandler(handler())
    with event_context(tenant="acme"):
        logger.info("a", extra={"event": "first"})
    done = threading.Thread(target=logger.info, args=("b",), kwargs={"extra": {"event": "second"}})
    done.start()
    done.join()
    sent = {seen.body["metadata"]["event"]: seen.body["metadata"].get("tenant") for seen in server.wait_for(2)}
    assert sent == {"first": "acme", "second": None}
