"""Handler: the thin adapter between logging and the way to EmitKit."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from emitkit_logging import __version__
from emitkit_logging import _options as options
from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import CapturedRecord, capture, restore
from emitkit_logging._events.event import Event
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.observer import NOBODY, BacklogObserver
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._worker import lifecycle
from emitkit_logging._worker.worker import Listener, holds_logging_lock, own_threads
from emitkit_logging.formatter import EmitKitFormatter
from emitkit_logging.stats import Stats

_ONE_SHUTDOWN = 1.0
"""Seconds after a `flush` that failed within which a `close` belongs to the same shutdown."""


class EmitKitHandler(logging.Handler):
    """Sends log records to EmitKit as events, from a background thread.

    A record with `event` or `category` among its extras is an event; every other record is plain and is sent from
    `plain_level` up. Nothing that happens while logging raises into the application or waits for the network.

    Args:
        api_key: the project's key; the environment's `EMITKIT_API_KEY` when absent.
        level: records below it are ignored, as of any handler.
        base_url: the server; else `EMITKIT_BASE_URL`, else `https://api.emitkit.com`.
        allow_http: whether plain http may be used to another machine.
        channel_name: the fallback channel, at most 255 characters.
        category_channel_map: category to channel.
        level_channel_map: level name or number to channel; a record takes the entry of the highest level at or
            below its own.
        notify: whether events push.
        display_as: `"notification"` or `"message"`.
        source: what events name as their origin, at most 50 characters.
        plain_level: level from which on plain records are sent; `None`: never.
        event_from_message: whether a snake_case message names an event.
        timeout: seconds for one request.
        queue_size: records held while they wait.
        alias_ttl: seconds for which the same facts of a user are not sent again.
        alias_cache_size: users remembered.
        shutdown_timeout: seconds that `close` and the interpreter's exit may take to deliver what waits.
        rate_limit: requests a minute; `None`: learned from the server; 0: no limit.
        alert_reserve: share (0 to 1) of each rate-limit window that only ERROR and above may use.
        spool: path of a durable queue: what is accepted survives the process, and is delivered by the next that opens
            it; processes of one machine may share it.
        spool_size: bytes that may wait in it.
        spool_ttl: seconds for which anything may wait in it.
        redact: key names, besides the built-in list, whose values never leave the process.
        debug: whether each request is logged, at DEBUG, on the logger `emitkit_logging`.
        enabled: `False`: no thread, no queue, no cost; the options are checked all the same.

    Raises:
        TypeError: for an option that does not exist or has the wrong type.
        ValueError: for a value that cannot be used; the message names the option and never the key.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        level: int | str = logging.NOTSET,
        base_url: str | None = None,
        allow_http: bool = False,
        channel_name: str = "general",
        category_channel_map: Mapping[str, str] | None = None,
        level_channel_map: Mapping[str | int, str] | None = options.DEFAULT_LEVEL_CHANNELS,
        notify: bool = True,
        display_as: str = "notification",
        source: str = "emitkit-logging",
        plain_level: int | str | None = "ERROR",
        event_from_message: bool = False,
        timeout: float = 5.0,
        queue_size: int = 10_000,
        alias_ttl: float = 3600.0,
        alias_cache_size: int = 10_000,
        shutdown_timeout: float = 5.0,
        rate_limit: int | None = None,
        alert_reserve: float = 0.1,
        spool: str | os.PathLike[str] | None = None,
        spool_size: int = 64 * 1024 * 1024,
        spool_ttl: float = 7 * 86_400.0,
        redact: Iterable[str] | None = None,
        debug: bool = False,
        enabled: bool = True,
    ) -> None:
        self._enabled = options.flag("enabled", enabled)
        key = options.api_key(api_key, required=self._enabled)
        self._base_url = options.base_url(base_url, allow_http=options.flag("allow_http", allow_http))
        self._timeout = options.number("timeout", timeout, above=True)
        self._queue_size = options.count("queue_size", queue_size, least=1)
        self._alias_ttl = options.number("alias_ttl", alias_ttl)
        self._alias_cache_size = options.count("alias_cache_size", alias_cache_size, least=1)
        self._shutdown_timeout = options.number("shutdown_timeout", shutdown_timeout)
        self._rate_limit = None if rate_limit is None else options.count("rate_limit", rate_limit, least=0)
        self._alert_reserve = options.number("alert_reserve", alert_reserve, most=1.0)
        self._spool = options.spool(spool)
        self._spool_size = options.count("spool_size", spool_size, least=1)
        self._spool_ttl = options.number("spool_ttl", spool_ttl, above=True)
        self._debug = options.flag("debug", debug)
        self._own_formatter = EmitKitFormatter(
            channel_name=channel_name,
            category_channel_map=category_channel_map,
            level_channel_map=level_channel_map,
            notify=notify,
            display_as=display_as,
            source=source,
            plain_level=plain_level,
            event_from_message=event_from_message,
            redact=redact,
        )
        self._own_formatter.mask(key)
        self._api_key = key
        super().__init__(options.level("level", level))
        self._shaper = self._own_formatter
        self._converter = self._shaper.json_converter
        self._plain_level = self._shaper.plain_level
        self._is_closed = False
        self._failed_flush: float | None = None
        self._listener: Listener | None = None
        if self._enabled:
            options.warn_unusual_key(key)
            if self._debug:
                logging.getLogger("emitkit_logging").setLevel(logging.DEBUG)
            # not before, and not in a thread: an import there can be caught by a fork
            from emitkit_logging._worker.client import Client  # noqa: PLC0415

            def connect() -> Client:
                return Client(
                    base_url=self._base_url,
                    api_key=key,
                    timeout=self._timeout,
                    user_agent=f"emitkit-logging/{__version__}",
                )

            self._connect = connect
            listener = self._listen()
            lifecycle.watch(self)
            if listener.waits():
                self._start(listener)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Create no lock: what `emit` does needs none, and one would make every logging thread wait for the others."""
        self.lock = None

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        """Set the formatter; one that is no `EmitKitFormatter` shapes nothing."""
        super().setFormatter(fmt)
        if isinstance(fmt, EmitKitFormatter):
            fmt.mask(self._api_key)
        self._shaper = fmt if isinstance(fmt, EmitKitFormatter) else self._own_formatter
        self._converter = self._shaper.json_converter
        self._plain_level = self._shaper.plain_level

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, without a lock; whatever goes wrong is left to `handleError`."""
        if self._listener is None:
            return False
        try:
            if self.filters:
                kept = self.filter(record)
                if not kept:
                    return False
                if isinstance(kept, logging.LogRecord):  # Python 3.12: a filter may replace the record
                    record = kept
            self.emit(record)
        except Exception:
            self.handleError(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Put what a record says now on the queue, if it is to be sent."""
        event = record.__dict__.get("event")
        level = record.levelno
        if (
            not (event and type(event) is str) and level < self._plain_level and not self._shaper.accepts(record)
        ) or threading.get_ident() in own_threads:
            return
        listener = self._listener
        if listener is None:
            return
        if self._is_closed:
            listener.refuse()
            return
        captured = capture(record, self._converter)
        if type(level) is not int:  # a record made of a dict without it
            level = captured.attributes["levelno"] = int(level) if isinstance(level, int | float) else logging.NOTSET
        listener.append(captured)
        if level >= listener.wake_level:
            listener.wake()
        if len(listener.queue) > listener.relief:
            listener.relieve()
        if not listener.is_started:
            self._start(listener)

    def identify(
        self, user_id: str | int, traits: Mapping[str, Any] | None = None, aliases: Iterable[str] = ()
    ) -> None:
        """Tell EmitKit about a user, without an event; the same facts are not sent again for `alias_ttl` seconds.

        Args:
            user_id: the user's id, 1 to 255 characters.
            traits: what is to be known; `email` and `username` are aliases too.
            aliases: other names of the user; with the id, at most 50 are sent.

        Raises:
            TypeError, ValueError: for an id, traits or aliases that cannot be used.
        """
        person = self._shaper.identity(user_id, traits, aliases, time.time())
        listener = self._listener
        if listener is None or self._is_closed:
            return
        listener.tell(person)
        if not listener.is_started:
            self._start(listener)

    def flush(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Wait until every record accepted before the call has been delivered, or given up as undeliverable.

        Args:
            timeout: seconds to wait at most; `shutdown_timeout` when absent.

        Returns:
            Whether none of them waits any more; at once `False` when none can be sent in that time.
        """
        listener = self._listener
        if listener is None or self._is_closed:
            return True
        deadline = time.monotonic() + (self._shutdown_timeout if timeout is None else timeout)
        deliver = listener.finish if timeout is None and lifecycle.is_exiting() else listener.flush
        settled = deliver(deadline)
        self._failed_flush = deadline if timeout is None and not settled else None
        return settled

    def close(self) -> None:
        """Deliver what waits within `shutdown_timeout` and end the thread; the rest is counted and reported on stderr.

        Under logging's module lock (`dictConfig` closing old handlers) the rest is left to the background thread.
        """
        listener = self._listener
        if listener is not None and not self._is_closed:
            self._is_closed = True
            if not listener.finish(self._deadline()) and holds_logging_lock() and not lifecycle.is_exiting():
                lifecycle.leave_behind(listener, self._shutdown_timeout)
            else:
                lifecycle.report_lost(listener.give_up())
            listener.end()
        super().close()

    def _deadline(self) -> float:
        now = time.monotonic()
        if self._failed_flush is not None and now - self._failed_flush < _ONE_SHUTDOWN:
            return self._failed_flush
        return now + self._shutdown_timeout

    @property
    def stats(self) -> Stats:
        """What became of the records so far."""
        return Stats() if self._listener is None else self._listener.stats()

    def before_fork(self) -> None:
        """Prepare for a fork."""
        if self._listener is not None:
            self._listener.before_fork()

    def after_fork(self) -> None:
        """Go on in the parent after a fork."""
        if self._listener is not None:
            self._listener.after_fork()

    def start_anew(self) -> None:
        """Begin again in a forked child: an empty queue, a thread and a connection of its own, no inherited lock."""
        if self._listener is not None:
            self._listen()

    def _listen(self) -> Listener:
        shape = _Shape(self)

        def make_outbox(observer: BacklogObserver = NOBODY) -> Outbox:
            clock = time.monotonic
            budget = RateBudget(rate_limit=self._rate_limit, alert_reserve=self._alert_reserve, clock=clock)
            users = KnownUsers(ttl=self._alias_ttl, size=self._alias_cache_size, clock=clock)
            return Outbox(
                size=self._queue_size, budget=budget, users=users, factory=shape, clock=clock, observer=observer
            )

        self._listener = None if self._spool is None else self._share(self._spool, make_outbox, shape)
        if self._listener is None:
            self._listener = Listener(make_outbox(), self._connect(), size=self._queue_size, debug=self._debug)
        weakref.finalize(self, self._listener.end).atexit = False
        return self._listener

    def _share(self, path: Path, make_outbox: Callable[[BacklogObserver], Outbox], shape: _Shape) -> Listener | None:
        from emitkit_logging._spool import worker as sharing  # noqa: PLC0415 - sqlite3 is for those who want a spool

        return sharing.open_spool(
            path,
            make_outbox,
            shape,
            self._connect(),
            converter=self._converter,
            size=self._queue_size,
            spool_size=self._spool_size,
            ttl=self._spool_ttl,
            timeout=self._timeout,
            debug=self._debug,
        )

    def _start(self, listener: Listener) -> None:
        lifecycle.prepare_exit()
        uwsgi = sys.modules.get("uwsgi")
        if uwsgi is not None and not (uwsgi.opt.get("enable-threads") or uwsgi.opt.get("threads")):
            logging.getLogger("emitkit_logging").warning(
                "uWSGI runs without threads: nothing is sent until the handler is flushed; set enable-threads"
            )
        listener.start()


class _Shape:
    """Shapes what was captured with the handler's formatter, without keeping the handler alive."""

    def __init__(self, handler: EmitKitHandler) -> None:
        self._handler = weakref.ref(handler)
        self._shaper = handler._own_formatter

    def _current(self) -> EmitKitFormatter:
        handler = self._handler()
        if handler is not None:
            self._shaper = handler._shaper
        return self._shaper

    def event(self, captured: CapturedRecord) -> Event:
        return self._current().event(restore(captured))

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        return self._current().fold_key

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: dict[str, Json]
    ) -> Event:
        return self._current().summary(channel, level, title, description, metadata)


class _LastResort(logging.Handler):
    """Says what the library has to say on stderr where nobody else would.

    An EmitKitHandler ignores the library's own records; where it is the only handler, nobody would learn that the key
    is wrong. To silence the library, give the logger `emitkit_logging` a NullHandler.
    """

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for handler in logger.handlers:
                is_ours = isinstance(handler, EmitKitHandler | _LastResort)
                if not is_ours and record.levelno >= handler.level:
                    return
            logger = logger.parent if logger.propagate else None
        if logging.lastResort is not None:
            logging.lastResort.handle(record)


logging.getLogger("emitkit_logging").addHandler(_LastResort())
