"""A small shop, as WSGI and as ASGI applications. It logs as applications do and does not know of EmitKit.

`emitkit-logging demo` runs it. In a clone of the repository, it is among the examples:

gunicorn --chdir examples --log-config-json logging.json shop:wsgi
uvicorn --log-config examples/logging.json --app-dir examples shop:asgi
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

logger = logging.getLogger("shop")


def charge(amount: float) -> None:
    """Charge the card, which is declined above 100."""
    if amount > 100:
        raise ValueError(f"card declined for {amount}")


def respond(path: str, query: str) -> tuple[str, str]:
    """Return the status and the text of the response to a request."""
    values = {key: values[0] for key, values in parse_qs(query).items()}
    if path == "/signup":
        user = {"id": values["user"], "email": f"{values['user']}@example.com"}
        logger.info("user_signed_up", extra={"event": "user_signed_up", "user": user, "plan": "pro"})
        return "201 Created", "welcome\n"
    if path == "/buy":
        amount = float(values["amount"])
        charge(amount)
        bought = {"event": "purchase_completed", "user_id": values["user"], "amount": amount}
        logger.info("purchase_completed", extra=bought)
        return "200 OK", "thank you\n"
    if path == "/":
        logger.info("page_view", extra={"event": "page_view", "page": {"path": path}})
        return "200 OK", "hello\n"
    logger.warning("no page at %s", path)
    return "404 Not Found", "not found\n"


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request as a WSGI application."""
    status, text = respond(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
    start_response(status, [("Content-Type", "text/plain")])
    return [text.encode()]


async def asgi(scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer a request as an ASGI application."""
    if scope["type"] != "http":
        return
    status, text = respond(scope["path"], scope["query_string"].decode())
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
