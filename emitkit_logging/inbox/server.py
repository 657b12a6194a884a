"""The inbox as an object: the application on a loopback port, served by uvicorn in a thread of its own."""

from __future__ import annotations

import logging
import secrets
import socket
import sqlite3
import string
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from emitkit_logging.inbox import terminal
from emitkit_logging.inbox.callbacks import Courier, make_secret
from emitkit_logging.inbox.faults import Faults
from emitkit_logging.inbox.feed import EVENT_FIELDS, Feed, Recent
from emitkit_logging.inbox.generations import GENERATIONS, SCOPES, public
from emitkit_logging.inbox.hosts import is_loopback

if TYPE_CHECKING:
    from types import TracebackType

    import uvicorn
    from typing_extensions import Self

STARTS_WITHIN = 10.0
"""Seconds that the server may take until it accepts connections."""

_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio")


class Inbox:
    """A local EmitKit in this process: listens from construction to `close()`, and remembers what it got.

    ```python
    with Inbox() as inbox:
        handler = EmitKitHandler(inbox.api_key, base_url=inbox.url)
        ...
        assert inbox.wait_for(title="User Signed Up")["userId"] == "user-123"
    ```

    `host` is a loopback name or address; another one needs an `api_key`, which the page then asks for. `port` 0
    takes a free one. `api_key` is made up when not given, and may do what `scopes` says; `other_api_keys` are
    accepted too, each with its own rate limit, idempotency keys and, in a mapping, scopes. `rate_limit` is in
    requests for each `window` of seconds (0: no limit). `generation` is which of the two servers in use it behaves
    as. The API is served below the path `prefix`, which `url` includes, the page at `url`. `keep` bounds the events,
    identify calls, identities and requests that are remembered. `db` is a file to keep them in, with the key: a
    later inbox goes on with it. `faults` are what is to go wrong, see `emitkit_logging.inbox.faults`. `callback_secret`
    signs callbacks, as `whsec_` and base64; it is made up when not given. `echo` is
    called with a line for each event and identify call. `clock` tells the time in Unix seconds.

    `latency`, an attribute that may be set at any time, is how many seconds creating an event takes; for as
    long its idempotency key is in use. `faults` may be set at any time, too.

    Raises `ImportError` without the extra ``inbox``, `OSError` when the port is taken or the file cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        scopes: Iterable[str] = SCOPES,
        other_api_keys: Iterable[str] | Mapping[str, Iterable[str]] = (),
        rate_limit: int = 100,
        window: float = 60.0,
        generation: Literal["current", "self-hosted"] = "current",
        prefix: str = "",
        keep: int = 100_000,
        db: str | Path | None = None,
        faults: Iterable[str] = (),
        callback_secret: str | None = None,
        latency: float = 0.0,
        echo: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import uvicorn  # noqa: PLC0415 (an extra, needed from here on)

            from emitkit_logging.inbox.app import create_app  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("the inbox needs starlette and uvicorn: pip install 'emitkit-logging[inbox]'") from error

        is_public = not is_loopback(host)
        if is_public and not api_key:
            raise ValueError(f"host must be a loopback name or address such as 127.0.0.1, or have an api_key: {host!r}")
        if generation not in GENERATIONS:
            raise ValueError(f"generation must be one of {', '.join(GENERATIONS)}, not {generation!r}")
        if rate_limit < 0 or window <= 0 or keep < 1:
            raise ValueError("rate_limit must not be negative, window and keep must be above 0")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(f"prefix must start with a slash and end without one, not {prefix!r}")

        others = other_api_keys if isinstance(other_api_keys, Mapping) else dict.fromkeys(other_api_keys, SCOPES)
        for allowed in (scopes, *others.values()):
            if unknown := sorted(set(allowed) - set(SCOPES)):
                raise ValueError(f"scopes must be of {', '.join(SCOPES)}, not {', '.join(unknown)}")
        self._faults = Faults(faults)
        try:
            self._feed = Feed(keep, None if db is None else Path(db))
        except sqlite3.Error as error:
            raise OSError(f"the file {db} cannot be used: {error}") from error
        self.api_key = api_key or self._feed.setting("api_key", _make_key())
        self.callback_secret = callback_secret or self._feed.setting("callback_secret", make_secret())
        self.latency = latency
        keys = {**others, self.api_key: scopes}
        self._keys = tuple(keys)
        self._requests: Recent[dict[str, Any]] = Recent(keep)
        self._noting = threading.Lock()
        self._courier = Courier(self._feed, self.callback_secret, public, clock)
        if echo is not None:
            self._feed.subscribe(_Echo(echo, self._keys, self.callback_secret, clock))

        app = create_app(
            self._feed,
            GENERATIONS[generation],
            keys=keys,
            rate_limit=rate_limit,
            window=window,
            prefix=prefix,
            is_public=is_public,
            latency=lambda: self.latency,
            trouble=self._faults,
            answered=self._courier.deliver,
            is_closing=lambda: self._running.is_stopping,
            clock=clock,
            journal=self._note,
        )
        # Of what uvicorn would do by default, everything is off that reaches beyond this object: log
        # configuration, its Date header (the application sets its own), optional event loops and protocols
        # that may be installed.
        config = uvicorn.Config(
            app,
            log_config=None,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        try:
            listening = _listen(host, port)
        except OSError:
            self._feed.close()
            raise
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{listening.getsockname()[1]}{prefix}"
        self._running = _Running(uvicorn.Server(config), listening)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events stored, oldest first.

        Each has every field of its request (`None`, `[]` or `{}` where it had none), `id`, `channelId`,
        `channelName`, `createdAt`, `userId` with aliases resolved, and `idempotencyKey`.
        """
        return self._feed.events

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The identify calls accepted, oldest first: `user_id`, `properties` and `aliases` as sent."""
        return self._feed.identifies

    @property
    def identities(self) -> dict[str, dict[str, Any]]:
        """The identities by user: `id`, `userId`, `properties`, `aliases` and `updatedAt`."""
        return self._feed.identities

    @property
    def channels(self) -> list[dict[str, Any]]:
        """The channels by name: `id`, `name`, `icon`, `description` and `createdAt`."""
        return self._feed.channels

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request to the API, oldest first, whatever became of it.

        `method`, `path`, `headers` (names in lower case), `body` (bytes; one more than the body limit at
        most), `status` (`None` until it is answered) and `at` (when it arrived, of `time.monotonic()`).
        """
        with self._noting:
            return [dict(request) for request in self._requests.snapshot()]

    @property
    def faults(self) -> list[str]:
        """What goes wrong, as it was asked for; setting it begins anew. Raises `ValueError` for what is no fault."""
        return self._faults.texts

    @faults.setter
    def faults(self, texts: Iterable[str]) -> None:
        self._faults.texts = texts

    def clear(self) -> None:
        """Forget all that was received, but not the requests' idempotency keys."""
        self._feed.clear()
        with self._noting:
            self._requests.clear()

    @overload
    def wait_for(self, count: None = None, timeout: float = 5.0, **fields: object) -> dict[str, Any]: ...

    @overload
    def wait_for(self, count: int, timeout: float = 5.0, **fields: object) -> list[dict[str, Any]]: ...

    def wait_for(
        self, count: int | None = None, timeout: float = 5.0, **fields: object
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Wait for events whose `fields` (`title=…`, `channel=…`, any key of `events`) have these values.

        Returns the first such event, or with `count` the list of them as soon as there are so many. Raises
        `AssertionError`, listing what is there, after `timeout` seconds, and `TypeError` for a field that no
        event has.
        """
        wanted = {"channelName" if name == "channel" else name: value for name, value in fields.items()}
        unknown = sorted(wanted.keys() - EVENT_FIELDS)
        if unknown:
            raise TypeError(f"an event has no field {', '.join(unknown)}; it has {', '.join(sorted(EVENT_FIELDS))}")

        found: list[dict[str, Any]] = []
        seen, least = 0, 1 if count is None else count

        def enough() -> bool | None:
            nonlocal seen
            for seq, event in self._feed.after(seen):
                seen = seq
                if all(event[name] == wanted[name] for name in wanted):
                    found.append(event)
            return True if len(found) >= least else None

        if self._feed.wait(enough, timeout) is None:
            raise AssertionError(self._missing(least, wanted, len(found), timeout))
        return found[0] if count is None else found

    def close(self) -> None:
        """Stop listening and end the thread; what was received stays readable. May be called again.

        Takes a fraction of a second, or about one second while a request is still being answered.
        """
        self._courier.close()
        self._running.stop()
        self._feed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, request: dict[str, Any]) -> None:
        with self._noting:
            self._requests.append(request, len(request["body"]))

    def _missing(self, least: int, wanted: dict[str, Any], found: int, timeout: float) -> str:
        criteria = " with " + ", ".join(f"{name}={value!r}" for name, value in wanted.items()) if wanted else ""
        lines = [f"{found} of {least} events{criteria} after {timeout:g} s; the inbox has"]
        events, requests = self.events, self.requests
        lines += [f"  {terminal.event_line(event)}" for event in events[-20:]]
        refused = [request for request in requests if (request["status"] or 0) >= 400]
        lines.append(f"  {len(events)} events, {len(requests)} requests, {len(refused)} of them refused")
        lines += [f"  {request['method']} {request['path']}: {request['status']}" for request in refused[-5:]]
        return _mask("\n".join(lines), self._keys)


def _make_key() -> str:
    return "emitkit_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))


def _mask(text: str, keys: Iterable[str]) -> str:
    for key in keys:
        text = text.replace(key, "[api key]")
    return text


class _Echo:
    """Turns what is stored into lines, in which no API key is ever readable."""

    def __init__(
        self, write: Callable[[str], None], keys: tuple[str, ...], secret: str, clock: Callable[[], float]
    ) -> None:
        self._write = write
        self._keys = keys
        self._secret: str | None = secret
        self._clock = clock

    def __call__(self, kind: str, stored: dict[str, Any]) -> None:
        line = terminal.event_line(stored) if kind == "event" else terminal.identify_line(stored, self._clock())
        self._write(_mask(line, self._keys))
        if self._secret is not None and stored.get("callback"):
            self._write(f"  its callback will be signed with {self._secret}")
            self._secret = None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay (40 ms for each answer) off only where the protocol is named.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except BaseException:
        listening.close()
        raise
    return listening


class _Running:
    """A uvicorn server in a thread, which keeps its log records to itself."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket) -> None:
        self._server = server
        self._listening = listening
        self._thread = threading.Thread(target=self._serve, name="emitkit-inbox", daemon=True)
        self._quiet = _Quiet(self._thread)
        for name in _SERVER_LOGGERS:
            logging.getLogger(name).addFilter(self._quiet)
        self._thread.start()
        deadline = time.monotonic() + STARTS_WITHIN
        while not server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        if not server.started:
            self.stop()
            raise RuntimeError("the inbox's server did not start")

    @property
    def is_stopping(self) -> bool:
        """Whether the server is about to end."""
        return self._server.should_exit

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()
        for name in _SERVER_LOGGERS:
            logging.getLogger(name).removeFilter(self._quiet)

    def _serve(self) -> None:
        self._server.run(sockets=[self._listening])


class _Quiet(logging.Filter):
    """Drops the records of one thread. The application's own uvicorn may use the same loggers."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._silenced = thread

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """Say whether a record is of any other thread."""
        return threading.current_thread() is not self._silenced
