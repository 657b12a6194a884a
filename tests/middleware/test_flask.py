"""The Flask middleware: routes, users of Flask-Login, streamed responses and exceptions."""

from __future__ import annotations

from wsgiref.util import FileWrapper

import flask
import flask_login
import pytest
from werkzeug.test import Client, create_environ

from emitkit_logging.middleware.flask import install
from tests.middleware.helpers import log


def test_login(collector):
    """The user is known once Flask-Login has loaded it. The route is that of the URL rule."""
    app = flask.Flask(__name__)
    app.secret_key = "x"
    install(app)
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
        log.info("before the user is loaded")
        assert flask_login.current_user.is_authenticated
        log.info("after the user is loaded")
        flask_login.logout_user()
        log.info("logged out")
        return flask.stream_with_context(iter(["ok"]))

    client = app.test_client()
    assert client.get("/login").text == "ok"
    assert client.get("/items/3").text == "ok"
    assert client.get("/nowhere").status_code == 404
    assert [event.user_id for event in collector.events] == ["u-7", None, "u-7", None]
    assert {server["route"] for server in collector.parts()[1:]} == {"/items/<int:number>"}


def test_exception_that_propagates(collector):
    """An exception that leaves Flask has its request, although Flask's request context has ended."""
    app = flask.Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    install(app)
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        Client(app).get("/broken")
    log.error("failed", exc_info=caught.value)
    assert collector.parts("page")[0]["path"] == "/broken"


def test_streamed_response(collector):
    """The user and the route stay known while a response is sent, although Flask's request context has ended."""
    app = flask.Flask(__name__)
    app.secret_key = "not secret"
    manager = flask_login.LoginManager(app)
    install(app)

    class User(flask_login.UserMixin):
        id = "u-7"

    manager.request_loader(lambda request: User())

    @app.get("/stream")
    def stream():
        assert flask_login.current_user.is_authenticated
        log.info("view")

        def chunks():
            log.info("chunk")
            yield "ok"

        return flask.Response(chunks())

    @app.get("/kept")
    def kept():
        assert flask_login.current_user.is_authenticated

        def chunks():
            log.info("chunk")
            yield "ok"

        return flask.Response(flask.stream_with_context(chunks()))

    client = app.test_client()
    assert [client.get(path).text for path in ("/stream", "/kept")] == ["ok", "ok"]
    assert [event.user_id for event in collector.events] == ["u-7"] * 3
    assert [server["route"] for server in collector.parts()] == ["/stream", "/stream", "/kept"]


def test_closed_stream_and_file(collector, tmp_path):
    """A stream that is not read to its end is closed in its request's context; a file is left to the server."""
    app = flask.Flask(__name__)
    install(app)
    (tmp_path / "page.txt").write_text("ok")

    @app.get("/stream")
    def stream():
        def chunks():
            try:
                yield "1"
                yield "2"
            finally:
                log.info("left")

        return flask.Response(chunks())

    @app.get("/file")
    def file():
        return flask.send_file(tmp_path / "page.txt")

    def request(path):
        environ = create_environ(path)
        environ["wsgi.file_wrapper"] = FileWrapper
        return app(environ, lambda *_: None)

    body = request("/stream")
    assert next(iter(body)) == b"1"
    body.close()
    assert [server["route"] for server in collector.parts()] == ["/stream"]
    sent = request("/file")
    assert type(sent) is FileWrapper
    sent.close()
