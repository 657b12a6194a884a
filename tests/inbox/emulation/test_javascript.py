"""JSON as a JavaScript server reads and writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.emulation.refusals import Invalid

from ...api.test_contract import JSON


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b"\xff", b"[" * 5000 + b"]" * 5000]
    + [b"1" * 310, b"-" + b"1" * 310, b"1" * 5000],
)
def test_refuses_what_is_not_json(body):
    """NaN and infinities are not JSON, although Python reads and writes them; neither is extreme nesting."""
    with pytest.raises(Invalid):
        javascript.parse(body)


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_depth_is_limited_alike_on_every_python(opening):
    """The limit of nesting is the inbox's own, not the interpreter's."""
    closing = b"}" if opening.startswith(b"{") else b"]"
    deepest = javascript.MAX_DEPTH
    javascript.parse(opening * deepest + b"1" + closing * deepest)
    with pytest.raises(Invalid):
        javascript.parse(opening * (deepest + 1) + b"1" + closing * (deepest + 1))
    assert javascript.parse(b"[1," + b"[2]," * 2000 + b"{}]")


def test_integers_beyond_2_to_the_53():
    """They stay exact, or lose their precision as in JavaScript; one beyond the range of a float is then refused."""
    assert javascript.parse(b"9007199254740993") == 2**53 + 1
    assert javascript.parse(b"1" * 309) == int("1" * 309)
    assert javascript.parse(b"9007199254740993", exact_integers=False) == 2**53
    with pytest.raises(Invalid):
        javascript.parse(b"1" * 400, exact_integers=False)


@given(JSON)
def test_json_round_trips(value):
    """Any JSON value is stored as it was sent."""
    assert javascript.parse(javascript.encode(value)) == value
    assert javascript.parse(json.dumps(value).encode()) == value
    assert javascript.mend(value) == value


@given(st.text(st.characters(codec=None, categories=["Cs", "L"])))
def test_mended_text_is_encodable(text):
    """A lone surrogate becomes U+FFFD, a pair the character that it stands for."""
    mended = javascript.mend({text: text})
    assert mended == {key: key for key in mended}
    javascript.encode(mended)
