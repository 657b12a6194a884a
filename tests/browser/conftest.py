"""A headless Chromium for all tests, a page and an inbox for each; whatever the page complains of fails the test."""

from __future__ import annotations

import shutil
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import sync_playwright

from emitkit_logging.inbox import Inbox

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# without these it looks for its maker's servers
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def inbox():
    with Inbox(rate_limit=0) as inbox:
        yield inbox


@pytest.fixture
def send(inbox):
    """Send an event as an application would; return it as it was answered."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {inbox.api_key}"

    def send(title="An event", channel="general", **fields):
        body = {"channelName": channel, "title": title, **fields}
        answer = session.post(f"{inbox.url}/v1/events", json=body, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    yield send
    session.close()


class Complaints(list):
    """What a page complained of; `expected` are words of those that the test means to see."""

    expected: tuple[str, ...] = ()


@pytest.fixture
def complaints():
    return Complaints()


@pytest.fixture
def page(chromium, inbox, complaints):
    """A page that was not opened yet."""
    page = chromium.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: complaints.append(request.url) if is_elsewhere(request.url, inbox) else None)
    yield page
    page.close()
    assert [each for each in complaints if not any(word in each for word in complaints.expected)] == []


def is_elsewhere(url, inbox):
    return urlsplit(url).netloc != urlsplit(inbox.url).netloc
