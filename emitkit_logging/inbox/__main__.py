"""``emitkit-logging inbox``, or ``python -m emitkit_logging.inbox``: a local EmitKit in the terminal, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from emitkit_logging.inbox.generations import GENERATIONS, SCOPES
from emitkit_logging.inbox.server import Inbox

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the inbox until it is interrupted or terminated, and return the exit status.

    The first line that it prints ends in the address it listens at; the next two set the environment for a
    client.
    """
    parser = argparse.ArgumentParser(
        prog="emitkit-logging inbox", description="A local EmitKit for development and tests, with a live page."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="a loopback address; another one needs --api-key (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8025, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--db", type=Path, metavar="PATH", help="keep everything in this file (default: in memory)")
    parser.add_argument(
        "--rate-limit",
        type=int,
        default=100,
        metavar="N",
        help="requests in a window; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="of the rate limit (default: %(default)s)",
    )
    parser.add_argument(
        "--generation",
        choices=list(GENERATIONS),
        default="current",
        help="of the server (default: %(default)s)",
    )
    parser.add_argument("--api-key", metavar="KEY", help="the key to accept (default: a new one, or that of --db)")
    parser.add_argument(
        "--scopes",
        type=lambda text: [scope.strip() for scope in text.split(",") if scope.strip()],
        default=list(SCOPES),
        metavar="SCOPE,…",
        help=f"what the key may do (default: {','.join(SCOPES)})",
    )
    parser.add_argument(
        "--callback-secret", metavar="whsec_…", help="signs callbacks (default: a new one, or that of --db)"
    )
    parser.add_argument(
        "--fault",
        dest="faults",
        action="append",
        default=[],
        metavar="FAULT",
        help='what is to go wrong, may be given again: a status such as 503, "hang 5s", drop-request, drop-response or '
        'html, with "every 10" or "times 3" behind it',
    )
    options = parser.parse_args(arguments)

    terminal = _Terminal(sys.stdout)
    # A parent that terminates the inbox means the same as a person who presses Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            inbox = Inbox(**vars(options), echo=terminal.write)
        except ValueError as error:
            parser.error(str(error))
        except (ImportError, OSError) as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        with inbox:
            terminal.write(f"EmitKit inbox ({options.generation}), API and page, listening on {inbox.url}")
            terminal.write(f"  export EMITKIT_BASE_URL={inbox.url}")
            terminal.write(f"  export EMITKIT_API_KEY={inbox.api_key}")
            while True:
                time.sleep(3600)
    return 0


class _Terminal:
    """Writes lines to a stream at once, whatever its encoding, until nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = True

    def write(self, line: str) -> None:
        """Write `line` and flush."""
        if not self._open:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            print(line.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)
        except OSError:
            self._open = False


if __name__ == "__main__":
    sys.exit(main())
