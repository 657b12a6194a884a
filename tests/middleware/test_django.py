"""The Django middleware and endpoint: users, streams, status records, coroutine views."""

from __future__ import annotations

import asyncio
import json

import django
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpResponse, StreamingHttpResponse
from django.http.request import RequestDataTooBig, UnreadablePostError
from django.urls import path

from emitkit_logging import bind_event_context
from emitkit_logging.proxy import django_view
from tests.middleware.helpers import log


def login(request):
    from django.contrib.auth.models import User

    user = User(pk=7, username="ada")
    request.session[SESSION_KEY] = "7"
    request.session[BACKEND_SESSION_KEY] = f"{__name__}.DjangoBackend"
    request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    return HttpResponse("ok")


class DjangoBackend:
    def get_user(self, user_id):
        from django.contrib.auth.models import User

        return User(pk=7, username="ada")


def item(request, number):
    log.info("before the user is loaded")
    assert request.user.is_authenticated
    log.info("after the user is loaded")
    return StreamingHttpResponse(_streamed())


def _streamed():
    log.info("streamed")
    yield b"ok"


async def coroutine(request):
    log.info("coroutine")
    user = await request.auser()
    assert not user.is_authenticated
    log.info("after the user is loaded")
    return HttpResponse("ok")


def binding(get_response):
    """Middleware of the application's that binds, outside of ours."""

    def middleware(request):
        if "tenant" in request.GET:
            bind_event_context(tenant=request.GET["tenant"])
        return get_response(request)

    return middleware


def teapot(request):
    return HttpResponse("no", status=503)


def bound(request):
    bind_event_context(step=request.GET["tenant"])
    log.info("bound")
    return HttpResponse("ok")


async def coroutine_bound(request):
    await asyncio.to_thread(bind_event_context, step=request.GET["tenant"])
    log.info("bound")
    return HttpResponse("ok")


urlpatterns = [
    path("login", login),
    path("items/<int:number>", item),
    path("coroutine", coroutine),
    path("teapot", teapot),
    path("bound", bound),
    path("coroutine/bound", coroutine_bound),
    path("api/analytics", django_view(logger="test.middleware.browser")),
]


@pytest.fixture(scope="module")
def configured():
    settings.configure(
        SECRET_KEY="x",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIDDLEWARE=[
            f"{__name__}.binding",
            "emitkit_logging.middleware.django.EventContextMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        AUTHENTICATION_BACKENDS=[f"{__name__}.DjangoBackend"],
        LOGGING_CONFIG=None,
    )
    django.setup()


def test_user(configured, collector):
    """The user is known once the view has read it. The context stays while the response is streamed."""
    from django.test import Client

    client = Client()
    assert client.get("/login").status_code == 200
    assert client.get("/items/3").getvalue() == b"ok"
    assert [event.user_id for event in collector.events] == [None, "7", "7"]
    assert collector.parts() == [{"method": "GET", "route": "items/<int:number>"}] * 3


def test_status_record(configured, collector):
    """The record that Django logs for an error status, after all middleware, has its request."""
    from django.test import Client

    assert Client().get("/teapot", HTTP_USER_AGENT="UA").status_code == 503
    (event,) = collector.events
    assert (event.title, event.channel) == ("Service Unavailable: /teapot", "alerts")
    assert event.metadata["page"]["path"] == "/teapot"
    assert event.metadata["device"] == {"userAgent": "UA"}


def test_coroutine_view(configured, collector):
    """Coroutine views under the asynchronous handler have the context."""
    from django.test import AsyncClient

    async def main():
        response = await AsyncClient().get("/coroutine")
        assert response.content == b"ok"

    asyncio.run(main())
    assert collector.parts() == [{"method": "GET", "route": "coroutine"}] * 2
    assert [event.user_id for event in collector.events] == [None, None]


def test_browser_endpoint(configured, collector):
    """The endpoint needs no CSRF token, and refuses a body that is too long. Events have no page of the endpoint."""
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.get("/login")
    body = json.dumps({"events": [{"type": "track", "event": {"action": "x"}}]})
    for _ in range(2):
        response = client.post("/api/analytics", body, "application/json", HTTP_ORIGIN="http://testserver")
        assert (response.status_code, response.content, response["Content-Length"]) == (200, b"OK", "2")
    assert client.post("/api/analytics", " " * 65_537, "text/plain").status_code == 413
    assert client.get("/api/analytics").status_code == 405
    assert [event.title for event in collector.events if event.kind == ("x",)] == ["X", "X"]
    assert all("page" not in event.metadata for event in collector.events if event.kind == ("x",))


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UnreadablePostError("connection reset"), 400, "the payload could not be read"),
        (RequestDataTooBig("more than DATA_UPLOAD_MAX_MEMORY_SIZE"), 413, "the payload has more than 65536 bytes"),
    ],
)
def test_body_that_django_cannot_read(configured, monkeypatch, error, status, reason):
    """A body that breaks off, or that Django refuses, is refused with a reason."""
    from django.test import RequestFactory

    def read(*_):
        raise error

    request = RequestFactory().post("/api/analytics", b"{}", "application/json")
    monkeypatch.setattr(request, "read", read)
    response = django_view(logger="test.middleware.browser")(request)
    assert (response.status_code, json.loads(response.content)) == (status, {"error": reason})


@pytest.mark.parametrize("address", ["/bound", "/coroutine/bound"])
def test_binding(configured, collector, address):
    """What middleware outside of ours, and a view, bind is on the records of that request alone."""
    from django.test import Client

    for tenant in ("acme", "bolt"):
        assert Client().get(f"{address}?tenant={tenant}").content == b"ok"
    assert Client().get("/teapot").status_code == 503
    seen = [(event.metadata.get("tenant"), event.metadata.get("step")) for event in collector.events]
    assert seen == [("acme", "acme"), ("bolt", "bolt"), (None, None)]


def test_binding_in_coroutines(configured, collector):
    """The same under the asynchronous handler: a view binds in a thread."""
    from django.test import AsyncClient

    async def main():
        for tenant in ("acme", "bolt"):
            assert (await AsyncClient().get(f"/coroutine/bound?tenant={tenant}")).content == b"ok"

    asyncio.run(main())
    assert [event.metadata.get("step") for event in collector.events] == ["acme", "bolt"]
