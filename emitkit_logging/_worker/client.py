"""Send one request to EmitKit over HTTP and return the response.

No other module of the delivery uses HTTP. This one is imported when an enabled handler is made: an import in the
background thread could be interrupted by a fork.
"""

from __future__ import annotations

import http.client
import io
import json
import math
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import Timeout

from emitkit_logging._api.hosts import is_loopback
from emitkit_logging._api.requests import ApiRequest
from emitkit_logging._api.responses import ApiResponse, HttpResponse, json_object, read, unanswered
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._worker import native, own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.descriptors import Identity, identity_of

LONGEST_BODY = 64 * 1024
"""Bytes read of a response; EmitKit's have a few hundred."""

_LONGEST_ERROR = 10_000

FAILURES = (requests.RequestException, HTTPError, OSError, ValueError)
"""Exceptions that a network, a proxy or a certificate causes."""


class Client:
    """Sends requests over one kept connection.

    Args:
        base_url: the server's address, path prefix included.
        api_key: sent as a bearer token.
        timeout: seconds for one request.
        user_agent: the `User-Agent` header.
    """

    def __init__(self, *, base_url: str, api_key: str, timeout: float, user_agent: str) -> None:
        self._redactor = Redactor(literals=encodings(api_key) if api_key else ())
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent,
        }
        # Session.send would follow redirects, store cookies, let ~/.netrc replace the key, and prepare each request
        # again, which takes longer than to send it. So requests is only asked for the connection: it finds proxies and
        # certificates in the environment as it always does. urllib3, which requests itself uses, then sends.
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        settings = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
        proxies = {} if _is_plain_and_local(base_url) else settings["proxies"]
        self._settings: tuple[Any, Any, Any] = (proxies, settings["verify"], settings["cert"])
        self._base_url = base_url
        self._limit = Timeout(total=timeout)  # urllib3 copies it for each request
        self._pool: Any = None
        self._targets: dict[str, str] = {}

    def _connect(self) -> Any:
        # not at construction: a proxy's address or a certificate that cannot be used must not stop the application
        proxies, verify, cert = self._settings
        url = self._base_url
        pool: Any = self._adapter.get_connection_with_tls_context(_prepared(url), verify, proxies=proxies, cert=cert)
        self._adapter.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        pool.ConnectionCls = type("Connection", (_Connection, pool.ConnectionCls), {})
        own_calls.silence()  # now that all modules of the HTTP libraries are loaded, and have their loggers
        return pool

    def send(self, request: ApiRequest) -> ApiResponse:
        """Send a request and return what the response means.

        Returns:
            The answer; one that says why where there was no response. Nothing is raised for what a server or a
            network does, and no redirect is followed.
        """
        try:
            response = self.exchange("POST", request.path, request.body, request.key)
        except FAILURES as error:
            return unanswered(self._reason(error), reached_server=not _is_unconnected(error))
        if response.status != request.success:  # what it says goes to the log, and to people
            response = masked(response, self._redactor)
        return read(response, success=request.success)

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        key: str | None = None,
        *,
        longest_body: int = LONGEST_BODY,
    ) -> HttpResponse:
        """Send a request and return the response as it came.

        Args:
            method: of HTTP.
            path: below the base URL.
            body: JSON, UTF-8.
            key: the `Idempotency-Key`.
            longest_body: bytes that are read of the response.

        Raises:
            Exception: one of `FAILURES` where there was no response.
        """
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        if self._pool is None:
            self._pool = self._connect()
        target = self._targets.get(path)
        if target is None:
            target = self._adapter.request_url(_prepared(self._base_url + path), self._settings[0])
            if "?" not in path:  # there are two others
                self._targets[path] = target
        response = self._pool.urlopen(
            method,
            target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,  # through a proxy the target is a whole URL, of another host than the pool's
            timeout=self._limit,
            preload_content=False,
        )
        content = _body(response, longest_body)
        received = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, received, content)

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment names for the server, or `None`."""
        return requests.utils.select_proxy(self._base_url, self._settings[0])

    def _reason(self, error: Exception) -> str:
        return self._redactor.mask(f"{type(error).__name__}: {error}"[:_LONGEST_ERROR])[:300]

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()
        self._pool = None


def masked(response: HttpResponse, redactor: Redactor) -> HttpResponse:
    """Return a response without secrets. Its text is shortened later, and a part of a secret is not found then."""
    body = response.body
    content = json_object(body)
    headers = {name: redactor.mask(value) for name, value in response.headers.items()}
    if content:
        text = json.dumps(_masked_values(content, redactor), ensure_ascii=False)
    else:
        text = redactor.mask(body.decode("utf-8", "replace"))
    return HttpResponse(response.status, headers, text.encode("utf-8", "replace"))


def _is_plain_and_local(url: str) -> bool:
    """Whether requests go to this machine unencrypted: a proxy elsewhere would read the key, and not reach it."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def _masked_values(value: object, redactor: Redactor) -> object:
    """Return the value of a JSON text with each text in it masked by itself: in JSON, its lines would run together."""
    if isinstance(value, str):
        return redactor.mask(value)
    if isinstance(value, list):
        return [_masked_values(each, redactor) for each in value]
    if isinstance(value, Mapping):
        return {redactor.mask(key): _masked_values(each, redactor) for key, each in value.items()}
    return value


def encodings(key: str) -> tuple[str, ...]:
    """Return a key as it is, and as it appears in a URL and in JSON."""
    return tuple(dict.fromkeys((key, urllib.parse.quote(key, safe=""), json.dumps(key)[1:-1])))


class _PunctualReader(io.RawIOBase):
    """Reads from a socket until a deadline; the socket's own timeout would start again with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._deadline = math.inf if self._timeout is None else monotonic() + self._timeout
        self._is_first = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._is_first:
            self._is_first = False
        elif self._timeout is not None:
            left = self._deadline - monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: Any = io.BufferedReader(_PunctualReader(self.fp.detach(), sock))


class _Connection:
    """Added to a connection class of urllib3.

    A request is sent in one write instead of http.client's two: the second write would cost more than to build the
    request, and would wake the server twice. A response has to arrive within the read timeout that urllib3 sets.

    Where the application has closed all descriptors, the number of the socket may be that of a file of the application:
    then nothing is sent to it, and it is not closed.
    """

    response_class = _PunctualResponse
    sock: socket.socket | None
    _pieces: list[bytes] | None = None
    _identity: Identity | None = None

    def connect(self) -> None:
        native.with_names(super().connect)  # type: ignore[misc]
        self._identity = None if self.sock is None else identity_of(self.sock.fileno())

    def close(self) -> None:
        if self.sock is not None and self._identity != identity_of(self.sock.fileno()):
            self.sock.detach()
        super().close()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None and self._identity != identity_of(self.sock.fileno()):
            self.close()
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, data: bytes) -> None:
        if self._pieces is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._pieces.append(data)


def _body(response: Any, longest: int) -> bytes:
    try:
        body: bytes = response.read(longest)
    except (HTTPError, OSError):
        body = b""  # the status and the headers are there, and they are enough
    if not response.closed:
        response.close()  # else the next response on this connection would begin with the rest of it
    return body


def _is_unconnected(error: Exception) -> bool:
    """Whether there was no connection, so that nothing of the request can have reached the server."""
    cause = getattr(error, "original_error", error)  # a proxy's error names the error that it stands for
    return isinstance(cause, NewConnectionError | ConnectTimeoutError)


def _prepared(url: str) -> requests.PreparedRequest:
    return requests.Request("POST", url).prepare()
