"""A FastAPI application. Its server logs the exceptions of path operations, and EmitKit gets them with the request.

uvicorn --log-config examples/logging.json --app-dir examples fastapi_app:app
"""

import logging
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse

from emitkit_logging.middleware.asgi import EventContextMiddleware
from emitkit_logging.proxy import starlette_route

logger = logging.getLogger("shop")
app = FastAPI(routes=[starlette_route("/api/analytics", channels=["feedback"])])
app.add_middleware(EventContextMiddleware)


@app.get("/")
def page():
    return FileResponse(Path(__file__).with_name("page.html"))


@app.get("/signup")
def sign_up(user: str):
    logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": user})
    return PlainTextResponse("welcome")


@app.get("/broken")
async def broken():
    raise RuntimeError("the view is broken")
