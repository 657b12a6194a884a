"""Command line: the commands of `emitkit-logging`, their arguments, and what each of them runs."""

from __future__ import annotations

import argparse
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
        arguments: those of the command line; by default those of this process.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    status: int = options.run(parser, options)
    return status


def _parser() -> argparse.ArgumentParser:
    from emitkit_logging.inbox import arguments as inbox_arguments  # noqa: PLC0415 - only this module needs it

    parser = argparse.ArgumentParser(
        prog="emitkit-logging", description="Check, inspect and try the delivery of log records to EmitKit."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    check = commands.add_parser(
        "check",
        help="check the API key and the address",
        description="Check the key in EMITKIT_API_KEY and the address in EMITKIT_BASE_URL. The exit status is 0 when "
        "the server accepts the key and events can be sent, else 1.",
    )
    check.add_argument("--send", action="store_true", help="also send a test event to the channel general")
    check.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="seconds for a request (default: %(default)s)"
    )
    check.add_argument(
        "--allow-http", action="store_true", help="allow plain http to other machines: the key is sent unencrypted"
    )
    check.set_defaults(run=_check)

    spool = commands.add_parser(
        "spool",
        help="show or deliver what waits in a spool",
        description="Show what waits in a spool and what the server rejected, or do one of the following.",
    )
    spool.add_argument("path", type=Path, help="the spool's file")
    action = spool.add_mutually_exclusive_group()
    action.add_argument(
        "--flush",
        action="store_true",
        help="deliver what waits, with the key and the address of the environment; records that no handler has read "
        "yet go to the channels of a handler without options",
    )
    action.add_argument("--requeue", action="store_true", help="let rejected events wait again")
    action.add_argument("--export", action="store_true", help="print what waits, one JSON object a line")
    spool.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="seconds for --flush (default: %(default)s)"
    )
    spool.set_defaults(run=_spool)

    kinds = commands.add_parser(
        "kinds",
        help="show what kinds of records a log has",
        description="Show what kinds of records a log has: count, template and an example of each, the most frequent "
        "first. It reads text lines in the usual layouts, or JSON lines.",
    )
    kinds.add_argument("files", nargs="*", default=["-"], metavar="FILE", help="a log; -: standard input (default)")
    kinds.add_argument("--json", action="store_true", help="print one JSON object with the kind of each line instead")
    kinds.set_defaults(run=_kinds)

    _add_relay(commands)

    inbox = commands.add_parser("inbox", help="run a local EmitKit", description=inbox_arguments.DESCRIPTION)
    inbox_arguments.add_arguments(inbox)
    inbox.set_defaults(run=_inbox)

    demo = commands.add_parser(
        "demo",
        help="run uvicorn and gunicorn with a local EmitKit",
        description="Run uvicorn and gunicorn, let them log to a local EmitKit, and check what arrives. It needs no "
        "account and no key.",
    )
    demo.add_argument("--keep", action="store_true", help="leave the local EmitKit running until Ctrl-C")
    demo.set_defaults(run=_demo)
    return parser


def _add_relay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    relay = commands.add_parser(
        "relay",
        help="send what the machines of a fleet have written into Redis",
        description="Send what applications with the option relay have written into Redis, with the key in "
        "EMITKIT_API_KEY and to the address in EMITKIT_BASE_URL. Any number of relays may run; one leads, the others "
        "stand by. It needs the extra relay.",
    )
    relay.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("EMITKIT_REDIS_URL"),
        help="redis://, rediss:// or unix://; by default that in EMITKIT_REDIS_URL",
    )
    relay.add_argument("--prefix", metavar="NAME", help="the first part of the names of all keys (default: emitkit)")
    relay.add_argument(
        "--rate-limit", type=int, metavar="REQUESTS", help="requests a minute; 0: no limit (default: learned)"
    )
    relay.add_argument(
        "--alert-reserve",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of each rate-limit window for alerts of a new kind (default: %(default)s)",
    )
    relay.add_argument(
        "--notify-interval",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="seconds in which repeats of one kind of alert push once (default: %(default)g)",
    )
    relay.add_argument(
        "--size",
        type=int,
        default=100_000,
        metavar="ENTRIES",
        help="entries that Redis may hold; beyond it what waits folds, then the least important is dropped, counted "
        "(default: %(default)s)",
    )
    relay.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="seconds for a request (default: %(default)g)"
    )
    relay.add_argument(
        "--allow-http", action="store_true", help="allow plain http to other machines: the key is sent unencrypted"
    )
    relay.add_argument(
        "--status", action="store_true", help="show the state instead; the exit status is 1 when no relay leads"
    )
    relay.add_argument("--json", action="store_true", help="with --status: as one JSON object")
    relay.set_defaults(run=_relay)


# Each command loads its own modules: some need an extra, all take longer than --help should.


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging._options import number  # noqa: PLC0415
    from emitkit_logging.cli.check import check  # noqa: PLC0415

    try:
        timeout = number("--timeout", options.timeout, above=True)
    except ValueError as error:
        parser.error(str(error))
    return check(sends=options.send, timeout=timeout, allow_http=options.allow_http)


def _spool(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli import spool  # noqa: PLC0415

    path = options.path.expanduser().absolute()
    if not path.is_file():
        parser.exit(2, f"{parser.prog}: {path} is not a spool\n")
    try:
        if options.flush:
            return spool.flush(path, options.timeout)
        if options.requeue:
            return spool.requeue(path)
        return spool.export(path) if options.export else spool.show(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        parser.exit(1, f"{parser.prog}: {path}: {error}\n")


def _kinds(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.kinds import kinds  # noqa: PLC0415

    try:
        return kinds(options.files, as_json=options.json)
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _relay(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging import _options as checks  # noqa: PLC0415

    try:
        timeout = checks.number("--timeout", options.timeout, above=True)
        url = checks.relay(options.redis)
        if url is None:
            raise ValueError("--redis: missing; pass it, or set EMITKIT_REDIS_URL")  # noqa: TRY301

        from emitkit_logging._relay.connection import address_of  # noqa: PLC0415
        from emitkit_logging.cli import relay  # noqa: PLC0415

        address = address_of("--redis", url, timeout, options.prefix)
        if options.status:
            return relay.status(address, as_json=options.json)
        settings = relay.RelaySettings(
            base_url=checks.base_url(None, allow_http=checks.allow_http(options.allow_http or None)),
            api_key=checks.api_key(None, required=True),
            rate_limit=None
            if options.rate_limit is None
            else checks.count("--rate-limit", options.rate_limit, least=0),
            alert_reserve=checks.number("--alert-reserve", options.alert_reserve, most=1.0),
            notify_interval=checks.number("--notify-interval", options.notify_interval),
            size=checks.count("--size", options.size, least=1),
            timeout=timeout,
        )
        return relay.run(address, settings)
    except (ImportError, ValueError, TypeError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _inbox(_: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.inbox import arguments  # noqa: PLC0415

    return arguments.run(options)


def _demo(_: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.demo import demo  # noqa: PLC0415

    return demo(keep=options.keep)
