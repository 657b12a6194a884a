"""Events as lines in a terminal, which nothing that was logged can control."""

from __future__ import annotations

import io
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.inbox.terminal import WIDEST, LineWriter, event_line, identify_line, safe


def line(**fields):
    event = {"createdAt": "2026-11-23T10:00:00.000Z", "channelName": "alerts", "title": "Boom", "icon": None}
    return event_line({**event, "description": None, "metadata": {}, **fields})


def test_an_event_is_one_line():
    """Time, channel, icon, title, and the first line of the description."""
    shown = line(icon="🚨", description="\nFirst\nSecond")
    assert re.fullmatch(r"\d\d:\d\d:00  alerts            🚨 Boom · First", shown)
    assert line().endswith("  Boom")


def test_occurrences_are_shown_once():
    """The number of records of a fold is shown once, whether or not its title has it."""
    assert line(metadata={"occurrences": 37}).endswith("Boom ×37")
    assert line(title="Boom (×37)", metadata={"occurrences": 37}).endswith("Boom (×37)")
    assert line(metadata={"occurrences": "37"}).endswith("Boom")


def test_an_identify_call_is_one_line():
    """The user, the names of the properties without their values, and the aliases."""
    call = {"user_id": "u-1", "properties": {"plan": "pro", "age": 7}, "aliases": ["a@b.c"]}
    assert identify_line(call, 0.0).endswith("  identify          u-1 · plan, age · also a@b.c")
    assert identify_line({"user_id": "u-1", "properties": {}, "aliases": []}, 0.0).endswith("u-1")


def test_long_lines_end_in_an_ellipsis():
    """A very long title does not fill the screen."""
    shown = line(title="x" * 500)
    assert len(shown) == WIDEST
    assert shown.endswith("x…")


def test_emoji_stay_whole():
    """The joiner inside an emoji is the one format character that is kept."""
    assert safe("👨‍👩‍👧 \x1b[31mred\x07\u202e\u2028end") == "👨‍👩‍👧 [31mred end"


@given(st.text(st.characters(codec=None, categories=["C", "Z", "L", "P"])))
def test_nothing_logged_controls_the_terminal(text):
    """No control character, no reversal and no line break reaches the terminal, from any field."""
    shown = line(title=text, icon=text, description=text, channelName=text)
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert {each for each in shown if unicodedata.category(each) == "Cf"} <= {"\u200d"}


def test_a_closed_stream_does_not_stop_the_inbox():
    """After `… | head -3` the lines are dropped, and the server runs on."""

    class Closed(io.StringIO):
        calls = 0

        def flush(self):
            self.calls += 1
            raise BrokenPipeError

    stream = Closed()
    writing = LineWriter(stream)
    writing.write("one")
    writing.write("two")
    assert stream.calls == 1
