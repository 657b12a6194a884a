"""Endpoints that receive the events of browsers and log them through the application's logging.

EmitKit accepts events from servers only. The npm package `@stacksee/analytics` has a `ProxyProvider` that sends the
events of a browser to an endpoint of the application (seed document, *Client-to-Server with Proxy*). This package
provides that endpoint.

`wsgi_app`, `asgi_app`, `django_view`, `flask_blueprint` and `starlette_route` are complete endpoints with the same
options. `ingest_proxy_events` logs a payload that the application has received by itself.
"""

import warnings
from typing import TYPE_CHECKING

from emitkit_logging.proxy.endpoints import asgi_app, django_view, flask_blueprint, starlette_route, wsgi_app
from emitkit_logging.proxy.payload import PayloadError
from emitkit_logging.proxy.replay import ingest_proxy_events
from emitkit_logging.proxy.request import BrowserRequest

__all__ = [
    "BrowserRequest",
    "PayloadError",
    "asgi_app",
    "django_view",
    "flask_blueprint",
    "ingest_proxy_events",
    "starlette_route",
    "wsgi_app",
]

if TYPE_CHECKING:
    Visit = BrowserRequest
else:

    def __getattr__(name):
        if name != "Visit":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "emitkit_logging.proxy.Visit is now emitkit_logging.proxy.BrowserRequest",
            DeprecationWarning,
            stacklevel=2,
        )
        return BrowserRequest
