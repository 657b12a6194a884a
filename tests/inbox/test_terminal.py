"""How events read in a terminal, and that nothing logged can drive it."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.terminal import WIDEST, event_line, identify_line, plain


def line(**fields):
    event = {"createdAt": "2026-11-23T10:00:00.000Z", "channelName": "alerts", "title": "Boom", "icon": None}
    return event_line({**event, "description": None, "metadata": {}, **fields})


def test_an_event_is_one_line():
    """Time, channel, icon, title, and the first line of the description."""
    shown = line(icon="🚨", description="\nFirst\nSecond")
    assert re.fullmatch(r"\d\d:\d\d:00  alerts            🚨 Boom · First", shown)
    assert line().endswith("  Boom")


def test_occurrences_are_shown_once():
    """A fold says how many it stands for, also when its title does not."""
    assert line(metadata={"occurrences": 37}).endswith("Boom ×37")
    assert line(title="Boom (×37)", metadata={"occurrences": 37}).endswith("Boom (×37)")
    assert line(metadata={"occurrences": "37"}).endswith("Boom")


def test_an_identify_call_is_one_line():
    """The user, the names of the properties without their values, and the aliases."""
    call = {"user_id": "u-1", "properties": {"plan": "pro", "age": 7}, "aliases": ["a@b.c"]}
    assert identify_line(call, 0.0).endswith("  identify          u-1 · plan, age · also a@b.c")
    assert identify_line({"user_id": "u-1", "properties": {}, "aliases": []}, 0.0).endswith("u-1")


def test_long_lines_end_in_an_ellipsis():
    """A traceback in a title does not fill the screen."""
    shown = line(title="x" * 500)
    assert len(shown) == WIDEST
    assert shown.endswith("x…")


def test_emoji_stay_whole():
    """The joiner inside an emoji is the one format character that is kept."""
    assert plain("👨‍👩‍👧 \x1b[31mred\x07\u202e\u2028end") == "👨‍👩‍👧 [31mred end"


@given(st.text(st.characters(codec=None, categories=["C", "Z", "L", "P"])))
def test_nothing_logged_drives_the_terminal(text):
    """No control, no reversal, no line break, wherever the text stands."""
    shown = line(title=text, icon=text, description=text, channelName=text)
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert {each for each in shown if unicodedata.category(each) == "Cf"} <= {"\u200d"}
