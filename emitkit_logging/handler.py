"""The logging handler that sends records to EmitKit."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from emitkit_logging import _log, _servers, _uncaught
from emitkit_logging import _options as options
from emitkit_logging._assembly import Formatting, Settings, make_worker, relay_address
from emitkit_logging._context.capture import capture, capture_brief, capture_minimal
from emitkit_logging._context.redacted import redacted
from emitkit_logging._context.values import static
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.minimal import names_event
from emitkit_logging._outbox.backlog import ALERT
from emitkit_logging._worker import lifecycle, native
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.own_calls import is_own, under_way
from emitkit_logging._worker.progress import holds_logging_lock
from emitkit_logging._worker.worker import Worker
from emitkit_logging.formatter import EmitKitFormatter
from emitkit_logging.stats import Stats

_OWN_LOGGER = _log.NAME
_ONE_SHUTDOWN = 1.0
"""Seconds after a `flush` that failed within which a `close` belongs to the same shutdown."""


class EmitKitHandler(logging.Handler):
    """Sends log records to EmitKit as events, from a background thread.

    A record with `event` or `category` among its extras is an event; every other record is plain and is sent from
    `plain_level` up. Nothing that happens while logging raises into the application or waits for the network.

    Args:
        api_key: the project's key; the environment's `EMITKIT_API_KEY` when absent. Not read with `relay`.
        level: records below it are ignored, as of any handler.
        base_url: the server; else `EMITKIT_BASE_URL`, else `https://api.emitkit.com`.
        allow_http: whether plain http may be used to another machine; else `EMITKIT_ALLOW_HTTP` (1, true, yes, on),
            else not.
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
        alert_reserve: share (0 to 1) of each rate-limit window that only alerts (ERROR and above) of a new kind may
            use.
        notify_interval: seconds in which repeats of one kind of alert push once; 0: each event pushes.
        capture_uncaught: whether exceptions that nobody catches become alerts: those that end the program
            (`sys.excepthook`) and those that end a thread (`threading.excepthook`). They are printed as before.
        spool: path of a durable queue: what is accepted survives the process, and is delivered by the next that opens
            it; processes of one machine may share it.
        spool_size: bytes that may wait in it.
        spool_ttl: seconds for which anything may wait in it.
        relay: address of a Redis server through which the processes of a fleet send, such as `redis://host:6379/0`;
            the key is then that of `emitkit-logging relay`, and none is needed here.
        redact: key names, besides the built-in list, whose values never leave the process.
        context: an event context for every record of this handler; values of a request, a block or the record win.
            `server.host` is the machine's name unless it is given.
        debug: whether each request is logged, at DEBUG, on the logger `emitkit_logging`.
        enabled: `False`: no thread, no queue, no cost; the options are checked all the same. Where it is not given,
            `EMITKIT_ENABLED` (0, false, no, off) disables.

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
        allow_http: bool | None = None,
        channel_name: str = "general",
        category_channel_map: Mapping[str, str] | None = None,
        level_channel_map: Mapping[str | int, str] | None = options.DEFAULT_LEVEL_CHANNELS,
        notify: bool = True,
        display_as: Literal["notification", "message"] = "notification",
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
        notify_interval: float = 300.0,
        capture_uncaught: bool = False,
        spool: str | os.PathLike[str] | None = None,
        spool_size: int = 64 * 1024 * 1024,
        spool_ttl: float = 7 * 86_400.0,
        relay: str | None = None,
        redact: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        debug: bool = False,
        enabled: bool | None = None,
    ) -> None:
        """Make the handler; the options are described above."""
        self._enabled = options.enabled(enabled)
        relay = options.relay(relay, spool=spool)
        key = _readable_key(api_key, is_required=self._enabled) if relay is None else ""
        self._settings = Settings(
            base_url=options.base_url(base_url, allow_http=options.allow_http(allow_http)),
            api_key=key,
            timeout=options.number("timeout", timeout, above=True),
            queue_size=options.count("queue_size", queue_size, least=1),
            alias_ttl=options.number("alias_ttl", alias_ttl),
            alias_cache_size=options.count("alias_cache_size", alias_cache_size, least=1),
            rate_limit=None if rate_limit is None else options.count("rate_limit", rate_limit, least=0),
            alert_reserve=options.number("alert_reserve", alert_reserve, most=1.0),
            notify_interval=options.number("notify_interval", notify_interval),
            spool=options.spool(spool),
            spool_size=options.count("spool_size", spool_size, least=1),
            spool_ttl=options.number("spool_ttl", spool_ttl, above=True),
            relay=None if relay is None else relay_address(relay, options.number("timeout", timeout, above=True)),
            debug=options.flag("debug", debug),
        )
        self._shutdown_timeout = options.number("shutdown_timeout", shutdown_timeout)
        self._is_capturing = options.flag("capture_uncaught", capture_uncaught)
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
        self._api_key = key
        self._own_formatter.mask(key)
        _log.never_show(key)
        super().__init__(options.level("level", level))
        self._formatting = Formatting(self._own_formatter, static(options.context(context), socket.gethostname()))
        self._use(self._own_formatter)
        self._is_closed = self._is_replaced = False
        self._is_spooled = self._settings.spool is not None
        self._failed_flush: float | None = None
        self._worker: Worker | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._making = native.Token()
        self._early: deque[CapturedRecord] = deque()
        self._late = 0  # records that were refused while there was no worker
        if self._enabled:
            options.warn_unusual_key(key)
            with native.no_fork():
                worker = self._made_worker()
                lifecycle.watch(self, _HOOKS)
            if worker is not None and worker.starts_at_once:
                self._start(worker)
            _servers.listen(self)
            if self._is_capturing:
                _uncaught.watch(self)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Create no lock: what `emit` does needs none, and one would make every logging thread wait for the others."""
        self.lock = None

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        """Set the formatter; one that is no `EmitKitFormatter` has no effect on events."""
        super().setFormatter(fmt)
        if isinstance(fmt, EmitKitFormatter):
            fmt.mask(self._api_key)
        self._use(fmt if isinstance(fmt, EmitKitFormatter) else self._own_formatter)

    def _use(self, formatter: EmitKitFormatter) -> None:
        self._formatting.formatter = self._event_formatter = formatter
        self._converter = formatter.json_converter
        self._plain_level = formatter.plain_level

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, without a lock; a filter that raises is left to `handleError`."""
        if not self._enabled:
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
        """Accept a record if it is to be sent: what it says now or, if that cannot be captured, what can be read."""
        try:
            event = record.__dict__.get("event")
            level = record.levelno
            if (
                (type(event) is not str or not event)
                and level < self._plain_level
                and not self._event_formatter.accepts(record)
            ):
                return
            if record.name == _OWN_LOGGER or (under_way and is_own(record)):
                return
            captured: Any = None
            worker = None if self._is_closed else self._worker
            if worker is not None and type(event) is str and (series := worker.series.get(event)) is not None:
                captured = capture_brief(record, series)
            if captured is None:
                captured = capture(record, self._converter)
            if self._is_spooled:
                captured = redacted(captured, self._converter)
            if type(level) is not int:  # a record made of a dict
                level = captured.level
        except Exception as error:
            readable = self._minimal(record, error)
            if readable is None:
                return
            captured, level = readable, readable.level
        except BaseException as error:  # perhaps of a signal handler: the application gets it
            readable = self._minimal(record, error)
            if readable is not None and not self._is_closed:
                self._accept_early(readable)
            raise
        if self._is_closed and not self._reopen(record):
            self._refuse()
            return
        worker = self._worker
        if worker is None:
            self._accept_early(captured)
            return
        (worker.append if level < ALERT else worker.append_alert)(captured)
        if level >= worker.wake_level:
            worker.wake()
        if len(worker.queue) > worker.relief:
            worker.relieve()
        if not worker.is_started:
            self._start(worker)

    def _minimal(self, record: logging.LogRecord, error: BaseException) -> CapturedRecord | None:
        """Return what can be read of a record that cannot be captured, or `None` if it is not to be sent."""
        captured = capture_minimal(record, error)
        is_sent = captured.level >= self._plain_level or names_event(record.__dict__)
        return captured if is_sent and captured.attributes["name"] != _log.NAME else None

    def identify(
        self, user_id: str | int | uuid.UUID, traits: Mapping[str, Any] | None = None, aliases: Iterable[str] = ()
    ) -> None:
        """Send what is known of a user, without an event; the same facts are not sent again for `alias_ttl` seconds.

        Args:
            user_id: the user's id, 1 to 255 characters.
            traits: what is to be known; `email` and `username` are aliases too.
            aliases: other names of the user; with the id, at most 50 are sent.

        Raises:
            TypeError, ValueError: for an id, traits or aliases that cannot be used.
        """
        identity = self._event_formatter.identity(user_id, traits, aliases, time.time())
        worker = None if self._is_closed or not self._enabled else self._made_worker()
        if worker is None:
            return
        worker.identify(identity)
        if not worker.is_started:
            self._start(worker)

    def flush(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Wait until every record accepted before the call has been delivered, or given up as undeliverable.

        Args:
            timeout: seconds to wait at most; `shutdown_timeout` when absent.

        Returns:
            Whether none of them waits any more; at once `False` when none can be sent in that time.
        """
        worker = self._worker
        if worker is None or self._is_closed:
            return True
        deadline = monotonic() + (self._shutdown_timeout if timeout is None else timeout)
        deliver = worker.finish if timeout is None and lifecycle.is_exiting() else worker.flush
        settled = deliver(deadline)
        self._failed_flush = deadline if timeout is None and not settled else None
        return settled

    def close(self) -> None:
        """Deliver what waits within `shutdown_timeout` and end the thread; the rest is counted and reported on stderr.

        Under logging's module lock (`dictConfig` closing old handlers) the rest is left to the background thread.
        """
        _uncaught.forget(self)
        worker = self._worker
        if worker is not None and not self._is_closed:
            self._is_closed = True
            self._is_replaced = holds_logging_lock() and not lifecycle.is_exiting()
            if self._is_replaced:  # perhaps by a server that begins now
                _servers.listen(self)
            if not worker.finish(self._deadline()) and holds_logging_lock() and not lifecycle.is_exiting():
                lifecycle.leave_behind(worker, self._shutdown_timeout)
            else:
                lifecycle.report_lost(worker.give_up())
                worker.end()
            lifecycle.join_at_end(worker)
        super().close()

    def _deadline(self) -> float:
        now = monotonic()
        if self._failed_flush is not None and now - self._failed_flush < _ONE_SHUTDOWN:
            return self._failed_flush
        return now + self._shutdown_timeout

    def __repr__(self) -> str:
        state = self.base_url if self._enabled else "disabled"
        return f"<{type(self).__name__} {state} ({logging.getLevelName(self.level)})>"

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._settings.base_url

    @property
    def enabled(self) -> bool:
        """Whether it sends anything at all."""
        return self._enabled

    @property
    def stats(self) -> Stats:
        """What became of the records so far."""
        if self._worker is not None:
            return self._worker.stats()
        return Stats(accepted=self._late, dropped={"shutdown": self._late} if self._late else {})

    def _before_fork(self) -> None:
        """Prepare for a fork."""
        if self._worker is not None:
            self._worker.before_fork()

    def _after_fork(self) -> None:
        """Go on in the parent after a fork."""
        if self._worker is not None:
            self._worker.after_fork()

    def _start_anew(self) -> None:
        """Begin again in a forked child: nothing inherited is used, and a worker is made when it is first needed."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._worker is not None:
            self._worker.abandon()
        self._worker, self._finalizer, self._late = None, None, 0
        self._making, self._early = native.Token(), deque()

    def _deliver(self) -> None:
        """Deliver what waits, as at the end of a process, within `shutdown_timeout`; go on after that."""
        if self._worker is not None and not self._is_closed:
            self._worker.deliver(monotonic() + self._shutdown_timeout)

    def _reopen(self, record: logging.LogRecord) -> bool:
        """Open again where a new configuration closed the handler and left it in place; return whether that was so.

        `dictConfig` closes every handler of the process, also those of loggers that it does not name: a server that
        configures its own loggers, such as `uvicorn.run`, does not mean to close the others. If the logger has another
        open handler now, that one takes the record.
        """
        if not self._is_replaced or lifecycle.is_exiting():
            return False
        in_place = _servers.handlers_of(record.name)
        if self not in in_place or any(isinstance(each, EmitKitHandler) and not each._is_closed for each in in_place):
            return False
        if self._finalizer is not None:
            self._finalizer.detach()
        self._worker, self._finalizer, self._is_closed, self._is_replaced = None, None, False, False
        lifecycle.close_at_exit(self)  # logging does not list it any more
        if self._is_capturing:
            _uncaught.watch(self)
        return True

    def _refuse(self) -> None:
        if self._worker is None:
            self._late += 1
        else:
            self._worker.refuse()

    def _made_worker(self) -> Worker | None:
        """Return the worker, made when it is first needed; `None` while another call is making it."""
        if self._worker is None and self._making.acquire(0.0):
            try:
                with native.no_fork():  # a fork closes the databases of the workers that it finds
                    if self._worker is None:
                        worker = make_worker(self._settings, self._formatting)
                        self._finalizer = weakref.finalize(self, lifecycle.leave_behind, worker, self._shutdown_timeout)
                        self._finalizer.atexit = False
                        self._worker = worker
            finally:
                self._making.release()
        while self._worker is not None and self._early:
            with contextlib.suppress(IndexError):  # another thread took it
                self._worker.append(self._early.popleft())
        return self._worker

    def _accept_early(self, captured: CapturedRecord) -> None:
        """Accept a record where no worker may have been made yet, as in a forked child.

        Another thread may be making it, or this one, which the garbage collector has interrupted: nobody waits.
        """
        self._early.append(captured)
        worker = self._made_worker()
        if worker is None:
            return  # the call that is making it finds the record
        worker.wake()
        if not worker.is_started:
            self._start(worker)

    def _start(self, worker: Worker) -> None:
        uwsgi = sys.modules.get("uwsgi")
        if uwsgi is not None and not (uwsgi.opt.get("enable-threads") or uwsgi.opt.get("threads")):
            _log.warn("uWSGI runs without threads: nothing is sent until the handler is flushed; set enable-threads")
        _servers.listen(self)
        lifecycle.start(worker)


def _readable_key(value: str | None, *, is_required: bool) -> str:
    """Return the API key; where it is missing and dictConfig would hide why, log that, too.

    gunicorn, Django and Celery show only the outer error of dictConfig: "Unable to configure handler 'emitkit'".
    """
    try:
        return options.api_key(value, required=is_required)
    except ValueError as error:
        if holds_logging_lock():
            _log.warn("%s", error)
        raise


_HOOKS = lifecycle.Hooks(
    before_fork=EmitKitHandler._before_fork,
    after_fork=EmitKitHandler._after_fork,
    start_anew=EmitKitHandler._start_anew,
    deliver=EmitKitHandler._deliver,
)
_log.install_last_resort(EmitKitHandler)
