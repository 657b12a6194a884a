"""A real HTTP server on loopback that answers by a script."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """One request as the server got it."""

    path: str
    headers: dict[str, str]
    raw: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass
class Reply:
    """One answer; `body` is JSON unless it is bytes; `breaks` closes the connection without one."""

    status: int = 0
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    waits: float = 0.0


ERROR = {"success": False, "error": "no"}


class Server:
    """Answers each request with what `script` says, else with a success.

    `script` is a list of replies, used up one by one, or a function of the request.
    """

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.script: list[Reply | None] | Callable[[Seen], Reply | None] = []
        self._news = threading.Condition()
        self._stopped = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                outer._serve(self)

            def do_GET(self) -> None:
                outer._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, http: BaseHTTPRequestHandler) -> None:
        raw = http.rfile.read(int(http.headers.get("Content-Length", 0)))
        seen = Seen(http.path, {name.lower(): value for name, value in http.headers.items()}, raw)
        with self._news:
            self.requests.append(seen)
            if callable(self.script):
                reply = self.script(seen)
            else:
                reply = self.script.pop(0) if self.script else None
            self._news.notify_all()
        reply = reply or Reply(200 if seen.path.endswith("identify") else 201, {"success": True, "data": {}})
        if reply.waits:
            self._stopped.wait(reply.waits)
        if reply.breaks:
            http.connection.shutdown(socket.SHUT_RDWR)
            http.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body or ERROR).encode()
        http.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(body)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Seen]:
        """Return the requests once there are `count`."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.requests) >= count, timeout), self.requests
            return list(self.requests)

    @property
    def titles(self) -> list[str]:
        return [seen.body["title"] for seen in self.requests if seen.path.endswith("/events")]

    def occurrences(self, name: str | None = None) -> int:
        """How many log records the events stand for; with a name, only those of that name."""
        return sum(occurrences(seen.body, name) for seen in self.requests if seen.path.endswith("/events"))


def occurrences(event: dict[str, Any], name: str | None = None) -> int:
    """How many log records an event stands for; with a name, only those of that name."""
    metadata = event["metadata"]
    if name is not None and "digest" in metadata:
        return metadata["digest"].get(name, 0)
    return metadata.get("occurrences", 1) if name in (None, metadata.get("event")) else 0
