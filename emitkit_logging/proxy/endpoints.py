"""Framework adapters for the browser-event endpoint.

Each turns its framework's request into a `BrowserRequest`, and the `EndpointResponse` into its framework's response.
Their options are those of `EndpointPolicy`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from emitkit_logging.proxy.policy import EndpointPolicy, EndpointResponse
from emitkit_logging.proxy.request import BrowserRequest, RequestHeaders
from emitkit_logging.proxy.version2 import MAX_BYTES, MOST_DISCARDED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Blueprint
    from starlette.routing import Route

    from emitkit_logging.middleware.asgi import Application, Receive, Scope, Send

# WSGI


def wsgi_app(**options: Any) -> WSGIApplication:
    """Return a WSGI application that receives the events of browsers, at any path.

    Args:
        options: as for `EndpointPolicy`. `BrowserRequest.source` is the environ.
    """
    policy = EndpointPolicy(**options)

    def proxy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = _wsgi_headers(environ)
        request = policy.request(headers, environ, environ["REQUEST_METHOD"], environ.get("REMOTE_ADDR"))
        response = policy.check(request) or policy.accept(request, _wsgi_body(environ))
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", [*_with_length(response).items()])
        return [response.body]

    return proxy


def _wsgi_headers(environ: WSGIEnvironment) -> RequestHeaders:
    headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    headers |= {name: environ[name] for name in ("CONTENT_LENGTH", "CONTENT_TYPE") if environ.get(name)}
    pairs = ((name.replace("_", "-"), value) for name, value in headers.items())
    return RequestHeaders(pairs, host=_wsgi_host(environ))


def _wsgi_host(environ: WSGIEnvironment) -> str:
    return f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"


def _wsgi_body(environ: WSGIEnvironment) -> bytes | None:
    """Return the body of a request, but not much more than `MAX_BYTES`; `None` when reading fails.

    The rest is read and discarded: a browser whose body is not read may not get the response.
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() and not environ.get("wsgi.input_terminated"):
        return b""  # PEP 3333: without a length the stream may never end, unless the server says that it does
    left = min(int(length[:20]), MOST_DISCARDED) if length.isdecimal() else MOST_DISCARDED
    body = b""
    try:
        while left > 0 and (chunk := environ["wsgi.input"].read(min(left, MAX_BYTES + 1))):
            body += chunk[: MAX_BYTES + 1 - len(body)]
            left -= len(chunk)
    except (OSError, ValueError):  # the connection is closed, or its chunks are invalid
        return None
    return body


def _with_length(response: EndpointResponse) -> dict[str, str]:
    return {**response.headers, "Content-Length": str(len(response.body))}


# ASGI


def asgi_app(**options: Any) -> Application:
    """Return an ASGI application that receives the events of browsers, at any path.

    Args:
        options: as for `EndpointPolicy`. `BrowserRequest.source` is the scope.
    """
    policy = EndpointPolicy(**options)

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the endpoint for browser events accepts http, not {scope['type']}")
        request = _asgi_request(policy, scope)
        response = policy.check(request)
        if response is None:
            response = policy.accept(request, await _asgi_body(receive))
        await _asgi_send(response, send)

    return proxy


def _asgi_request(policy: EndpointPolicy, scope: Scope) -> BrowserRequest:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    host = ":".join(str(part) for part in scope.get("server") or () if part is not None)
    headers = RequestHeaders(pairs, host=host)
    peer = (scope.get("client") or ("",))[0]
    return policy.request(headers, scope, scope["method"], peer)


async def _asgi_body(receive: Receive) -> bytes | None:
    """Return the body of a request, but not much more than `MAX_BYTES`; `None` when the browser disconnects.

    The rest is received and discarded: a browser whose body is not read may not get the response.
    """
    body, received = b"", 0
    while received <= MOST_DISCARDED:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        body += chunk[: MAX_BYTES + 1 - len(body)]
        received += len(chunk)
        if not message.get("more_body"):
            break
    return body


async def _asgi_send(response: EndpointResponse, send: Send) -> None:
    headers = _with_length(response).items()
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": response.body})


def starlette_route(path: str, **options: Any) -> Route:
    """Return a route of Starlette or FastAPI: `Starlette(routes=[starlette_route("/api/analytics")])`.

    Args:
        path: the path that browsers send to.
        options: as for `EndpointPolicy`. `BrowserRequest.source` is the scope.
    """
    from starlette.routing import Route  # noqa: PLC0415 - an optional dependency

    return Route(path, _Application(asgi_app(**options)), name="emitkit_proxy")


class _Application:
    """An ASGI application as an object: Starlette calls a plain function as a view."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._app(scope, receive, send)


# Django and Flask


def django_view(**options: Any) -> Callable[[Any], Any]:
    """Return a Django view: `path("api/analytics", django_view())`. It checks the origin, so it needs no CSRF token.

    Args:
        options: as for `EndpointPolicy`. `BrowserRequest.source` is the `HttpRequest`.
    """
    from django.http import HttpResponse  # noqa: PLC0415 - an optional dependency
    from django.views.decorators.csrf import csrf_exempt  # noqa: PLC0415

    policy = EndpointPolicy(**options)

    def proxy(source: Any) -> Any:
        headers = RequestHeaders(source.headers.items(), host=_wsgi_host(source.META))
        request = policy.request(headers, source, source.method, source.META.get("REMOTE_ADDR"))
        response = policy.check(request) or _accept_django(policy, request)
        # Django leaves the length to a middleware that may not be installed
        return HttpResponse(response.body, status=response.status, headers=_with_length(response))

    return csrf_exempt(proxy)  # type: ignore[no-any-return]


def _accept_django(policy: EndpointPolicy, request: BrowserRequest) -> EndpointResponse:
    from django.http.request import RequestDataTooBig, UnreadablePostError  # noqa: PLC0415 - an optional dependency

    try:
        body = request.source.read(MAX_BYTES + 1)
        left = MOST_DISCARDED
        while left > 0 and (chunk := request.source.read(MAX_BYTES)):
            left -= len(chunk)
        return policy.accept(request, body)
    except RequestDataTooBig:
        return policy.refuse_too_large(request)
    except UnreadablePostError:
        return policy.accept(request, None)


def flask_blueprint(path: str, **options: Any) -> Blueprint:
    """Return a Flask blueprint: `app.register_blueprint(flask_blueprint("/api/analytics"))`.

    Args:
        path: the path that browsers send to.
        options: as for `EndpointPolicy`. `BrowserRequest.source` is Flask's request.
    """
    import flask  # noqa: PLC0415 - an optional dependency

    policy = EndpointPolicy(**options)
    blueprint = flask.Blueprint("emitkit_proxy", __name__)

    @blueprint.route(path, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def proxy() -> Any:
        source = flask.request
        headers = RequestHeaders(source.headers.items(), host=_wsgi_host(source.environ))
        request = policy.request(headers, source, source.method, source.remote_addr)
        response = policy.check(request)
        if response is None:
            body = _wsgi_body(source.environ)
            # when something has read the body before, Flask has kept it
            response = policy.accept(request, source.get_data() if body == b"" else body)
        return flask.Response(response.body, response.status, headers=dict(response.headers))

    return blueprint
