"""Merging and checking the values of contexts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging import context, event_context
from tests.context.helpers import seen


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
def test_users_are_not_mixed(outer, inner, user_id, emails):
    """An inner context that names a user replaces the outer user, unless both have the same id."""
    with event_context(**outer):
        made = seen(**inner)
    assert (made.user_id, [person.properties.get("email") for person in made.identities]) == (user_id, emails)


JSON = st.integers() | st.text(max_size=3) | st.dictionaries(st.sampled_from(["path", "id", "a"]), st.integers())
VALUES = st.dictionaries(st.sampled_from(["user", "user_id", "page", "device", "tenant", "utm"]), JSON, max_size=4)


@given(VALUES, VALUES)
def test_merge(outer, inner):
    """No inner value is lost, every value comes from one of the two, and neither of them is changed."""
    before = repr((outer, inner))
    result = context.merge(outer, inner)
    assert repr((outer, inner)) == before
    assert set(inner) <= set(result) <= set(inner) | set(outer)
    for key, value in inner.items():
        if isinstance(value, dict):
            assert value.items() <= result[key].items()
        else:
            assert result[key] == value
    assert context.merge({}, inner) == inner
    assert context.merge(outer, {}) == outer


def test_received():
    """The context of a message cannot set a key that belongs to a single record."""
    assert context.received({"tenant": "acme", "event": "forged", "identify": {"id": 1}}) == {"tenant": "acme"}
