"""What the report of a failed test says of its local EmitKit."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emitkit_logging.handler import EmitKitHandler
from emitkit_logging.inbox.emulation.current import Current
from emitkit_logging.inbox.emulation.refusals import Invalid
from emitkit_logging.inbox.masking import mask_keys
from emitkit_logging.inbox.terminal import event_line, safe

if TYPE_CHECKING:
    from emitkit_logging.inbox import Inbox
    from emitkit_logging.inbox.emulation.base import Call

MOST_SHOWN = 50
"""Events, and refused requests, in a report: the latest."""

_LONGEST_BODY = 300
_CALLS: dict[str, Call] = {"/v1/events": "event", "/v1/identify": "identify"}


def account(inbox: Inbox) -> list[str]:
    """Return the events of an inbox and the requests that it refused, as lines without its API key."""
    events = inbox.events
    lines = [*_left_out(len(events), "events")] if events else ["no events"]
    # masked before the line is cut, because the key could be cut with it
    lines += [event_line(json.loads(_masked(json.dumps(event), inbox))) for event in events[-MOST_SHOWN:]]
    refused = [request for request in inbox.requests if (request["status"] or 0) >= 400]
    lines += _left_out(len(refused), "refused requests")
    return [*lines, *(_refusal_line(request, inbox) for request in refused[-MOST_SHOWN:])]


def _refusal_line(request: dict[str, Any], inbox: Inbox) -> str:
    body = _masked(request["body"].decode("utf-8", "replace"), inbox)
    shown = body if len(body) <= _LONGEST_BODY else f"{body[:_LONGEST_BODY]}…"
    reason = _masked(_reason(request), inbox)
    line = f"{request['method']} {_masked(request['path'], inbox)} {shown}"
    return safe(f"refused with {request['status']}{reason and f' ({reason})'}: {line}").rstrip()


def _masked(text: str, inbox: Inbox) -> str:
    return mask_keys(text, (inbox.api_key,))


def _left_out(count: int, what: str) -> list[str]:
    return [f"… {count - MOST_SHOWN:,} {what} before"] if count > MOST_SHOWN else []


def _reason(request: dict[str, Any]) -> str:
    """Return what is wrong with a refused request, as far as the request alone shows it; the response is not kept."""
    if request["status"] == 401:
        return "another key than the inbox's"
    call = _CALLS.get(request["path"])
    try:
        if request["status"] == 400 and call is not None:
            Current().read(call, request["body"], "application/json")
    except Invalid as error:
        return str(error)
    return ""


def elsewhere(inbox: Inbox) -> list[str]:
    """Return where the handlers of all loggers send, as lines, when nothing has arrived in an inbox."""
    if inbox.requests:
        return []
    found = list(_handlers())
    here = [(name, handler) for name, handler in found if handler.enabled and handler.base_url == inbox.url]
    others = [f"  {handler!r} of {name}" for name, handler in found if (name, handler) not in here]
    lines = [f"{handler!r} of {name} sends to it: {handler.stats}" for name, handler in here]
    if others:
        lines += ["these handlers do not send to it:", *others]
    if here:
        return lines
    return [*(lines or ["no logger has an EmitKitHandler"]), _ADVICE]


_ADVICE = "emitkit_inbox.attach(logger) adds a handler that sends to it, to the root logger if none is given"


def _handlers() -> Iterator[tuple[str, EmitKitHandler]]:
    """Yield each handler of this library, with the logger that it is on."""
    loggers = dict(logging.root.manager.loggerDict)
    yield from (("the root logger", handler) for handler in _own(logging.root.handlers))
    for name, logger in sorted(loggers.items()):
        if isinstance(logger, logging.Logger):
            yield from ((f"the logger {name!r}", handler) for handler in _own(logger.handlers))


def _own(handlers: list[logging.Handler]) -> Iterator[EmitKitHandler]:
    """Yield those of this library, also behind a `MemoryHandler` and a `QueueHandler` of `dictConfig`."""
    for handler in handlers:
        if isinstance(handler, EmitKitHandler):
            yield handler
            continue
        target = getattr(handler, "target", None)
        listener = getattr(handler, "listener", None)
        behind = [target, *getattr(listener, "handlers", ())]
        yield from _own([each for each in behind if isinstance(each, logging.Handler)])
