"""A small shop as a WSGI and as an ASGI application. It uses logging and does not import EmitKit.

gunicorn --chdir examples --log-config-json logging.json shop:wsgi
uvicorn --log-config examples/logging.json --app-dir examples shop:asgi
"""

import logging
from urllib.parse import parse_qs

logger = logging.getLogger("shop")


def charge(amount):
    if amount > 100:
        raise ValueError(f"card declined for {amount}")


def respond(path, query):
    """Return the status and the text of the response."""
    parameters = {key: values[0] for key, values in parse_qs(query).items()}
    if path == "/signup":
        user = {"id": parameters["user"], "email": f"{parameters['user']}@example.com"}
        logger.info("user_signed_up", extra={"event": "user_signed_up", "user": user, "plan": "pro"})
        return "201 Created", "welcome\n"
    if path == "/buy":
        amount = float(parameters["amount"])
        charge(amount)
        purchase = {"event": "purchase_completed", "user_id": parameters["user"], "amount": amount}
        logger.info("purchase_completed", extra=purchase)
        return "200 OK", "thank you\n"
    if path == "/":
        logger.info("page_view", extra={"event": "page_view", "page": {"path": path}})
        return "200 OK", "hello\n"
    logger.warning("not found: %s", path)
    return "404 Not Found", "not found\n"


def wsgi(environ, start_response):
    status, text = respond(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
    start_response(status, [("Content-Type", "text/plain")])
    return [text.encode()]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    status, text = respond(scope["path"], scope["query_string"].decode())
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
