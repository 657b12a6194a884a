"""A WSGI application without a framework, with the middleware and the endpoint for browser events.

gunicorn --chdir examples --log-config-json logging.json wsgi_app:app
"""

import logging
from pathlib import Path
from urllib.parse import parse_qs

from emitkit_logging.middleware.wsgi import EventContextMiddleware
from emitkit_logging.proxy import wsgi_app

logger = logging.getLogger("shop")
analytics = wsgi_app(channels=["feedback"])
PAGE = Path(__file__).with_name("page.html").read_bytes()


def shop(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/api/analytics":
        return analytics(environ, start_response)
    if path == "/broken":
        raise RuntimeError("the view is broken")
    if path == "/signup":
        user = parse_qs(environ["QUERY_STRING"])["user"][0]
        logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": user})
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"welcome"]
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]


app = EventContextMiddleware(shop)
