"""An ASGI application on a port, served by uvicorn in a thread of its own."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

STARTS_WITHIN = 10.0
"""Seconds that the server may take until it accepts connections."""

_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; raise `OSError`, which names the address, when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's delay (40 ms for each response) only where the protocol is named.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use, perhaps by another inbox"
        else:
            reason = f"cannot listen on port {port} of {host}: {error.strerror}"
        raise OSError(error.errno, reason) from error
    except BaseException:
        listening.close()
        raise
    return listening


class ServerThread:
    """Serves an application until it is stopped, and logs nothing.

    Raises:
        RuntimeError: when the server does not start.
    """

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        # Everything is off that would reach beyond this object: log configuration, uvicorn's own Date header (the
        # application sets it), and the optional event loops and protocols that may be installed.
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
        self._server = uvicorn.Server(config)
        self._listening = listening
        self._thread = threading.Thread(target=self._serve, name="emitkit-inbox", daemon=True)
        self._silencer = _Silencer(self._thread)
        for name in _SERVER_LOGGERS:
            logging.getLogger(name).addFilter(self._silencer)
        self._thread.start()
        self._wait_until_started()

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        if not self._server.started:
            self.stop()
            raise RuntimeError("the inbox's server did not start")

    @property
    def is_stopping(self) -> bool:
        """Whether the server is about to end."""
        return self._server.should_exit

    def stop(self) -> None:
        """End the server and its thread, and close the socket."""
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()
        for name in _SERVER_LOGGERS:
            logging.getLogger(name).removeFilter(self._silencer)

    def _serve(self) -> None:
        self._server.run(sockets=[self._listening])


class _Silencer(logging.Filter):
    """Drops the records of one thread only, since the application's own uvicorn may use the same loggers."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._silenced = thread

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """Whether a record is kept: that of any other thread."""
        return threading.current_thread() is not self._silenced
