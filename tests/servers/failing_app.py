"""Applications that fail, with the dictConfig of the README; a server runs them, or they run a server themselves."""

from __future__ import annotations

import logging.config
import os
import sys

ERRORS = logging.getLogger("uvicorn.error") if "ATTACH" in os.environ else None

logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "console": {"class": "logging.StreamHandler"},
            "emitkit": {
                "class": "emitkit_logging.EmitKitHandler",
                "level": "INFO",
                "channel_name": "general",
                "category_channel_map": {"user": "user-activity", "conversion": "revenue"},
            },
        },
        "root": {"level": "INFO", "handlers": ["console", "emitkit"]},
    }
)
if ERRORS is not None:
    ERRORS.addHandler(logging.getLogger().handlers[1])


async def asgi(scope, receive, send):
    """Fail at each request."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    raise ValueError("no such order")


def wsgi(environ, start_response):
    """Fail at each request."""
    raise ValueError("no such order")


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(asgi, port=int(sys.argv[1]))
