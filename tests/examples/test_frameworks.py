"""The same shop in each framework on its real server: the context of its records, and the events of its browsers."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest

from tests.programs import PATIENCE, SHOPS, environment, get, run, running

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/156"
ALERTS = {
    "wsgi": "Error handling request GET /broken",
    "flask": "Exception on /broken [GET]",
    "django": "Internal Server Error: /broken",
    "starlette": "Exception in ASGI application",
    "fastapi": "Exception in ASGI application",
}
LOGGERS = {
    "wsgi": "gunicorn.error",
    "flask": "flask_app",
    "django": "django.request",
    "starlette": "uvicorn.error",
    "fastapi": "uvicorn.error",
}
ROUTES = {"wsgi": None, "flask": "/signup", "django": "signup", "starlette": "/signup", "fastapi": "/signup"}


def post(url, body, **headers):
    """Send a POST request; return the status and the text of the response."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(params=SHOPS)
def shop(request, emitkit_inbox, tmp_path):
    """The URL of a shop, the name of its framework, and the inbox that it sends to."""
    with running(*SHOPS[request.param], HOME=str(tmp_path)) as url:
        yield url, request.param, emitkit_inbox


def test_context_of_requests(shop):
    """The application's record, and the record of framework or server for an exception, have the same request."""
    url, framework, inbox = shop
    host = url.removeprefix("http://")
    headers = {"User_Agent": BROWSER, "Accept_Language": "de-CH,de", "Referer": "https://news.example/"}
    assert get(f"{url}/signup?user=ada&utm_source=news&token=abc", X_Request_Id="r-1", **headers) == 200
    assert get(f"{url}/broken", X_Request_Id="r-2", **headers) == 500
    event = inbox.wait_for(title="User Signed Up", timeout=PATIENCE)
    alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    device = {"userAgent": BROWSER, "language": "de-CH"}
    metadata = event["metadata"]
    assert event["userId"] == "ada"
    assert metadata["page"] == {
        "url": f"{url}/signup?user=ada&utm_source=news&token=[redacted]",
        "host": host,
        "path": "/signup",
        "protocol": "http",
        "referrer": "https://news.example/",
        "search": "?user=ada&utm_source=news&token=[redacted]",
    }
    assert metadata["device"] == device
    assert metadata["utm"] == {"source": "news"}
    route = {"route": ROUTES[framework]} if ROUTES[framework] else {}
    assert metadata["server"] == {"host": socket.gethostname(), "requestId": "r-1", "method": "GET", **route}
    metadata = alert["metadata"]
    assert (alert["title"], metadata["log"]["logger"]) == (ALERTS[framework], LOGGERS[framework])
    assert (metadata["page"]["path"], metadata["device"], metadata["server"]["requestId"]) == ("/broken", device, "r-2")
    assert "utm" not in metadata
    assert "broken" in metadata["exception"]["stacktrace"]


def test_endpoint_of_browsers(shop):
    """Browser events arrive with the page of the browser, not of the endpoint. Invalid requests are refused."""
    url, _, inbox = shop
    endpoint = f"{url}/api/analytics"
    context = {"page": {"path": "/pricing", "url": f"{url}/pricing"}, "device": {"type": "desktop"}}
    events = [
        {
            "type": "track",
            "event": {"action": "button_clicked", "properties": {"buttonId": "signup"}},
            "context": context,
        },
        {"type": "nonsense"},
        {"type": "identify", "userId": "ada", "traits": {"email": "ada@example.com"}},
        {"type": "track", "event": {"action": "feedback_given", "properties": {"__emitkit_channel": "feedback"}}},
    ]
    body = json.dumps({"events": events}).encode()
    assert post(endpoint, body, Origin=url, **{"User-Agent": BROWSER}) == (200, "OK")
    inbox.wait_for(channel="feedback", title="Feedback Given", timeout=PATIENCE)
    metadata = inbox.wait_for(channel="general", title="Button Clicked", timeout=PATIENCE)["metadata"]
    assert metadata["page"] == context["page"]
    assert (metadata["device"], metadata["buttonId"]) == ({"type": "desktop"}, "signup")
    assert metadata["server"]["userAgent"] == BROWSER
    assert "ada" in str(inbox.identities)
    assert post(endpoint, body, Origin="https://evil.example")[0] == 403
    assert post(endpoint, b"{", Origin=url) == (400, '{"error": "the payload is not valid JSON"}')
    assert post(endpoint, b" " * 65_537)[0] == 413
    assert get(endpoint) == 405
    assert len(inbox.events) == 2


QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
WORKER = ("celery", "--workdir", "examples", "--app", "celery_app", "worker", "--concurrency", "2", *QUIET)


def check_celery(inbox, **broker):
    """Send tasks and run a worker: each event has the name of the task and the context of its sender."""
    run("examples/celery_app.py", **broker)
    with running(r"(ready)\.", *WORKER, **broker):
        inbox.wait_for(count=3, timeout=PATIENCE)
    ada, bob = sorted(
        (event for event in inbox.events if event["title"] == "User Welcomed"), key=lambda event: event["userId"]
    )
    assert [(event["channelName"], event["userId"]) for event in (ada, bob)] == [
        ("user-activity", "ada"),
        ("user-activity", "bob"),
    ]
    (alert,) = (event for event in inbox.events if event["channelName"] == "alerts")
    assert "in fail" in alert["metadata"]["exception"]["stacktrace"]
    assert alert["metadata"]["log"]["logger"] == "celery.app.trace"
    assert (alert["userId"], alert["metadata"]["sessionId"], alert["metadata"]["tenant"]) == ("ada", "s-1", "acme")
    assert (ada["metadata"]["sessionId"], ada["metadata"]["tenant"]) == ("s-1", "acme")
    assert "tenant" not in bob["metadata"]
    tasks = [event["metadata"]["server"] for event in (ada, bob, alert)]
    assert [task["task"] for task in tasks] == ["celery_app.welcome", "celery_app.welcome", "celery_app.fail"]
    assert len({task["taskId"] for task in tasks}) == 3


def test_celery(emitkit_inbox, tmp_path):
    """Prefork workers, with the file system as the broker."""
    (tmp_path / "control").mkdir()
    check_celery(emitkit_inbox, CELERY_FOLDER=str(tmp_path))


def test_flask_development_server(emitkit_inbox):
    """The example also runs on Flask's development server."""
    arguments = ("flask", "--app", "examples/flask_app.py", "run", "--port", "0")
    with running(r"Running on (http://[\d.:]+)", *arguments) as url:
        assert get(f"{url}/signup?user=ada") == 200
        # on SIGTERM this server ends without running exit hooks
        assert emitkit_inbox.wait_for(count=1)[0]["userId"] == "ada"


def test_run(tmp_path):
    """`python examples/run.py` runs one example with its own inbox, and refuses an unknown name."""
    with running(r"inbox: (http://[\d.:]+)/", "examples.run", "celery", HOME=str(tmp_path)) as url:
        assert get(f"{url}/") == 200
    with pytest.raises(Exception, match="1"):
        run("examples/run.py", "cobol")


def test_environment_names_the_inbox(emitkit_inbox):
    """The environment of the started programs names the test's inbox."""
    assert environment()["EMITKIT_BASE_URL"] == emitkit_inbox.url
