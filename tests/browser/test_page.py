"""The page in a real browser: what a user sees and does, and that nothing logged can run."""

from __future__ import annotations

import time

import pytest
import requests
from playwright.sync_api import expect

from emitkit_logging.inbox import Inbox

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def opened(page, inbox, path=""):
    """Open the page, and wait until its stream is open."""
    with page.expect_response(lambda response: "_inbox/stream" in response.url):
        page.goto(f"{inbox.url}/{path}")
    return page


def titles(page):
    return page.locator(".event .title").all_text_contents()


def event(page, title):
    return page.locator(".event").filter(has=page.locator(".title", has_text=title))


def channel(page, name):
    return page.locator("nav button").filter(has=page.get_by_text(name, exact=True))


def test_events_appear_as_they_arrive(page, inbox, send):
    """New events are shown first, without a reload, and the title of the document counts them."""
    send("Before")
    opened(page, inbox)
    expect(page.locator(".event")).to_have_count(1)
    send("After", icon="👤", description="More text", tags=["beta"], userId="u-1", displayAs="message")
    expect(page.locator(".event")).to_have_count(2)
    assert titles(page) == ["After", "Before"]
    row = event(page, "After")
    for text in ("👤", "More text", "beta", "@ u-1", "# general"):
        expect(row).to_contain_text(text)
    expect(row).to_have_class("event message new")
    expect(page).to_have_title("(2) EmitKit inbox")


def test_an_empty_inbox_says_what_to_do(page, inbox, send):
    """An empty inbox shows the two variables, with its own address."""
    opened(page, inbox)
    expect(page.locator("#empty")).to_contain_text(f"export EMITKIT_BASE_URL={inbox.url}\n")
    send()
    expect(page.locator("#empty")).to_be_hidden()


def test_channels_and_what_is_unread(page, inbox, send):
    """Each channel has the count of its unread events until it is opened."""
    for name in ("alerts", "alerts", "general"):
        send(f"In {name}", name)
    opened(page, inbox)
    expect(channel(page, "alerts").locator(".count")).to_have_text("2")
    channel(page, "alerts").click()
    expect(page.locator(".event")).to_have_count(2)
    expect(channel(page, "alerts").locator(".count")).to_have_count(0)
    expect(channel(page, "All").locator(".count")).to_have_text("1")
    send("One more", "alerts")
    expect(page.locator(".event")).to_have_count(3)
    expect(channel(page, "alerts").locator(".count")).to_have_count(0)
    send("Not here", "general")
    expect(channel(page, "general").locator(".count")).to_have_text("2")
    assert "Not here" not in titles(page)
    page.get_by_role("button", name="Mark all read").click()
    expect(page.locator("nav .count")).to_have_count(0)


def test_an_event_opens(page, inbox, send):
    """An open event shows its metadata and its traceback."""
    trace = "Traceback (most recent call last):\n  boom"
    exception = {"type": "ValueError", "message": "no", "stacktrace": trace}
    send("Boom", metadata={"log": {"level": "ERROR"}, "order": {"id": "A-1", "paid": False}, "exception": exception})
    opened(page, inbox)
    row = event(page, "Boom")
    expect(row.locator(".level")).to_have_text("ERROR")
    expect(row.locator(".details")).to_be_hidden()
    row.locator(".head").click()
    expect(row.locator("pre").first).to_have_text(trace)
    expect(row.locator(".tree").first).to_contain_text("A-1")
    expect(row.locator(".tree").first).not_to_contain_text("boom")
    row.locator(".head").click()
    expect(row.locator(".details")).to_be_hidden()


def test_folds_and_digests(page, inbox, send):
    """A fold shows its number once, and its samples; a digest shows its counts."""
    times = {"first_seen": 1_800_000_000_000, "last_seen": 1_800_000_060_000}
    send("Slow (×37)", metadata={"occurrences": 37, "samples": [{"order": "A-1"}, {"order": "A-2"}], **times})
    send("1204 events", metadata={"occurrences": 1204, "digest": {"cache miss": 1000, "slow": 204}, **times})
    opened(page, inbox)
    fold, digest = event(page, "Slow"), event(page, "1204")
    expect(fold.locator(".title")).to_have_text("Slow")
    expect(fold.locator(".badge")).to_have_text("×37")
    fold.locator(".head").click()
    expect(fold.locator(".details")).to_contain_text("37 times, ")
    expect(fold.locator(".details")).to_contain_text("A-2")
    digest.locator(".head").click()
    expect(digest.locator("tr").first).to_have_text("cache miss1,000")


FIELDS = [
    {"id": "why", "type": "text", "label": "Why", "placeholder": "because", "multiline": True},
    {
        "id": "size",
        "type": "choice",
        "label": "Size",
        "options": [{"id": "s", "label": "Small"}, {"id": "m", "label": "Mid"}],
    },
    {
        "id": "also",
        "type": "choice",
        "label": "Also",
        "multiple": True,
        "default": ["a"],
        "options": [{"id": "a", "label": "Option A"}, {"id": "b", "label": "Option B"}],
    },
    {"id": "much", "type": "number", "label": "Much", "min": 1, "max": 5, "unit": "EUR"},
    {"id": "sure", "type": "boolean", "label": "Sure"},
]


def test_a_question_is_answered(page, inbox, send, complaints):
    """Fields and buttons answer a question; a button needs the fields it requires; a wrong value is named."""
    complaints.expected = ("Failed to load resource",)  # what the browser logs for any 400
    buttons = [{"id": "yes", "label": "Yes", "style": "primary"}, {"id": "no", "label": "No", "requires": ["why"]}]
    send("Really?", actions=buttons, fields=FIELDS)
    opened(page, inbox)
    row = event(page, "Really?")
    expect(row.get_by_role("button", name="No", exact=True)).to_be_disabled()
    row.get_by_label("Why").fill("it is late")
    row.get_by_label("Small").check()
    row.get_by_label("Option B").check()
    row.get_by_label("Much").fill("9")
    row.get_by_label("Sure").check()
    row.get_by_role("button", name="No", exact=True).click()
    expect(row.locator(".wrong")).to_contain_text("a number min 1 max 5")
    row.get_by_label("Much").fill("2.5")
    row.get_by_role("button", name="No", exact=True).click()
    expect(row).to_contain_text("Answered: No")
    stored = inbox.events[0]["answer"]
    assert (stored["status"], stored["action"]) == ("answered", "no")
    values = {"why": "it is late", "size": "s", "also": ["a", "b"], "much": 2.5, "sure": True}
    assert stored["values"] == values


def test_fields_alone_are_sent(page, inbox, send):
    """A question without buttons has a button to send it."""
    send("How many?", fields=[{"id": "n", "type": "number", "label": "N"}])
    opened(page, inbox)
    page.get_by_label("N", exact=True).fill("3")
    page.keyboard.press("Enter")
    expect(event(page, "How many?")).to_contain_text("Answered: sent")
    assert inbox.events[0]["answer"]["values"] == {"n": 3}


def test_the_end_of_a_question_is_shown(page, inbox, send):
    """A question that ends elsewhere is shown as ended, without a reload."""
    asked = send("Over?", actions=[{"id": "yes", "label": "Yes"}])
    opened(page, inbox)
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    headers = {"Authorization": f"Bearer {inbox.api_key}"}
    requests.post(f"{inbox.url}/v1/events/{asked['id']}/cancel", headers=headers, timeout=10)
    expect(event(page, "Over?")).to_contain_text("The question was canceled")
    expect(page.get_by_role("button", name="Yes")).to_have_count(0)


def test_the_address_of_an_answer(page, send):
    """The `url` of an answer opens its event on the page, where it can be answered."""
    asked = send("Which one?", actions=[{"id": "yes", "label": "Yes"}])
    for number in range(30):
        send(f"Later {number}")
    page.goto(asked["answer"]["url"])
    row = event(page, "Which one?")
    expect(row).to_be_in_viewport()
    expect(row.locator(".head")).to_have_attribute("aria-expanded", "true")
    row.get_by_role("button", name="Yes").click()
    expect(row).to_contain_text("Answered: Yes")


def test_search_and_filters_survive_a_reload(page, inbox, send):
    """The filters by text, level and channel are in the address."""
    send("Order A-17", "shop", metadata={"log": {"level": "ERROR"}})
    send("Order B-3", "shop", metadata={"log": {"level": "INFO"}})
    send("Backup", "jobs", metadata={"log": {"level": "ERROR"}, "order": "a-17"})
    opened(page, inbox)
    expect(page.locator(".event")).to_have_count(3)
    page.locator("#search").fill("a-17")
    expect(page.locator(".event")).to_have_count(2)
    page.locator("#level").select_option("ERROR")
    channel(page, "shop").click()
    expect(page.locator(".event")).to_have_count(1)
    assert titles(page) == ["Order A-17"]
    page.reload()
    expect(page.locator("#search")).to_have_value("a-17")
    expect(page.locator(".event")).to_have_count(1)
    send("Another A-17", "shop", metadata={"log": {"level": "CRITICAL"}})
    expect(page.locator(".event")).to_have_count(2)
    send("Another B-3", "shop", metadata={"log": {"level": "CRITICAL"}})
    page.locator("#search").fill("nothing like it")
    expect(page.get_by_role("heading", name="No matching events")).to_be_visible()
    assert "q=nothing+like+it" in page.url


def test_by_keyboard(page, inbox, send):
    """Events and channels can be read without a mouse."""
    for name in ("one", "two", "three"):
        send(name, name)
    opened(page, inbox)
    page.keyboard.press("j")
    expect(event(page, "three").locator(".head")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("o")
    expect(event(page, "two").locator(".details")).to_be_visible()
    page.keyboard.press("ArrowUp")
    expect(event(page, "three").locator(".head")).to_be_focused()
    page.keyboard.press("Enter")
    expect(event(page, "three").locator(".details")).to_be_visible()
    page.keyboard.press("]")
    expect(channel(page, "one")).to_have_attribute("aria-current", "true")
    page.keyboard.press("[")
    expect(channel(page, "All")).to_have_attribute("aria-current", "true")
    page.keyboard.press("/")
    page.keyboard.type("two?jk")
    expect(page.locator("#search")).to_have_value("two?jk")
    expect(page.locator(".event")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator(".event")).to_have_count(3)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_nothing_that_was_logged_runs(page, inbox, send):
    """Text that looks like markup is shown as it was written, in every field, and so is what is no URL.

    The API refuses links that run scripts.
    """
    links = [{"label": EVIL[:28], "url": "https://[no-url"}, {"label": "Safe", "url": "https://example.com/?q=<b>"}]
    send(
        EVIL,
        f"c {EVIL}",
        icon="<b>x</b>",
        description=EVIL,
        tags=[EVIL[:50]],
        userId=EVIL,
        source=EVIL[:50],
        metadata={EVIL: EVIL, "exception": {"stacktrace": EVIL}, "digest": {EVIL: EVIL}, "log": {"level": "<b>"}},
        actions=links,
        fields=[{"id": "f", "type": "text", "label": EVIL, "placeholder": EVIL, "default": EVIL}],
        resume=EVIL,
    )
    send("\u202edesrever\u202c \x1b[31m", metadata={"occurrences": "<b>", "samples": EVIL, "__proto__": {"x": 1}})
    opened(page, inbox)
    for head in page.locator(".head").all():
        head.click()
    row = page.locator(".event").last
    expect(row.locator(".title")).to_have_text(EVIL)
    expect(row.get_by_text("https://[no-url")).to_be_visible()
    hrefs = row.locator("a").evaluate_all("links => links.map(link => [link.href, link.rel, link.target])")
    assert hrefs == [["https://example.com/?q=%3Cb%3E", "noopener noreferrer", "_blank"]]
    assert page.locator("main img, main script, main b").count() == 0
    channel(page, f"c {EVIL}").click()
    expect(page.locator(".event")).to_have_count(1)


def test_many_events_at_once(page, inbox, send):
    """After many events the newest are shown, and older ones are loaded when they are scrolled to."""
    opened(page, inbox)
    for number in range(400):
        send(f"Event {number}")
    expect(page.locator(".event").first).to_contain_text("Event 399")
    assert page.locator(".event").count() <= 300
    expect(channel(page, "general").locator(".count")).to_have_text("400")
    while not page.get_by_text("Event 0", exact=True).count():
        shown = page.locator(".event").count()
        page.locator(".event").last.scroll_into_view_if_needed()
        expect(page.locator(f".event:nth-child({shown + 1})")).to_be_attached()
    send("While reading")
    expect(page.locator("#fresh")).to_have_text("1 new event ↑")
    page.locator("#fresh").click()
    expect(page.locator(".event").first).to_contain_text("While reading")
    assert page.evaluate("scrollY") == 0


def test_it_reconnects(page, complaints, tmp_path):
    """The page shows that the connection is lost, and reconnects when the inbox is back."""
    complaints.expected = ("ERR_", "http://127.0.0.1")
    db = tmp_path / "inbox.db"
    with Inbox(db=db) as first:
        port = int(first.url.rpartition(":")[2])
        opened(page, first)
    expect(page.locator("#lost")).to_be_visible()
    deadline = time.monotonic() + 10
    while True:
        try:
            again = Inbox(db=db, port=port)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with again:
        expect(page.locator("#lost")).to_be_hidden()
        headers = {"Authorization": f"Bearer {again.api_key}"}
        body = {"channelName": "general", "title": "Here again"}
        assert requests.post(f"{again.url}/v1/events", json=body, headers=headers, timeout=10).status_code == 201
        expect(event(page, "Here again")).to_be_visible()
        page.goto("about:blank")


def test_clearing_and_faults(page, inbox, send, complaints):
    """Clearing asks first, and the faults in force are shown."""
    complaints.expected = ("dialog: Delete all",)
    send("Old")
    inbox.faults = ["503 every 10"]
    opened(page, inbox)
    expect(page.locator("#faults")).to_have_text("Faults in force: 503 every 10")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".event")).to_have_count(1)
    inbox.clear()
    expect(page.locator(".event")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_either_scheme(page, inbox, send, scheme):
    """Nothing is wider than the screen, and text contrasts with its background."""
    send("A-very-long-word-" * 20, "a-channel-with-quite-a-long-name", metadata={"key" * 40: "value" * 200})
    page.set_viewport_size({"width": 360, "height": 700})
    page.emulate_media(color_scheme=scheme)
    opened(page, inbox)
    page.locator(".head").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground, text = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (ground, text) == {
        "light": ("rgb(246, 246, 248)", "rgb(29, 29, 38)"),
        "dark": ("rgb(19, 19, 24)", "rgb(236, 236, 242)"),
    }[scheme]
