"""The inbox as an object."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from emitkit_logging.inbox import config, terminal
from emitkit_logging.inbox.config import SCOPES, InboxConfig
from emitkit_logging.inbox.emulation.faults import Faults
from emitkit_logging.inbox.masking import mask_keys
from emitkit_logging.inbox.store.event import EVENT_FIELDS
from emitkit_logging.inbox.store.feed import Feed
from emitkit_logging.inbox.store.recent import RequestLog

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__tracebackhide__ = True  # the report of a test that fails in here shows the test


class Inbox:
    """A local EmitKit in this process: it listens from construction to `close()`, and keeps what it receives.

    It is a context manager, too::

        with Inbox() as inbox:
            handler = EmitKitHandler(inbox.api_key, base_url=inbox.url)
            ...
            assert inbox.wait_for(title="User Signed Up")["userId"] == "user-123"

    Args:
        host: a loopback name or address; any other needs an `api_key`, for which the page then asks.
        port: 0 takes a free one.
        api_key: the key to accept; a new one when it is not given.
        scopes: what the key may do.
        keys: further keys with their scopes, such as `{"emitkit_reader": ["events:read"]}`, for the same feed. Each has
            its own rate limit and its own idempotency keys.
        rate_limit: requests of each key in a window; 0: no limit.
        window: seconds.
        generation: which of the two servers in use it behaves as.
        prefix: the path below which the API and the page are served; `url` includes it.
        keep: bounds each of: events, identify calls, identities, channels and requests.
        db: a file to keep everything in, the key too; a later inbox continues with it.
        faults: which faults to emulate, see `emitkit_logging.inbox.emulation.faults`.
        callback_secret: signs callbacks, as `whsec_` and base64; a new one when it is not given.
        latency: seconds that creating an event takes; its idempotency key is in use as long.
        echo: called with a line for each event and identify call.
        clock: returns Unix seconds.

    Attributes:
        url: the address of the API and the page.
        api_key: the key that it accepts.
        callback_secret: what signs its callbacks.
        latency: as above; may be set at any time.

    Raises:
        ImportError: without the extra ``inbox``.
        ValueError: for a wrong option.
        OSError: when the port is taken, or the file cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        scopes: Iterable[str] = SCOPES,
        keys: Mapping[str, Iterable[str]] | None = None,
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
            from emitkit_logging.inbox.http import callbacks, serving  # noqa: PLC0415 (an extra, needed from here on)
            from emitkit_logging.inbox.http.app import create_app  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("the inbox needs starlette and uvicorn: pip install 'emitkit-logging[inbox]'") from error

        host = config.checked_host(host, api_key)
        config.check_port(port)
        config.check_generation(generation)
        config.check_limits(rate_limit, window, keep)
        config.check_prefix(prefix)
        if callback_secret:
            config.check_callback_secret(callback_secret)
        own_scopes, others = config.checked_scopes(scopes), config.checked_keys(keys or {})
        self._faults = Faults(faults)
        self._feed = _open_feed(keep, db)
        self.api_key = api_key or self._feed.setting("api_key", config.make_api_key())
        self.callback_secret = callback_secret or self._feed.setting("callback_secret", callbacks.make_secret())
        self.latency = latency
        accepted = {self.api_key: own_scopes, **others}
        options = InboxConfig(host, accepted, rate_limit, window, generation, prefix)
        self._keys = tuple(options.keys)
        self._requests = RequestLog(keep)
        self._callbacks = callbacks.CallbackSender(self._feed, self.callback_secret, clock)
        if echo is not None:
            self._feed.subscribe(terminal.Echo(echo, self._keys, self.callback_secret, clock))

        try:
            listening = serving.listen(options.host, port)
        except OSError:
            self._feed.close()
            raise
        self.url = options.url(listening.getsockname()[1])
        app = create_app(
            self._feed,
            options,
            url=self.url,
            faults=self._faults,
            requests=self._requests,
            latency=lambda: self.latency,
            on_end=self._callbacks.send,
            is_closing=lambda: self._server.is_stopping,
            clock=clock,
        )
        self._server = serving.ServerThread(app, listening)

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
        """Every request to the API, oldest first, whether it was accepted or not.

        `method`, `path`, `headers` (names in lower case), `body` (bytes; at most one more than the body limit),
        `status` (`None` until it is answered) and `at` (when it arrived, of `time.monotonic()`).
        """
        return self._requests.snapshot()

    @property
    def faults(self) -> list[str]:
        """The faults in force, as they were given; setting them starts all counts again.

        Raises:
            ValueError: for a text that describes no fault.
        """
        return self._faults.texts

    @faults.setter
    def faults(self, texts: Iterable[str]) -> None:
        self._faults.texts = texts

    def clear(self) -> None:
        """Forget all that was received, except for the requests' idempotency keys."""
        self._feed.clear()
        self._requests.clear()

    @overload
    def wait_for(self, count: None = None, timeout: float = 5.0, **fields: object) -> dict[str, Any]: ...

    @overload
    def wait_for(self, count: int, timeout: float = 5.0, **fields: object) -> list[dict[str, Any]]: ...

    def wait_for(
        self, count: int | None = None, timeout: float = 5.0, **fields: object
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Wait for events.

        Args:
            count: how many; one event when it is not given.
            timeout: seconds.
            **fields: the values that fields of the events have: `title=…`, `channel=…`, any key of `events`.

        Returns:
            The first such event or, with `count`, the list of them as soon as there are so many.

        Raises:
            AssertionError: after the timeout, with what has arrived.
            TypeError: for a field that no event has.
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
        self._callbacks.close()
        self._server.stop()
        self._feed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _missing(self, least: int, wanted: dict[str, Any], found: int, timeout: float) -> str:
        criteria = " with " + ", ".join(f"{name}={value!r}" for name, value in wanted.items()) if wanted else ""
        lines = [f"{found} of {least} events{criteria} after {timeout:g} s; the inbox has"]
        events, requests = self.events, self.requests
        lines += [f"  {terminal.event_line(event)}" for event in events[-20:]]
        refused = [request for request in requests if (request["status"] or 0) >= 400]
        lines.append(f"  {len(events)} events, {len(requests)} requests, {len(refused)} of them refused")
        lines += [f"  {request['method']} {request['path']}: {request['status']}" for request in refused[-5:]]
        return mask_keys("\n".join(lines), self._keys)


def _open_feed(keep: int, db: str | Path | None) -> Feed:
    try:
        return Feed(keep, None if db is None else Path(db))
    except sqlite3.Error as error:
        raise OSError(f"the file {db} cannot be used: {error}") from error
