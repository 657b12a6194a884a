"""An application, as ASGI and as WSGI, whose requests log 300 events each; see test_servers.py."""

from __future__ import annotations

import atexit
import logging.config
import os
from pathlib import Path

if "LOG_CONFIG" not in os.environ:  # else the server configures logging
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"emitkit": {"class": "emitkit_logging.EmitKitHandler"}},
            "root": {"level": "INFO", "handlers": ["emitkit"]},
        }
    )
log = logging.getLogger("shop")
burst_in = os.getpid()


@atexit.register
def note() -> None:
    """Write down that the exit hooks of a process run that served a request."""
    if burst_in == "here":
        Path(os.environ["HOOKS"]).touch()


def burst() -> None:
    """Log more than one rate-limit window takes."""
    global burst_in
    burst_in = "here"
    for number in range(300):
        log.info("placed", extra={"event": "order_placed", "number": number})


async def asgi(scope, receive, send):
    """Log at each request, and at the end of the lifespan."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        log.error("shutting down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    burst()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ, start_response):
    """Log at each request."""
    burst()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


if os.environ.get("MIDDLEWARE"):
    from emitkit_logging.middleware.asgi import EventContextMiddleware

    asgi = EventContextMiddleware(asgi)
