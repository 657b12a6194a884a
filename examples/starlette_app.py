"""A Starlette application. Its server logs the exceptions of routes, and EmitKit gets them with the request.

uvicorn --log-config examples/logging.json --app-dir examples starlette_app:app
"""

import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route

from emitkit_logging.middleware.asgi import EventContextMiddleware
from emitkit_logging.proxy import starlette_route

logger = logging.getLogger("shop")


async def page(request):
    return FileResponse(Path(__file__).with_name("page.html"))


async def sign_up(request):
    logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": request.query_params["user"]})
    return PlainTextResponse("welcome")


def broken(request):
    raise RuntimeError("the view is broken")


app = Starlette(
    routes=[
        Route("/", page),
        Route("/signup", sign_up),
        Route("/broken", broken),
        starlette_route("/api/analytics", channels=["feedback"]),
    ],
    middleware=[Middleware(EventContextMiddleware)],
)
