"""The endpoints of the frameworks, in cases that real servers do not produce."""

from __future__ import annotations

import asyncio
import functools
import io

import flask
import pytest

from emitkit_logging.proxy import asgi_app, flask_blueprint, starlette_route, wsgi_app
from tests.proxy.helpers import payload

# WSGI


class Broken(io.BytesIO):
    def read(self, size=-1, /):
        raise ConnectionResetError


def wsgi_response(body=b"", **environ):
    """Return the status and the body of a response of the WSGI application."""
    started = []
    base = {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(body),
    }
    (content,) = wsgi_app(logger="test.wsgi")({**base, **environ}, lambda *given: started.append(given))
    ((status, headers),) = started
    assert dict(headers)["Content-Length"] == str(len(content))
    return status, content


def test_wsgi_bodies():
    """A body is read with a length, or when the server ends the stream. Without either it is empty (PEP 3333)."""
    body = payload({"type": "reset"})
    assert wsgi_response(body, CONTENT_LENGTH=str(len(body))) == ("200 OK", b"OK")
    assert wsgi_response(body, **{"wsgi.input_terminated": True}) == ("200 OK", b"OK")
    assert wsgi_response(body)[0] == "400 Bad Request"
    assert wsgi_response(body, CONTENT_LENGTH="")[0] == "400 Bad Request"
    assert wsgi_response(b" " * 70_000, **{"wsgi.input_terminated": True})[0].startswith("413 ")
    assert wsgi_response(body, CONTENT_LENGTH="99")[0] == "200 OK"
    assert wsgi_response(body, CONTENT_LENGTH="0" * 5_000 + "5")[0] == "400 Bad Request"
    assert wsgi_response(**{"wsgi.input": Broken(), "CONTENT_LENGTH": "9"}) == (
        "400 Bad Request",
        b'{"error": "the payload could not be read"}',
    )
    assert wsgi_response(REQUEST_METHOD="HEAD") == ("405 Method Not Allowed", b"")


def test_wsgi_without_a_host():
    """A request without `Host` (HTTP/1.0) has the server's own host."""
    body = payload()
    length = {"CONTENT_LENGTH": str(len(body))}
    assert wsgi_response(body, HTTP_ORIGIN="http://shop.example", **length)[0] == "200 OK"
    assert wsgi_response(body, HTTP_ORIGIN="http://evil.example", **length)[0] == "403 Forbidden"


def test_wsgi_length_given_twice():
    """Where a server gives the length as a header too, `CONTENT_LENGTH` counts."""
    body = payload()
    assert wsgi_response(body, CONTENT_LENGTH=str(len(body)), HTTP_CONTENT_LENGTH="70000")[0] == "200 OK"


# ASGI


def asgi_response(*messages, kind="http", headers=(), **options):
    """Return the status and the body of a response of the ASGI application."""
    coming, sent = list(messages), []

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "method": "POST", "headers": list(headers), "server": ("shop.example", 8000), "client": None}
    asyncio.run(asgi_app(logger="test.asgi", **options)(scope, receive, send))
    return [sent[0]["status"], sent[1]["body"]] if sent else []


def test_asgi_bodies():
    """A body may come in parts. One that is too long is refused, and so is one whose browser disconnects."""
    body = payload({"type": "reset"})
    parts = [{"type": "http.request", "body": body[at : at + 5], "more_body": True} for at in range(0, len(body), 5)]
    assert asgi_response(*parts, {"type": "http.request"}) == [200, b"OK"]
    long = [{"type": "http.request", "body": b" " * 40_000, "more_body": True}] * 2
    assert asgi_response(*long, {"type": "http.request"})[0] == 413
    assert asgi_response({"type": "http.disconnect"})[0] == 400


def test_asgi_protocols():
    """A web socket is closed, and another protocol is an error."""
    with pytest.raises(RuntimeError, match="accepts http, not lifespan"):
        asgi_response(kind="lifespan")
    sent = []
    asyncio.run(asgi_app()({"type": "websocket"}, None, functools.partial(_append, sent)))
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def _append(sent, message):
    sent.append(message)


def test_asgi_without_a_host():
    """A request without `Host` (HTTP/1.0) has the server's own host."""
    body = {"type": "http.request", "body": payload()}
    assert asgi_response(body, headers=[(b"origin", b"http://shop.example:8000")])[0] == 200
    assert asgi_response(body, headers=[(b"origin", b"http://shop.example")])[0] == 403


def test_starlette_route():
    """The route accepts all methods at its path, so that the endpoint itself answers each."""
    route = starlette_route("/api/analytics", logger="test.starlette")
    assert (route.path, route.methods) == ("/api/analytics", None)


# Flask


def test_flask_blueprint():
    """The blueprint answers every method itself."""
    app = flask.Flask(__name__)
    app.register_blueprint(flask_blueprint("/api/analytics", logger="test.flask"))
    client = app.test_client()
    response = client.post("/api/analytics", data=payload({"type": "reset"}), headers={"Origin": "http://localhost"})
    assert (response.status_code, response.data, response.content_length) == (200, b"OK", 2)
    assert client.options("/api/analytics", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.delete("/api/analytics").status_code == 405
    broken = client.post("/api/analytics", input_stream=Broken(), environ_overrides={"CONTENT_LENGTH": "9"})
    assert (broken.status_code, broken.json) == (400, {"error": "the payload could not be read"})


def test_flask_body_that_was_read_before():
    """A body that other code has read from Flask before is still used."""
    app = flask.Flask(__name__)
    app.before_request(lambda: flask.request.get_data() and None)
    app.register_blueprint(flask_blueprint("/api/analytics", logger="test.flask"))
    response = app.test_client().post("/api/analytics", data=payload({"type": "reset"}))
    assert (response.status_code, response.data) == (200, b"OK")
