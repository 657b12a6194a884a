"""The npm package `@stacksee/analytics` in a real browser, against each framework's endpoint, and what arrives."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.programs import PATIENCE, SHOPS, running

BUNDLE = Path(sys.prefix) / "client.js"
HTML = """<!doctype html><meta charset="utf-8"><title>Pricing</title><link rel="icon" href="data:,">
<button id="signup">Sign up</button><button id="checkout">Checkout</button><button id="feedback">Feedback</button>
<button id="fail">Fail</button><button id="logout">Log out</button><script type="module">%s</script>"""


@pytest.fixture(params=SHOPS)
def url(request, emitkit_inbox, tmp_path):
    """A shop's address; what it logs is in the inbox of the test."""
    with running(*SHOPS[request.param], HOME=str(tmp_path)) as url:
        yield url


@pytest.fixture
def shop(chromium, url):
    """A page of the shop that was not opened yet; whatever it complains of fails the test."""
    complaints = []
    html = HTML % BUNDLE.read_text(encoding="utf-8")
    page = chromium.new_page()
    page.set_default_timeout(10_000)
    page.route(f"{url}/app/**", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    yield page
    page.close()
    assert complaints == []


def test_the_guide(chromium, emitkit_inbox, tmp_path):
    """The code of the guide for events of browsers, in a page: its event, its user and its page view arrive."""
    html = HTML % BUNDLE.with_name("guide.js").read_text(encoding="utf-8")
    with running(*SHOPS["flask"], HOME=str(tmp_path)) as url:
        page = chromium.new_page()
        page.route(f"{url}/app/**", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
        page.goto(f"{url}/app/pricing")
        clicked = emitkit_inbox.wait_for(title="Button Clicked", timeout=PATIENCE)
        emitkit_inbox.wait_for(title="Page View", timeout=PATIENCE)
        page.close()
    assert clicked["metadata"]["buttonId"] == "signup"
    assert [call["user_id"] for call in emitkit_inbox.identifies] == ["user-123"]


def test_a_visit(shop, url, emitkit_inbox):
    """From the browser to the feed: page views on navigation, sign-up, who it is, a beacon at unload, a new visitor."""

    def arrived(**fields):
        return emitkit_inbox.wait_for(timeout=PATIENCE, **fields)

    shop.goto(f"{url}/app/pricing?utm_source=newsletter&token=abc")
    first = arrived(title="Page View")
    assert (first["description"], first["icon"], first["notify"], first["displayAs"]) == (
        "/app/pricing",
        "👁️",
        False,
        "message",
    )
    sent = first["metadata"]
    assert sent["page"] == {
        "path": "/app/pricing",
        "title": "Pricing",
        "url": f"{url}/app/pricing?utm_source=newsletter&token=[redacted]",
    }
    assert sent["utm"] == {"source": "newsletter"}
    assert sent["device"]["browser"] == "Chrome"
    assert sent["device"]["userAgent"] == sent["server"]["userAgent"]
    assert sent["device"]["userAgent"].startswith("Mozilla/5.0")
    assert sent["device"]["viewport"]["width"] > 0
    assert "ip" not in sent["device"]

    shop.click("#signup")
    signed_up = arrived(title="User Signed Up")
    assert (signed_up["channelName"], signed_up["userId"], signed_up["icon"]) == ("user-activity", "user-123", "👤")
    assert signed_up["metadata"]["plan"] == "pro"
    assert signed_up["metadata"]["sessionId"]
    assert "__emitkit" not in str(signed_up)
    (person,) = emitkit_inbox.identities.values()
    assert (person["userId"], person["aliases"]) == ("user-123", [])  # what a page claims is a trait
    assert {"email": "john@example.com", "username": "johndoe"}.items() <= person["properties"].items()

    shop.click("#checkout")
    second = arrived(title="Page View", description="/app/checkout")
    assert (second["metadata"]["step"], second["metadata"]["page"]["title"]) == (1, "Checkout")

    shop.click("#feedback")
    feedback = arrived(title="Feedback Given")
    assert (feedback["channelName"], feedback["notify"], feedback["metadata"]["stars"]) == ("feedback", False, 5)

    shop.click("#fail")
    failed = arrived(title="Api Error")
    assert (failed["channelName"], failed["icon"], failed["metadata"]["statusCode"]) == ("general", "❌", 500)

    shop.click("#logout")
    shop.click("#fail")
    assert emitkit_inbox.wait_for(timeout=PATIENCE, title="Api Error", userId=None)["metadata"]["sessionId"]
    assert not [event for event in emitkit_inbox.events if event["channelName"] == "alerts"]


def test_a_beacon_at_unload(shop, url, emitkit_inbox):
    """What still waits when a page is left is sent as a beacon, and arrives."""
    shop.add_init_script(
        "const send = navigator.sendBeacon.bind(navigator);"
        "navigator.sendBeacon = (to, what) => { localStorage.beacon = `${to} ${what.type}`; return send(to, what); };"
    )
    shop.goto(f"{url}/app/pricing?pause=3600000")
    shop.wait_for_function("window.analytics")
    shop.evaluate("analytics.track('page_abandoned', {seconds: 3})")
    shop.goto(f"{url}/app/elsewhere?pause=3600000")
    assert shop.evaluate("localStorage.beacon") == "/api/analytics application/json"
    left = emitkit_inbox.wait_for(title="Page Abandoned", timeout=PATIENCE)
    assert (left["metadata"]["seconds"], left["metadata"]["page"]["path"]) == (3, "/app/pricing")
    assert emitkit_inbox.wait_for(title="Page View", description="/app/pricing", timeout=PATIENCE)


class Elsewhere(BaseHTTPRequestHandler):
    """Another site, with an empty page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Elsewhere</title>")

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site(chromium, url, elsewhere, emitkit_inbox):
    """A page from elsewhere gets nothing in."""
    page = chromium.new_page()
    page.goto(elsewhere)
    body = '{"events": [{"type": "track", "event": {"action": "stolen"}}]}'
    with page.expect_response(lambda response: "/api/analytics" in response.url) as refused:
        page.evaluate(
            "([url, body]) => fetch(url, {method: 'POST', body, mode: 'no-cors'})", [f"{url}/api/analytics", body]
        )
    assert refused.value.status == 403
    page.close()
    assert emitkit_inbox.events == []
