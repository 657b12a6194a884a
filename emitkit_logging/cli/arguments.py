"""The commands of `emitkit-logging`: their arguments, and a help that teaches them by example."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAM = "emitkit-logging"

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
"""For which `completion` prints a script."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_OVERVIEW = """\
Check, inspect and try the delivery of log records to EmitKit.
"""

_OVERVIEW_EXAMPLES = """\
examples:
  emitkit-logging demo                    see it work: no account, no key
  emitkit-logging inbox                   a local EmitKit for your application
  emitkit-logging check --send            is the key right? sends a test event
  emitkit-logging tail --level ERROR      follow the errors
  emitkit-logging COMMAND --help          what a command does, with examples

environment:
  EMITKIT_API_KEY     the key of the project
  EMITKIT_BASE_URL    the server (default: https://api.emitkit.com)
  EMITKIT_ALLOW_HTTP  1: allow plain http to other machines, as between
                      containers; the key is then sent unencrypted
  NO_COLOR            1: no colors; there are none outside a terminal

exit status:
  0    success
  1    the command did not succeed; its help says what that means
  2    wrong usage
  130  interrupted by Ctrl-C
"""

_CHECK = """\
Check the key in EMITKIT_API_KEY and the address in EMITKIT_BASE_URL, and print
what is wrong and what to do about it.
"""

_CHECK_EXAMPLES = """\
examples:
  emitkit-logging check
  emitkit-logging check --send --timeout 20
  emitkit-logging check --spool /var/lib/shop/emitkit.db
  EMITKIT_BASE_URL=http://127.0.0.1:8025 emitkit-logging check
  EMITKIT_BASE_URL=http://emitkit:8025 EMITKIT_ALLOW_HTTP=1 emitkit-logging check

exit status:
  0  the server accepts the key, and events can be sent; there may be warnings
  1  there is a problem, or the key could not be checked
"""

_TAIL = """\
Show the latest events, and follow new ones until Ctrl-C. It needs a key with
the scope events:read, and a server that lists events: the hosted service, or
a local EmitKit (emitkit-logging inbox). An outage does not end it. It uses at
most a fifth of the requests that are left in a window of the rate limit.
"""

_TAIL_EXAMPLES = """\
examples:
  emitkit-logging tail
  emitkit-logging tail --level WARNING --lines 50
  emitkit-logging tail --channel alerts --channel 'user-*'
  emitkit-logging tail --no-follow --json --lines 100 | jq .title

exit status:
  0  ended by Ctrl-C, or --no-follow has shown the latest events
  1  the server refuses the key or lists no events; with --no-follow also when it
     does not answer
"""

_SPOOL = """\
Show what waits in a spool and what the server rejected, or do one of the
following.
"""

_SPOOL_EXAMPLES = """\
examples:
  emitkit-logging spool /var/lib/app/emitkit.db
  emitkit-logging spool /var/lib/app/emitkit.db --flush --timeout 300
  emitkit-logging spool /var/lib/app/emitkit.db --requeue
  emitkit-logging spool /var/lib/app/emitkit.db --export > waiting.jsonl

exit status:
  0  done; after --flush nothing waits any more
  1  the spool cannot be read, is in use, or something still waits
  2  there is no spool at the path
"""

_KINDS = """\
Show what kinds of records a log has: count, template and an example of each,
the most frequent first. It reads text lines in the usual layouts, or JSON
lines.
"""

_KINDS_EXAMPLES = """\
examples:
  emitkit-logging kinds /var/log/app.log
  docker logs app 2>&1 | emitkit-logging kinds
  emitkit-logging kinds --json app.log app.log.1 > kinds.jsonl

exit status:
  0  done
  1  a file cannot be read
"""

_RELAY = """\
Send what applications with the option relay have written into Redis, with the
key in EMITKIT_API_KEY and to the address in EMITKIT_BASE_URL. Any number of
relays may run; one leads, the others stand by. It needs the extra relay.
"""

_RELAY_EXAMPLES = """\
examples:
  emitkit-logging relay --redis redis://redis.internal:6379/0
  emitkit-logging relay --redis rediss://relay:password@redis.internal/0
  emitkit-logging relay --redis redis://redis.internal --status
  emitkit-logging relay --status --json | jq .waiting

environment:
  EMITKIT_REDIS_URL  the address of Redis, where --redis is not given

exit status:
  0  ended by SIGTERM or Ctrl-C; with --status: a relay leads
  1  with --status: no relay leads, or Redis does not answer
"""

_DEMO = """\
Run uvicorn and gunicorn, let them log to a local EmitKit, and check what
arrives. It needs no account and no key.
"""

_DEMO_EXAMPLES = """\
examples:
  emitkit-logging demo
  emitkit-logging demo --keep      prints the address of the page with the events

exit status:
  0  everything arrived, each event once
  1  something is missing, or the demo cannot run here
"""

_COMPLETION = """\
Print a script that completes the commands and options in a shell.
"""

_COMPLETION_EXAMPLES = """\
examples:
  source <(emitkit-logging completion bash)
  emitkit-logging completion bash > ~/.local/share/bash-completion/completions/emitkit-logging
  emitkit-logging completion zsh > ~/.zfunc/_emitkit-logging      fpath has ~/.zfunc
  emitkit-logging completion fish > ~/.config/fish/completions/emitkit-logging.fish

exit status:
  0  printed
  1  the extra completion is not installed
"""


def make_parser(file_completion: object = None) -> argparse.ArgumentParser:
    """Return the parser of the command line. Its namespace has `command`.

    Args:
        file_completion: how a shell completes paths: shtab's value for the attribute `complete` of an argument.
    """
    from emitkit_logging.inbox import arguments as inbox  # noqa: PLC0415 - only the command line needs it

    parser = inbox.ArgumentParser(prog=PROGRAM, **_help(_OVERVIEW, _OVERVIEW_EXAMPLES))
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, purpose: str, description: str, examples: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=purpose, **_help(description, examples))

    spool_of_check = _add_check(add("check", "check the API key and the address", _CHECK, _CHECK_EXAMPLES))
    _add_tail(add("tail", "follow the events in the terminal", _TAIL, _TAIL_EXAMPLES))
    _add_relay(add("relay", "send what a fleet has written into Redis", _RELAY, _RELAY_EXAMPLES))
    files = [
        spool_of_check,
        _add_spool(add("spool", "show or deliver what waits in a spool", _SPOOL, _SPOOL_EXAMPLES)),
        _add_kinds(add("kinds", "show what kinds of records a log has", _KINDS, _KINDS_EXAMPLES)),
        inbox.add_arguments(add("inbox", "run a local EmitKit", inbox.DESCRIPTION, inbox.EXAMPLES)),
    ]
    demo = add("demo", "run uvicorn and gunicorn with a local EmitKit", _DEMO, _DEMO_EXAMPLES)
    demo.add_argument("--keep", action="store_true", help="leave the local EmitKit running until Ctrl-C")
    completion = add("completion", "print a script for a shell's completion", _COMPLETION, _COMPLETION_EXAMPLES)
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    if file_completion is not None:
        for action in files:
            action.complete = file_completion  # type: ignore[attr-defined]
    return parser


def _add_relay(relay: argparse.ArgumentParser) -> None:
    relay.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("EMITKIT_REDIS_URL"),
        help="redis://, rediss:// or unix://, with user, password and options as redis-py reads them",
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
    relay.add_argument("--status", action="store_true", help="show the state instead of relaying")
    relay.add_argument("--json", action="store_true", help="with --status: print one JSON object")


def _help(description: str, examples: str) -> dict[str, Any]:
    return {
        "description": description,
        "epilog": examples,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


class _Version(argparse.Action):
    """Prints the version of the installed package."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it and exit."""
        from emitkit_logging import __version__  # noqa: PLC0415 - the package's metadata has it from there

        print(f"{PROGRAM} {__version__}")
        parser.exit()


def _add_check(check: argparse.ArgumentParser) -> argparse.Action:
    check.add_argument("--send", action="store_true", help="also send a test event to the channel general")
    _add_server(check)
    return check.add_argument(
        "--spool", type=Path, metavar="PATH", help="also say how many kinds of alerts a spool knows, and which storm"
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    """Add what each command that calls a server has."""
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="seconds for a request (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-http",
        action="store_true",
        help="allow plain http to other machines, as EMITKIT_ALLOW_HTTP=1: the key is sent unencrypted",
    )


def _add_tail(tail: argparse.ArgumentParser) -> None:
    tail.add_argument(
        "--channel",
        dest="channels",
        action="append",
        default=[],
        metavar="NAME",
        help="only events of this channel; may have * and ?, may be given again",
    )
    tail.add_argument(
        "--level", type=str.upper, choices=LEVELS, help="only events of log records of this level or above"
    )
    tail.add_argument(
        "--lines",
        "-n",
        type=int,
        default=10,
        metavar="N",
        help="events to begin with, at most 100 (default: %(default)s)",
    )
    tail.add_argument(
        "--interval",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="seconds between two requests, more where the rate limit asks for it (default: %(default)s)",
    )
    tail.add_argument("--no-follow", action="store_true", help="end when the latest events are shown")
    tail.add_argument("--json", action="store_true", help="print each event as a JSON object in a line of its own")
    _add_server(tail)


def _add_spool(spool: argparse.ArgumentParser) -> argparse.Action:
    """Add the arguments; return the one that is a path."""
    path = spool.add_argument("path", type=Path, help="the spool's file")
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
    return path


def _add_kinds(kinds: argparse.ArgumentParser) -> argparse.Action:
    """Add the arguments; return the one that is a path."""
    files = kinds.add_argument(
        "files", nargs="*", default=["-"], metavar="FILE", help="a log; -: standard input (default)"
    )
    kinds.add_argument("--json", action="store_true", help="print one JSON object with the kind of each line instead")
    return files
