"""What the open-source server accepts, and what its database does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.emulation.base import read_call
from emitkit_logging.inbox.emulation.refusals import Unstorable
from emitkit_logging.inbox.emulation.self_hosted import SELF_HOSTED, require_storable, slugify

from ...api.test_contract import JSON, event, paths


@pytest.mark.parametrize("name", ["description", "icon", "tags", "metadata", "notify", "source", "title"])
def test_refuses_explicit_nulls(name):
    """An explicit null is a 400, except for userId; lengths are not validated."""
    assert paths(SELF_HOSTED.event, event(**{name: None})) == [name]
    assert paths(SELF_HOSTED.event, event(userId=None, title="x" * 9999)) == []


def test_ignores_fields_of_the_current_contract():
    """The server ignores fields that came later, such as displayAs, and requires the older name of the user's id."""
    assert read_call(SELF_HOSTED, "event", event(displayAs=1, actions=2)) == event()
    assert paths(SELF_HOSTED.identify, {"userId": "u"}) == ["user_id"]
    assert paths(SELF_HOSTED.identify, None) == [""]


@given(JSON, st.sampled_from(list(SELF_HOSTED.event.fields)))
def test_no_json_breaks_the_validation(value, name):
    """Whatever value a field has, the validation accepts it or names that field."""
    assert {path.partition(".")[0] for path in paths(SELF_HOSTED.event, event(**{name: value}))} <= {name}


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
def test_database_refuses(fields):
    """What the validation accepts and the database does not."""
    with pytest.raises(Unstorable):
        require_storable(event(**fields))


@pytest.mark.parametrize(
    "fields",
    [{"title": "🚨" * 500, "icon": "🚨" * 50}, {"title": "\\u0000"}, {"title": "\\\\u0000"}, {"title": "\ud83d"}],
)
def test_database_takes(fields):
    """The columns count code points, and the six characters of an escaped NUL are ordinary text."""
    require_storable(event(**fields))


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
    """Channel names are stored as lower-case words with hyphens."""
    assert slugify(name) == slug
