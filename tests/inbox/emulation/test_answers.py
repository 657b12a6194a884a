"""Whether an answer fits its question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.emulation.answers import answer_problems

from ...api.test_contract import JSON
from ..http.calls import BUTTONS, FIELDS

QUESTION = {"actions": BUTTONS, "fields": FIELDS}
VALUES = {"why": "because", "size": "m", "also": ["a"], "much": 2.5, "sure": True}


@pytest.mark.parametrize(
    ("event", "action", "values"),
    [
        (QUESTION, "yes", {}),
        (QUESTION, "no", VALUES),
        (QUESTION, "yes", dict.fromkeys(VALUES)),
        ({"actions": [], "fields": FIELDS}, "submit", VALUES),
    ],
)
def test_accepts_what_fits(event, action, values):
    """A known button with values that fit their fields is an answer; a field may be left empty."""
    assert answer_problems(event, action, values) == []


@pytest.mark.parametrize("action", ["maybe", "submit", None, 1, ["yes"], {}])
def test_refuses_other_actions(action):
    """Only the event's own buttons answer it."""
    assert [problem["path"] for problem in answer_problems(QUESTION, action, {})] == [["action"]]


def test_lengths_are_in_utf_16_code_units():
    """A field of ten characters takes five emoji, as the page of the server counts them."""
    assert answer_problems(QUESTION, "yes", {"why": "🚨" * 5}) == []
    assert [each["path"] for each in answer_problems(QUESTION, "yes", {"why": "🚨" * 6})] == [["values", "why"]]


@given(JSON, st.sampled_from([field["id"] for field in FIELDS]))
def test_no_json_breaks_the_check(value, name):
    """Whatever value a field has, it is accepted or named."""
    paths = [problem["path"] for problem in answer_problems(QUESTION, "yes", {name: value})]
    assert paths in ([], [["values", name]])
