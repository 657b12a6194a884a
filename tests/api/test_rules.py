"""Rules for JSON values: what each accepts, what it says of the rest, and the schema that says the same."""

from __future__ import annotations

import jsonschema
import pytest

from emitkit_logging._api import rules

ITEM = rules.text(1, 3)

CASES = {
    "text": (rules.text(1, 3), ["a", "abc", "🚨a"], ["", "abcd", 1, None, True]),
    "any text": (rules.text(), ["", "x" * 9999], [1, []]),
    "pattern": (rules.matching("[a-z]+"), ["abc"], ["", "A", "a1", 1]),
    "choice": (rules.one_of("a", "b"), ["a", "b"], ["c", "", 1, ["a"]]),
    "number": (rules.number(1, 5), [1, 5, 2.5], [0, 5.1, "1", True, None]),
    "number above": (rules.number(above=0), [0.1, 7], [0, -1]),
    "whole number": (rules.number(1, whole=True), [1, 2.0], [1.5, 0, "1"]),
    "boolean": (rules.BOOLEAN, [True, False], [0, 1, "true", None]),
    "object": (rules.OBJECT, [{}, {"any": [1]}], [[], None, "{}"]),
    "anything": (rules.ANYTHING, [None, 1, "x", [], {}], []),
    "list": (rules.list_of(ITEM, 2, least=1), [["a"], ["a", "b"]], [[], ["a", "b", "c"], ["abcd"], "a", None]),
    "one or list": (rules.one_or_list_of(ITEM), ["a", ["a"], []], ["abcd", ["abcd"], 1]),
    "or null": (rules.or_null(ITEM), [None, "a"], ["", 1]),
    "choice or null": (rules.or_null(rules.one_of("a")), [None, "a"], ["b"]),
    "open object": (rules.object_with({"a": ITEM}, "a"), [{"a": "x"}, {"a": "x", "b": 1}], [{}, {"a": 1}, [], "a"]),
    "closed object": (rules.object_with({"a": ITEM}, closed=True), [{}, {"a": "x"}], [{"b": 1}, {"a": ""}]),
    "with key": (
        rules.with_key("a", rules.object_with({"a": ITEM}, "a"), rules.object_with({"b": ITEM}, "b", closed=True)),
        [{"a": "x"}, {"b": "x"}],
        [{}, {"b": 1}, {"c": "x"}, 1],
    ),
    "by key": (
        rules.by_key("is", {kind: rules.object_with({"is": rules.one_of(kind)}, "is") for kind in "ab"}),
        [{"is": "a"}, {"is": "b", "more": 1}],
        [{"is": "c"}, {"is": ["a"]}, {}, "a"],
    ),
    "like": (
        rules.text_like("^https://.$", 10, "x"),
        ["https://x"],
        ["http://x", "https://xyz", "https://x" * 3, "", 1],
    ),
}


@pytest.mark.parametrize(("rule", "valid", "invalid"), CASES.values(), ids=CASES)
def test_rules_agree_with_their_schemas(rule, valid, invalid):
    """A value is accepted by a rule exactly when it is valid by the rule's schema."""
    validator = jsonschema.Draft202012Validator(rule.schema)
    for value in valid:
        assert list(rule(value, ())) == [], value
        assert validator.is_valid(value), value
    for value in invalid:
        assert list(rule(value, ())), value
        assert not validator.is_valid(value), value


@pytest.mark.parametrize(
    ("rule", "value", "path", "message"),
    [
        (ITEM, 1, [], "Invalid input: expected string, received number"),
        (ITEM, "", [], "Too small: expected string to have >=1 characters"),
        (ITEM, "🚨🚨", [], "Too big: expected string to have <=3 characters"),
        (rules.list_of(ITEM), ["a", None], [1], "Invalid input: expected string, received null"),
        (rules.object_with({"a": ITEM}, "a"), {}, ["a"], "Invalid input: expected string, received undefined"),
        (
            rules.object_with({"a": rules.ANYTHING}, "a"),
            {},
            ["a"],
            "Invalid input: expected a value, received undefined",
        ),
        (rules.object_with({}, closed=True), {"a": 1}, [], 'Unrecognized key: "a"'),
        (rules.number(1, 2), 3, [], "Too big: expected number to be <=2"),
        (rules.one_of("a", "b"), "c", [], "Invalid option: expected one of a|b"),
    ],
)
def test_problems_have_a_path_and_a_message(rule, value, path, message):
    """A problem has the place of the wrong value below that of the whole, and what would be right."""
    assert list(rule(value, ("at",))) == [{"path": ["at", *path], "message": message}]
