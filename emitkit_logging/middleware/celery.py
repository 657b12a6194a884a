"""Celery: the context of a task, on top of the context of whoever sent it."""

from __future__ import annotations

import json
from typing import Any

from celery import signals

from emitkit_logging import context
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.redaction import Redactor

HEADER = "emitkit_context"
"""The message's header in which the context of the sender travels, as JSON."""

MOST_BYTES = 16 * 1024
"""Bytes of a context that travels; of a larger one, only who it is about."""

_ABOUT = ("user_id", "user", "session_id")

_redactor = Redactor()
_converter = JsonConverter(_redactor)


def install() -> None:
    """Give every record of a task the task's name and id (`server.task`, `server.taskId`) and its sender's context.

    To be called where tasks are sent and where they run; calling it again changes nothing.
    """
    signals.before_task_publish.connect(_publish, dispatch_uid="emitkit_logging")
    signals.task_prerun.connect(_begin, dispatch_uid="emitkit_logging")
    signals.task_postrun.connect(_end, dispatch_uid="emitkit_logging")


def _publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    said = context.current()
    if said and headers is not None:
        # as it would be sent to EmitKit: others may read what is in a broker
        said = _converter.items(said)
        if isinstance(page := said.get("page"), dict):
            said["page"] = _redactor.mask_page(page)
        text = json.dumps(said)
        if len(text) > MOST_BYTES:
            text = json.dumps({key: said[key] for key in _ABOUT if key in said})
        if len(text) <= MOST_BYTES:
            headers[HEADER] = text


def _begin(task_id: str, task: Any, **_: Any) -> None:
    server = {"task": task.name, "taskId": task_id}
    sent = _sent(task)
    outer = context.current() if sent is None else sent
    context.push(context.over(outer or {}, {"server": server}), _owner(task_id))


def _sent(task: Any) -> dict[str, Any] | None:
    text = task.request.get(HEADER)
    headers = task.request.get("headers")
    if text is None and isinstance(headers, dict):
        text = headers.get(HEADER)
    if not isinstance(text, str) or len(text) > MOST_BYTES:
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return context.received(said) if isinstance(said, dict) else None


def _end(task_id: str, **_: Any) -> None:
    context.pull(_owner(task_id))


def _owner(task_id: str) -> tuple[str, str]:
    return HEADER, task_id
