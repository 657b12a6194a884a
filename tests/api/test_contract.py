"""What a request may hold: every limit of the contract, at it and beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._api.contract import CURRENT, askable

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


BAD_LINKS = [
    "",
    "http://example.com",
    "http://localhost",
    "http://localhost.example.com/",
    "http://127.0.0.1/",
    "javascript:alert(1)",
    "mailto:ada@example.com",
    "/orders/1",
    "https://",
    "https://exa mple.com",
    "https://" + "x" * 1993,
]


BAD_CALLBACKS = [
    "http://example.com",
    "http://localhost:3000/",
    "https://emitkit.com",
    "https://EMITKIT.com./x",
    "https://api.emitkit.com:443/v1/events",
    "https://user@emitkit.com/x",
    "https://emitkit.com?x",
    "https:///x",
    "https://x\n",
    "https://" + "x" * 1993,
    "",
]


def event(**fields):
    return {"channelName": "general", "title": "Title", **fields}


def paths(rules, body):
    """Return where a request is wrong, as dotted paths."""
    return [".".join(map(str, problem["path"])) for problem in rules.problems(body)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"channelName": "x" * 255},
        {"title": "x" * 1000},
        {"title": "🚨" * 500},
        {"description": "x" * 50_000},
        {"description": ""},
        {"icon": "👨‍👩‍👧"},
        {"icon": "x" * 100},
        {"tags": ["x" * 500] * 200},
        {"metadata": {"any": [{"json": None}]}},
        {"userId": None},
        {"userId": "x" * 500},
        {"userId": ""},
        {"notify": False},
        {"displayAs": "message"},
        {"source": "x" * 255},
        {"unknown": object()},
        {"actions": [{"label": "Open", "url": "https://example.com"}]},
        {
            "actions": [
                {"label": "Open", "url": "http://localhost:3000/x"},
                {"label": "Open", "url": "http://localhost/x"},
            ]
        },
        {"actions": [{"label": "Open", "url": "https://" + "x" * 1992}]},
        {"actions": [BUTTON], "callbackUrl": "https://not-emitkit.com/emitkit.com", "expiresIn": 604_800},
        {"actions": [BUTTON], "callbackUrl": "HTTPS://localhost:9/x", "resume": "x" * 65_536},
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
    """Everything within the limits is valid, and unknown fields are ignored."""
    assert CURRENT.event.problems(event(**fields)) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"channelName": ""}, "channelName"),
        ({"channelName": "x" * 256}, "channelName"),
        ({"channelName": None}, "channelName"),
        ({"title": ""}, "title"),
        ({"title": "x" * 1001}, "title"),
        ({"title": "🚨" * 501}, "title"),
        ({"title": 1}, "title"),
        ({"description": None}, "description"),
        ({"icon": None}, "icon"),
        ({"tags": ["ok", 1]}, "tags.1"),
        ({"tags": "x"}, "tags"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"userId": 7}, "userId"),
        ({"notify": 1}, "notify"),
        ({"displayAs": "banner"}, "displayAs"),
        ({"displayAs": None}, "displayAs"),
        ({"source": "x" * 256}, "source"),
        ({"source": ""}, "source"),
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
        ({"actions": [BUTTON, BUTTON]}, "actions.1.id"),
        *(({"actions": [{"label": "x", "url": url}]}, "actions.0.url") for url in BAD_LINKS),
        ({"actions": [{**BUTTON, "requires": ["gone"]}]}, "actions.0.requires.0"),
        ({"actions": [{**BUTTON, "requires": ["size"]}], "fields": [CHOICE]}, "actions.0.requires.0"),
        ({"actions": [BUTTON], "notify": False}, "notify"),
        ({"fields": [{**TEXT, "id": str(number)} for number in range(6)]}, "fields"),
        ({"fields": [TEXT, TEXT]}, "fields.1.id"),
        ({"fields": [1]}, "fields.0"),
        ({"fields": [{**TEXT, "type": "date"}]}, "fields.0.type"),
        ({"fields": [{**TEXT, "type": ["text"]}]}, "fields.0.type"),
        ({"fields": [{**TEXT, "maxLength": 1.5}]}, "fields.0.maxLength"),
        ({"fields": [{**TEXT, "maxLength": "1"}]}, "fields.0.maxLength"),
        ({"fields": [{"id": "size", "type": "choice", "label": "Size"}]}, "fields.0.options"),
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
        *(({"actions": [BUTTON], "callbackUrl": url}, "callbackUrl") for url in BAD_CALLBACKS),
        ({"actions": [BUTTON], "callbackUrl": 1}, "callbackUrl"),
    ],
)
def test_names_the_field_that_breaks_the_contract(fields, path):
    """Every limit is checked, and the problem names the field that breaks it."""
    assert paths(CURRENT.event, event(**fields)) == [path]


def test_names_every_wrong_field_at_once():
    """All problems are listed at once, missing fields included."""
    assert paths(CURRENT.event, {"title": "", "notify": "yes"}) == ["channelName", "title", "notify"]


@pytest.mark.parametrize("body", [None, [], "text", 1, 1.5, True])
def test_wants_an_object(body):
    """A body that is not an object is refused as a whole."""
    assert paths(CURRENT.event, body) == [""]
    assert paths(CURRENT.identify, body) == [""]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "userId"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": "a", "userId": "b"}, "user_id"),
        ({"user_id": "a", "properties": None}, "properties"),
        ({"user_id": "a", "aliases": [""]}, "aliases.0"),
        ({"user_id": "a", "aliases": ["x" * 256]}, "aliases.0"),
    ],
)
def test_identify_limits(fields, path):
    """Every limit of an identify call is checked."""
    assert paths(CURRENT.identify, fields) == [path]


@given(JSON, st.sampled_from(list(CURRENT.event.fields)))
def test_no_json_breaks_the_validation(value, name):
    """Whatever value a field has, the validation accepts it or names that field."""
    assert {path.partition(".")[0] for path in paths(CURRENT.event, event(**{name: value}))} <= {name}


QUESTION = {"actions": [BUTTON], "fields": [TEXT]}
LINK = {"label": "Open", "url": "https://x.y"}
SCRIPT = {"label": "Open", "url": "javascript:alert(1)"}


@pytest.mark.parametrize(
    ("found", "sent", "refused"),
    [
        ({}, {}, {}),
        (QUESTION, QUESTION, {}),
        ({**QUESTION, "expiresIn": 60, "resume": "r"}, {**QUESTION, "expiresIn": 60, "resume": "r"}, {}),
        (
            {**QUESTION, "expiresIn": 5, "callbackUrl": "https://api.emitkit.com/x"},
            QUESTION,
            {"expiresIn": 5, "callbackUrl": "https://api.emitkit.com/x"},
        ),
        ({"expiresIn": 60, "resume": "r"}, {}, {"expiresIn": 60, "resume": "r"}),
        ({"actions": [LINK], "expiresIn": 60}, {"actions": [LINK]}, {"expiresIn": 60}),
        ({"actions": [SCRIPT, LINK, BUTTON]}, {"actions": [LINK, BUTTON]}, {"actions": [SCRIPT]}),
        ({"actions": [SCRIPT]}, {}, {"actions": [SCRIPT]}),
        ({"actions": [BUTTON, LINK, BUTTON]}, {"actions": [BUTTON, LINK]}, {"actions": [BUTTON]}),
        ({"actions": [LINK] * 6}, {"actions": [LINK] * 4}, {"actions": [LINK] * 2}),
        (
            {"actions": [{**BUTTON, "id": "submit"}], "fields": [TEXT, {**CHOICE, "colour": "red"}]},
            {"fields": [TEXT]},
            {"actions": [{**BUTTON, "id": "submit"}], "fields": [{**CHOICE, "colour": "red"}]},
        ),
        (
            {"actions": [{**BUTTON, "requires": ["note"]}], "fields": [{**TEXT, "type": "date"}]},
            {},
            {"actions": [{**BUTTON, "requires": ["note"]}], "fields": [{**TEXT, "type": "date"}]},
        ),
        ({"actions": "x", "fields": []}, {}, {"actions": "x", "fields": []}),
    ],
)
def test_divides_a_question(found, sent, refused):
    """The sender keeps what the server accepts, item by item, and gets back what it would refuse."""
    assert askable(found) == (sent, refused)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("expiresIn", "callbackUrl", "resume"), JSON),
            "actions": JSON | st.lists(st.sampled_from([BUTTON, LINK, SCRIPT, {**BUTTON, "id": "no"}]) | JSON),
            "fields": JSON | st.lists(st.sampled_from([TEXT, CHOICE, SEVERAL]) | JSON),
        },
    )
)
def test_what_is_kept_is_valid(found):
    """Whatever a log record has under these names, the event is valid, and nothing of it is lost."""
    sent, refused = askable(found)
    assert CURRENT.event.problems(event(**sent)) == []
    assert sent.keys() | refused.keys() == found.keys()
    for name in sent.keys() & refused.keys():
        assert len(sent[name]) + len(refused[name]) == len(found[name])
