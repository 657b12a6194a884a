"""`emitkit-logging check`: what each response means, and what is printed."""

from __future__ import annotations

import email.utils
import io
import json
import re
import socket
import ssl

import pytest
from urllib3 import exceptions

from emitkit_logging._api.responses import HttpResponse
from emitkit_logging.cli import check, main
from emitkit_logging.cli.check import Mark
from emitkit_logging.inbox import Inbox
from tests.conftest import KEY
from tests.server import Reply

NOW = 1_800_000_000.0
DATE = email.utils.formatdate(NOW, usegmt=True)
ALL = ["events:write", "events:read", "identities:write"]
LEFT = {"Date": DATE, "X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "97", "X-RateLimit-Reset": str(NOW + 43)}
HTML = {"Content-Type": "text/html; charset=utf-8"}
NO_PAGE = Reply(404, b"<h1>Not found</h1>", HTML)
UNAUTHORIZED = {"error": "Unauthorized", "message": "Invalid or missing authentication credentials"}
RETURNED = dict.fromkeys(check.CURRENT_EVENT | check.OPEN_SOURCE_EVENT)
CREATED = {"success": True, "data": {**RETURNED, "id": "event_1", "channelName": "general"}}


def me(scopes: object = ALL) -> dict[str, object]:
    account = {"organization": {"name": "Acme"}, "project": {"name": "Shop"}, "scopes": scopes, "via": "api_key"}
    return {"success": True, "data": account}


def response(status: int, body: object = None, **headers: str) -> HttpResponse:
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **named}, content)


def marks(lines) -> list[str]:
    return [line.mark.value for line in lines]


@pytest.fixture
def run(server, monkeypatch, capsys):
    """A function that runs the command against the scripted server, and returns the exit status and the lines."""
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", server.url)

    def running(*arguments: str) -> tuple[int, list[str]]:
        status = main(["check", *arguments])
        output = capsys.readouterr().out
        assert KEY not in output
        return status, output.splitlines()

    return running


# What responses mean


def test_me():
    """An accepted key: its organization, project and scopes are printed."""
    result = check.read_account(response(200, me()))
    assert result.can_continue
    assert result.is_current
    assert [str(line) for line in result.lines] == [
        "ok       the key is accepted, by a server of the current generation",
        "ok       organization Acme; project Shop; scopes events:write, events:read, identities:write",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"organization": "Acme", "project": {"slug": "shop"}}, ["ok", "warning", "ok"]),
        ({"organization": {"name": 5, "id": "org_1"}, "project": None, "scopes": "all"}, ["ok", "warning", "ok"]),
        ({}, ["ok", "warning"]),
        (None, ["ok", "warning"]),
        ({"scopes": []}, ["ok", "warning", "ok", "problem", "warning"]),
        (me(["events:write"])["data"], ["ok", "ok", "warning"]),
        (me(["identities:write"])["data"], ["ok", "ok", "problem"]),
    ],
)
def test_me_in_other_forms(data, expected):
    """A field that the hosted service would return is missed; a missing scope is reported."""
    assert marks(check.read_account(response(200, {"success": True, "data": data})).lines) == expected


def test_open_source_server():
    """The open-source server checks a key only when an event is sent, and its rate-limit headers are not true."""
    page = response(404, b"<h1>Not found</h1>", content_type="text/html")
    result = check.read_account(page)
    assert marks(result.lines) == ["ok", "unknown"]
    assert "--send" in result.lines[1].text
    assert marks(check.read_account(page, sends=True).lines) == ["ok"]
    assert result.can_continue
    assert not result.is_current


@pytest.mark.parametrize(
    ("answer", "words", "can_continue"),
    [
        (response(401, {"code": "unauthorized"}), "the key is refused: .*EMITKIT_API_KEY", False),
        (response(401, UNAUTHORIZED), "wrong, or the limit of requests is used up", False),
        (response(403, {"error": "Forbidden", "code": "forbidden"}), "lacks a scope, or its project was deleted", True),
        (response(404, {"error": "Not found", "code": "not_found"}), "is the path in EMITKIT_BASE_URL right", False),
        (response(404, b"404 page not found", content_type="text/plain"), "no such endpoint", False),
        (response(302, location="https://app.emitkit.com/in"), "redirects to https://app.emitkit.com/in: ", False),
        (response(301), "redirects to nowhere: usually the app's host", False),
        (response(200, b"<h1>Sign in</h1>", content_type="text/html; charset=utf-8"), "with text/html, which", False),
        (response(204, b"", content_type=""), "HTTP 204 with nothing, which is not", False),
        (response(407), "the proxy requires a user name", False),
        (response(418), "unexpected: HTTP 418", False),
        (response(408), "try again later", False),
        (response(503, b"<h1>Bad gateway</h1>"), "the server failed: .*HTTP 503", True),
        (response(429, {"code": "rate_limited"}, retry_after="7"), "try again in 7 s", False),
        (response(429, **{name.lower(): value for name, value in LEFT.items()}), "try again in 43 s", False),
        (response(429), "try again later", False),
    ],
)  # fmt: skip
def test_refusals(answer, words, can_continue):
    """Each problem is reported with its remedy."""
    result = check.read_account(answer)
    assert marks(result.lines) == ["problem"]
    assert re.search(words, result.lines[0].text), result.lines
    assert result.can_continue is can_continue


def test_event():
    """The channel and the id of the test event are those that the server reports."""

    def text(*args: object) -> str:
        return check.read_event(response(*args)).text

    assert text(201, CREATED) == "a test event was accepted: it is in general, as event_1"
    assert text(201, {"success": True}) == "a test event was accepted: it is in general"
    invalid = {"error": "Validation error", "details": [{"path": ["title"], "message": "bad"}]}
    assert text(400, invalid) == "the test event was not accepted: unexpected: HTTP 400; Validation error; title: bad"


@pytest.mark.parametrize(
    ("answer", "mark", "words"),
    [
        (response(405, b"GET method not allowed", content_type="text/plain"), Mark.OK, "EmitKit's open-source server"),
        (response(404, b"<h1>Not found</h1>", content_type="text/html"), Mark.WARNING, "HTTP 404.*EMITKIT_BASE_URL"),
        (response(200, b"<h1>Welcome</h1>", content_type="text/html"), Mark.WARNING, "otherwise than both"),
        (response(200, {"success": True, "data": {"events": []}}), Mark.WARNING, "otherwise than both"),
    ],
)
def test_without_an_account(answer, mark, words):
    """Any web server has no `/v1/me`; only the open-source server knows the path of events, and no GET there."""
    line = check.read_methods(answer)
    assert line.mark is mark
    assert re.search(words, line.text), line


@pytest.mark.parametrize(
    ("data", "is_current", "words"),
    [
        (RETURNED, True, None),
        (dict.fromkeys(check.OPEN_SOURCE_EVENT), False, None),
        (dict.fromkeys(check.OPEN_SOURCE_EVENT), True, "without actions, answer, .*unlike by the hosted service"),
        (RETURNED, False, "with actions, answer, .*unlike by the open-source server"),
        ({"id": "event_1"}, False, "without channelId, .*unlike by the open-source server"),
        (None, True, "without"),
    ],
)
def test_what_is_returned_of_an_event(data, is_current, words):
    """An event that is returned otherwise than by the server that this seems to be is a warning."""
    lines = list(check.read_event_shape(response(201, {"success": True, "data": data}), is_current=is_current))
    assert marks(lines) == ["warning"] * (words is not None)
    assert words is None or re.search(words, lines[0].text), lines
    assert list(check.read_event_shape(response(400, {}), is_current=is_current)) == []


def test_budget():
    """The requests left are those of the headers; headers that are not true, or absent, are not reported."""
    headers = {name.lower(): value for name, value in LEFT.items()}
    assert check.read_quota(response(200, **headers)).text == "97 of 100 requests left, the window ends in 43 s"
    used_up = check.read_quota(response(200, **{**headers, "x-ratelimit-remaining": "0"}))
    assert (used_up.mark, used_up.text) == (Mark.WARNING, "0 of 100 requests left, the window ends in 43 s")
    assert "does not report" in check.read_quota(response(200, **headers), has_true_limits=False).text
    assert "no rate-limit headers" in check.read_quota(response(200)).text


@pytest.mark.parametrize(
    ("asked", "received", "words", "mark"),
    [
        (0.2, 0.4, "agrees", Mark.OK),
        (0.9, 1.3, "agrees", Mark.OK),
        (-0.3, 0.1, "agrees", Mark.OK),
        (4.0, 4.5, "3 s ahead of the server's", Mark.OK),
        (-3.0, -2.0, "2 s behind the server's", Mark.OK),
        (3700.0, 3701.0, "3,699 s ahead of the server's: .*NTP", Mark.WARNING),
        (-60.0, -59.0, "59 s behind the server's: .*NTP", Mark.WARNING),
    ],
)
def test_clock(asked, received, words, mark):
    """The offset is the least that is certain: `Date` has whole seconds, and the network takes time."""
    line = check.read_clock(response(200, date=DATE), NOW + asked, NOW + received)
    assert line.mark is mark
    assert re.search(words, line.text), line


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}])
def test_clock_unknown(headers):
    """Without a valid date the clocks are not compared."""
    assert check.read_clock(response(200, **headers), NOW, NOW).mark is Mark.WARNING


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(exceptions.ConnectTimeoutError(), REFUSED), "the connection is refused: .*port"),
        (caused(exceptions.HTTPError("x"), socket.gaierror(-2, "unknown")), "the host name is unknown: .*unknown"),
        (exceptions.ProxyError("Unable to connect to proxy", REFUSED), "the proxy fails.*Connection refused"),
        (exceptions.SSLError(ssl.SSLCertVerificationError(1, "self-signed")), "not trusted; REQUESTS_CA_BUNDLE"),
        (exceptions.SSLError(ssl.SSLError(1, "wrong version")), "TLS fails: .*wrong version"),
        (exceptions.ReadTimeoutError(None, "", "Read timed out."), "no answer within 2.5 s"),
        (TimeoutError(), "no answer within 2.5 s"),
        (exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset")), "^ConnectionResetError: .*reset"),
        (ValueError(), "^ValueError: ValueError"),
    ],
)
def test_error(error, words):
    """The cause is reported, however deep it is in urllib3's errors."""
    assert re.search(words, check.explain_error(error, 2.5)), check.explain_error(error, 2.5)


def test_error_circle():
    """Errors that are causes of each other are each read once."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert check.explain_error(first, 1) == "ValueError: second"


# As a command


def test_all_is_well(server, run):
    """Each part that works has a line, and no event is sent."""
    server.script = [Reply(200, me(), LEFT)]
    status, lines = run()
    assert status == 0
    assert re.fullmatch(rf"ok       {server.url} answers in \d+ ms", lines[0])
    assert lines[1].startswith("ok       the key is accepted")
    assert lines[3] == "ok       97 of 100 requests left, the window ends in 43 s"
    assert lines[4].startswith("warning  the clock is ")  # the script's date is its own
    assert [seen.path for seen in server.requests] == ["/v1/me"]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_send(server, run):
    """The test event has an idempotency key, as the handler's have; the requests left are those after it."""
    after = {**LEFT, "X-RateLimit-Remaining": "96"}
    server.script = [Reply(200, me(), LEFT), Reply(201, CREATED, after)]
    status, lines = run("--send")
    assert status == 0
    assert "ok       a test event was accepted: it is in general, as event_1" in lines
    assert "ok       96 of 100 requests left, the window ends in 43 s" in lines
    sent = server.requests[1]
    assert sent.path == "/v1/events"
    assert len(sent.key) == 32
    assert (sent.body["channelName"], sent.body["source"], sent.body["notify"]) == ("general", "emitkit-logging", False)


def test_send_refused(server, run):
    """A key that may not write is reported, and so are the rate limit and the clock."""
    server.script = [Reply(200, me(), LEFT), Reply(403, {"code": "forbidden"}, LEFT)]
    status, lines = run("--send")
    assert status == 1
    assert sum("the test event was not accepted: the key may not do this" in line for line in lines) == 1
    assert sum("97 of 100" in line for line in lines) == 1


def test_send_without_an_answer(server, run):
    """A test event without an answer may have arrived or not."""
    server.script = [Reply(200, me(), LEFT), Reply(breaks=True)]
    status, lines = run("--send")
    assert status == 1
    assert sum(line.startswith("problem  the test event may not have arrived: ") for line in lines) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, {"code": "unauthorized", "message": f"{KEY} is unknown"}),
        Reply(401, {"message": "x" * 460 + KEY}),
        Reply(302, b"", {"Location": f"https://example.com/?key={KEY}"}),
        Reply(200, b"<h1>Sign in</h1>", HTML),
    ],
)
def test_stops_after_refusal(server, run, reply):
    """If the key is refused or the server is not EmitKit's, no event is sent. No part of the key is printed."""
    server.script = [reply]
    status, lines = run("--send")
    assert status == 1
    assert [line.split()[0] for line in lines] == ["ok", "problem"]
    assert len(server.requests) == 1
    assert "emitkit_" not in lines[1]


def test_encoded_key(server, run, monkeypatch):
    """A key is also masked as it appears in a URL or in JSON; characters that control a terminal are not printed."""
    key = 'a"b\\c/d%e0123'
    monkeypatch.setenv("EMITKIT_API_KEY", key)
    data = {"organization": f"\x1b[31m{key}", "project": "a%22b%5Cc%2Fd%25e0123"}
    server.script = [Reply(200, {"success": True, "data": data})]
    status, lines = run()
    assert status == 0
    assert lines[0].startswith("warning  api_key: does not start with 'emitkit_'")
    assert lines[4] == "ok       organization  [31m[redacted]; project [redacted]"


@pytest.mark.parametrize("sends", [False, True])
def test_current_inbox(monkeypatch, capsys, sends):
    """Against a local EmitKit of the current generation."""
    with Inbox() as inbox:
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        assert main(["check", *["--send"][:sends]]) == 0
        output = capsys.readouterr().out
        assert f"{100 - 1 - sends} of 100 requests left" in output
        assert "the clock agrees with the server's" in output
        assert "warning" not in output
        assert [event["title"] for event in inbox.events] == ["Test Event"][:sends]
        assert inbox.api_key not in output
        monkeypatch.setenv("EMITKIT_API_KEY", "emitkit_another0123456789")
        assert main(["check"]) == 1
        assert "the key is refused" in capsys.readouterr().out


def test_self_hosted_inbox(monkeypatch, capsys):
    """Against a local EmitKit as the open-source server: only a test event shows whether the key is right."""
    with Inbox(generation="self-hosted", rate_limit=2) as inbox:
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url)
        assert main(["check"]) == 1
        output = capsys.readouterr().out
        assert "unknown  whether the key is accepted" in output
        assert "it is EmitKit's open-source server" in output
        assert "warning" not in output
        assert main(["check", "--send"]) == 0
        output = capsys.readouterr().out
        assert "a test event was accepted" in output
        assert "does not report" in output
        assert "warning" not in output
        assert main(["check", "--send"]) == 0
        assert main(["check", "--send"]) == 1
        assert "the limit of requests is used up" in capsys.readouterr().out


def test_beside_the_api(monkeypatch, capsys):
    """The app's host instead of the API's: its redirect is reported and not followed."""
    with Inbox(generation="self-hosted", prefix="/api") as inbox:
        monkeypatch.setenv("EMITKIT_API_KEY", inbox.api_key)
        monkeypatch.setenv("EMITKIT_BASE_URL", inbox.url.removesuffix("/api"))
        assert main(["check"]) == 1
        assert "redirects to /sign-in: usually the app's host" in capsys.readouterr().out


def test_configuration(run, monkeypatch, server):
    """A missing or wrong variable is reported before any request is sent."""
    monkeypatch.delenv("EMITKIT_API_KEY")
    monkeypatch.setenv("EMITKIT_BASE_URL", "http://example.com")
    status, lines = run()
    assert status == 1
    assert [line.split(":")[0] for line in lines] == ["problem  api_key", "problem  base_url"]
    assert server.requests == []


def test_unreachable(run, monkeypatch):
    """A refused connection is reported as such."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("EMITKIT_BASE_URL", url)
        status, lines = run()
    assert status == 1
    assert lines[0].startswith(f"problem  {url} cannot be reached: the connection is refused")


def test_timeout(server, run):
    """A server that does not answer is waited for as long as `--timeout` says."""
    server.script = [Reply(200, me(), waits=5)]
    status, lines = run("--timeout", "0.2")
    assert status == 1
    assert "no answer within 0.2 s" in lines[0]


def test_tls(server, run, monkeypatch):
    """A server without TLS is reported differently from one that does not run."""
    monkeypatch.setenv("EMITKIT_BASE_URL", server.url.replace("http", "https"))
    status, lines = run()
    assert status == 1
    assert "TLS fails" in lines[0]


def test_untrusted(server, run, monkeypatch):
    """A certificate of an unknown authority is reported as such."""
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    monkeypatch.setenv("EMITKIT_BASE_URL", server.url.replace("http://127.0.0.1", "https://localhost"))
    status, lines = run()
    assert status == 1
    assert "its certificate is not trusted" in lines[0]


def test_proxy(server, run, monkeypatch):
    """The proxy of the environment is used and printed, without its password."""
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://ada:hunter2@"))
    monkeypatch.setenv("EMITKIT_BASE_URL", "http://emitkit.example")
    server.script = [Reply(200, me(), LEFT)]
    status, lines = run("--allow-http")
    assert status == 0
    assert lines[0].endswith(f", through the proxy {server.url.replace('http://', 'http://ada:[redacted]@')}")
    assert server.requests[0].path == "http://emitkit.example/v1/me"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    status, lines = run("--allow-http")
    assert status == 1
    assert "the proxy fails" in lines[0]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon"])
def test_wrong_timeout(run, timeout, capsys):
    """A timeout that is not a positive number is a usage error."""
    with pytest.raises(SystemExit) as caught:
        run("--timeout", timeout)
    assert caught.value.code == 2
    assert "--timeout" in capsys.readouterr().err


def test_unencodable(server, run, monkeypatch):
    """Characters that the terminal's encoding lacks are replaced."""
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii"))
    server.script = [Reply(200, {"success": True, "data": {"project": "Käse"}}, LEFT)]
    assert main(["check"]) == 0
    assert b"project K?se" in written.getvalue()


def test_kinds_of_a_spool(run, server, handler, logger, tmp_path):
    """With a spool it says how many kinds of alerts are known, and which are storming, with counts."""
    path = tmp_path / "spool.db"
    server.script = lambda _: Reply(201, CREATED)
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for number in range(40):
        logger.error(f"order {number} failed")
    logger.error("disk is full")
    assert made.flush(10)
    server.script = None
    lines = run("--spool", str(path))[1]
    assert lines[-1] == f"ok       the spool {path}: 2 kinds of alerts known; storming: order … failed ×40"
    assert f"{made.stats}".endswith("2 kinds of alerts known; storming: order … failed ×40")
    assert main(["spool", str(path)]) == 0


def test_spool_that_cannot_be_read(run, tmp_path):
    """A spool that is missing or none is a problem, and is left as it is."""
    (tmp_path / "spool.db").write_text("nonsense " * 1_000)
    for name in ("missing.db", "spool.db"):
        status, lines = run("--spool", str(tmp_path / name))
        assert status == 1
        assert lines[-1].startswith(f"problem  the spool {tmp_path / name} cannot be read: ")
    assert [each.name for each in tmp_path.iterdir()] == ["spool.db"]
