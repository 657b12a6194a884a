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
from emitkit_logging.attempt import EVENTS_PATH, IDENTIFY_PATH, Request

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
        self._api_key = api_key
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent,
        }
        # Session.send would follow redirects, store cookies and let ~/.netrc replace the key, and prepare each request
        # anew, which takes longer than sending it. So requests only says how to get there: through which proxy, and
        # trusting which certificates, by the environment as ever. The connection that it makes is then used directly.
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        settings = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
        self._settings: tuple[Any, Any, Any] = (settings["proxies"], settings["verify"], settings["cert"])
        self._base_url = base_url
        self._limit = Timeout(total=timeout)  # urllib3 copies it for each request
        self._pool: Any = None
        self._targets: dict[str, str] = {}

    def _connect(self) -> Any:
        # not at construction: a proxy's address or a certificate that cannot be used must not stop the application
        proxies, verify, cert = self._settings
        url = self._base_url
        connect = getattr(self._adapter, "get_connection_with_tls_context", None)
        if connect is not None:
            pool = connect(_prepared(url), verify, proxies=proxies, cert=cert)
        else:  # requests before 2.32
            pool = self._adapter.get_connection(url, proxies)
        self._adapter.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        for path in (EVENTS_PATH, IDENTIFY_PATH):
            self._targets[path] = self._adapter.request_url(_prepared(url + path), proxies)
        return pool

    def send(self, request: Request) -> Answer:
        """Send a request and read its answer.

        Returns:
            The answer; one that says why where there was no response. Nothing is raised for what a server or a
            network does, and no redirect is followed.
        """
        headers = self._headers if request.key is None else {**self._headers, "Idempotency-Key": request.key}
        deadline = time.monotonic() + self._timeout
        try:
            if self._pool is None:
                self._pool = self._connect()
            response = self._pool.urlopen(
                "POST",
                self._targets[request.path],
                body=request.body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,  # through a proxy the target is a whole URL, of another host than the pool's
                timeout=self._limit,
                preload_content=False,
            )
            body = _read(response, deadline)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return unanswered(self._reason(error))
        received = {name.lower(): value for name, value in response.headers.items()}
        return read(Response(response.status, received, body), success=request.success)

    def _reason(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._api_key, "[redacted]")[:300]

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()
        self._pool = None


def _prepared(url: str) -> requests.PreparedRequest:
    return requests.Request("POST", url).prepare()


def _read(response: Any, deadline: float) -> bytes:
    # a response that drips must not outlast the deadline: read1 returns what has come; in urllib3 1, which lacks it, a
    # read waits for all that it was asked for
    read_some, most = (response.read1, LONGEST_BODY) if hasattr(response, "read1") else (response.read, 1)
    body = b""
    while len(body) < LONGEST_BODY and time.monotonic() < deadline:
        some: bytes = read_some(most)
        body += some
        if not some or response.length_remaining == 0:
            response.release_conn()
            return body
    response.close()  # what is left of it would stand in the way of the next response
    return body
