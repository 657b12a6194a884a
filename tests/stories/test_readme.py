"""The configuration of the README works as it stands in Django, Flask and FastAPI, and keeps the console."""

from __future__ import annotations

import pytest

from tests.docs.pages import README, blocks_of
from tests.programs import get, started
from tests.stories.project import PATH, PATIENCE, free_port, listening

CONFIGURATION, CALLS = (block.text for block in blocks_of(README.read_text(encoding="utf-8"), "python"))
FLASK = """
from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    import calls

    return "welcome"


@app.route("/broken")
def broken():
    raise RuntimeError("the view is broken")
"""
FASTAPI = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def hello():
    import calls

    return "welcome"


@app.get("/broken")
def broken():
    raise RuntimeError("the view is broken")
"""
DJANGO = """
from django.http import HttpResponse


def hello(request):
    import calls

    return HttpResponse("welcome")


def broken(request):
    raise RuntimeError("the view is broken")


urlpatterns += [path("", hello), path("broken", broken)]
"""
TITLES = {
    "django": "Internal Server Error: /broken",
    "flask": "Exception on /broken [GET]",
    "fastapi": "Exception in ASGI application",
}


@pytest.mark.parametrize(
    ("framework", "command"),
    [
        ("django", "gunicorn --bind 127.0.0.1:{port} mysite.wsgi"),
        ("django", "python manage.py runserver {port}"),
        ("flask", "flask --app hello run --port {port}"),
        ("flask", "gunicorn --bind 127.0.0.1:{port} hello:app"),
        ("fastapi", "uvicorn --port {port} hello:app"),
    ],
)
def test_configuration(project, inbox, framework, command):
    """The two calls of the README and the exception of a view arrive, and the console shows them."""
    if framework == "django":
        project.run("django-admin", "startproject", "mysite", ".")
        project.add("mysite/settings.py", CONFIGURATION)
        project.add("mysite/urls.py", DJANGO)
    else:
        project.add("hello.py", CONFIGURATION + (FLASK if framework == "flask" else FASTAPI))
    project.add("calls.py", CALLS)
    port = free_port()
    arguments = command.format(port=port).split()
    output = project.output
    with started("", ["/usr/bin/env", *arguments], project.folder, output, PATIENCE, PATH=PATH):
        listening(url := f"http://127.0.0.1:{port}")
        assert get(f"{url}/") == 200
        assert get(f"{url}/broken") == 500
        inbox.wait_for(title="User Signed Up", channel="user-activity", timeout=PATIENCE)
        inbox.wait_for(title="payment provider is down", channel="alerts", timeout=PATIENCE)
        inbox.wait_for(title=TITLES[framework], channel="alerts", timeout=PATIENCE)
    assert len(inbox.events) == 3
    assert [project.printed(text) >= 1 for text in ("user_signed_up", "payment provider", TITLES[framework])] == [
        True
    ] * 3
