"""What a record becomes: the design's tables, key by key."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
import json
import logging
import logging.config
import uuid

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import restore
from emitkit_logging._events.identity import Identity

from .records import event, make

LOG = {"level": "INFO", "logger": "app", "file": "/srv/app.py", "line": 7, "function": "work"}


def extra_metadata(made) -> dict:
    """Return the metadata without what every event has."""
    return {k: v for k, v in made.metadata.items() if k not in ("category", "event", "timestamp", "log")}


def test_event_whole():
    """The example of the seed document becomes exactly this request."""
    record = make("user_signed_up", event="user_signed_up", category="user", user_id="user-123", plan="pro")
    body = EmitKitFormatter(category_channel_map={"user": "user-activity"}).event(record).body()
    assert body == {
        "channelName": "user-activity",
        "title": "User Signed Up",
        "description": "User lifecycle event",
        "icon": "👤",
        "tags": ["user"],
        "metadata": {
            "plan": "pro",
            "category": "user",
            "event": "user_signed_up",
            "timestamp": int(record.created * 1000),
            "log": LOG,
        },
        "userId": "user-123",
        "notify": True,
        "displayAs": "notification",
        "source": "emitkit-logging",
    }


@pytest.mark.parametrize(
    ("level", "extra", "accepted"),
    [
        (logging.INFO, {}, False),
        (logging.ERROR, {}, True),
        (logging.DEBUG, {"event": "x"}, True),
        (logging.DEBUG, {"category": "x"}, True),
        (logging.DEBUG, {"emitkit_event": "x"}, True),
        (logging.DEBUG, {"event": ""}, False),
        (logging.DEBUG, {"event": 3, "category": None}, False),
        (logging.DEBUG, {"extra": {"event": "x"}}, True),
        (logging.DEBUG, {"extra": "x"}, False),
        (logging.DEBUG, {"identify": {"id": 1}}, True),
        (logging.DEBUG, {"identify": {}}, False),
    ],
)
def test_accepts(level, extra, accepted):
    """A record is sent when it is an event, identifies, or is plain and grave enough."""
    assert EmitKitFormatter().accepts(make(level=level, **extra)) is accepted


def test_event_from_message():
    """With the option, a snake_case message names the event."""
    formatter = EmitKitFormatter(event_from_message=True)
    assert formatter.accepts(make("user_signed_up"))
    assert not formatter.accepts(make("hello"))
    assert formatter.event(make("user_signed_up")).title == "User Signed Up"


@pytest.mark.parametrize(
    ("level", "extra", "channel"),
    [
        (logging.INFO, {"event": "x", "category": "user"}, "users"),
        (logging.ERROR, {"event": "x", "category": "user"}, "users"),
        (logging.ERROR, {}, "alerts"),
        (logging.CRITICAL, {}, "pager"),
        (logging.WARNING, {}, "fallback"),
        (logging.INFO, {"event": "x", "channel": "own"}, "own"),
        (logging.INFO, {"event": "x", "__emitkit_channel": "own", "channel": "other"}, "own"),
        (logging.INFO, {"event": "x", "channel": ""}, "fallback"),
        (logging.INFO, {"event": "x", "channel": 5}, "fallback"),
        (logging.INFO, {"event": "x", "properties": {"__emitkit_channel": "own"}}, "own"),
    ],
)
def test_channel(level, extra, channel):
    """The event's own channel wins over the category's, that over the level's, that over the fallback."""
    options = {
        "channel_name": "fallback",
        "category_channel_map": {"user": "users"},
        "level_channel_map": {"error": "alerts", "50": "pager"},
    }
    made = event(level=level, options=options, **extra)
    assert made.channel == channel
    assert "__emitkit_channel" not in json.dumps(made.metadata)


@pytest.mark.parametrize(
    ("extra", "category"),
    [
        ({"event": "user_signed_up"}, "user"),
        ({"event": "api_error"}, "error"),
        ({"event": "purchase_completed"}, "conversion"),
        ({"event": "page_viewed"}, "navigation"),
        ({"event": "feature_used"}, "engagement"),
        ({"event": "feature_used", "level": logging.ERROR}, "error"),
        ({"event": "x", "category": "own", "level": logging.ERROR}, "own"),
        ({"level": logging.WARNING}, "warning"),
        ({"level": logging.ERROR}, "error"),
    ],
)
def test_category(extra, category):
    """The category is given, or follows from the level or the name."""
    made = event(**extra)
    assert (made.metadata["category"], made.tags) == (category, [category])


def test_category_names_the_message():
    """A record with a category alone has its message for a name."""
    made = event("payment of %d received", 5, category="conversion")
    assert (made.title, made.metadata["event"]) == ("Payment of 5 received", "payment of 5 received")
    assert made.description == "Conversion event"


def test_message_is_description():
    """A message that differs from the event's name is the better description."""
    assert event("Ada signed up", event="user_signed_up").description == "Ada signed up"
    assert event("user_signed_up", event="user_signed_up").description == "User lifecycle event"


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("title", "T", "title", "T"),
        ("description", "D", "description", "D"),
        ("icon", "🎉", "icon", "🎉"),
        ("icon", "x" * 11, "icon", "👆"),
        ("tags", ["a", "b", "a"], "tags", ["engagement", "a", "b"]),
        ("tags", {"b", "a"}, "tags", ["engagement", "a", "b"]),
        ("notify", False, "notify", False),
        ("__emitkit_notify", False, "notify", False),
        ("display_as", "message", "display_as", "message"),
        ("display_as", "banner", "display_as", "notification"),
        ("user_id", "u", "user_id", "u"),
        ("user_id", 5, "user_id", "5"),
        ("user", "u", "user_id", "u"),
        ("idempotency_key", "k", "idempotency_key", "k"),
    ],
)
def test_keys(key, value, field, expected):
    """Keys of the right type are taken, and do not stand in the metadata again."""
    made = event("x", event="x", **{key: value})
    assert getattr(made, field) == expected
    assert extra_metadata(made) == {}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("title", 5, 5),
        ("tags", ["a", 5], ["a", 5]),
        ("notify", "no", "no"),
        ("notify", 1, 1),
        ("user_id", True, True),
        ("user", 5, 5),
        ("session_id", 5, 5),
        ("page", "home", "home"),
        ("context", [1], [1]),
        ("properties", "x", "x"),
        ("identify", {"plan": "pro"}, {"plan": "pro"}),
        ("expires_in", 60, 60),
        ("fields", [{"id": "x"}], [{"id": "x"}]),
        ("actions", "x", "x"),
        ("icon", 5, 5),
    ],
)
def test_keys_of_other_types(key, value, expected):
    """Keys of another type, or that the server would refuse, are ordinary metadata."""
    made = event("x", event="x", **{key: value})
    assert extra_metadata(made) == {key: expected}
    assert made.user_id is None


def test_metadata_keys():
    """Contexts, the session and properties become metadata under the contract's names; addresses are left out."""
    made = event(
        "x",
        event="x",
        session_id="s",
        page={"path": "/a"},
        context={"page": {"path": "/b"}, "device": {"os": "x", "ip": "1.2.3.4"}, "user": {"id": 1}, "more": 2},
        server={"ip": "1.2.3.4", "requestId": "r"},
        properties={"name": "n", "plan": "old"},
        plan="new",
    )
    assert made.user_id == "1"
    assert extra_metadata(made) == {
        "name": "n",
        "plan": "new",
        "more": 2,
        "sessionId": "s",
        "page": {"path": "/a"},
        "device": {"os": "x"},
        "server": {"requestId": "r"},
    }


def test_generated_names():
    """A user's value under a name that we write stands in `metadata.extra`."""
    made = event(level=logging.ERROR, timestamp=1, log="x", samples=[], event=5, extra="own")
    assert extra_metadata(made) == {"extra": {"extra": "own", "timestamp": 1, "log": "x", "samples": [], "event": 5}}


def test_emitkit_event():
    """`emitkit_event` beats `event`, which is then an ordinary value."""
    made = event("x", emitkit_event="a_b", event="other")
    assert (made.title, made.metadata["event"], made.metadata["extra"]) == ("A B", "a_b", {"event": "other"})


def test_nested_extra():
    """A dict named `extra` is read one level down; the record itself wins."""
    made = event("x", extra={"event": "a_b", "plan": "nested", "seats": 2}, plan="own")
    assert (made.title, extra_metadata(made)) == ("A B", {"plan": "own", "seats": 2})


def test_dict_message():
    """A dict as the message is read as extra; its `event` is the message."""
    made = event({"event": "Ada signed up", "emitkit_event": "user_signed_up", "plan": "pro"})
    assert (made.title, made.description, extra_metadata(made)) == ("User Signed Up", "Ada signed up", {"plan": "pro"})
    converter = event({"event": "it broke", "code": 3}, level=logging.ERROR)
    assert (converter.title, extra_metadata(converter)) == ("it broke", {"code": 3})


def test_page_view():
    """A page view is shown as the npm package shows it; explicit keys win."""
    made = event("x", event="page_view", page={"path": "/home"}, tags=["a"])
    assert (made.title, made.description, made.icon) == ("Page View", "/home", "👁️")
    assert (made.tags, made.notify, made.display_as) == (["page_view", "navigation", "a"], False, "message")
    assert datetime.datetime.fromisoformat(made.metadata["date"].replace("Z", "+00:00"))
    explicit = event(
        "x", event="page_view", title="T", description="D", icon="x", notify=True, display_as="notification"
    )
    assert (explicit.title, explicit.description, explicit.icon) == ("T", "D", "x")
    assert (explicit.notify, explicit.display_as) == (True, "notification")
    assert event("x", event="page_view").description == "User viewed a page"
    assert event("x", event="page_view", level=logging.ERROR).metadata["category"] == "error"


def test_plain():
    """A plain record's first line is its title, the others its description."""
    made = event("it %s\nfirst\nsecond", "broke", level=logging.ERROR)
    assert (made.title, made.description, made.channel, made.icon) == ("it broke", "first\nsecond", "alerts", "❌")
    assert "event" not in made.metadata
    assert event("", level=logging.ERROR).title == "(no message)"


def test_exception():
    """An exception is named, and its traceback kept, without keeping its frames."""
    try:
        raise ValueError("nope")
    except ValueError:
        made = event("failed", level=logging.ERROR, exc_info=True)
    assert made.description == "ValueError: nope"
    exception = made.metadata["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "nope")
    assert "in test_exception" in exception["stacktrace"]


class Hostile(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError


def test_hostile_exception():
    """An exception that cannot even be printed is named all the same."""
    try:
        raise Hostile
    except Hostile:
        made = event("failed", level=logging.ERROR, exc_info=True)
    assert made.metadata["exception"]["type"] == f"{__name__}.Hostile"


def test_exception_text_only():
    """A record that came through a queue has only the traceback's text."""
    record = make("failed", level=logging.ERROR)
    record.exc_text = "Traceback (most recent call last):\n  ...\nKeyError: 'x'"
    exception = EmitKitFormatter().event(record).metadata["exception"]
    assert exception == {"type": "KeyError", "message": "'x'", "stacktrace": record.exc_text}


def test_stack_info():
    """A stack that was asked for is metadata."""
    record = make("x", level=logging.ERROR)
    record.stack_info = "Stack (most recent call last):\n  here"
    assert EmitKitFormatter().event(record).metadata["stack"] == record.stack_info


def test_arguments_that_do_not_fit():
    """A message whose arguments do not fit is sent unformatted, with the arguments."""
    made = event("%d things", "many", level=logging.ERROR)
    assert (made.title, made.metadata["args"]) == ("%d things", ["many"])


def test_messages_that_are_no_text():
    """Anything can be a message."""
    assert event(ValueError("x"), level=logging.ERROR).title == "x"
    assert event({"a": 1}, level=logging.ERROR).title == "(no message)"


@dataclasses.dataclass
class Cart:
    items: list


def test_values_at_the_call():
    """Later changes of what was logged do not reach the event."""
    from emitkit_logging._context.capture import capture
    from emitkit_logging._events.captured import restore

    formatter = EmitKitFormatter()
    cart, tags, page = Cart([1]), ["a"], {"path": "/"}
    record = make("%s", page, event="x", cart=cart, tags=tags, page=page)
    before = dict(record.__dict__)
    captured = capture(record, formatter.json_converter)
    assert record.__dict__ == before
    cart.items.append(2)
    tags.append("b")
    page["path"] = "/later"
    made = formatter.event(restore(captured))
    assert made.description == "{'path': '/'}"
    assert extra_metadata(made) == {"cart": {"items": [1]}, "page": {"path": "/"}}
    assert made.tags == ["engagement", "a"]


def test_users():
    """A user's id, names and traits make a person; `user_id` is the id of a user without one."""
    made = event("x", event="x", user={"id": 7, "email": "a@b.c", "username": "ada", "name": "Ada", "traits": {"p": 1}})
    assert made.user_id == "7"
    (person,) = made.identities
    assert (person.user_id, person.aliases) == ("7", ("a@b.c", "ada"))
    assert person.properties == {"p": 1, "email": "a@b.c", "username": "ada", "name": "Ada"}
    made = event("x", event="x", user={"id": 7, "traits": {"colour": object}})
    assert made.identities[0].properties == {"colour": "<object>"}
    made = event("x", event="x", user_id="u", user={"email": "a@b.c"})
    assert (made.user_id, made.identities[0].user_id) == ("u", "u")
    made = event("x", event="x", user={"email": "a@b.c", "username": "ada"})
    assert (made.user_id, made.identities) == ("a@b.c", ())
    assert event("x", event="x", user={"id": 7}).identities == ()
    made = event("x", event="x", user_id="x" * 256)
    assert (made.user_id, made.metadata["user_id"]) == ("x" * 254 + "…", "x" * 256)


def test_identify():
    """`identify` makes a person without an event; with an event both happen."""
    alone = event("x", identify={"id": "u", "email": "a@b.c", "plan": "pro", "aliases": ["b"]})
    assert alone.only_identifies
    assert alone.identities[0].properties == {"plan": "pro", "email": "a@b.c"}
    assert alone.identities[0].aliases == ("a@b.c", "b")
    both = event("x", event="x", identify={"id": "u"})
    assert (both.only_identifies, both.user_id) == (False, "u")
    assert not event("x", level=logging.ERROR, identify={"id": "u"}).only_identifies


@pytest.mark.parametrize(
    ("user_id", "error"), [(True, TypeError), (None, TypeError), ("", ValueError), ("x" * 256, ValueError)]
)
def test_person_checks(user_id, error):
    """`handler.identify` refuses what can be no id."""
    with pytest.raises(error, match="user_id"):
        EmitKitFormatter().identity(user_id, None, (), 0.0)


def test_person():
    """`handler.identify` takes traits and aliases."""
    person = EmitKitFormatter().identity(5, {"email": "e", "plan": "p"}, ["a"], 1.0)
    assert person == Identity("5", {"plan": "p", "email": "e"}, ("e", "a"), 1.0)
    with pytest.raises(TypeError, match="traits"):
        EmitKitFormatter().identity(5, ["x"], (), 0.0)


def test_questions():
    """What waits for an answer is sent under the contract's names."""
    made = event(
        "x",
        event="x",
        actions=[{"id": "yes", "label": "Yes", "style": "primary"}],
        fields=[{"id": "why", "type": "text", "label": "Why"}],
        expires_in=60,
        callback_url="https://example.com/back",
        resume="r",
    )
    assert made.body()["expiresIn"] == 60
    assert set(made.questions) == {"actions", "fields", "expiresIn", "callbackUrl", "resume"}
    assert extra_metadata(made) == {}
    link = event("x", event="x", actions=[{"label": "Open", "url": "https://example.com"}], resume="r")
    assert set(link.questions) == {"actions"}
    assert extra_metadata(link) == {"resume": "r"}


def test_redaction():
    """Secrets are withheld wherever they stand."""
    key = "emitkit_" + "a1" * 10
    made = event(
        f"with {key} and Bearer abc.def",
        event="x",
        password="hunter2",
        deep={"list": [{"X-Api-Key": "hunter2"}], "url": "https://ada:hunter2@example.com/"},
        email="a@b.c",
        options={"redact": ["email"]},
    )
    text = json.dumps(made.body())
    assert "hunter2" not in text
    assert key not in text
    assert "abc.def" not in text
    assert made.metadata["email"] == "[redacted]"


def test_redacted_identity():
    """A user's field that is withheld is neither an id nor an alias."""
    made = event("x", event="x", user={"email": "a@b.c", "username": "ada"}, options={"redact": ["email"]})
    assert made.user_id == "ada"


@pytest.mark.parametrize(
    ("key", "expected"), [("k" * 255, "k" * 255), ("k" * 256, None), ("a\nb", None), ("ключ", None)]
)
def test_idempotency_key(key, expected):
    """A key that cannot be a header is replaced by one that is as unique."""
    made = event("x", event="x", idempotency_key=key).idempotency_key
    assert made == expected if expected else (len(made) == 64 and made.isalnum())


HOSTILE = st.one_of(
    st.builds(Hostile),
    st.just(float("nan")),
    st.just("\ud800\x00"),
    st.binary(),
    st.datetimes(),
    st.decimals(),
    st.uuids(),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | HOSTILE,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["event", "category", "title", "description", "icon", "tags", "channel", "notify", "display_as", "user_id", "user"]
    + ["session_id", "page", "device", "utm", "server", "context", "properties", "idempotency_key", "actions", "fields"]
    + ["expires_in", "callback_url", "resume", "identify", "extra", "emitkit_event", "x"]
)


@settings(max_examples=80)
@given(st.text(st.characters()) | VALUES, st.dictionaries(KEYS, VALUES), st.sampled_from([10, 20, 40]))
def test_anything(msg, extra, level):
    """Whatever is logged becomes valid JSON within the contract's limits."""
    made = event(msg, level=level, **extra)
    body = json.loads(made.encode())
    assert 1 <= len(body["channelName"]) <= 255
    assert 1 <= len(body["title"].encode("utf-16-le")) <= 1000
    assert len(body.get("description", "").encode("utf-16-le")) <= 10_000
    assert len(body.get("icon", "").encode("utf-16-le")) <= 20
    assert len(body["tags"]) <= 20
    assert all(len(tag.encode("utf-16-le")) <= 100 for tag in body["tags"])
    assert len(body.get("userId", "").encode("utf-16-le")) <= 510
    assert "\x00" not in str(body)


def lines(**options) -> list[dict]:
    """Return what a StreamHandler prints with the formatter that `options` make."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EmitKitFormatter(**options))
    for record in (
        make("x", event="user_signed_up"),
        make("x", identify={"id": 1, "email": "e"}),
        make("x", level=logging.ERROR),
    ):
        handler.handle(record)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines():
    """On any other handler each event is one line of JSON."""
    first, second, third = lines()
    assert (first["title"], third["channelName"]) == ("User Signed Up", "alerts")
    assert second == {"identify": [{"user_id": "1", "properties": {"email": "e"}, "aliases": ["1", "e"]}]}


def test_json_options():
    """python-json-logger's options shape the line."""
    first, *_ = lines(
        fmt="%(levelname)s %(asctime)s",
        static_fields={"service": "shop"},
        rename_fields={"title": "headline", "levelname": "severity"},
        timestamp="at",
    )
    assert (first["service"], first["headline"], first["severity"]) == ("shop", "User Signed Up", "INFO")
    assert {"asctime", "at"} <= set(first)
    assert "title" not in first


def test_dict_config(capsys):
    """The formatter is named in dictConfig like any other, and a wrong option is named in the cause."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"events": {"()": "emitkit_logging.EmitKitFormatter", "channel_name": "own"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "events", "stream": "ext://sys.stdout"}},
        "loggers": {"formatted": {"handlers": ["out"], "propagate": False}},
    }
    logging.config.dictConfig(config)
    logging.getLogger("formatted").warning("careful")
    logging.getLogger("formatted").handlers.clear()
    assert json.loads(capsys.readouterr().out)["channelName"] == "own"
    config["formatters"]["events"]["display_as"] = "banner"
    with pytest.raises(ValueError, match="events") as caught:
        logging.config.dictConfig(config)
    assert "display_as" in str(caught.value.__cause__)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "event": st.sampled_from(["", "user_signed_up", "page_view", "emitkit_0123456789abcdef0", 5]),
            "category": st.sampled_from(["", "user", "billing", 5]),
            "emitkit_event": st.just("other"),
            "channel": st.just("special"),
            "user_id": st.sampled_from(["u", 5]),
            "extra": st.just({"event": "inner"}),
            "idempotency_key": st.just("key"),
        },
    ),
    st.sampled_from(["x", "user %s", "two\nlines", "snake_case"]),
    st.sampled_from([10, 20, 35, 40, 50]),
    st.booleans(),
    st.booleans(),
)
def test_key(extra, message, level, raises, from_message):
    """What a record folds by is the same whether its event was made or not."""
    made = EmitKitFormatter(
        category_channel_map={"user": "people", "warning": "odd"}, plain_level=0, event_from_message=from_message
    )
    error = ValueError("no")
    info = (ValueError, error, None) if raises else None
    record = make(message, *(["a"] if "%" in message else []), level=level, exc_info=info, **extra)
    captured = capture(record, made.json_converter)
    key = made.fold_key(captured)
    assert key is None or key == made.event(restore(captured)).fold_key
    if not extra:
        assert key is not None or from_message


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\x1b[31mpayment failed\x1b[0m", "payment failed"),
        ("pay\x07ment\x00 failed", "payment� failed"),
        ("payment failed\r\nsecond", "payment failed"),
        ("50%\rdone", "50%"),
        ("\u202epayment failed\u202c", "payment failed"),
        ("a\u2066b\u2069c", "abc"),
        ("\x1b]8;;https://h\x07link\x1b]8;;\x07", "link"),
        ("\u200b\u200d\ufeff", "(no message)"),
        ("\u3164", "(no message)"),
        ("\u0301\u200b", "(no message)"),
        ("Ünïcödé 👩‍👩‍👧 \u05e9\u05dc\u05d5\u05dd", "Ünïcödé 👩‍👩‍👧 \u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_readable_titles(text, title):
    """A title has nothing that a screen hides or reorders; a text of which nothing is visible is none."""
    assert event(text, level=logging.ERROR).title == title
    named = event("the message", event="x", title=text).title
    assert named == (title if title != "(no message)" else "X") or "\n" in named


@pytest.mark.parametrize(
    ("value", "timestamp"),
    [
        (1_700_000_000, 1_700_000_000_000),
        (1_700_000_000.5, 1_700_000_000_500),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), 1_767_225_600_000),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))), 1_767_222_000_000),
        (0, 0),
    ],
)
def test_occurred_at(value, timestamp):
    """`occurred_at` is the event's time, and no metadata; the record's own time orders the delivery."""
    made = event("x", event="x", occurred_at=value)
    assert made.metadata["timestamp"] == timestamp
    assert "occurred_at" not in made.metadata
    assert made.created > timestamp / 1000
    assert event("x", event="page_view", occurred_at=1_700_000_000).metadata["date"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    "value", [True, "2026-01-01", datetime.datetime.fromisoformat("2026-01-01"), float("nan"), 1e300, -(10**12)]
)
def test_occurred_at_of_another_type(value):
    """What is no point in time is ordinary metadata."""
    made = event("x", event="x", occurred_at=value)
    assert "occurred_at" in made.metadata
    assert made.metadata["timestamp"] == int(made.created * 1000)


@pytest.mark.parametrize("value", [7, numpy.int64(7), enum.IntEnum("Ids", {"ADA": 7}).ADA, "7"])
def test_ids_of_other_types(value):
    """An id is an id in each of its types, for `user_id`, `user` and `identify`."""
    assert event("x", event="x", user_id=value).user_id == "7"
    made = event("x", event="x", user={"id": value, "email": "a@b.c"})
    assert (made.user_id, made.identities[0].user_id) == ("7", "7")
    assert event("x", identify={"id": value, "plan": "pro"}).identities[0].user_id == "7"


def test_uuid_as_id():
    """A UUID, of whatever class, is an id as its text is."""

    class Own(uuid.UUID):
        pass

    for value in (uuid.UUID(int=5), Own(int=5)):
        assert event("x", event="x", user_id=value).user_id == str(uuid.UUID(int=5))
        assert event("x", event="x", user={"id": value, "name": "Ada"}).identities[0].user_id == str(uuid.UUID(int=5))


def test_long_id():
    """An id over the limit is visibly shortened, and stands whole in the metadata."""
    whole = "u" * 300
    for extra in ({"user_id": whole}, {"user": {"id": whole, "email": "a@b.c"}}):
        made = event("x", event="x", **extra)
        assert made.user_id == "u" * 254 + "…"
        assert made.metadata["user_id"] == whole
    assert event("x", event="x", user_id=10**5_000).user_id.endswith("…")


def test_nothing_known_of_a_device():
    """A device of which only the address is known is left out."""
    made = event("x", event="x", device={"ip": "1.2.3.4"}, server={"ip": "1.2.3.4"})
    assert not {"device", "server"} & set(made.metadata)


def test_log_survives():
    """The application's values are shortened first: where an event was logged and its exception remain."""
    try:
        raise ValueError("bad")
    except ValueError:
        made = event("failed", level=logging.ERROR, exc_info=True, **{f"key{n}": "x" * 1_000 for n in range(200)})
    metadata = json.loads(made.encode())["metadata"]
    assert metadata["log"] == {**LOG, "level": "ERROR"}
    assert metadata["exception"] == made.metadata["exception"]
    assert {"category", "timestamp", "…"} <= set(metadata)
    assert json.loads(made.encode(1_500))["metadata"]["log"]["level"] == "ERROR"


def test_record_factory():
    """Nothing asks the application's record factory, which may need what only a logging call gives it."""
    records = [make("hello", level=logging.ERROR)]

    def factory(name, *args, **kwargs):
        raise AssertionError(name)

    plain = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        line = json.loads(EmitKitFormatter("%(levelname)s %(message)s").format(records[0]))
    finally:
        logging.setLogRecordFactory(plain)
    assert (line["title"], line["levelname"], line["message"]) == ("hello", "ERROR", "hello")


def test_format_of_what_cannot_be_built():
    """A line is printed for any record, with what went wrong."""
    record = make("hello", level=logging.ERROR)
    del record.__dict__["pathname"]
    line = json.loads(EmitKitFormatter().format(record))
    assert (line["title"], line["metadata"]["error"]) == ("hello", "KeyError: 'pathname'")
