"""Measure the time that the middleware adds to a request, and how many browser events a second the endpoint accepts."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import django
import flask
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks import sink
from emitkit_logging import EmitKitHandler
from emitkit_logging.middleware import asgi, wsgi
from emitkit_logging.middleware import flask as of_flask
from emitkit_logging.proxy import asgi_app

KEY = "emitkit_0123456789abcdef"
ROUNDS = 151
REQUESTS = 40
EVENTS = 10_000
EVENTS_EACH = 10
CONNECTIONS = 4
logger = logging.getLogger("bench.web")
logger.propagate = False
logger.setLevel(logging.INFO)
urlpatterns = [
    path("quiet", lambda _: _respond(HttpResponse, "/quiet")),
    path("log", lambda _: _respond(HttpResponse, "/log")),
]

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "QUERY_STRING": "utm_source=newsletter&utm_medium=mail&page=2",
    "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "shop.example",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0",
    "HTTP_ACCEPT_LANGUAGE": "de-CH,de;q=0.9,en;q=0.8",
    "HTTP_REFERER": "https://news.example/today",
    "wsgi.url_scheme": "http",
}
HEADERS = [
    (name[5:].replace("_", "-").lower().encode(), value.encode())
    for name, value in ENVIRON.items()
    if name[:5] == "HTTP_"
]


def _respond(make: Callable[[str], Any], address: str) -> Any:
    if address == "/log":
        logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": "u-1", "plan": "pro"})
    return make("ok")


def _wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [_respond(str.encode, environ["PATH_INFO"])]


def _of_flask(*, has_context: bool) -> Any:
    app = flask.Flask(__name__)
    app.add_url_rule("/<path:address>", view_func=lambda address: _respond(str, f"/{address}"))
    if has_context:
        of_flask.install(app)
    return app


def _of_django(*, has_context: bool) -> Any:
    from django.core.handlers.wsgi import WSGIHandler

    settings.MIDDLEWARE = ["emitkit_logging.middleware.django.EventContextMiddleware"] if has_context else []
    return WSGIHandler()


def _of_starlette(*, has_context: bool) -> Any:
    async def view(request: Any) -> Any:
        return _respond(PlainTextResponse, request.url.path)

    return Starlette(
        routes=[Route("/{address}", view)], middleware=[Middleware(asgi.EventContextMiddleware)] if has_context else []
    )


def _wsgi(app: Any, address: str) -> float:
    began = time.perf_counter()
    for _ in range(REQUESTS):
        body = app({**ENVIRON, "PATH_INFO": address, "wsgi.input": io.BytesIO()}, lambda *_: None)
        for _chunk in body:
            pass
        if hasattr(body, "close"):
            body.close()
    return (time.perf_counter() - began) / REQUESTS


def _asgi(app: Any, address: str) -> float:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        pass

    async def main() -> float:
        scope = {"type": "http", "method": "GET", "scheme": "http", "path": address, "headers": HEADERS}
        scope["query_string"] = ENVIRON["QUERY_STRING"].encode()
        began = time.perf_counter()
        for _ in range(REQUESTS):
            await app(dict(scope), receive, send)
        return (time.perf_counter() - began) / REQUESTS

    return asyncio.run(main())


def _middleware() -> dict[str, float]:
    """Return the seconds that the middleware adds to a request, by framework: the median of interleaved rounds."""
    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None, MIDDLEWARE=[])
    django.setup()
    pairs = {
        "WSGI": (_wsgi, _wsgi_app, wsgi.EventContextMiddleware(_wsgi_app)),
        "Flask": (_wsgi, _of_flask(has_context=False), _of_flask(has_context=True)),
        "Django": (_wsgi, _of_django(has_context=False), _of_django(has_context=True)),
        "Starlette": (_asgi, _of_starlette(has_context=False), _of_starlette(has_context=True)),
    }
    added: dict[str, float] = {}
    for name, (measure, plain, wrapped) in pairs.items():
        for address, what in (("/quiet", ""), ("/log", ", an event logged")):
            measure(plain, address), measure(wrapped, address)
            rounds = [(measure(plain, address), measure(wrapped, address)) for _ in range(ROUNDS)]
            base = statistics.median(round_[0] for round_ in rounds)
            added[name + what] = statistics.median(more - less for less, more in rounds)
            print(f"  {name + what:28} {base * 1e6:7.1f} µs without, {added[name + what] * 1e6:5.1f} µs more")
    return added


@contextlib.contextmanager
def _served(base_url: str) -> Iterator[str]:
    """Run the endpoint under uvicorn, on one core."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "benchmarks.web:served"],
        env={**os.environ, "EMITKIT_API_KEY": KEY, "EMITKIT_BASE_URL": base_url},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_on_one_core,  # noqa: PLW1509 - no threads yet
    )
    assert process.stderr is not None
    try:
        next(line for line in process.stderr if "running on" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def served(scope: Any) -> Any:
    """Return the application that uvicorn runs: the endpoint, with a handler that sends its events."""
    if not logger.handlers:
        logger.addHandler(EmitKitHandler(rate_limit=0))
    if "proxy" not in _made:
        _made["proxy"] = asgi_app(logger=logger, rate_limit=0)
    app = _made["proxy"]

    async def run(receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)

    return run


_made: dict[str, Any] = {}


def _payload() -> bytes:
    context = {
        "page": {"path": "/pricing", "title": "Pricing", "referrer": "", "url": "http://shop.example/pricing?x=1"},
        "device": {"type": "desktop", "os": "Linux", "browser": "Chrome", "userAgent": ENVIRON["HTTP_USER_AGENT"]},
        "user": {"userId": "u-1", "email": "ada@example.com", "traits": {"plan": "pro", "email": "ada@example.com"}},
    }
    event = {
        "action": "button_clicked",
        "category": "button",
        "properties": {"buttonId": "signup"},
        "timestamp": 1_700_000_000_000,
    }
    events = [{"type": "track", "event": event, "context": context}] * EVENTS_EACH
    return json.dumps({"events": events}).encode()


def _throughput(url: str) -> float:
    """Send payloads over a few connections; return the events accepted in a second."""
    body = _payload()
    parts = urllib.parse.urlsplit(url)
    head = (
        f"POST /api/analytics HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {url}\r\nContent-Type: application/json\r\n"
    )
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def send() -> None:
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
            for _ in range(EVENTS // EVENTS_EACH // CONNECTIONS):
                connection.sendall(request)
                response = b""
                while not response.endswith(b"\r\n\r\nOK"):
                    response += connection.recv(65_536)

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return EVENTS / (time.perf_counter() - began)


def main() -> dict[str, float]:
    """Measure; return the seconds added to a request without a record, at most, and the events a second."""
    with sink.running() as url:
        logger.addHandler(EmitKitHandler(api_key=KEY, base_url=url, rate_limit=1))
        added = _middleware()
        logger.handlers.clear()
        with _served(url) as address:
            rate = statistics.median(_throughput(address) for _ in range(3))
    print(f"  endpoint on one core: {rate:,.0f} events/s, {EVENTS_EACH} in a request, all sent on")
    return {"middleware": max(added[name] for name in added if "," not in name), "proxy": rate}


if __name__ == "__main__":
    main()
