"""Event context for Celery tasks: the context of the sender, with the name and id of the task."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from celery import signals

from emitkit_logging import context
from emitkit_logging._context.redacted import shared_redactor
from emitkit_logging._events.converter import JsonConverter

HEADER = "emitkit_context"
"""The message header that carries the sender's context, as JSON."""

MAX_BYTES = 16 * 1024
"""Most bytes of a context in a message. Of a larger one only the user and the session are sent."""

_IDENTITY = ("user_id", "user", "session_id")


def install() -> None:
    """Give each record of a task the sender's context and the task's name and id (`server.task`, `server.taskId`).

    Call it in the processes that send tasks and in the workers. A second call has no effect.
    """
    signals.before_task_publish.connect(_publish, dispatch_uid="emitkit_logging")
    _connect_first(signals.task_prerun, _begin)
    signals.task_postrun.connect(_end, dispatch_uid="emitkit_logging")


def _connect_first(signal: Any, receiver: Callable[..., None]) -> None:
    """Connect a receiver before those that are connected already: what they bind belongs to the task, too."""
    known = len(signal.receivers or ())
    signal.connect(receiver, dispatch_uid="emitkit_logging")
    if len(signal.receivers) > known:
        signal.receivers.insert(0, signal.receivers.pop())


def _publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    values = context.current()
    if values and headers is not None:
        text = _encoded(values)
        if len(text) <= MAX_BYTES:
            headers[HEADER] = text


def _encoded(values: dict[str, Any]) -> str:
    """Return a context as JSON, redacted as in the events of any handler: other programs may read a broker."""
    redactor = shared_redactor()
    result = JsonConverter(redactor).items(values)
    if isinstance(page := result.get("page"), dict):
        result["page"] = redactor.mask_page(page)
    text = json.dumps(result)
    if len(text) > MAX_BYTES:
        text = json.dumps({key: result[key] for key in _IDENTITY if key in result})
    return text


def _begin(task_id: str, task: Any, **_: Any) -> None:
    server = {"task": task.name, "taskId": task_id}
    sent = _received(task)
    outer = context.current() if sent is None else sent
    context.push(context.merge(outer or {}, {"server": server}), _owner(task_id))


def _received(task: Any) -> dict[str, Any] | None:
    text = task.request.get(HEADER)
    headers = task.request.get("headers")  # where the header is depends on the version of the message protocol
    if text is None and isinstance(headers, dict):
        text = headers.get(HEADER)
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return context.received(values) if isinstance(values, dict) else None


def _end(task_id: str, **_: Any) -> None:
    context.pop(_owner(task_id))


def _owner(task_id: str) -> tuple[str, str]:
    return HEADER, task_id
