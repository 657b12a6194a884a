"""The local EmitKit: events a second on one core with its page open, and how soon a full page is shown."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

EVENTS = 5_000
STORED = 100_000
CONNECTIONS = 4
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextlib.contextmanager
def _inbox() -> Iterator[tuple[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "emitkit_logging.inbox", "--port", "0", "--rate-limit", "0"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_on_one_core,  # noqa: PLW1509 - no threads yet
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    found = re.search(r"EMITKIT_API_KEY=(\S+)", process.stdout.readline() + process.stdout.readline())
    assert found is not None
    threading.Thread(target=process.stdout.read, daemon=True).start()
    try:
        yield url, found.group(1)
    finally:
        process.terminate()
        process.wait()


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _request(url: str, key: str, number: int) -> bytes:
    event = {
        "channelName": ("general", "alerts", "revenue", "user-activity")[number % 4],
        "title": f"Order {number} was paid",
        "description": "Nothing is wrong with it, it only has to be stored, shown and found again",
        "icon": "👤",
        "tags": ["conversion"],
        "metadata": {"event": "order_paid", "order": f"A-{number}", "log": {"level": "INFO", "logger": "shop.orders"}},
    }
    body = json.dumps(event).encode()
    parts = urllib.parse.urlsplit(url)
    head = f"POST /v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _send(url: str, key: str, numbers: range) -> None:
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        for number in numbers:
            connection.sendall(_request(url, key, number))
            answer = b""
            while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                answer += connection.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(answer[:200])


def _fill(url: str, key: str, events: int) -> float:
    """Send `events` over a few connections, and return how many were stored in a second."""
    began = time.perf_counter()
    share = events // CONNECTIONS
    threads = [
        threading.Thread(target=_send, args=(url, key, range(each * share, (each + 1) * share)))
        for each in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return events / (time.perf_counter() - began)


@contextlib.contextmanager
def _page() -> Iterator[Any]:
    if CHROMIUM is None:
        raise SystemExit("this needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser.new_page()
        browser.close()


def _search(url: str, text: str) -> float:
    """Return the seconds that a search takes, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{url}/_inbox/feed?q={urllib.parse.quote(text)}") as answer:
            answer.read()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> dict[str, float]:
    """Print and return the figures."""
    with _page() as page, _inbox() as (url, key):
        page.goto(url)
        page.wait_for_selector("#empty")
        rate = _fill(url, key, EVENTS)
        print(f"  {rate:,.0f} events/s on one core with the page open")
        _fill(url, key, STORED - EVENTS)
        page.goto("about:blank")
        page.goto(url)
        page.wait_for_selector(".event")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        rows = page.evaluate("performance.now()") / 1000
        rare, none = _search(url, "A-4217"), _search(url, "nowhere to be found")
    print(
        f"  {STORED:,} stored: first paint {paint:.2f} s, rows {rows:.2f} s, search {rare:.3f} s, no match {none:.3f} s"
    )
    return {"inbox rate": rate, "inbox paint": rows, "inbox search": max(rare, none)}


if __name__ == "__main__":
    main()
