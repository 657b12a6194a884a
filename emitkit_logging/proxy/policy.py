"""Decide which requests the endpoint accepts, and with which response.

The decisions are the same for every framework. They depend on a `BrowserRequest` and on a clock that is passed in.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from emitkit_logging import _options as options
from emitkit_logging._api.limits import LONGEST_CHANNEL
from emitkit_logging.proxy.enrichment import Enrich
from emitkit_logging.proxy.left_out import LeftOut
from emitkit_logging.proxy.origins import AllowedOrigins, TrustedProxies
from emitkit_logging.proxy.payload import MAX_BYTES, PayloadError, take_events
from emitkit_logging.proxy.rate_limit import ClientRateLimit
from emitkit_logging.proxy.replay import OnError, Replayer
from emitkit_logging.proxy.request import BrowserRequest
from emitkit_logging.proxy.version2 import is_version_2

_PREFLIGHT_SECONDS = "600"
_BYTES_PER_EVENT = 1024
"""Bytes of a payload that count as one event for the rate limit."""

_log = logging.getLogger("emitkit_logging")


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """The endpoint's response to a request.

    Attributes:
        status: the HTTP status.
        body: the body.
        headers: all headers but `Content-Length`.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class EndpointPolicy:
    """Accepts the events of browsers, or refuses them with a reason.

    Args:
        logger: the logger of the events, or its name; by default `emitkit_logging.proxy`.
        enrich_context, on_error: as for `ingest_proxy_events`.
        channels: the channels that a browser may name with `__emitkit_channel`.
        notify: whether the events push, as for `ingest_proxy_events`.
        rate_limit: most events of one client in a minute, where each KB of a payload counts as one too. 0: no limit.
        trusted_proxies: addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Host` are trusted. `"unix"`
            stands for all connections without addresses.
        allowed_origins: origins besides the endpoint's own, such as `https://www.example.com`.
        clock: returns seconds on a monotonic clock.

    Raises:
        TypeError, ValueError: for an option that is invalid. The message names it.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger | str | None = None,
        enrich_context: Enrich | None = None,
        on_error: OnError | None = None,
        channels: Iterable[str] = (),
        notify: bool = False,
        rate_limit: int = 1_200,
        trusted_proxies: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replayer = Replayer(logger, enrich_context, on_error, _channels(channels), notify=notify)
        self._limit = ClientRateLimit(options.count("rate_limit", rate_limit, least=0), clock)
        self._left_out = LeftOut(clock)
        self._proxies = TrustedProxies(options.names("trusted_proxies", trusted_proxies))
        self._origins = AllowedOrigins(options.names("allowed_origins", allowed_origins), self._proxies)
        self._warned = False

    def request(self, headers: Mapping[str, str], source: object, method: str, peer: str | None) -> BrowserRequest:
        """Return a framework's request as a `BrowserRequest`, with the address of its browser."""
        return BrowserRequest(headers, self._proxies.client(peer, headers), source, method, peer)

    # Before the body is read

    def check(self, request: BrowserRequest) -> EndpointResponse | None:
        """Return the response to a request whose body need not be read, or `None` when it must be."""
        if not self._origins.allow(request):
            return self._refuse(request, 403, "events are accepted from this site's own pages only")
        if request.method == "OPTIONS":
            return self._preflight(request)
        if request.method != "POST":
            return self._refuse(request, 405, "events must be sent with POST", {"Allow": "POST, OPTIONS"})
        return None  # which version it has, and so what is too much of it, is in the body

    def refuse_too_large(self, request: BrowserRequest) -> EndpointResponse:
        """Return the response to a request whose body has more than `MAX_BYTES`."""
        return self._refuse(request, 413, f"the payload has more than {MAX_BYTES} bytes")

    # With the body

    def accept(self, request: BrowserRequest, body: bytes | None) -> EndpointResponse:
        """Log the events of a request that `check` let pass, and return the response.

        Args:
            request: the request.
            body: its body; more than `version2.MAX_BYTES` need not be kept. `None` when reading failed.
        """
        if body is None:
            return self._refuse_over_limit(request, 1) or self._refuse(request, 400, "the payload could not be read")
        cost = max(1, math.ceil(len(body) / _BYTES_PER_EVENT))
        try:
            events, left_out = take_events(body)
        except PayloadError as error:
            return self._refuse_over_limit(request, cost) or self._refuse(request, error.status, str(error))
        cost = max(cost, len(events))
        if is_version_2(body):
            # its client sends all again until a 2xx, so that a refusal would make it send the same for good
            kept = events[: len(events) * self._limit.take(request.client_ip, cost) // cost]
            self._left_out.add(left_out + len(events) - len(kept))
            events = kept
        elif (refusal := self._refuse_over_limit(request, cost)) is not None:
            return refusal
        self._warn_if_disabled()
        self._replayer.log(events, request)
        return self._respond(request, 200, b"OK", {"Content-Type": "text/plain; charset=utf-8"})

    def _warn_if_disabled(self) -> None:
        logger = self._replayer.logger
        if not self._warned and not logger.isEnabledFor(logging.INFO):
            self._warned = True
            _log.warning(
                "browser events are lost: their level is INFO, and that of the logger %r is higher", logger.name
            )

    # Responses

    def _refuse_over_limit(self, request: BrowserRequest, events: int) -> EndpointResponse | None:
        wait = self._limit.count(request.client_ip, events)
        if wait <= 0:
            return None
        reason = f"more than {self._limit.limit} events in a minute"
        return self._refuse(request, 429, reason, {"Retry-After": str(math.ceil(wait))})

    def _preflight(self, request: BrowserRequest) -> EndpointResponse:
        headers = {"Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": _PREFLIGHT_SECONDS}
        requested = request.headers.get("access-control-request-headers", "content-type")
        return self._respond(request, 204, b"", {**headers, "Access-Control-Allow-Headers": requested})

    def _refuse(
        self, request: BrowserRequest, status: int, reason: str, headers: Mapping[str, str] | None = None
    ) -> EndpointResponse:
        body = b"" if request.method == "HEAD" else json.dumps({"error": reason}).encode()
        return self._respond(request, status, body, {"Content-Type": "application/json", **(headers or {})})

    def _respond(
        self, request: BrowserRequest, status: int, body: bytes, headers: Mapping[str, str]
    ) -> EndpointResponse:
        return EndpointResponse(status, body, {**headers, **self._cors_headers(request)})

    def _cors_headers(self, request: BrowserRequest) -> dict[str, str]:
        headers = {"Vary": "Origin"} if self._origins else {}
        origin = request.headers.get("origin")
        if origin is not None and self._origins.lists(origin):
            # a beacon carries the cookies of its target, and browsers send it only where that is allowed
            headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        return headers


def _channels(names: Iterable[str]) -> frozenset[str]:
    return frozenset(options.text("channels", name, LONGEST_CHANNEL) for name in options.names("channels", names))
