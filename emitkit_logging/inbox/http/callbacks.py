"""Callbacks: an application is sent the answer to its question, signed as Standard Webhooks specifies.

Only on this machine, because a local server must not send what an application logs to others. Certificates are not
checked, because nobody has a valid one for `localhost`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import heapq
import hmac
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emitkit_logging._api.hosts import is_loopback
from emitkit_logging.inbox.config import SECRET_PREFIX
from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.store.event import iso
from emitkit_logging.inbox.store.feed import Feed

if TYPE_CHECKING:
    from requests import PreparedRequest

PAUSES = (1.0, 5.0, 30.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 30_000.0)
"""Seconds between two attempts, about 16 hours together; there is one attempt more than there are pauses."""

_REPORTED = ("answered", "expired")

_TIMEOUT = 10.0


def make_secret() -> str:
    """Return a new secret, as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def signed(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a message: HMAC-SHA256 over its id, time and body.

    Args:
        secret: as `make_secret` writes it.
        message_id: the same for every attempt.
        at: when it is sent (Unix seconds).
        body: its body.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = f"{message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


class CallbackSender:
    """Sends callbacks from a thread of its own, which starts with the first one.

    Args:
        feed: where the events are, and where the attempts are written.
        secret: signs the callbacks.
        clock: returns Unix seconds.
        pauses: seconds between two attempts.
    """

    def __init__(
        self,
        feed: Feed,
        secret: str,
        clock: Callable[[], float] = time.time,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._feed = feed
        self._secret = secret
        self._clock = clock
        self._pauses = pauses
        self._due: list[tuple[float, str, int]] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def send(self, event: dict[str, Any]) -> None:
        """Send the callback of an event that was answered or has expired, if it has one on this machine."""
        if event["answer"]["status"] not in _REPORTED:
            return
        if event["callback"] is None or _prepared(event["callback"]["url"], b"", {}) is None:
            return
        with self._changed:
            heapq.heappush(self._due, (time.monotonic(), event["id"], 0))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="emitkit-inbox-callbacks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            event_id, attempt = due
            with contextlib.suppress(Exception):  # a feed that was closed in the meantime
                if not self._attempt(event_id) and attempt < len(self._pauses):
                    with self._changed:
                        heapq.heappush(self._due, (time.monotonic() + self._pauses[attempt], event_id, attempt + 1))

    def _next(self) -> tuple[str, int] | None:
        with self._changed:
            while not self._is_closed:
                pause = self._due[0][0] - time.monotonic() if self._due else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self._due)[1:]
                self._changed.wait(pause)
        return None

    def _attempt(self, event_id: str) -> bool:
        """Send a callback once, and return whether it needs no further attempt."""
        found = self._feed.event(event_id)
        if found is None:
            return True
        event = found[1]
        answer, callback = event["answer"], event["callback"]
        content = {"eventId": event["id"], "answer": answer, "resume": event["resume"]}
        body = javascript.encode({"type": f"event.{answer['status']}", **content})
        headers = signed(self._secret, f"msg_{event['id']}", int(self._clock()), body)
        status = _post(callback["url"], body, {"content-type": "application/json", **headers})
        is_delivered = status is not None and 200 <= status < 300
        callback.update(attempts=callback["attempts"] + 1, lastStatus=status)
        if is_delivered:
            callback["deliveredAt"] = iso(self._clock())
        self._feed.update(event)
        return is_delivered


def _prepared(url: str, body: bytes, headers: dict[str, str]) -> PreparedRequest | None:
    """Return a request to a URL of this machine, or `None` for any other URL.

    The host is read from the prepared request by urllib3, which connects to it. Another parser may find another host
    in the same text, as in `https://example.com\\@127.0.0.1/`.
    """
    import requests  # noqa: PLC0415 (only a question with a callback needs it)
    from urllib3.util import parse_url  # noqa: PLC0415

    try:
        prepared = requests.Request("POST", url, headers=headers, data=body).prepare()
        host = parse_url(prepared.url or "").host
    except ValueError:  # which the exceptions of both for invalid URLs are
        return None
    return prepared if is_loopback(host or "") else None


def _post(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """Return the status of the response, or `None` when there is none. Redirects are not followed."""
    import requests  # noqa: PLC0415

    prepared = _prepared(url, body, headers)
    if prepared is None:
        return None
    session = requests.Session()
    session.trust_env = False
    with contextlib.closing(session), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no certificate is checked
        with contextlib.suppress(requests.RequestException):
            return session.send(prepared, timeout=_TIMEOUT, verify=False, allow_redirects=False).status_code
    return None
