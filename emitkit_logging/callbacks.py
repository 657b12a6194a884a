"""Verify the callbacks that EmitKit sends when a question is answered or expires.

A callback is signed as Standard Webhooks specifies: an HMAC-SHA256 over its id, its time and its body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Iterable
from typing import Any, Protocol

SECRET_VARIABLE = "EMITKIT_CALLBACK_SECRET"  # noqa: S105 - the name of the variable
"""The environment variable with the secret of a project's callbacks."""

_PREFIX = "whsec_"
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SECONDS = re.compile(r"\d{1,15}", re.ASCII)


class Headers(Protocol):
    """The headers of a request, as any mapping or framework has them."""

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return names and values."""
        ...


def verify_callback(
    body: bytes | str, headers: Headers, *, secret: str | None = None, tolerance: float = 300
) -> dict[str, Any]:
    """Check that a callback came from EmitKit, and return it.

    Args:
        body: the body as it was received, before anything has parsed it.
        headers: the headers of the request, with names in any case. Values may be text, bytes or lists of them.
        secret: the project's secret for callbacks (`whsec_…`); by default that of `EMITKIT_CALLBACK_SECRET`.
        tolerance: seconds by which the time of the callback may differ from the clock of this machine.

    Returns:
        The callback: `type` (`event.answered` or `event.expired`), `eventId`, `answer` and `resume`.

    Raises:
        ValueError: when the callback is not genuine or too old, or when there is no secret. The message never
            contains the secret.
    """
    key = _key(os.environ.get(SECRET_VARIABLE, "") if secret is None else secret)
    message_id, timestamp, signatures = _signature_headers(headers)
    _check_time(timestamp, tolerance)
    content = _bytes(body)
    expected = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + content, hashlib.sha256)
    if not _is_signed(expected, signatures):
        raise ValueError("the signature of the callback does not match this secret")
    return _parse(content)


def _bytes(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise ValueError(
        f"the body of the callback must be bytes or text, before anything has parsed it, not {type(body).__name__}"
    )


def _key(secret: str) -> bytes:
    """Return the bytes of a secret."""
    if not secret.strip():
        raise ValueError(f"the secret for callbacks is missing: pass secret, or set {SECRET_VARIABLE}")
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except ValueError:  # its message could be logged together with the secret
        key = b""
    if not key:
        raise ValueError(f"the secret for callbacks is invalid: it must be {_PREFIX} and base64, as EmitKit shows it")
    return key


def _signature_headers(headers: Headers) -> tuple[str, ...]:
    """Return the id, the time and the signatures."""
    values: dict[str, list[str]] = {name: [] for name in _HEADERS}
    for name, value in headers.items():
        values.get(_text(name).lower(), []).append(_text(value))
    found = {name: " ".join(texts).strip() for name, texts in values.items()}
    missing = [name for name, text in found.items() if not text]
    if missing:
        raise ValueError(f"the callback has no header {', '.join(missing)}")
    return tuple(found.values())


def _text(value: object) -> str:
    """Return the value of a header; frameworks have texts, bytes or lists of them, which are joined by spaces."""
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _check_time(timestamp: str, tolerance: float) -> None:
    """Refuse a callback that was recorded and is sent again later."""
    if not (_SECONDS.fullmatch(timestamp) and abs(time.time() - int(timestamp)) <= tolerance):
        raise ValueError(f"the time of the callback is more than {tolerance:g} s from now, or invalid")


def _is_signed(expected: bytes, signatures: str) -> bool:
    """Whether one of the signatures is the expected one. While a secret is replaced, there are two."""
    return any(hmac.compare_digest(expected, each) for each in _decoded(signatures))


def _decoded(signatures: str) -> list[bytes]:
    """Return the signatures of version 1; those of other versions are for other receivers."""
    found = []
    for entry in signatures.split():
        version, _, encoded = entry.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _parse(content: bytes) -> dict[str, Any]:
    try:
        callback = json.loads(content)
    except (ValueError, RecursionError):
        callback = None
    if not isinstance(callback, dict):
        raise ValueError("the body of the callback is not a JSON object")  # noqa: TRY004 - as for all else that is wrong
    return callback
