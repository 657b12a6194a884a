"""What a request may hold: every limit of the tables, at it and beyond it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._api import contract
from emitkit_logging._api.contract import CURRENT, SELF_HOSTED, Invalid, Unstorable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

BUTTON = {"id": "yes", "label": "Yes"}
TEXT = {"id": "note", "type": "text", "label": "Note"}
CHOICE = {
    "id": "size",
    "type": "choice",
    "label": "Size",
    "options": [{"id": "s", "label": "S"}, {"id": "m", "label": "M"}],
}
SEVERAL = {**CHOICE, "id": "sizes", "multiple": True}


def event(**fields):
    return {"channelName": "general", "title": "Title", **fields}


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


def paths(read, body):
    with pytest.raises(Invalid) as caught:
        read(body)
    return [".".join(map(str, problem["path"])) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"channelName": "x" * 255},
        {"title": "x" * 500},
        {"title": "🚨" * 250},
        {"description": "x" * 5000},
        {"description": ""},
        {"icon": "👨‍👩‍👧"},
        {"tags": ["x" * 50] * 20},
        {"metadata": {"any": [{"json": None}]}},
        {"userId": None},
        {"userId": "x" * 255},
        {"notify": False},
        {"displayAs": "message"},
        {"source": "x" * 100},
        {"unknown": object()},
        {"actions": [{"label": "Open", "url": "https://example.com"}]},
        {"actions": [BUTTON], "expiresIn": 10, "callbackUrl": "https://example.com/x", "resume": "r"},
        {"actions": [{**BUTTON, "style": "primary", "requires": ["note"]}], "fields": [TEXT]},
        {"actions": [{**BUTTON, "requires": ["sizes"]}], "fields": [{**SEVERAL, "default": ["s"]}]},
        {"fields": [{**CHOICE, "default": "m"}], "expiresIn": 604_800},
        {"fields": [{**TEXT, "default": "", "maxLength": 2000, "multiline": True, "placeholder": "p"}]},
        {"fields": [{"id": "n", "type": "number", "label": "N", "min": 0, "max": 5.5, "step": 0.5, "unit": "%"}]},
        {"fields": [{"id": "b", "type": "boolean", "label": "B", "default": True}]},
    ],
)
def test_takes_what_the_contract_allows(fields):
    """Everything within the limits passes, and unknown fields are left out."""
    assert CURRENT.read_event(event(**fields)) == without(event(**fields), "unknown")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"channelName": ""}, "channelName"),
        ({"channelName": "x" * 256}, "channelName"),
        ({"channelName": None}, "channelName"),
        ({"title": ""}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": "🚨" * 251}, "title"),
        ({"title": 1}, "title"),
        ({"description": "x" * 5001}, "description"),
        ({"description": None}, "description"),
        ({"icon": "x" * 11}, "icon"),
        ({"icon": None}, "icon"),
        ({"tags": ["x"] * 21}, "tags"),
        ({"tags": ["ok", "x" * 51]}, "tags.1"),
        ({"tags": "x"}, "tags"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"userId": "x" * 256}, "userId"),
        ({"userId": 7}, "userId"),
        ({"notify": 1}, "notify"),
        ({"displayAs": "banner"}, "displayAs"),
        ({"displayAs": None}, "displayAs"),
        ({"source": "x" * 101}, "source"),
        ({"actions": [BUTTON] * 5}, "actions"),
        ({"actions": ["x"]}, "actions.0"),
        ({"actions": [{"label": "x"}]}, "actions.0.id"),
        ({"actions": [{"id": "a b", "label": "x"}]}, "actions.0.id"),
        ({"actions": [{"id": 1, "label": "x"}]}, "actions.0.id"),
        ({"actions": [{**BUTTON, "label": "x" * 41}]}, "actions.0.label"),
        ({"actions": [{**BUTTON, "style": "loud"}]}, "actions.0.style"),
        ({"actions": [{**BUTTON, "colour": "red"}]}, "actions.0"),
        ({"actions": [{**BUTTON, "url": "https://x.y"}]}, "actions.0"),
        ({"actions": [{**BUTTON, "id": "submit"}]}, "actions.0.id"),
        ({"actions": [BUTTON, BUTTON]}, "actions"),
        ({"actions": [{**BUTTON, "requires": ["gone"]}]}, "actions.0.requires.0"),
        ({"actions": [{**BUTTON, "requires": ["size"]}], "fields": [CHOICE]}, "actions.0.requires.0"),
        ({"actions": [BUTTON], "notify": False}, "notify"),
        ({"fields": [{**TEXT, "id": str(number)} for number in range(6)]}, "fields"),
        ({"fields": [TEXT, TEXT]}, "fields"),
        ({"fields": [1]}, "fields.0"),
        ({"fields": [{**TEXT, "type": "date"}]}, "fields.0.type"),
        ({"fields": [{**TEXT, "type": ["text"]}]}, "fields.0.type"),
        ({"fields": [{**TEXT, "maxLength": 1.5}]}, "fields.0.maxLength"),
        ({"fields": [{**TEXT, "maxLength": "1"}]}, "fields.0.maxLength"),
        ({"fields": [without(CHOICE, "options")]}, "fields.0.options"),
        ({"fields": [{**CHOICE, "options": CHOICE["options"][:1]}]}, "fields.0.options"),
        ({"fields": [{**CHOICE, "default": "l"}]}, "fields.0.default"),
        ({"fields": [{**CHOICE, "default": ["s"]}]}, "fields.0.default"),
        ({"fields": [{**SEVERAL, "default": "s"}]}, "fields.0.default"),
        ({"fields": [{"id": "n", "type": "number", "label": "N", "step": 0}]}, "fields.0.step"),
        ({"fields": [{"id": "n", "type": "number", "label": "N", "step": "1"}]}, "fields.0.step"),
        ({"expiresIn": 60}, "expiresIn"),
        ({"callbackUrl": "https://example.com"}, "callbackUrl"),
        ({"resume": "r"}, "resume"),
        ({"actions": [BUTTON], "expiresIn": 9}, "expiresIn"),
        ({"actions": [BUTTON], "expiresIn": 604_801}, "expiresIn"),
        ({"actions": [BUTTON], "expiresIn": True}, "expiresIn"),
        ({"actions": [BUTTON], "callbackUrl": "http://example.com"}, "callbackUrl"),
        ({"actions": [BUTTON], "callbackUrl": 1}, "callbackUrl"),
    ],
)
def test_names_the_field_that_breaks_the_contract(fields, path):
    """Each limit is kept, and the details say which field broke it."""
    assert paths(CURRENT.read_event, event(**fields)) == [path]


def test_names_every_wrong_field_at_once():
    """All that is wrong is listed, missing fields included, and reads well as a message."""
    assert paths(CURRENT.read_event, {"title": "", "notify": "yes"}) == ["channelName", "title", "notify"]
    with pytest.raises(Invalid, match=r"^channelName: .*; title: "):
        CURRENT.read_event({"title": ""})


@pytest.mark.parametrize("body", [None, [], "text", 1, 1.5, True])
def test_wants_an_object(body):
    """A body of JSON that is no object is refused as a whole."""
    assert paths(CURRENT.read_event, body) == [""]
    assert paths(SELF_HOSTED.read_identify, body) == [""]


@pytest.mark.parametrize("sent", [{"user_id": "u"}, {"userId": "u"}, {"user_id": "u", "userId": "u"}])
def test_identify_takes_either_name_of_the_user(sent):
    """Current servers know both names, and fill in what is left out."""
    assert CURRENT.read_identify(sent) == {"user_id": "u", "properties": {}, "aliases": []}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "userId"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": "a", "userId": "b"}, "user_id"),
        ({"user_id": "a", "properties": None}, "properties"),
        ({"user_id": "a", "aliases": ["x"] * 51}, "aliases"),
        ({"user_id": "a", "aliases": [""]}, "aliases.0"),
        ({"user_id": "a", "aliases": ["x" * 256]}, "aliases.0"),
    ],
)
def test_identify_limits(fields, path):
    """The limits of an identify call are kept."""
    assert paths(CURRENT.read_identify, fields) == [path]


@pytest.mark.parametrize("name", ["description", "icon", "tags", "metadata", "notify", "source", "title"])
def test_self_hosted_refuses_explicit_nulls(name):
    """An explicit null is a 400 there, but for userId, and lengths are not looked at."""
    assert paths(SELF_HOSTED.read_event, event(**{name: None})) == [name]
    assert SELF_HOSTED.read_event(event(userId=None, title="x" * 9999))["userId"] is None


def test_self_hosted_drops_unknown_fields_and_knows_user_id_only():
    """What the open-source server does not know it drops: displayAs, and the new name of user_id."""
    assert SELF_HOSTED.read_event(event(displayAs=1, actions=2)) == event()
    assert paths(SELF_HOSTED.read_identify, {"userId": "u"}) == ["user_id"]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 501},
        {"icon": "x" * 51},
        {"channelName": "x" * 256},
        {"source": "x" * 51},
        {"title": "a\0b"},
        {"metadata": {"deep": [{"\0": 1}]}},
        {"metadata": {"half": "\ud83d"}},
    ],
)
def test_self_hosted_database_refuses(fields):
    """What its validation lets through and its database does not."""
    with pytest.raises(Unstorable):
        contract.require_storable(event(**fields))


@pytest.mark.parametrize(
    "fields",
    [{"title": "🚨" * 500, "icon": "🚨" * 50}, {"title": "\\u0000"}, {"title": "\\\\u0000"}, {"title": "\ud83d"}],
)
def test_self_hosted_database_takes(fields):
    """Its columns count code points, and a NUL is one only when it is not spelled out."""
    contract.require_storable(event(**fields))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Channel", "my-channel"),
        ("my.app", "myapp"),
        ("user_activity", "user-activity"),
        ("  --a  b--  ", "a-b"),
        ("Über", "ber"),
        ("!", ""),
    ],
)
def test_slugs(name, slug):
    """Channel names on the open-source server."""
    assert contract.slugify(name) == slug


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b"\xff", b"[" * 5000 + b"]" * 5000],
)
def test_refuses_what_is_not_json(body):
    """NaN and infinities, which Python reads and writes, are no JSON; nor is what no parser survives."""
    with pytest.raises(Invalid):
        contract.parse(body)


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_depth_is_limited_alike_on_every_python(opening):
    """The depth that passes does not hang on the interpreter's own limit."""
    closing = b"}" if opening.startswith(b"{") else b"]"
    deepest = contract.MAX_DEPTH
    contract.parse(opening * deepest + b"1" + closing * deepest)
    with pytest.raises(Invalid):
        contract.parse(opening * (deepest + 1) + b"1" + closing * (deepest + 1))
    assert contract.parse(b"[1," + b"[2]," * 2000 + b"{}]")


def test_integers_beyond_2_to_the_53():
    """They stay exact, unless the server is one that loses their precision, or has none for them."""
    assert contract.parse(b"9007199254740993") == 2**53 + 1
    assert contract.parse(b"9007199254740993", exact_integers=False) == 2**53
    with pytest.raises(Invalid):
        contract.parse(b"1" * 400, exact_integers=False)


@given(JSON)
def test_json_round_trips(value):
    """Whatever JSON is sent is what is stored."""
    assert contract.parse(contract.encode(value)) == value
    assert contract.parse(json.dumps(value).encode()) == value
    assert contract.mend(value) == value


@given(st.text(st.characters(codec=None, categories=["Cs", "L"])))
def test_mended_text_is_encodable(text):
    """Half a surrogate pair becomes U+FFFD, a whole one the character that it stands for."""
    mended = contract.mend({text: text})
    assert mended == {key: key for key in mended}
    contract.encode(mended)


@given(JSON, st.sampled_from([CURRENT, SELF_HOSTED]), st.sampled_from(list(CURRENT.event)))
def test_no_json_breaks_the_validation(value, rules, name):
    """Whatever is sent in a field is either taken or refused by name."""
    with contextlib.suppress(Invalid):
        rules.read_event(event(**{name: value}))
        return
    assert {path.partition(".")[0] for path in paths(rules.read_event, event(**{name: value}))} == {name}
