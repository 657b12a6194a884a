"""Proxy: what browsers track, replayed through the application's logging.

EmitKit is for servers alone. The npm package `@stacksee/analytics` has a `ProxyProvider` that sends what happens in a
browser to an endpoint of the application (seed document, *Client-to-Server with Proxy*); this package is that endpoint.

`wsgi_app`, `asgi_app`, `django_view`, `flask_blueprint` and `starlette_route` are ready endpoints, with the same
options; `ingest_proxy_events` takes a payload that another endpoint has received.
"""

from emitkit_logging.proxy.endpoints import asgi_app, django_view, flask_blueprint, starlette_route, wsgi_app
from emitkit_logging.proxy.payload import PayloadError, ingest_proxy_events
from emitkit_logging.proxy.request import Visit

__all__ = [
    "PayloadError",
    "Visit",
    "asgi_app",
    "django_view",
    "flask_blueprint",
    "ingest_proxy_events",
    "starlette_route",
    "wsgi_app",
]
