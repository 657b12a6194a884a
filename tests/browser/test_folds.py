"""What the page shows of folds, times, levels and pushes, and what a user has seen."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from emitkit_logging import EmitKitHandler
from tests.browser.test_page import channel, event, opened, titles

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: no'
NOW = 1_800_000_000_000


def alert(level="ERROR", **metadata):
    return {"log": {"level": level}, **metadata}


def fold(count=461, **metadata):
    times = {"first_seen": NOW, "last_seen": NOW + 180_000, "timestamp": NOW}
    samples = [
        {"timestamp": NOW + 20_000 * number, "title": f"order {number} failed", "userId": f"u{number}"}
        for number in range(5)
    ]
    return alert(occurrences=count, samples=samples, **times, **metadata)


def test_template_samples_and_growth(page, inbox, send):
    """A fold shows its template with the variable parts set apart, its samples by title, and how its count grew."""
    send("order … of … failed (×461)", "alerts", metadata=fold())
    send("alone", "alerts", metadata=alert())
    opened(page, inbox)
    row = event(page, "order")
    line = row.locator("svg.sparkline")
    assert line.get_attribute("aria-label").startswith("461 in 3 min, from ")
    points = [tuple(map(float, point.split(","))) for point in line.locator("polyline").get_attribute("points").split()]
    assert len(points) == 6
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    row.locator(".head").click()
    expect(row.locator(".template")).to_have_text("order … of … failed")
    expect(row.locator(".template .variable")).to_have_count(2)
    assert row.locator(".sample strong").all_text_contents() == [f"order {number} failed" for number in range(5)]
    assert event(page, "alone").locator("svg").count() == 0


@pytest.mark.parametrize(
    "metadata",
    [
        {"occurrences": 2, "first_seen": NOW, "last_seen": NOW},
        {"occurrences": 2, "first_seen": NOW + 5, "last_seen": NOW, "samples": "x"},
        {"occurrences": 3, "first_seen": NOW, "last_seen": NOW + 9, "samples": [None, 7, {"timestamp": "x"}]},
        {"occurrences": 10**15, "first_seen": "x", "samples": [{"exception": 3, "title": {"a": 1}}]},
    ],
)
def test_odd_folds(page, inbox, send, metadata):
    """Whatever a fold's numbers and samples are, the page shows the event."""
    send("odd", metadata=metadata)
    opened(page, inbox)
    row = event(page, "odd")
    row.locator(".head").click()
    expect(row.locator(".details")).to_contain_text("times")
    assert "NaN" not in row.inner_html()


def test_pushes(page, inbox, send):
    """An event that pushed has a bell; one that did not has none."""
    send("loud", notify=True)
    send("quiet", notify=False)
    opened(page, inbox)
    expect(event(page, "loud").get_by_label("pushed")).to_be_visible()
    expect(event(page, "quiet").get_by_label("pushed")).to_have_count(0)


def test_when_it_happened_and_when_it_arrived(page, inbox, send):
    """An event that arrived late says so in the list; its details have both times and what is between."""
    now = int(time.time() * 1000)
    send("late", metadata=alert(timestamp=now - 3_600_000))
    send("prompt", metadata=alert(timestamp=now))
    opened(page, inbox)
    late, prompt = event(page, "late"), event(page, "prompt")
    expect(late.locator(".happened")).to_contain_text("happened")
    expect(late.locator(".happened time")).to_have_count(2)
    expect(prompt.locator(".happened")).to_have_count(0)
    late.locator(".head").click()
    expect(late.locator(".details")).to_contain_text("60 min later")


def test_long_descriptions_collapse(page, inbox, send):
    """A long description shows its beginning until it is unfolded; a short one has no button."""
    send("long", description="\n".join(f"line {number}" for number in range(40)))
    send("wide", description="x" * 2_000)
    send("short", description="one line")
    opened(page, inbox)
    for title in ("long", "wide"):
        row = event(page, title)
        before = row.locator(".description").bounding_box()["height"]
        row.get_by_role("button", name="Show all").click()
        assert row.locator(".description").bounding_box()["height"] > 1.5 * before
        row.get_by_role("button", name="Show less").click()
        assert row.locator(".description").bounding_box()["height"] == before
    expect(event(page, "short").get_by_role("button", name="Show all")).to_have_count(0)


def test_a_trace_is_copied(chromium, inbox, send):
    """A stack trace is monospaced, and a button copies it as it is."""
    send("Boom", metadata=alert(exception={"type": "ValueError", "message": "no", "stacktrace": TRACE}))
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = opened(context.new_page(), inbox)
    row = event(page, "Boom")
    row.locator(".head").click()
    assert "mono" in row.locator(".copyable pre").evaluate("each => getComputedStyle(each).fontFamily").lower()
    row.get_by_role("button", name="Copy").click()
    expect(row.locator(".copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == TRACE
    context.close()


def test_a_trace_is_copied_without_permission(page, inbox, send):
    """Where the browser gives no access to the clipboard, the trace is copied or selected all the same."""
    send("Boom", metadata=alert(exception={"type": "ValueError", "message": "no", "stacktrace": TRACE}))
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    opened(page, inbox)
    row = event(page, "Boom")
    row.locator(".head").click()
    row.locator(".copy").click()
    expect(row.locator(".copy")).not_to_have_text("Copy")
    assert page.evaluate("getSelection().toString()").replace("\r", "") == TRACE


def test_levels_can_be_told_apart(page, inbox, send):
    """WARNING, ERROR and CRITICAL differ from each other, and from all else, in colour and in words."""
    for level in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        send(f"at {level}", metadata=alert(level))
    opened(page, inbox)
    looks = set()
    for level in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        row = event(page, f"at {level}")
        style = "each => { const s = getComputedStyle(each); return [s.borderLeftColor, s.borderLeftWidth].join() }"
        looks.add(row.evaluate(style))
        expect(row.locator(".level")).to_have_count(0 if level == "INFO" else 1)
    assert len(looks) == 4
    colours = {
        level: event(page, f"at {level}")
        .locator(".level")
        .evaluate("each => [getComputedStyle(each).color, getComputedStyle(each).backgroundColor].join()")
        for level in ("WARNING", "ERROR", "CRITICAL")
    }
    assert len(set(colours.values())) == 3


def test_unfolding_marks_as_read(page, inbox, send):
    """An event is unread until it is unfolded: the mark on it, and the count of its channel, go."""
    for number in range(3):
        send(f"number {number}", "alerts")
    opened(page, inbox)
    row = event(page, "number 1")
    expect(channel(page, "alerts").locator(".count")).to_have_text("3")
    expect(row).to_have_attribute("data-unread", "")
    row.locator(".head").click()
    expect(row).not_to_have_attribute("data-unread", "")
    expect(channel(page, "alerts").locator(".count")).to_have_text("2")
    row.locator(".head").click()
    row.locator(".head").click()
    expect(channel(page, "alerts").locator(".count")).to_have_text("2")
    page.reload()
    expect(event(page, "number 1")).not_to_have_attribute("data-unread", "")
    expect(event(page, "number 2")).to_have_attribute("data-unread", "")


def test_time_range(page, inbox, send):
    """A range shows what arrived in it, stands in the address, and holds for what arrives later."""
    send("before")
    opened(page, inbox)
    expect(page.locator(".event")).to_have_count(1)
    page.get_by_label("Time range").select_option("custom")
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 86_400))
    page.get_by_label("From", exact=True).fill(tomorrow)
    page.get_by_label("From", exact=True).blur()
    expect(page.locator("#empty h2")).to_have_text("No matching events")
    send("too early")
    page.wait_for_timeout(400)
    assert titles(page) == []
    assert "range=custom" in page.url
    page.reload()
    expect(page.get_by_label("From", exact=True)).to_have_value(tomorrow)
    expect(page.locator("#empty h2")).to_have_text("No matching events")
    page.get_by_label("Time range").select_option("3600")
    expect(page.locator(".event")).to_have_count(2)
    expect(page.locator("#moments")).to_be_hidden()
    page.get_by_label("Time range").select_option("")
    expect(page.locator(".event")).to_have_count(2)


def test_a_real_storm(page, inbox, logger):
    """A storm of f-strings is a few rows: one of them pushed, and one with the template, samples and number."""
    handler = EmitKitHandler(inbox.api_key, base_url=inbox.url)
    logger.addHandler(handler)
    for number in range(100):
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception(f"order {number} of user{number}@example.com failed")
    assert handler.flush(20)
    handler.close()
    opened(page, inbox)
    row = page.locator(".event").filter(has=page.locator(".badge"))
    expect(row.locator(".title")).to_have_text("order … of … failed")
    expect(page.get_by_label("pushed")).to_have_count(1)
    row.locator(".head").click()
    expect(row.locator(".sample")).to_have_count(5)
    assert titles(page)[-1] == "order 0 of user0@example.com failed"
