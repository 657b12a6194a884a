"""`emitkit-logging tail`: follow the events of EmitKit, or of a local EmitKit, in the terminal."""

from __future__ import annotations

import fnmatch
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from emitkit_logging import _options as options
from emitkit_logging._api.moments import read_moment
from emitkit_logging._api.responses import HttpResponse
from emitkit_logging._worker.client import FAILURES, Client
from emitkit_logging.cli.check import USER_AGENT, explain_error, explain_refusal
from emitkit_logging.cli.following import Event, Follower, Step
from emitkit_logging.cli.masking import Mask
from emitkit_logging.cli.terminal import Color, Terminal

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of a response: a hundred events of 16 KB, with escapes."""

_WILDCARDS = frozenset("*?[")


def tail(
    *,
    channels: Sequence[str] = (),
    level: str | None = None,
    lines: int = 10,
    interval: float = 3.0,
    follows: bool = True,
    as_json: bool = False,
    timeout: float = 5.0,
    allow_http: bool = False,
) -> int:
    """Print the latest events, and new ones until Ctrl-C.

    Args:
        channels: the names of the channels to show, with `*` and `?`; none: all.
        level: the name of the least level of the log records whose events are shown; `None`: all events.
        lines: events to begin with.
        interval: seconds between two requests.
        follows: whether it goes on when the latest events are shown.
        as_json: whether events are printed as JSON.
        timeout: seconds for one request.
        allow_http: whether plain http may be used to another machine.

    Returns:
        The exit status: 0, or 1 when the server refuses, lists no events or, without `follows`, does not answer.
    """
    try:
        key = options.api_key(None, required=True)
        url = options.base_url(None, allow_http=options.allow_http(allow_http or None))
    except ValueError as error:
        print(f"emitkit-logging tail: {error}", file=sys.stderr)
        return 1
    mask = Mask(key)
    notices = Terminal(sys.stderr)
    show = _shower(Terminal(sys.stdout), as_json=as_json)
    follower = Follower(
        shows=event_filter(channels, level),
        channel=channels[0] if len(channels) == 1 and not _WILDCARDS & set(channels[0]) else None,
        lines=lines,
        interval=interval,
        explain=explain_list_refusal,
    )
    client = Client(base_url=url, api_key=key, timeout=timeout, user_agent=USER_AGENT)
    try:
        while True:
            step = _ask(client, follower, mask, timeout)
            for event in step.events:
                show(event)
            if step.is_news or (step.notice and not follows):
                notices.write(mask(f"{url}: {step.notice}"), color=Color.RED if step.is_over else Color.YELLOW)
            if step.is_over or not follows:
                return 0 if step.is_whole else 1
            time.sleep(step.pause)
    except KeyboardInterrupt:
        return 0
    finally:
        client.close()


def _ask(client: Client, follower: Follower, mask: Mask, timeout: float) -> Step:
    try:
        response = client.exchange("GET", follower.path, longest_body=LONGEST_BODY)
    except FAILURES as error:
        return follower.fail(explain_error(error, timeout), time.monotonic())
    return follower.receive(mask.response(response), time.monotonic())


def explain_list_refusal(response: HttpResponse) -> str:
    """Return what a refusal to list events means, and the remedy."""
    if response.status == 403:
        return f"the key may not read events: it lacks the scope events:read ({explain_refusal(response, success=200)})"
    if response.status == 405:
        return (
            "it takes events but lists none, like EmitKit's open-source server: tail needs the hosted service or "
            "a local EmitKit (emitkit-logging inbox)"
        )
    return explain_refusal(response, success=200)


def event_filter(channels: Sequence[str], level: str | None) -> Callable[[Event], bool]:
    """Return a function that returns whether an event is shown.

    Args:
        channels: as for `tail`.
        level: as for `tail`.
    """
    from emitkit_logging.inbox.store.event import least_level, level_of  # noqa: PLC0415 - see tests/test_imports.py

    least = 0 if level is None else least_level(level)

    def shows(event: Event) -> bool:
        channel = str(event.get("channelName"))
        if channels and not any(fnmatch.fnmatchcase(channel, pattern) for pattern in channels):
            return False
        return level is None or level_of(complete(event))[0] >= least

    return shows


def _shower(terminal: Terminal, *, as_json: bool) -> Callable[[Event], None]:
    """Return a function that prints an event."""
    from emitkit_logging.inbox.store.event import least_level, level_of  # noqa: PLC0415 - see tests/test_imports.py
    from emitkit_logging.inbox.terminal import event_line  # noqa: PLC0415

    if as_json:
        return lambda event: terminal.write(json.dumps(event))
    colors = {least_level(name): color for name, color in (("WARNING", Color.YELLOW), ("ERROR", Color.RED))}
    day = time.localtime()[:3]

    def show(event: Event) -> None:
        nonlocal day
        whole = complete(event)
        created = time.localtime(read_moment(whole["createdAt"]) or 0.0)
        if created[:3] != day:
            day = created[:3]
            terminal.write(time.strftime("--- %Y-%m-%d", created))
        level = level_of(whole)[0]
        color = next((colors[least] for least in sorted(colors, reverse=True) if level >= least), None)
        terminal.write(event_line(whole), color=color)

    return show


def complete(event: Event) -> dict[str, Any]:
    """Return an event with every field that is shown, each of its type, whatever the server returns."""
    texts = {
        name: event[name] if isinstance(event.get(name), str) else ""
        for name in ("channelName", "title", "description", "icon", "createdAt")
    }
    metadata = event.get("metadata")
    return {**texts, "metadata": metadata if isinstance(metadata, dict) else {}}
