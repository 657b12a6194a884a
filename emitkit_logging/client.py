"""Client: one request to EmitKit and its response, over requests.

This is the only room that knows of HTTP. It is imported when an enabled handler is made, and not before: an import in a
background thread can be caught by a fork.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from emitkit_logging.answers import Answer, Response, read, unanswered
from emitkit_logging.outbox import EVENTS_PATH, IDENTIFY_PATH, Request

LONGEST_BODY = 64 * 1024
"""Bytes read of a response: those of EmitKit have a few hundred."""


class Client:
    """Sends requests over one kept connection.

    Args:
        base_url: the server's address, path prefix included.
        api_key: sent as a bearer token.
        timeout: seconds for one request.
        user_agent: how we introduce ourselves.
    """

    def __init__(self, *, base_url: str, api_key: str, timeout: float, user_agent: str) -> None:
        self._timeout = timeout
        self._limit: Any = Timeout(total=timeout)  # requests hands it on; its annotation knows numbers only
        self._api_key = api_key
        session = requests.Session()
        # Session.send would follow redirects, store cookies and let ~/.netrc replace the key: the adapter alone does
        # none of it. Proxies and certificates come from the environment, as with any use of requests.
        settings = session.merge_environment_settings(base_url, {}, None, None, None)
        self._settings: dict[str, Any] = {name: settings[name] for name in ("proxies", "verify", "cert")}
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
        # prepared once for each path: preparing anew would take longer than sending
        self._prepared = {
            path: requests.Request("POST", base_url + path, headers=headers, data=b"").prepare()
            for path in (EVENTS_PATH, IDENTIFY_PATH)
        }

    def send(self, request: Request) -> Answer:
        """Send a request and read its answer.

        Returns:
            The answer; one that says why where there was no response. Nothing is raised for what a server or a
            network does, and no redirect is followed.
        """
        prepared = self._prepared[request.path]
        prepared.body = request.body
        prepared.headers["Content-Length"] = str(len(request.body))
        if request.key is not None:
            prepared.headers["Idempotency-Key"] = request.key
        deadline = time.monotonic() + self._timeout
        try:
            response = self._adapter.send(prepared, stream=True, timeout=self._limit, **self._settings)
            try:
                body = _read(response, deadline)
            finally:
                response.close()
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return unanswered(self._reason(error))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return read(Response(response.status_code, headers, body), success=request.success)

    def _reason(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._api_key, "[redacted]")[:300]

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()


def _read(response: requests.Response, deadline: float) -> bytes:
    # read1 returns what has come, so that a response that drips cannot outlast the deadline
    read_some = getattr(response.raw, "read1", response.raw.read)
    body = b""
    while len(body) < LONGEST_BODY and time.monotonic() < deadline:
        some = read_some(LONGEST_BODY)
        if not some:
            break
        body += some
    return body
