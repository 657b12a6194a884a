"""A TCP relay on loopback to which a connection takes as long as TCP and TLS to a server far away."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit


@contextlib.contextmanager
def slow_link(url: str, delay: float) -> Iterator[str]:
    """Return the URL of a relay to another server; each new connection waits for `delay` seconds first.

    A client that gives up before has sent nothing: then the server does not see the connection at all.
    """
    target = (urlsplit(url).hostname, urlsplit(url).port)

    def relay(client: socket.socket) -> None:
        with client:
            time.sleep(delay)
            if _is_gone(client):
                return
            with socket.create_connection(target) as server:
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=relay, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _is_gone(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP | select.POLLHUP)
    return bool(poll.poll(0))


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
