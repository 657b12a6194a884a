"""A user's program that uses every public name, for type checkers: `make types` checks it, nothing runs it.

mypy and pyright check it in their strict modes. `assert_type` says which type a user sees, and each ignored error is
one that the checker must find: both checkers report an ignore that is not needed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

import emitkit_logging
from emitkit_logging import (
    EmitKitFormatter,
    EmitKitHandler,
    EventFilter,
    Stats,
    bind_event_context,
    event_context,
    verify_callback,
)
from emitkit_logging.inbox import Inbox
from emitkit_logging.middleware import asgi, wsgi
from emitkit_logging.middleware import celery as celery_middleware
from emitkit_logging.middleware import django as django_middleware
from emitkit_logging.middleware import flask as flask_middleware
from emitkit_logging.proxy import (
    PayloadError,
    asgi_app,
    django_view,
    flask_blueprint,
    ingest_proxy_events,
    starlette_route,
    wsgi_app,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from typing_extensions import assert_type

    assert_type(emitkit_logging.__version__, str)


def handler() -> EmitKitHandler:
    """Make a handler with every option."""
    return EmitKitHandler(
        "emitkit_0123456789abcdef",
        level="INFO",
        base_url="https://api.emitkit.com",
        allow_http=False,
        channel_name="general",
        category_channel_map={"user": "user-activity"},
        level_channel_map={"ERROR": "alerts", logging.CRITICAL: "alerts"},
        notify=True,
        display_as="notification",
        source="shop",
        plain_level=None,
        event_from_message=True,
        timeout=5,
        queue_size=10_000,
        alias_ttl=3600.0,
        alias_cache_size=10_000,
        shutdown_timeout=5.0,
        rate_limit=None,
        alert_reserve=0.1,
        notify_interval=300.0,
        capture_uncaught=True,
        spool=Path("emitkit.db"),
        spool_size=64 * 1024 * 1024,
        spool_ttl=604_800.0,
        relay=None,
        redact=("password", "iban"),
        context={"server": {"release": "1.4"}},
        debug=False,
        enabled=True,
    )


def wrong_options() -> None:
    """Type checkers find an option that does not exist and a value of the wrong type."""
    EmitKitHandler(chanel_name="general")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    EmitKitHandler(level=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EmitKitHandler(display_as="toast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EmitKitFormatter(display_as="toast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventFilter(events=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Inbox(generation="future")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@event_context(job="export")
def export(rows: int) -> str:
    """Keep the type of a function that is decorated."""
    return str(rows)


@event_context(job="export")
async def export_slowly(rows: int) -> str:
    """Keep the type of a coroutine that is decorated."""
    return str(rows)


async def exports() -> None:
    """Call both, one of them wrongly."""
    assert_type(export(5), str)
    assert_type(await export_slowly(5), str)
    export("five")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def delivery(made: EmitKitHandler) -> bool:
    """Use a handler's methods and its statistics."""
    made.setFormatter(EmitKitFormatter("%(message)s", channel_name="general", redact=["iban"], static_fields={"a": 1}))
    made.addFilter(EventFilter(events=["user_signed_up"], event_patterns=["user_*"], exclude_events=()))
    made.addFilter(EventFilter(methods=["track"], exclude={"identify"}))
    logging.getLogger().addHandler(made)
    made.identify("user-123", {"plan": "pro"}, aliases=["ada@example.com"])
    made.identify(123)
    assert_type(made.flush(), bool)
    assert_type(made.base_url, str)
    assert_type(made.enabled, bool)
    made.close()
    counts(made.stats)
    return made.flush(timeout=2.5)


def counts(stats: Stats) -> str:
    """Read every field of the statistics."""
    assert_type(stats.accepted, int)
    assert_type(stats.delivered, int)
    assert_type(stats.pending, int)
    assert_type(stats.dropped, Mapping[str, int])
    assert_type(stats.events, int)
    assert_type(stats.identifies, int)
    assert_type(stats.requests, int)
    assert_type(stats.retries, int)
    assert_type(stats.identifies_lost, int)
    assert_type(stats.kinds, int)
    assert_type(stats.storming, Mapping[str, int])
    stats.accepted = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    return str(stats)


def callback(request: flask.Request) -> str | None:
    """Verify a callback: body as bytes or text, headers of a framework."""
    assert_type(verify_callback(request.get_data(), request.headers), "dict[str, Any]")
    verified = verify_callback("{}", {"webhook-id": "msg_1"}, secret="whsec_MfKQ", tolerance=60)
    action = verified["answer"]["action"]
    return action if isinstance(action, str) else None


def contexts() -> int:
    """Use contexts, from whose blocks a value is returned."""
    with event_context(user_id="user-123", page={"path": "/"}, tags=["a"]):
        bind_event_context(tenant="acme")
        return 5


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer nothing, as a WSGI application."""
    start_response("204 No Content", [])
    return []


def known(environ: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the application knows of a request."""
    return {"route": environ.get("PATH_INFO"), "user_id": None}


def middleware(app: flask.Flask) -> None:
    """Install the middleware of each framework."""
    wsgi.EventContextMiddleware(wsgi.EventContextMiddleware(application, known))
    asgi.EventContextMiddleware(asgi_app())
    Starlette(
        routes=[starlette_route("/api/analytics", channels=["feedback"])],
        middleware=[Middleware(asgi.EventContextMiddleware)],
    )
    flask_middleware.install(app)
    celery_middleware.install()
    print(django_middleware.EventContextMiddleware)


def endpoints(app: flask.Flask) -> None:
    """Make the endpoint for browsers in each framework."""
    wsgi_app(
        logger="shop.browser",
        channels=["feedback"],
        rate_limit=1_200,
        trusted_proxies=["10.0.0.0/8"],
        allowed_origins=["https://www.example.com"],
        enrich_context={"user_id": "user-123"},
        on_error=print,
    )
    app.register_blueprint(flask_blueprint("/api/analytics"))
    assert_type(starlette_route("/api/analytics"), Route)
    print(django_view(channels=["feedback"]))


def ingested(body: bytes) -> int:
    """Log the events of a payload, or return the status of its refusal."""
    try:
        return ingest_proxy_events(body, logger=logging.getLogger("shop"), headers={"User-Agent": "x"}, channels=["x"])
    except PayloadError as error:
        return assert_type(error.status, int)


def inbox(tmp_path: Path) -> list[dict[str, Any]]:
    """Run a local EmitKit."""
    with Inbox(
        port=0, rate_limit=1_000, db=tmp_path / "inbox.db", faults=["503 times 1"], generation="current"
    ) as made:
        assert_type(made.url, str)
        assert_type(made.api_key, str)
        assert_type(made.wait_for(title="User Signed Up"), "dict[str, Any]")
        assert_type(made.wait_for(2, timeout=1.0), "list[dict[str, Any]]")
        return made.events + made.requests + made.identifies
