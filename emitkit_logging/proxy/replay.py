"""Log the events of a browser, together with what the request shows and what the application knows."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from emitkit_logging import context
from emitkit_logging._events import extras
from emitkit_logging._events.captured import GUEST, GUEST_MARK
from emitkit_logging.proxy.payload import PARTS, PayloadError, as_dict, parse_event, parse_payload
from emitkit_logging.proxy.request import BrowserRequest, read_headers

_USER = ("user", "user_id")
_UNIDENTIFIED = ""
"""The id of a user who has none. No browser's user id is equal to it."""

_log = logging.getLogger("emitkit_logging")

Enrich: TypeAlias = "Callable[[BrowserRequest], Mapping[str, Any] | None]"
OnError: TypeAlias = "Callable[[Exception], object]"


def ingest_proxy_events(
    payload: Mapping[str, Any] | str | bytes,
    *,
    logger: logging.Logger | str | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    client_ip: str | None = None,
    enrich_context: Enrich | Mapping[str, Any] | None = None,
    on_error: OnError | None = None,
    channels: Iterable[str] = (),
    source: object = None,
) -> int:
    """Log each event that a browser's `ProxyProvider` sent as a record at INFO.

    An invalid event does not affect the others. A payload cannot raise the level, choose a channel that is not in
    `channels`, or reach a channel for errors. Its records wait behind the records of the server itself.

    Args:
        payload: `{"events": [...]}`, as a dict or as JSON; at most 64 KB and 100 events.
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
        source: the framework's request, for `enrich_context`.

    Returns:
        The number of events logged. A `reset` is not logged.

    Raises:
        PayloadError: when the payload is invalid or too large.
        TypeError: when `enrich_context` is a coroutine function.
    """
    events = parse_payload(payload)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    request = BrowserRequest(read_headers(pairs or ()), client_ip, source)
    return Replayer(logger, enrich_context, on_error, frozenset(channels)).log(events, request)


class Replayer:
    """Logs the events of browsers.

    Args:
        logger, enrich_context, on_error, channels: as for `ingest_proxy_events`.

    Raises:
        TypeError: for a `logger` or an `enrich_context` that cannot be used.
    """

    def __init__(
        self,
        logger: object,
        enrich_context: Enrich | Mapping[str, Any] | None,
        on_error: OnError | None,
        channels: frozenset[str],
    ) -> None:
        self.logger = _logger(logger)
        if inspect.iscoroutinefunction(enrich_context):
            raise TypeError("enrich_context: must be a plain function, not an asynchronous one")
        self._enrich_context = enrich_context
        self._on_error = on_error
        self._channels = channels

    def log(self, events: Iterable[object], request: BrowserRequest) -> int:
        """Log events that came with a request; return how many were logged."""
        around = context.current() or {}
        server = self._ask_server(request, around)
        # the records are about the page of the event, not about the request to the endpoint
        with context.scope({key: value for key, value in around.items() if key not in (*PARTS, *_USER)}):
            return sum(self._log_event(event, request, server) for event in events)

    def _log_event(self, event: object, request: BrowserRequest, server: _ServerValues) -> bool:
        try:
            extra = self._extra(event, request, server)
            if extra is not None:
                self.logger.info(extra.get("event", "identify"), extra=extra)
        except Exception as error:  # also for a key from enrich_context that logging forbids in `extra`
            self._report(error)
            return False
        return extra is not None

    def _extra(self, event: object, request: BrowserRequest, server: _ServerValues) -> dict[str, Any] | None:
        extra = parse_event(event, self._channels)
        if extra is None:
            return None
        extra = server.checked_identify(extra) if "identify" in extra else server.applied_to(extra, request)
        return {**extra, GUEST: GUEST_MARK}

    def _ask_server(self, request: BrowserRequest, around: Mapping[str, Any]) -> _ServerValues:
        """Return what the application and the surrounding context know; called once for a payload."""
        enrich = self._enrich_context
        values: dict[str, Any] = {}
        is_known = True
        try:
            values = _usable((enrich(request) if callable(enrich) else enrich) or {})
        except Exception as error:
            is_known = False
            self._report(error)
        if not _names_user(values):
            values |= {key: around[key] for key in _USER if key in around}
        if is_known and not _names_user(values):
            return _ServerValues(values, None)
        return _ServerValues(values, context.person_id(values) or _UNIDENTIFIED)

    def _report(self, error: Exception) -> None:
        if self._on_error is None:
            _log.debug("error in browser events: %s", error)
            return
        with suppress(Exception):  # an error in the callback must not affect the other events
            self._on_error(error)


@dataclass(frozen=True, slots=True)
class _ServerValues:
    """What the server knows of a request, which wins over what its events claim.

    Attributes:
        values: the values of `enrich_context`, with the user of the surrounding context.
        only_user: the only user id that events may name; `None`: any.
    """

    values: Mapping[str, Any]
    only_user: str | None

    def checked_identify(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return the values of an identify.

        Raises:
            PayloadError: when it names a user that it must not.
        """
        if not self._may_name(extra["identify"]["id"]):
            raise PayloadError("an identify names another user than the one who is logged in")
        return extra

    def applied_to(self, extra: dict[str, Any], request: BrowserRequest) -> dict[str, Any]:
        """Return the values of an event, with those of its request and of the server, which win."""
        result = {key: value for key, value in extra.items() if key not in _USER or self._may_claim(key, value)}
        shown = _shown(request)
        for part in PARTS:
            merged = {**extra.get(part, {}), **as_dict(self.values.get(part)), **shown.get(part, {})}
            if merged:
                result[part] = merged
        result["properties"] = {**extra["properties"], **as_dict(self.values.get("properties"))}
        result.update((key, value) for key, value in self.values.items() if key not in (*PARTS, "properties"))
        return result

    def _may_claim(self, key: str, value: object) -> bool:
        return self._may_name(context.person_id({key: value}))

    def _may_name(self, user_id: object) -> bool:
        return self.only_user is None or (user_id is not None and str(user_id) == self.only_user)


def _shown(request: BrowserRequest) -> dict[str, dict[str, str]]:
    """Return what the request itself shows of the browser."""
    agent = request.headers.get("user-agent")
    result = {"server": {"userAgent": agent}} if agent else {}
    return result | ({"device": {"ip": request.client_ip}} if request.client_ip else {})


def _names_user(values: Mapping[str, Any]) -> bool:
    return any(key in values for key in _USER)


def _usable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `enrich_context` without an empty user, and with a user id of another type as text."""
    result = {key: value for key, value in dict(values).items() if key not in _USER or value not in (None, "", {})}
    if "user_id" in result and not extras.is_id(result["user_id"]):
        result["user_id"] = str(result["user_id"])
    return result


def _logger(logger: object) -> logging.Logger:
    if logger is None:
        return logging.getLogger("emitkit_logging.proxy")
    if isinstance(logger, str):
        return logging.getLogger(logger)
    if isinstance(logger, logging.Logger):
        return logger
    raise TypeError(f"logger: must be a logger or its name, not {type(logger).__name__}")
