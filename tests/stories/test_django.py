"""The guide for Django: `django-admin startproject`, and what the page adds."""

from __future__ import annotations

import json

import pytest

from tests.examples.test_frameworks import post
from tests.programs import get
from tests.stories.project import PATIENCE, Project, free_port

PAGE = "guides/django.md"
URLS = """
from mysite import views


def broken(request):
    raise RuntimeError("the view is broken")


urlpatterns += [path("signup", views.sign_up), path("broken", broken)]
"""


@pytest.fixture
def site(project: Project) -> Project:
    """The starter's project with the guide's additions, and two views of the application."""
    project.do(PAGE, "django-admin startproject mysite")
    project.folder /= "mysite"  # $ cd mysite
    project.write(PAGE, "mysite/settings.py", "mysite/views.py", "mysite/urls.py")
    project.add("mysite/urls.py", URLS)
    return project


def check(site, inbox, url, host):
    """Visit the site, and find in the feed what the guide promises."""
    assert get(f"{url}/signup?user=ada") == 200
    assert get(f"{url}/broken") == 500
    assert get(f"{url}/nowhere") == 404
    assert get(f"{url}/signup?user=eve", Host="forged.example") == 400
    events = [{"type": "track", "event": {"action": "button_clicked"}}]
    assert post(f"{url}/api/analytics", json.dumps({"events": events}).encode(), Origin=f"http://{host}")[0] == 200
    event = inbox.wait_for(title="User Signed Up", timeout=PATIENCE)
    alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    inbox.wait_for(title="Button Clicked", timeout=PATIENCE)
    assert (event["userId"], event["metadata"]["server"]["route"]) == ("ada", "signup")
    assert (alert["title"], alert["metadata"]["page"]["path"]) == ("Internal Server Error: /broken", "/broken")
    assert alert["metadata"]["exception"]["type"] == "RuntimeError"
    assert len(inbox.events) == 3


def test_runserver(site, inbox):
    """Django's own server: the console shows each line once, and a forged Host header is no alert."""
    port = free_port()
    pattern = r"Starting development server at (http://[\d.:]+)"
    with site.serve(PAGE, "python manage.py runserver", pattern, str(port)) as url:
        check(site, inbox, url, url.removeprefix("http://"))
    assert [site.printed(each) for each in ("Internal Server Error: /broken", "user_signed_up")] == [1, 1]
    assert site.printed("Invalid HTTP_HOST header: 'forged.example'") >= 1


@pytest.mark.parametrize(
    ("command", "pattern", "further"),
    [
        ("gunicorn mysite.wsgi", r"Listening at: (http://[\d.:]+)", ("--bind", "127.0.0.1:0")),
        ("uvicorn mysite.asgi:application", r"running on (http://[\d.:]+)", ("--port", "0")),
    ],
)
def test_in_production(site, inbox, command, pattern, further):
    """Nothing changes under another server."""
    with site.serve(PAGE, command, pattern, *further) as url:
        check(site, inbox, url, url.removeprefix("http://"))
