"""Log the events of a browser, merged with the values of the server."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from emitkit_logging import _options as options
from emitkit_logging import context
from emitkit_logging._events import inference
from emitkit_logging._events.captured import UNTRUSTED_KEY, Marker
from emitkit_logging.proxy.enrichment import Enrich, ServerValues, without_request
from emitkit_logging.proxy.payload import NOTIFY, parse_event, take_events
from emitkit_logging.proxy.request import BrowserRequest, RequestHeaders

_log = logging.getLogger("emitkit_logging")

OnError: TypeAlias = "Callable[[Exception], object]"


def ingest_proxy_events(
    payload: Mapping[str, Any] | str | bytes,
    *,
    logger: logging.Logger | str | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    client_ip: str | None = None,
    enrich_context: Enrich | None = None,
    on_error: OnError | None = None,
    channels: Iterable[str] = (),
    notify: bool = False,
    source: object = None,
) -> int:
    """Log each event that a browser's `ProxyProvider` sent as a record at INFO.

    An invalid event does not affect the others. A payload cannot raise the level, choose a channel that is not in
    `channels`, or reach a channel for errors. Its records wait behind the records of the server itself.

    Args:
        payload: `{"events": [...]}`, as a dict or as JSON; at most 64 KB and 100 events. One of version 2 may have
            256 KB, and more of it is left out.
        logger: the logger or its name; by default `emitkit_logging.proxy`.
        headers: the headers of the request. `User-Agent` becomes part of `server`.
        client_ip: the address of the browser. The record has it as `device.ip`, which the handler never sends.
        enrich_context: a dict, or a function that takes the `BrowserRequest` and returns a dict or `None`: `page`,
            `device`, `utm`, `server`, `user`, `session_id`, `properties`. Its values win over the browser's. A user
            from here, or from the context around the call, wins over any user the browser names. If the function
            raises, the browser's user is ignored.
        on_error: called with the exception of each invalid event, and of `enrich_context`. By default they are logged
            at DEBUG on the logger `emitkit_logging`.
        channels: the channels that `__emitkit_channel` may name. `__emitkit_notify` is used only with one of them.
        notify: whether the events push: each that a record of the server's own would push. A page can then keep one
            from pushing, with `__emitkit_notify`.
        source: the framework's request, for `enrich_context`.

    Returns:
        The number of events logged. A `reset` is not logged.

    Raises:
        PayloadError: when the payload is invalid or too large.
        TypeError: when `enrich_context` is a coroutine function, or `notify` is no boolean.
    """
    events, left_out = take_events(payload)
    if left_out:
        _log.warning("at least %d events of a browser were left out: a payload has too many", left_out)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    request = BrowserRequest(RequestHeaders(pairs or ()), client_ip, source)
    return Replayer(logger, enrich_context, on_error, frozenset(channels), notify=notify).log(events, request)


class Replayer:
    """Logs the events of browsers.

    Args:
        logger, enrich_context, on_error, channels, notify: as for `ingest_proxy_events`.

    Raises:
        TypeError: for a `logger`, an `enrich_context` or a `notify` that cannot be used.
    """

    def __init__(
        self,
        logger: object,
        enrich_context: Enrich | None,
        on_error: OnError | None,
        channels: frozenset[str],
        *,
        notify: bool = False,
    ) -> None:
        self.logger = _logger(logger)
        if inspect.iscoroutinefunction(enrich_context):
            raise TypeError("enrich_context: must be a plain function, not an asynchronous one")
        self._enrich_context = enrich_context
        self._on_error = on_error
        self._channels = channels
        self._notify = options.flag("notify", notify)

    def log(self, events: Iterable[object], request: BrowserRequest) -> int:
        """Log events that came with a request; return how many were logged."""
        around = context.current() or {}
        server = self._server_values(request, around)
        # the records are about the page of the event, not about the request to the endpoint
        with context.scope(without_request(around)):
            return sum(self._log_event(event, request, server) for event in events)

    def _log_event(self, event: object, request: BrowserRequest, server: ServerValues) -> bool:
        try:
            extra = self._extra(event, request, server)
            if extra is not None:
                self.logger.info(extra.get("event", "identify"), extra=extra)
        except Exception as error:  # also for a key from enrich_context that logging forbids in `extra`
            self._report(error)
            return False
        return extra is not None

    def _extra(self, event: object, request: BrowserRequest, server: ServerValues) -> dict[str, Any] | None:
        extra = parse_event(event, self._channels)
        if extra is None:
            return None
        if "identify" in extra:
            server.check_identify(extra)
        else:
            extra = server.applied_to(self._with_notify(extra), request)
        return {**extra, UNTRUSTED_KEY: Marker.UNTRUSTED}

    def _with_notify(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return the values of an event with what the endpoint says of pushing; a page may only say no.

        A page view never pushes by itself.
        """
        asked = extra.get(NOTIFY)
        if not self._notify:
            return {key: value for key, value in extra.items() if key != NOTIFY or value is False}
        return {**extra, "notify": True} if asked is None and extra["event"] != inference.PAGE_VIEW else extra

    def _server_values(self, request: BrowserRequest, around: Mapping[str, Any]) -> ServerValues:
        enrich = self._enrich_context
        try:
            return ServerValues(dict((enrich(request) if callable(enrich) else enrich) or {}), around)
        except Exception as error:
            self._report(error)
            return ServerValues(None, around)

    def _report(self, error: Exception) -> None:
        if self._on_error is None:
            _log.debug("error in browser events: %s", error)
            return
        with suppress(Exception):  # an error in the callback must not affect the other events
            self._on_error(error)


def _logger(logger: object) -> logging.Logger:
    if logger is None:
        return logging.getLogger("emitkit_logging.proxy")
    if isinstance(logger, str):
        return logging.getLogger(logger)
    if isinstance(logger, logging.Logger):
        return logger
    raise TypeError(f"logger: must be a logger or its name, not {type(logger).__name__}")
