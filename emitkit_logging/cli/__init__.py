"""Command line: what each command of `emitkit-logging` runs."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence

from emitkit_logging.cli.arguments import make_parser

INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell reports a program that SIGINT ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
        arguments: those of the command line; by default those of this process.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        status = _COMMANDS[options.command](parser, options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough; the interpreter must not fail to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


# Each command loads its own modules: some need an extra, all take longer than --help should.


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.check import check  # noqa: PLC0415

    timeout = _positive(parser, "--timeout", options.timeout)
    return check(sends=options.send, timeout=timeout, allow_http=options.allow_http, spool=options.spool)


def _tail(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.tail import tail  # noqa: PLC0415

    if not 0 <= options.lines <= 100:
        parser.error(f"--lines: must be at least 0 and at most 100, not {options.lines}")
    return tail(
        channels=options.channels,
        level=options.level,
        lines=options.lines,
        interval=_positive(parser, "--interval", options.interval),
        follows=not options.no_follow,
        as_json=options.json,
        timeout=_positive(parser, "--timeout", options.timeout),
        allow_http=options.allow_http,
    )


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
    except BrokenPipeError:
        raise
    except (OSError, ValueError, sqlite3.Error) as error:
        parser.exit(1, f"{parser.prog}: {path}: {error}\n")


def _kinds(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.kinds import kinds  # noqa: PLC0415

    try:
        return kinds(options.files, as_json=options.json)
    except BrokenPipeError:
        raise
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


def _completion(_: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from emitkit_logging.cli.completion import completion  # noqa: PLC0415

    return completion(options.shell)


def _positive(parser: argparse.ArgumentParser, option: str, value: float) -> float:
    from emitkit_logging._options import number  # noqa: PLC0415

    try:
        return number(option, value, above=True)
    except ValueError as error:
        parser.error(str(error))


_COMMANDS: Mapping[str, Callable[[argparse.ArgumentParser, argparse.Namespace], int]] = {
    "check": _check,
    "tail": _tail,
    "spool": _spool,
    "kinds": _kinds,
    "relay": _relay,
    "inbox": _inbox,
    "demo": _demo,
    "completion": _completion,
}
