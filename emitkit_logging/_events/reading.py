"""Read what a formatted message says: a traceback in it, loguru's line, or the line of a structlog renderer.

Legacy code formats a traceback into the message, and frameworks format a whole record into it. `opened` returns the
record as it would be without that: with the exception as its exception, and the rendered values as its values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from emitkit_logging._events import tracebacks
from emitkit_logging._events.captured import CapturedException, CapturedRecord

_LOGURU = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3,6}(?:Z|[+-]\d\d:?\d\d)? \| [^\W\d_]+ *\| [^\s:|]+:[^\s:|]+:\d+ - (.*)",
    re.DOTALL,
)
_QUOTED = r"""b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'"""
_NESTED = r"""\[[^\]]*\]|\{[^}]*\}|[\w.]*\([^)]*\)|<[^>]*>"""
_PAIR = re.compile(rf"""([A-Za-z_][\w.\-]*)(?:=({_QUOTED}|{_NESTED}|[^\s"'=]*))?(?:\s+|$)""")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_LONGEST_LINE = 8_000

_NOT_OF_TEXT = frozenset(
    ("user", "identify", "channel", "notify", "display_as", "idempotency_key", "context", "extra", "properties")
    + ("actions", "fields", "expires_in", "callback_url", "resume", "fingerprint")
)
"""Keys that decide where an event goes, or about a user. Text may come from anybody: there, they are metadata."""


def is_to_open(text: str) -> bool:
    """Whether a message may be one that `opened` reads; quick, and right whenever it says no."""
    return text[:1] in ("{", "2") or "event=" in text or tracebacks.HEADER in text


def opened(captured: CapturedRecord) -> CapturedRecord:
    """Return a record with what its message says in its place, or `captured` itself if the message is only text.

    Args:
        captured: the record; it is not changed.
    """
    text = captured.attributes.get("msg") if captured.text is None else captured.text
    if type(text) is not str or not is_to_open(text) or not captured.is_trusted:
        return captured
    values = rendered(text)
    if values is not None:
        return _with_values(captured, values)
    line = _LOGURU.fullmatch(text)
    inner = text if line is None else line[1]
    found = tracebacks.find(inner)
    if found is None:
        return captured if line is None else _with_text(captured, inner)
    own = captured.exception
    if own is not None and own.type.rpartition(".")[2] != found.type.rpartition(".")[2]:
        return captured if line is None else _with_text(captured, inner)  # another one: it says more than the record
    result = _with_text(captured, found.rest)
    if own is None:
        result.exception = CapturedException(found.type, found.message, found.text)
    return result


def rendered(text: str) -> dict[str, Any] | None:
    """Return the values of a line that structlog's JSON, logfmt or key-value renderer made, or `None`.

    Args:
        text: a message.
    """
    if len(text) > _LONGEST_LINE:
        return None
    values = _of_json(text) if text[:1] == "{" else _of_pairs(text)
    if values is None or type(values.get("event")) is not str or not values["event"]:
        return None
    read = {key: value for key, value in values.items() if key not in _NOT_OF_TEXT}
    kept = {key: value for key, value in values.items() if key in _NOT_OF_TEXT}
    return {**read, "properties": kept} if kept else read


def _of_json(text: str) -> dict[str, Any] | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if type(values) is dict else None


def _of_pairs(text: str) -> dict[str, Any] | None:
    if "event=" not in text:
        return None
    values: dict[str, Any] = {}
    flags = end = 0
    while end < len(text):
        pair = _PAIR.match(text, end)
        if pair is None:
            return None
        values[pair[1]] = True if pair[2] is None else _of_token(pair[2])
        flags += pair[2] is None  # logfmt has bare words for flags, and prose has words
        end = pair.end()
        if flags * 2 >= len(values):
            return None
    return values


def _of_token(token: str) -> Any:
    if token[:1] in ("'", '"'):
        return _ESCAPE.sub(lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), token[1:-1])
    if token in _WORDS:
        return _WORDS[token]
    if _NUMBER.fullmatch(token):
        return float(token) if "." in token else int(token)
    return token


def _with_text(captured: CapturedRecord, text: str) -> CapturedRecord:
    if captured.text is None:
        return _changed(captured, {"msg": text})
    result = _changed(captured, {})
    result.text = text
    return result


def _with_values(captured: CapturedRecord, values: Mapping[str, Any]) -> CapturedRecord:
    result = _changed(captured, {"msg": dict(values)})
    result.text = None
    exception = values.get("exception")
    if result.exception is None and type(exception) is str and exception.strip():
        parsed = tracebacks.parse(exception)
        result.exception = CapturedException(parsed.type, parsed.message, parsed.text)
    return result


def _changed(captured: CapturedRecord, attributes: Mapping[str, Any]) -> CapturedRecord:
    result = CapturedRecord({**captured.attributes, **attributes})
    vars(result).update((name, value) for name, value in vars(captured).items() if name != "attributes")
    return result
