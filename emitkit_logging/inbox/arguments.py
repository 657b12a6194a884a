"""The command line of the inbox, for ``emitkit-logging inbox`` and ``python -m emitkit_logging.inbox``."""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from emitkit_logging.inbox.config import GENERATION_NAMES, SCOPES

DESCRIPTION = """\
A local EmitKit for development and tests, with a live page. It runs until
Ctrl-C or SIGTERM.
"""

EXAMPLES = """\
examples:
  emitkit-logging inbox
  emitkit-logging inbox --port 0 --db inbox.db
  emitkit-logging inbox --fault "503 every 10" --fault "hang 5s times 3"
  emitkit-logging inbox --generation self-hosted --rate-limit 5 --window 10
  emitkit-logging inbox --host 0.0.0.0 --api-key emitkit_local_key_1   a container

exit status:
  0  it was ended
  1  it cannot start: the port is taken, the file cannot be used, or the extra
     inbox is not installed
  2  a wrong option
"""


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose messages have no characters that control a terminal, although they repeat arguments."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the process, after a message of one line."""
        text = "".join(char if char.isprintable() else " " for char in (message or "").rstrip("\n"))
        super().exit(status, f"{text}\n" if text else None)


def add_arguments(parser: argparse.ArgumentParser) -> argparse.Action:
    """Add the inbox's options to a parser, whose namespace `run` then takes; return the one that is a path."""
    parser.set_defaults(parser=parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="a loopback address; any other needs --api-key (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8025, help="0 takes a free one (default: %(default)s)")
    path = parser.add_argument(
        "--db", type=Path, metavar="PATH", help="keep everything in this file (default: in memory)"
    )
    parser.add_argument(
        "--rate-limit",
        type=int,
        default=100,
        metavar="N",
        help="requests in a window; 0: no limit (default: %(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="length of the rate limit's window (default: %(default)s)",
    )
    parser.add_argument(
        "--generation",
        choices=GENERATION_NAMES,
        default="current",
        help="which server to behave as (default: %(default)s)",
    )
    parser.add_argument("--api-key", metavar="KEY", help="the key to accept (default: a new one, or that of --db)")
    parser.add_argument(
        "--scopes",
        type=_scopes,
        default=list(SCOPES),
        metavar="SCOPE,…",
        help=f"what the key may do (default: {','.join(SCOPES)})",
    )
    parser.add_argument(
        "--key",
        dest="keys",
        type=_key,
        action="append",
        default=[],
        metavar="KEY=SCOPE,…",
        help="a further key and what it may do, may be given again",
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
        help='a fault to emulate, may be given again: a status such as 503, "hang 5s", drop-request, drop-response or '
        'html, optionally followed by "every 10" or "times 3"',
    )
    return path


def _key(text: str) -> tuple[str, list[str]]:
    """Return the key and the scopes of `KEY=SCOPE,SCOPE`."""
    key, _, scopes = text.rpartition("=")
    if not key:
        raise argparse.ArgumentTypeError("it must be a key, = and its scopes, such as emitkit_reader=events:read")
    return key, _scopes(scopes)


def _scopes(text: str) -> list[str]:
    return [scope.strip() for scope in text.split(",") if scope.strip()]


def _explained(error: OSError, port: int) -> str:
    reason = error.strerror if error.strerror and error.filename is None else str(error)
    if error.errno == errno.EADDRINUSE:
        return (
            f"{reason}; end that program, or take another port: --port {port % 65535 + 1}, or --port 0 for a free one"
        )
    return reason


def run(options: argparse.Namespace) -> int:
    """Run the inbox until it is interrupted or terminated, and return the exit status.

    The first line that it prints ends in the address it listens at; the next two set the environment for a client.

    Args:
        options: what a parser with the arguments of `add_arguments` has parsed.
    """
    from emitkit_logging.inbox.server import Inbox  # noqa: PLC0415 - --help need not load the server
    from emitkit_logging.inbox.terminal import LineWriter  # noqa: PLC0415

    parser: argparse.ArgumentParser = options.parser
    terminal = LineWriter(sys.stdout)
    # A parent that terminates the inbox means the same as a person who presses Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            inbox = Inbox(
                host=options.host,
                port=options.port,
                db=options.db,
                rate_limit=options.rate_limit,
                window=options.window,
                generation=options.generation,
                api_key=options.api_key,
                scopes=options.scopes,
                keys=dict(options.keys),
                callback_secret=options.callback_secret,
                faults=options.faults,
                echo=terminal.write,
            )
        except ValueError as error:
            parser.error(str(error))
        except ImportError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        except OSError as error:
            parser.exit(1, f"{parser.prog}: {_explained(error, options.port)}\n")
        with inbox:
            terminal.write(f"EmitKit inbox ({options.generation}), API and page, listening on {inbox.url}")
            terminal.write(f"  export EMITKIT_BASE_URL={inbox.url}")
            terminal.write(f"  export EMITKIT_API_KEY={inbox.api_key}")
            while True:
                time.sleep(3600)
    return 0
