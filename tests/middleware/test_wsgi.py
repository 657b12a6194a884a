"""The WSGI middleware: streamed responses, files, strings of the environ, and the `lookup` function."""

from __future__ import annotations

import io
import uuid
from wsgiref.util import FileWrapper

import pytest

from emitkit_logging import bind_event_context, context, event_context
from emitkit_logging.middleware import wsgi
from tests.middleware.helpers import log

# Streams


def test_streamed_response(collector):
    """What is logged while a response is created, sent and closed has its request; what is logged between has not."""

    def app(environ, start_response):
        log.info("called")
        start_response("200 OK", [])

        class Body:
            def __iter__(self):
                log.info("started")
                yield b"a"
                log.info("continued")
                yield b"b"

            def close(self):
                log.info("closed")

        return Body()

    body = wsgi.EventContextMiddleware(app)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    log.info("between")
    assert list(body) == [b"a", b"b"]
    body.close()
    assert [bool(server) for server in collector.parts()] == [True, False, True, True, True]


def test_binding_in_a_streamed_response(collector):
    """Bound values last until the response is complete, and a `with` block may span two chunks."""

    def application(environ, start_response):
        bind_event_context(tenant="acme")
        return chunks()

    def chunks():
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
    seen = [(event.title, event.metadata.get("tenant"), event.metadata.get("step")) for event in collector.events]
    assert [each for each in seen if each[0] != "between"] == [
        ("first", "acme", None),
        ("second", "acme", 1),
        ("third", "acme", 1),
    ]
    assert {each for each in seen if each[0] == "between"} == {("between", None, None)}
    assert [event.user_id for event in collector.events if event.title == "second"] == ["u-1"]
    assert context.current() is None


def test_exception_in_a_streamed_response(collector):
    """An exception that is raised while the response is sent has its request, wherever it is logged."""

    def app(environ, start_response):
        yield b"a"
        raise RuntimeError("broken")

    body = wsgi.EventContextMiddleware(app)({"REQUEST_METHOD": "PUT"}, lambda *_: None)
    with pytest.raises(RuntimeError) as caught:
        list(body)
    log.error("failed", exc_info=caught.value)
    body.close()
    assert collector.parts() == [{"method": "PUT"}]


def test_file_wrapper():
    """A file wrapper reaches the server unchanged, which may send it more efficiently."""
    environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": FileWrapper}
    body = FileWrapper(io.BytesIO(b"x"))
    assert wsgi.EventContextMiddleware(lambda *_: body)(environ, None) is body


# Requests


def test_environ_strings(collector):
    """Strings of an environ are bytes decoded as Latin-1 (PEP 3333), and `Host` may be missing."""

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
    assert collector.parts("page") == [
        {
            "url": "https://shop.example:8080/app/c%C3%A4rt",
            "host": "shop.example:8080",
            "path": "/app/cärt",
            "protocol": "https",
        }
    ]


# The `lookup` function


def lookup(environ):
    return {"route": "/<anything>", "user_id": environ["shop.user"]}


def shop(environ, start_response):
    log.info("before")
    environ["shop.user"] = 7
    log.info("after")
    return []


def check_lookup(collector, middleware):
    middleware({"REQUEST_METHOD": "GET"}, None)
    assert collector.parts() == [{"method": "GET"}, {"method": "GET", "route": "/<anything>"}]
    assert [event.user_id for event in collector.events] == [None, "7"]


def test_lookup(collector):
    """`lookup` is called for each record, and one that raises knows nothing."""
    check_lookup(collector, wsgi.EventContextMiddleware(shop, lookup))


def test_know_is_deprecated(collector):
    """The old name of the argument still works, with a warning that points to the caller."""
    with pytest.warns(DeprecationWarning, match="know is now called lookup") as caught:
        middleware = wsgi.EventContextMiddleware(shop, know=lookup)
    assert caught[0].filename == __file__
    check_lookup(collector, middleware)


@pytest.mark.parametrize("known", [None, {"tenant": "x"}, "no dict", {"route": 7, "user_id": uuid.UUID(int=7)}])
def test_lookup_that_returns_anything(collector, known):
    """For any result of `lookup` the record is logged and the request handled."""

    def application(environ, start_response):
        log.info("inside")
        return [b""]

    wsgi.EventContextMiddleware(application, lambda environ: known)({"REQUEST_METHOD": "GET"}, None)
    (made,) = collector.events
    assert made.metadata["server"]["method"] == "GET"
    assert (made.metadata["server"].get("route"), made.user_id) == (
        ("7", str(uuid.UUID(int=7))) if isinstance(known, dict) and "route" in known else (None, None)
    )
