"""Endpoints: the gate in each framework's own clothes. Their options are those of `Gate`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from emitkit_logging.proxy.payload import MOST_BYTES
from emitkit_logging.proxy.policy import Answer, Gate
from emitkit_logging.proxy.request import Headers, Visit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Blueprint
    from starlette.routing import Route

    from emitkit_logging.middleware.asgi import Application, Receive, Scope, Send


def wsgi_app(**options: Any) -> WSGIApplication:
    """Return a WSGI application that takes what browsers send, at whatever path it is put.

    Args:
        options: as of `Gate`; `source` of a visit is the environ.
    """
    gate = Gate(**options)

    def proxy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR")
        headers = _with_host(_of_wsgi(environ), environ)
        visit = Visit(headers, gate.client(peer, headers), environ, environ["REQUEST_METHOD"], peer)
        answer = gate.refusal(visit) or gate.take(visit, _body(environ))
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [*answer.headers.items(), ("Content-Length", str(len(answer.body)))],
        )
        return [answer.body]

    return proxy


def _of_wsgi(environ: WSGIEnvironment) -> Headers:
    headers = Headers((name[5:].replace("_", "-"), value) for name, value in environ.items() if name[:5] == "HTTP_")
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        if environ.get(name):
            headers[name.lower().replace("_", "-")] = environ[name]
    return headers


def _with_host(headers: Headers, environ: WSGIEnvironment) -> Headers:
    """Put in the host that the server goes by, where a request names none (HTTP/1.0)."""
    if "host" not in headers:
        headers["host"] = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return headers


def _body(environ: WSGIEnvironment) -> bytes | None:
    """Return a request's body, or as much of it as shows that it is too long; `None` when it breaks off."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() and not environ.get("wsgi.input_terminated"):
        return b""  # PEP 3333: without a length, only a server that says so ends the stream by itself
    left = min(int(length[:20]), MOST_BYTES + 1) if length.isdecimal() else MOST_BYTES + 1
    body = b""
    try:
        while left > 0 and (chunk := environ["wsgi.input"].read(left)):
            body += chunk
            left -= len(chunk)
    except (OSError, ValueError):  # the browser has gone, or its chunks are none
        return None
    return body


def asgi_app(**options: Any) -> Application:
    """Return an ASGI application that takes what browsers send, at whatever path it is put.

    Args:
        options: as of `Gate`; `source` of a visit is the scope.
    """
    gate = Gate(**options)

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the endpoint of browsers' events takes http, not {scope['type']}")
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        if "host" not in headers:  # HTTP/1.0
            headers["host"] = ":".join(str(part) for part in scope.get("server") or () if part is not None)
        peer = (scope.get("client") or ("",))[0]
        visit = Visit(headers, gate.client(peer, headers), scope, scope["method"], peer)
        answer = gate.refusal(visit)
        if answer is None:
            answer = gate.take(visit, await _received(receive))
        await _send(answer, send)

    return proxy


async def _received(receive: Receive) -> bytes | None:
    """Return a request's body, or as much of it as shows that it is too long; `None` when it breaks off."""
    body = b""
    while len(body) <= MOST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


async def _send(answer: Answer, send: Send) -> None:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})


def starlette_route(path: str, **options: Any) -> Route:
    """Return a route of Starlette or FastAPI: `Starlette(routes=[starlette_route("/api/analytics")])`.

    Args:
        path: where browsers send to.
        options: as of `Gate`; `source` of a visit is the scope.
    """
    from starlette.routing import Route  # noqa: PLC0415 - for those who have it

    return Route(path, _Endpoint(asgi_app(**options)), name="emitkit_proxy")


class _Endpoint:
    """An application as Starlette tells it from a function that makes a response: by being an object."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._app(scope, receive, send)


def django_view(**options: Any) -> Callable[[Any], Any]:
    """Return a view of Django: `path("api/analytics", django_view())`. It needs no CSRF token: it looks at the origin.

    Args:
        options: as of `Gate`; `source` of a visit is the `HttpRequest`.
    """
    from django.http import HttpResponse  # noqa: PLC0415 - for those who have it
    from django.http.request import RequestDataTooBig, UnreadablePostError  # noqa: PLC0415
    from django.views.decorators.csrf import csrf_exempt  # noqa: PLC0415

    gate = Gate(**options)

    def proxy(request: Any) -> Any:
        peer = request.META.get("REMOTE_ADDR")
        headers = _with_host(Headers(request.headers.items()), request.META)
        visit = Visit(headers, gate.client(peer, headers), request, request.method, peer)
        answer = gate.refusal(visit)
        if answer is None:
            try:
                answer = gate.take(visit, request.read(MOST_BYTES + 1))
            except RequestDataTooBig:
                answer = gate.too_large(visit)
            except UnreadablePostError:
                answer = gate.take(visit, None)
        length = {"Content-Length": str(len(answer.body))}  # Django leaves it to a middleware
        return HttpResponse(answer.body, status=answer.status, headers={**answer.headers, **length})

    return csrf_exempt(proxy)  # type: ignore[no-any-return]


def flask_blueprint(path: str, **options: Any) -> Blueprint:
    """Return a blueprint of Flask: `app.register_blueprint(flask_blueprint("/api/analytics"))`.

    Args:
        path: where browsers send to.
        options: as of `Gate`; `source` of a visit is Flask's request.
    """
    import flask  # noqa: PLC0415 - for those who have it

    gate = Gate(**options)
    blueprint = flask.Blueprint("emitkit_proxy", __name__)

    @blueprint.route(path, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def proxy() -> Any:
        request = flask.request
        headers = _with_host(Headers(request.headers.items()), request.environ)
        peer = request.remote_addr
        visit = Visit(headers, gate.client(peer, headers), request, request.method, peer)
        answer = gate.refusal(visit)
        if answer is None:
            body = _body(request.environ)
            # what has been read before is kept by Flask
            answer = gate.take(visit, request.get_data() if body == b"" else body)
        return flask.Response(answer.body, answer.status, headers=dict(answer.headers))

    return blueprint
