"""The middleware of each framework, with what its real servers do not show: users, streams, bad days."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import uuid
from wsgiref.util import FileWrapper

import celery
import django
import flask
import flask_login
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from werkzeug.test import Client, create_environ

from emitkit_logging import EmitKitFormatter, bind_event_context, context, event_context
from emitkit_logging._events.captured import capture, restore
from emitkit_logging.middleware import asgi, wsgi
from emitkit_logging.middleware import celery as of_celery
from emitkit_logging.middleware import flask as of_flask
from emitkit_logging.proxy import django_view

log = logging.getLogger("test.middleware")


class Collector(logging.Handler):
    """Keeps the events of what is logged."""

    def __init__(self):
        super().__init__()
        self.formatter = EmitKitFormatter(plain_level="INFO")
        self.events = []

    def emit(self, record):
        self.events.append(self.formatter.event(restore(capture(record, self.formatter.json_converter))))

    def told(self, part="server"):
        """Return one part of the metadata of each event, without the requests' numbers."""
        parts = [event.metadata.get(part) for event in self.events]
        return [part and {key: value for key, value in part.items() if key != "requestId"} for part in parts]


def is_mine(event):
    return event.metadata["log"]["logger"] == log.name


@pytest.fixture(autouse=True)
def collector():
    root, collector = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.INFO)
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)
    assert context.current() is None


# WSGI


def test_wsgi_streams(collector):
    """What is logged while an answer is made, sent and closed belongs to its request; nothing does between."""

    def app(environ, start_response):
        log.info("called")
        start_response("200 OK", [])

        class Body:
            def __iter__(self):
                log.info("begun")
                yield b"a"
                log.info("going on")
                yield b"b"

            def close(self):
                log.info("closed")

        return Body()

    body = wsgi.EventContextMiddleware(app)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    log.info("between")
    assert list(body) == [b"a", b"b"]
    body.close()
    assert [bool(told) for told in collector.told()] == [True, False, True, True, True]


def test_wsgi_body_that_fails(collector):
    """An exception while the answer is sent is logged with its request, whoever logs it."""

    def app(environ, start_response):
        yield b"a"
        raise RuntimeError("broken")

    body = wsgi.EventContextMiddleware(app)({"REQUEST_METHOD": "PUT"}, lambda *_: None)
    with pytest.raises(RuntimeError) as caught:
        list(body)
    log.error("failed", exc_info=caught.value)
    body.close()
    assert collector.told() == [{"method": "PUT"}]


def test_wsgi_files():
    """A file stays the server's to send, in whichever way it can."""
    environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": FileWrapper}
    body = FileWrapper(io.BytesIO(b"x"))
    assert wsgi.EventContextMiddleware(lambda *_: body)(environ, None) is body


def test_wsgi_texts(collector):
    """Texts of an environ are bytes read as Latin-1; a host may be missing."""

    def app(environ, start_response):
        log.info("x")
        return []

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/cärt".encode().decode("latin-1"),
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "https",
    }
    wsgi.EventContextMiddleware(app)(environ, None)
    assert collector.told("page") == [
        {
            "url": "https://shop.example:8080/app/c%C3%A4rt",
            "host": "shop.example:8080",
            "path": "/app/cärt",
            "protocol": "https",
        }
    ]


def test_wsgi_asks_the_application(collector):
    """An application that knows routes and users of its own says so; what raises knows nothing."""

    def app(environ, start_response):
        log.info("before")
        environ["shop.user"] = 7
        log.info("after")
        return []

    def know(environ):
        return {"route": "/<anything>", "user_id": environ["shop.user"]}

    wsgi.EventContextMiddleware(app, know)({"REQUEST_METHOD": "GET"}, None)
    assert collector.told() == [{"method": "GET"}, {"method": "GET", "route": "/<anything>"}]
    assert [event.user_id for event in collector.events] == [None, "7"]


# Flask


def test_flask_login(collector):
    """The user is there once Flask-Login has loaded it; the route is the rule's."""
    app = flask.Flask(__name__)
    app.secret_key = "x"
    of_flask.install(app)
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):
        id = "u-7"

    manager.user_loader(lambda user_id: User())

    @app.get("/login")
    def login():
        flask_login.login_user(User())
        log.info("logged in")
        return "ok"

    @app.get("/items/<int:number>")
    def item(number):
        log.info("not asked yet")
        assert flask_login.current_user.is_authenticated
        log.info("asked")
        flask_login.logout_user()
        log.info("logged out")
        return flask.stream_with_context(iter(["ok"]))

    client = app.test_client()
    assert client.get("/login").text == "ok"
    assert client.get("/items/3").text == "ok"
    assert client.get("/nowhere").status_code == 404
    assert [event.user_id for event in collector.events] == ["u-7", None, "u-7", None]
    assert {told["route"] for told in collector.told()[1:]} == {"/items/<int:number>"}


def test_flask_error_that_propagates(collector):
    """An exception that Flask hands on is logged with its request by whoever gets it, though Flask has forgotten it."""
    app = flask.Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    of_flask.install(app)
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        Client(app).get("/broken")
    log.error("failed", exc_info=caught.value)
    assert collector.told("page")[0]["path"] == "/broken"


# ASGI


class Backend(AuthenticationBackend):
    users = {"ada": SimpleUser("ada")}  # noqa: RUF012

    async def authenticate(self, conn):
        user = self.users.get(conn.query_params.get("user"))
        return None if user is None else (AuthCredentials(["authenticated"]), user)


class Numbered(BaseUser):
    is_authenticated = True
    id = 7


def ask(address, kind="http", *headers):
    """Send a request to the shop of `asgi_app`; return what its answer begins with."""
    path_, _, query = address.partition("?")
    scope = {"type": kind, "path": path_, "query_string": query.encode(), "headers": [(b"host", b"x"), *headers]}
    scope |= {"scheme": "ws"} if kind == "websocket" else {"method": "GET"}
    coming = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}]
    sent = []

    async def receive():
        return coming.pop() if coming else await asyncio.sleep(3_600)

    async def send(message):
        sent.append(message)

    asyncio.run(asgi_app()(scope, receive, send))
    return sent[0]


def asgi_app():
    async def item(request):
        log.info("item")
        return PlainTextResponse("ok")

    def threaded(request):
        log.info("threaded")
        return PlainTextResponse("ok")

    async def stream(request):
        async def body():
            log.info("streamed")
            yield "ok"

        return StreamingResponse(body())

    async def socket(websocket):
        await websocket.accept()
        bind_event_context(room="lobby")
        log.info("connected")
        await websocket.close()

    async def broken(request):
        raise RuntimeError("broken")

    Backend.users["numbered"] = Numbered()
    return Starlette(
        routes=[
            Route("/items/{number}", item),
            Mount("/sub", routes=[Route("/threaded", threaded), Route("/stream", stream)]),
            WebSocketRoute("/socket", socket),
            Route("/broken", broken),
        ],
        middleware=[
            Middleware(asgi.EventContextMiddleware),
            Middleware(AuthenticationMiddleware, backend=Backend()),
        ],
    )


def test_asgi(collector):
    """Coroutines, threads and streams; users with a number, with a name alone, and none."""
    for address in ("/items/3?user=numbered", "/items/4?user=ada", "/items/5", "/sub/threaded", "/sub/stream"):
        assert ask(address, "http", (b"x-request-id", b"r-1"))["status"] == 200
    events = list(filter(is_mine, collector.events))
    assert [event.user_id for event in events] == ["7", "ada", None, None, None]
    pages = [event.metadata["page"]["path"] for event in events]
    assert pages == ["/items/3", "/items/4", "/items/5", "/sub/threaded", "/sub/stream"]
    assert {event.metadata["server"]["requestId"] for event in events} == {"r-1"}


def test_asgi_web_socket(collector):
    """A web socket has a context, too, in which it may bind what it learns."""
    assert ask("/socket?utm_source=mail", "websocket")["type"] == "websocket.accept"
    (event,) = filter(is_mine, collector.events)
    assert (event.metadata["page"]["protocol"], event.metadata["room"]) == ("ws", "lobby")
    assert event.metadata["utm"] == {"source": "mail"}


def test_asgi_error(collector):
    """An exception that leaves the application has its request, wherever it is logged."""
    with pytest.raises(RuntimeError) as caught:
        ask("/broken")
    log.error("failed", exc_info=caught.value)
    assert collector.events[-1].metadata["page"]["path"] == "/broken"


def test_asgi_lifespan():
    """What is no request passes as if nobody were there."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, context.current()))

    asyncio.run(asgi.EventContextMiddleware(app)({"type": "lifespan"}, None, None))
    assert seen == [({"type": "lifespan"}, None)]


@pytest.mark.parametrize(
    ("scope", "address"),
    [
        ({"server": ("10.0.0.1", 8000)}, "http://10.0.0.1:8000/a/b"),
        ({"server": ("/run/shop.sock", None)}, "http:///run/shop.sock/a/b"),
        ({"root_path": "/a", "path": "/a/b", "headers": [(b"host", b"x"), (b"host", b"y")]}, "http://x/a/b"),
        ({"root_path": "/root", "headers": [(b"host", b"x")], "scheme": "https"}, "https://x/root/a/b"),
        ({}, "http:///a/b"),
    ],
)
def test_asgi_addresses(scope, address):
    """A mounted application's path may or may not hold where it is mounted; the first header counts."""
    told = asgi.describe({"type": "http", "method": "GET", "path": "/a/b", "headers": [], **scope})
    assert told["page"]["url"] == address


# Django


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
    log.info("not asked yet")
    assert request.user.is_authenticated
    log.info("asked")
    return StreamingHttpResponse(_streamed())


def _streamed():
    log.info("streamed")
    yield b"ok"


async def coroutine(request):
    log.info("coroutine")
    user = await request.auser()
    assert not user.is_authenticated
    log.info("asked")
    return HttpResponse("ok")


def teapot(request):
    return HttpResponse("no", status=503)


urlpatterns = [
    path("login", login),
    path("items/<int:number>", item),
    path("coroutine", coroutine),
    path("teapot", teapot),
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
            "emitkit_logging.middleware.django.EventContextMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        AUTHENTICATION_BACKENDS=[f"{__name__}.DjangoBackend"],
        LOGGING_CONFIG=None,
    )
    django.setup()


def test_django_user(configured, collector):
    """The user is there once something has asked for it; the context stays while the answer is streamed."""
    from django.test import Client

    client = Client()
    assert client.get("/login").status_code == 200
    assert client.get("/items/3").getvalue() == b"ok"
    assert [event.user_id for event in collector.events] == [None, "7", "7"]
    assert collector.told() == [{"method": "GET", "route": "items/<int:number>"}] * 3


def test_django_status(configured, collector):
    """What Django itself logs of an answer, when all middleware is through, has its request."""
    from django.test import Client

    assert Client().get("/teapot", HTTP_USER_AGENT="UA").status_code == 503
    (event,) = collector.events
    assert (event.title, event.channel) == ("Service Unavailable: /teapot", "alerts")
    assert event.metadata["page"]["path"] == "/teapot"
    assert event.metadata["device"] == {"userAgent": "UA"}


def test_django_asynchronous(configured, collector):
    """Coroutine views, under the asynchronous handler."""
    from django.test import AsyncClient

    async def main():
        answer = await AsyncClient().get("/coroutine")
        assert answer.content == b"ok"

    asyncio.run(main())
    assert collector.told() == [{"method": "GET", "route": "coroutine"}] * 2
    assert [event.user_id for event in collector.events] == [None, None]


def test_django_browser(configured, collector):
    """The endpoint needs no CSRF token, believes the session, and reads no body that is too long."""
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.get("/login")
    body = json.dumps({"events": [{"type": "track", "event": {"action": "x"}}]})
    for _ in range(2):
        answer = client.post("/api/analytics", body, "application/json", HTTP_ORIGIN="http://testserver")
        assert (answer.status_code, answer.content, answer["Content-Length"]) == (200, b"OK", "2")
    assert client.post("/api/analytics", " " * 65_537, "text/plain").status_code == 413
    assert client.get("/api/analytics").status_code == 405
    assert [event.title for event in collector.events if event.kind == ("x",)] == ["X", "X"]
    assert all("page" not in event.metadata for event in collector.events if event.kind == ("x",))


# Celery


@pytest.fixture
def app():
    of_celery.install()
    of_celery.install()
    return celery.Celery("shop", broker="memory://", set_as_current=False)


def test_celery_eager(app, collector):
    """A task that runs where it is sent has the context of the place, and its own on top."""

    @app.task(name="shop.work")
    def work():
        log.info("working")

    with context.within({"tenant": "acme", "server": {"method": "GET"}}):
        done = work.apply(task_id="t-1")
        log.info("after")
    assert done.successful()
    mine = [told for told, event in zip(collector.told(), collector.events, strict=True) if is_mine(event)]
    assert mine == [{"method": "GET", "task": "shop.work", "taskId": "t-1"}, {"method": "GET"}]
    assert {event.metadata["tenant"] for event in collector.events} == {"acme"}


class Task:
    name = "shop.work"

    def __init__(self, **request):
        self.request = request


@pytest.mark.parametrize(
    ("request_", "tenant"),
    [
        ({"emitkit_context": '{"tenant": "acme"}'}, "acme"),
        ({"headers": {"emitkit_context": '{"tenant": "acme"}'}}, "acme"),
        ({"headers": None}, None),
        ({"emitkit_context": "{"}, None),
        ({"emitkit_context": "[]"}, None),
        ({"emitkit_context": 7}, None),
        ({"emitkit_context": "[" * 100_000}, None),
        ({"emitkit_context": json.dumps({"tenant": "x" * 20_000})}, None),
        ({"headers": ["x"]}, None),
        ({"emitkit_context": '{"tenant": "acme", "event": "forged", "identify": {"id": 1}}'}, "acme"),
    ],
)
def test_celery_messages(collector, request_, tenant):
    """What a message brings, wherever the protocol puts it; what is no context is none."""
    of_celery._begin("t-1", Task(**request_))
    log.info("working")
    of_celery._end("t-1")
    of_celery._end("t-1")
    (made,) = collector.events
    assert (made.metadata.get("tenant"), made.title, made.identities) == (tenant, "working", ())
    assert collector.told() == [{"task": "shop.work", "taskId": "t-1"}]


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"tenant": "acme"}, {"tenant": "acme"}),
        ({"tenant": "x" * 7_000, "more": "y" * 7_000, "last": "z" * 7_000, "user_id": "u-1"}, {"user_id": "u-1"}),
        ({}, None),
        ({"user_id": uuid.UUID(int=7), "api_key": "k"}, {"user_id": str(uuid.UUID(int=7)), "api_key": "[redacted]"}),
        (
            {"page": {"url": "https://x/?token=t&a=1", "referrer": "https://x/?api_key=k", "path": "/"}},
            {
                "page": {
                    "url": "https://x/?token=[redacted]&a=1",
                    "referrer": "https://x/?api_key=[redacted]",
                    "path": "/",
                }
            },
        ),
    ],
)
def test_celery_headers(values, sent):
    """The context goes along without secrets; of one that is too large, whom it is about."""
    headers = {}
    with context.within(values):
        of_celery._publish(headers=headers)
        of_celery._publish(headers=None)
    assert (json.loads(headers["emitkit_context"]) if headers else None) == sent


def test_celery_one_task_twice_at_once(collector):
    """A task that was delivered again while it runs elsewhere leaves its context with neither thread."""
    begun, ended = threading.Event(), threading.Event()

    def again():
        begun.wait(10)
        of_celery._begin("t-1", Task(emitkit_context='{"tenant": "acme"}'))
        ended.set()
        of_celery._end("t-1")
        log.info("later")

    thread = threading.Thread(target=again)
    thread.start()
    of_celery._begin("t-1", Task(emitkit_context='{"tenant": "acme"}'))
    begun.set()
    ended.wait(10)
    of_celery._end("t-1")
    thread.join(10)
    log.info("later")
    assert collector.told() == [None, None]


def test_an_answer_in_pieces(collector):
    """What is bound lasts while the answer is made, and a `with` around two pieces spans them; then all is over."""

    def application(environ, start_response):
        bind_event_context(tenant="acme")
        return pieces()

    def pieces():
        log.info("first")
        bind_event_context(step=1)
        with event_context(user_id="u-1"):
            yield b"1"
            log.info("second")
            yield b"2"
        log.info("third")
        yield b"3"

    body = wsgi.EventContextMiddleware(application)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, None)
    for _ in body:
        log.info("between")
    body.close()
    told = [(event.title, event.metadata.get("tenant"), event.metadata.get("step")) for event in collector.events]
    assert [each for each in told if each[0] != "between"] == [
        ("first", "acme", None),
        ("second", "acme", 1),
        ("third", "acme", 1),
    ]
    assert {each for each in told if each[0] == "between"} == {("between", None, None)}
    assert [event.user_id for event in collector.events if event.title == "second"] == ["u-1"]
    assert context.current() is None


@pytest.mark.parametrize("known", [None, {"tenant": "x"}, "no dict", {"route": 7, "user_id": uuid.UUID(int=7)}])
def test_an_odd_answer_of_know(collector, known):
    """Whatever an application returns for what it knows, records are logged and requests answered."""

    def application(environ, start_response):
        log.info("inside")
        return [b""]

    wsgi.EventContextMiddleware(application, lambda environ: known)({"REQUEST_METHOD": "GET"}, None)
    (made,) = collector.events
    assert made.metadata["server"]["method"] == "GET"
    assert (made.metadata["server"].get("route"), made.user_id) == (
        ("7", str(uuid.UUID(int=7))) if isinstance(known, dict) and "route" in known else (None, None)
    )


def test_flask_streams(collector):
    """Who was known, and the route, stay known while an answer is sent that has no context of Flask's any more."""
    app = flask.Flask(__name__)
    app.secret_key = "not secret"
    manager = flask_login.LoginManager(app)
    of_flask.install(app)

    class User(flask_login.UserMixin):
        id = "u-7"

    manager.request_loader(lambda request: User())

    @app.get("/stream")
    def stream():
        assert flask_login.current_user.is_authenticated
        log.info("view")

        def pieces():
            log.info("piece")
            yield "ok"

        return flask.Response(pieces())

    @app.get("/kept")
    def kept():
        assert flask_login.current_user.is_authenticated

        def pieces():
            log.info("piece")
            yield "ok"

        return flask.Response(flask.stream_with_context(pieces()))

    client = app.test_client()
    assert [client.get(path).text for path in ("/stream", "/kept")] == ["ok", "ok"]
    assert [event.user_id for event in collector.events] == ["u-7"] * 3
    assert [told["route"] for told in collector.told()] == ["/stream", "/stream", "/kept"]


def test_flask_closes(collector, tmp_path):
    """A stream that is left is closed in its request's context; a file is left to the server."""
    app = flask.Flask(__name__)
    of_flask.install(app)
    (tmp_path / "page.txt").write_text("ok")

    @app.get("/stream")
    def stream():
        def pieces():
            try:
                yield "1"
                yield "2"
            finally:
                log.info("left")

        return flask.Response(pieces())

    @app.get("/file")
    def file():
        return flask.send_file(tmp_path / "page.txt")

    def asked(path):
        environ = create_environ(path)
        environ["wsgi.file_wrapper"] = FileWrapper
        return app(environ, lambda *_: None)

    body = asked("/stream")
    assert next(iter(body)) == b"1"
    body.close()
    assert [told["route"] for told in collector.told()] == ["/stream"]
    sent = asked("/file")
    assert type(sent) is FileWrapper
    sent.close()
