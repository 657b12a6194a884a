"""A fast server on loopback, in a process of its own: answers each POST with a success, if asked for after a pause."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

BODY = b'{"success":true,"data":{}}'
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextlib.contextmanager
def running(pause: float = 0.0) -> Iterator[str]:
    """Run a sink; the value is its address.

    Args:
        pause: seconds before each answer.
    """
    command = [sys.executable, "-m", "benchmarks.sink", str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class _Sink(asyncio.Protocol):
    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not found or len(rest) < size:
                return
            self._buffer = rest[size:]
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)


async def _serve(pause: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Sink(pause), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(float(sys.argv[1])))
