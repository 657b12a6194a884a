"""Command: what ``emitkit-logging`` does in a terminal."""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from emitkit_logging import EmitKitFormatter, EmitKitHandler
from emitkit_logging._events.captured import CapturedRecord, restore
from emitkit_logging._events.event import Event
from emitkit_logging._events.identity import IdentifyCall
from emitkit_logging._options import number
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._spool import listing
from emitkit_logging._spool.spool import Spool

_PATIENCE = 15.0
"""Seconds to wait for another process that sends: longer than the lease of one that stands still."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say, and return the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["inbox"]:  # its own parser knows what follows, --help included
        from emitkit_logging.inbox.__main__ import main as inbox  # noqa: PLC0415 - an extra

        return inbox(given[1:])
    parser = _parser()
    options = parser.parse_args(given)
    if options.command == "check":
        return _check(parser, options)
    if options.command == "demo":
        from emitkit_logging.cli.demo import demo  # noqa: PLC0415 - an extra

        return demo(keep=options.keep)
    path = options.path.expanduser().absolute()
    if not path.is_file():
        parser.exit(2, f"{parser.prog}: {path} is no spool\n")
    try:
        if options.flush:
            return _flush(path, options.timeout)
        if options.requeue:
            return _requeue(path)
        return _export(path) if options.export else _tell(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        parser.exit(1, f"{parser.prog}: {path}: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emitkit-logging")
    commands = parser.add_subparsers(dest="command", required=True)

    checking = commands.add_parser(
        "check",
        help="what of the key and the address works",
        description="Tell what works of the key and the address in EMITKIT_API_KEY and EMITKIT_BASE_URL. Exits with 0 "
        "when the key was accepted and nothing is in the way of an event, else with 1.",
    )
    checking.add_argument("--send", action="store_true", help="send a test event to the channel general, too")
    checking.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="of a request (default: %(default)s)"
    )
    checking.add_argument(
        "--allow-http", action="store_true", help="plain http to other machines too: the key travels readable"
    )

    waiting = commands.add_parser("spool", help="what waits in a spool", description="Tell what waits in a spool.")
    waiting.add_argument("path", type=Path, help="of the spool")
    doing = waiting.add_mutually_exclusive_group()
    doing.add_argument(
        "--flush",
        action="store_true",
        help="deliver it now, with the key and the address of the environment; until then, records go where a handler "
        "without options sends them",
    )
    doing.add_argument("--requeue", action="store_true", help="let rejected events wait again")
    doing.add_argument("--export", action="store_true", help="print what waits as lines of JSON")
    waiting.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="of --flush (default: %(default)s)"
    )

    commands.add_parser("inbox", help="a local EmitKit", add_help=False)
    showing = commands.add_parser(
        "demo",
        help="uvicorn and gunicorn log to a local EmitKit",
        description="Let uvicorn and gunicorn log to a local EmitKit and check what arrives: no account, no key.",
    )
    showing.add_argument("--keep", action="store_true", help="leave the local EmitKit running until Ctrl-C")
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    from emitkit_logging.cli.check import check  # noqa: PLC0415 - it loads requests

    try:
        timeout = number("--timeout", given.timeout, above=True)
    except ValueError as error:
        parser.error(str(error))
    return check(sends=given.send, timeout=timeout, allow_http=given.allow_http)


def _tell(path: Path) -> int:
    rows = list(listing.rows(path))
    waiting = [row for row in rows if not row.answer and row.kind != "identify"]
    if waiting:
        oldest = datetime.datetime.fromtimestamp(min(row.since for row in waiting)).astimezone()
        records = sum(row.records for row in waiting)
        print(f"{_count(records, 'log record')} in {_count(len(waiting), 'event')} since {oldest:%Y-%m-%d %H:%M:%S}")
    else:
        print("nothing waits")
    where: dict[tuple[str, int], list[int]] = {}
    for row in waiting:
        counts = where.setdefault((row.channel or "(not read yet)", row.level), [0, 0])
        counts[0] += row.records
        counts[1] += 1
    for (channel, level), (records, events) in sorted(where.items(), key=lambda entry: (-entry[0][1], entry[0][0])):
        print(f"  {channel:24} {logging.getLevelName(level):10} {records:>9,} in {_count(events, 'event')}")
    identifies = sum(row.kind == "identify" for row in rows)
    if identifies:
        print(f"{_count(identifies, 'user')} to identify")
    rejected = [row for row in rows if row.answer]
    if rejected:
        print(f"{_count(len(rejected), 'rejected event')}:")
        for row in rejected:
            print(f"  {row.channel:24} {logging.getLevelName(row.level):10} {row.answer}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _export(path: Path) -> int:
    formatter = EmitKitFormatter()

    class Shape:
        fold_key = formatter.fold_key
        summary = formatter.summary

        def event(self, captured: CapturedRecord) -> Event:
            return formatter.event(restore(captured))

    for row in listing.rows(path):
        if row.body is not None:
            body = json.loads(row.body)
        elif isinstance(row.entry, IdentifyCall):
            body = row.entry.body()
        elif row.entry is None:
            body = {"unreadable": row.data.decode("utf-8", "replace"), "reason": row.answer}
        else:
            event = row.entry.event(Shape()) if isinstance(row.entry, Fold | Digest) else Shape().event(row.entry)
            if event is None:
                continue
            body = json.loads(event.encode())
        print(json.dumps(body, ensure_ascii=False))
    return 0


def _flush(path: Path, timeout: float) -> int:
    handler = EmitKitHandler(spool=path, shutdown_timeout=0.0)
    ends = time.monotonic() + timeout
    try:
        while (left := _waits(path)) and time.monotonic() < ends:
            time.sleep(0.1)
    finally:
        handler.close()
    print("nothing waits" if not left else f"{_count(left, 'event')} still waiting")
    return int(left > 0)


def _waits(path: Path) -> int:
    return sum(not row.answer for row in listing.rows(path))


def _requeue(path: Path) -> int:
    formatter = EmitKitFormatter()
    opened = Spool(
        path, size=sys.maxsize, ttl=float("inf"), converter=formatter.json_converter, channel_of=lambda _: ""
    )
    try:
        ends = time.monotonic() + _PATIENCE
        while not opened.acquire(_PATIENCE):
            if time.monotonic() >= ends:
                print("another process is sending from this spool; try again when it has nothing to send")
                return 1
            time.sleep(0.1)
        print(f"{_count(opened.requeue(), 'event')} put back")
        opened.release()
    finally:
        opened.close()
    return 0
