"""`emitkit-logging check`: whether events can be sent with the key and the address of the environment.

`check` sends the requests and prints. All other functions are pure: they turn a response or an error into lines that
name the problem and its remedy (API contract, *Errors* and *The open-source server, as observed*).
"""

from __future__ import annotations

import email.utils
import enum
import itertools
import os
import pathlib
import socket
import sqlite3
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from urllib3 import exceptions

from emitkit_logging import __version__
from emitkit_logging import _options as options
from emitkit_logging._api import responses
from emitkit_logging._api.requests import EVENTS_PATH, ApiRequest
from emitkit_logging._api.responses import HttpResponse, Verdict
from emitkit_logging._events.event import Event
from emitkit_logging._worker.client import FAILURES, Client
from emitkit_logging.cli.masking import Mask
from emitkit_logging.cli.terminal import Color, Terminal, marked
from emitkit_logging.stats import kinds_text

ME_PATH = "/v1/me"
USER_AGENT = f"emitkit-logging/{__version__}"

CLOCK_TOLERANCE = 5.0
"""Seconds by which two clocks may differ without a warning."""

CURRENT_ACCOUNT = frozenset(("organization", "project", "scopes", "via"))
"""What the hosted service returns for a key; the open-source server has nothing like it."""

CURRENT_EVENT = frozenset(("actions", "answer", "callback", "fields", "metadata", "resume"))
OPEN_SOURCE_EVENT = frozenset(("id", "channelId", "channelName", "title", "createdAt"))
"""Of a new event: what only the hosted service returns, and all that the open-source server returns."""

_ADDRESS = options.BASE_URL_VARIABLE
_CHANNEL = "general"


class Mark(enum.Enum):
    """The first word of a line."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    PROBLEM = "problem"

    @property
    def color(self) -> Color:
        """Its color in a terminal."""
        return _COLORS[self]


_COLORS = {Mark.OK: Color.GREEN, Mark.WARNING: Color.YELLOW, Mark.UNKNOWN: Color.YELLOW, Mark.PROBLEM: Color.RED}


_SCOPES: Mapping[str, tuple[Mark, str]] = {
    "events:write": (Mark.PROBLEM, "no event can be sent"),
    "identities:write": (Mark.WARNING, "users cannot be identified"),
}
"""The scopes that the handler needs, with the mark and the consequence when the key lacks one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One result: its mark and a sentence."""

    mark: Mark
    text: str

    def __str__(self) -> str:
        return marked(self.mark.value, self.text)


@dataclass(frozen=True, slots=True)
class AccountResult:
    """What the response to the first request means.

    Attributes:
        lines: the results.
        can_continue: whether further requests make sense: the server is EmitKit's, and it has not refused the key.
        is_current: whether the server may be the hosted service. If not, it may be the open-source server, whose
            rate-limit headers are not true.
    """

    lines: tuple[Line, ...]
    can_continue: bool
    is_current: bool = True


def check(
    *, sends: bool = False, timeout: float = 5.0, allow_http: bool = False, spool: pathlib.Path | None = None
) -> int:
    """Check the key and the address in the environment, and print the results.

    Args:
        spool: whether it can be read is checked, too, and what it knows of kinds is printed.
        sends: whether to send a test event.
        timeout: seconds for one request.
        allow_http: whether plain http may be used to another machine.

    Returns:
        The exit status: 0 when the server accepts the key and events can be sent, else 1. A warning does not change
        it. A key that could not be checked does.
    """
    succeeded = True
    mask = Mask(os.environ.get(options.API_KEY_VARIABLE, "").strip())
    terminal = Terminal(sys.stdout)
    results = _results(mask, sends=sends, timeout=timeout, allow_http=allow_http)
    for line in results if spool is None else itertools.chain(results, [read_spool(spool)]):
        succeeded = succeeded and line.mark in (Mark.OK, Mark.WARNING)
        terminal.write(mask(line.text), mark=line.mark.value, color=line.mark.color)
    return 0 if succeeded else 1


def _results(mask: Mask, *, sends: bool, timeout: float, allow_http: bool) -> Iterator[Line]:
    key, key_problem = _value_or_problem(lambda: options.api_key(None, required=True))
    url, url_problem = _value_or_problem(
        lambda: options.base_url(None, allow_http=options.allow_http(allow_http or None))
    )
    yield from (Line(Mark.PROBLEM, problem) for problem in (key_problem, url_problem) if problem)
    if not key or not url:
        return
    if warning := options.key_warning(key):
        yield Line(Mark.WARNING, warning)
    client = Client(base_url=url, api_key=key, timeout=timeout, user_agent=USER_AGENT)
    try:
        yield from _ask(client, url, mask, sends=sends, timeout=timeout)
    finally:
        client.close()


def read_spool(path: pathlib.Path) -> Line:
    """Return how many kinds of alerts a spool knows, and which are storming."""
    from emitkit_logging._spool import listing  # noqa: PLC0415 - for those who want a spool

    try:
        kinds = listing.known_kinds(path)
    except (OSError, sqlite3.Error) as error:
        return Line(Mark.PROBLEM, f"the spool {path} cannot be read: {error}")
    return Line(Mark.OK, f"the spool {path}: {kinds_text(len(kinds), kinds.storming())}")


def _value_or_problem(option: Callable[[], str]) -> tuple[str, str]:
    try:
        return option(), ""
    except ValueError as error:
        return "", str(error)


def _ask(client: Client, url: str, mask: Mask, *, sends: bool, timeout: float) -> Iterator[Line]:
    """Send the requests, and yield what each response means."""
    route = f", through the proxy {client.proxy}" if client.proxy else ""
    began, sent = time.perf_counter(), time.time()
    try:
        response = mask.response(client.exchange("GET", ME_PATH))
    except FAILURES as error:
        yield Line(Mark.PROBLEM, f"{url} cannot be reached{route}: {explain_error(error, timeout)}")
        return
    duration, received = time.perf_counter() - began, time.time()
    yield Line(Mark.OK, f"{url} answers in {1000 * duration:.0f} ms{route}")
    account = read_account(response, sends=sends)
    yield from account.lines
    if not account.can_continue:
        return
    if not account.is_current:
        try:
            yield read_methods(mask.response(client.exchange("GET", EVENTS_PATH)))
        except FAILURES as error:
            yield Line(Mark.WARNING, f"it cannot be said which server this is: {explain_error(error, timeout)}")
    if sends:
        request = _test_event()
        try:
            sent = time.time()
            response = mask.response(client.exchange("POST", request.path, request.body, request.key))
        except FAILURES as error:
            yield Line(Mark.PROBLEM, f"the test event may not have arrived: {explain_error(error, timeout)}")
        else:
            received = time.time()
            yield read_event(response)
            yield from read_event_shape(response, is_current=account.is_current)
    yield read_quota(response, has_true_limits=account.is_current)
    yield read_clock(response, sent, received)


def _test_event() -> ApiRequest:
    event = Event(
        channel=_CHANNEL,
        title="Test Event",
        description="sent by emitkit-logging check",
        icon="🔌",
        notify=False,
    )
    return ApiRequest(EVENTS_PATH, 201, event.encode(), uuid.uuid4().hex)


# What responses mean


def read_account(response: HttpResponse, *, sends: bool = False) -> AccountResult:
    """Return what the response to ``GET /v1/me`` means.

    Args:
        response: of the server, or of whatever else answers at the address.
        sends: whether a test event follows.
    """
    answer = responses.read(response, success=200)
    if answer.verdict is Verdict.ACCEPTED:
        return AccountResult(tuple(_account(responses.json_object(response.body).get("data"))), can_continue=True)
    if response.status == 404 and "html" in response.headers.get("content-type", ""):
        lines = [Line(Mark.OK, f"the server has no {ME_PATH}, like EmitKit's open-source server")]
        if not sends:
            remedy = "such a server checks it only when an event is sent; --send sends a test event"
            lines.append(Line(Mark.UNKNOWN, f"whether the key is accepted: {remedy}"))
        return AccountResult(tuple(lines), can_continue=True, is_current=False)
    concerns_this_path = response.status == 403 or response.status >= 500  # perhaps an event can be sent all the same
    lines = [Line(Mark.PROBLEM, explain_refusal(response, success=200))]
    return AccountResult(tuple(lines), can_continue=concerns_this_path)


def _account(data: object) -> Iterator[Line]:
    yield Line(Mark.OK, "the key is accepted, by a server of the current generation")
    account = data if isinstance(data, dict) else {}
    if missing := sorted(CURRENT_ACCOUNT - account.keys()):
        yield Line(
            Mark.WARNING,
            f"{ME_PATH} has no {', '.join(missing)}, unlike the hosted service: is this an EmitKit server?",
        )
    names = [(noun, _name(account.get(noun))) for noun in ("organization", "project")]
    scopes = account.get("scopes")
    if isinstance(scopes, list):
        names.append(("scopes", ", ".join(map(str, scopes)) or "none"))
    if any(name for _, name in names):
        yield Line(Mark.OK, "; ".join(f"{noun} {name}" for noun, name in names if name))
    if isinstance(scopes, list):
        for scope, (mark, consequence) in _SCOPES.items():
            if scope not in scopes:
                yield Line(mark, f"the key lacks the scope {scope}: {consequence}; make a key that has it")


def _name(value: object) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in ("name", "slug", "id") if isinstance(value.get(key), str)), None)
    return value if isinstance(value, str) else ""


def read_event(response: HttpResponse) -> Line:
    """Return what the response to the test event means."""
    if responses.read(response, success=201).verdict is not Verdict.ACCEPTED:
        return Line(Mark.PROBLEM, f"the test event was not accepted: {explain_refusal(response, success=201)}")
    data = responses.json_object(response.body).get("data")
    created = data if isinstance(data, dict) else {}
    channel = created.get("channelName")
    event_id = f", as {created['id']}" if isinstance(created.get("id"), str) else ""
    return Line(
        Mark.OK, f"a test event was accepted: it is in {channel if isinstance(channel, str) else _CHANNEL}{event_id}"
    )


def read_methods(response: HttpResponse) -> Line:
    """Return whether a server without `/v1/me` is the open-source server, by its response to GET on the events.

    That server has no list of events, but the path for sending them, and so answers 405. Any web server answers 404.
    """
    if response.status == 405:
        return Line(Mark.OK, f"it takes events at {EVENTS_PATH} and lists none: it is EmitKit's open-source server")
    detail = responses.read(response, success=200).detail
    return Line(
        Mark.WARNING,
        f"it answers GET {EVENTS_PATH} otherwise than both EmitKit servers, which would list events or answer 405 "
        f"({detail}): is {_ADDRESS} right?",
    )


def read_event_shape(response: HttpResponse, *, is_current: bool) -> Iterator[Line]:
    """Yield a warning when a created event is returned otherwise than by the server that this seems to be."""
    if responses.read(response, success=201).verdict is not Verdict.ACCEPTED:
        return
    data = responses.json_object(response.body).get("data")
    created = data.keys() if isinstance(data, dict) else set()
    missing = sorted((CURRENT_EVENT if is_current else OPEN_SOURCE_EVENT) - created)
    name = "the hosted service" if is_current else "the open-source server"
    if missing:
        yield Line(Mark.WARNING, f"the event is returned without {', '.join(missing)}, unlike by {name}")
    elif not is_current and not created <= OPEN_SOURCE_EVENT:
        more = ", ".join(sorted(map(str, created - OPEN_SOURCE_EVENT)))
        yield Line(Mark.WARNING, f"the event is returned with {more}, unlike by {name}")


def explain_refusal(response: HttpResponse, *, success: int) -> str:
    """Return what a response other than the success means, and the remedy.

    Args:
        response: of the server.
        success: the status that the request has when it succeeds.
    """
    answer = responses.read(response, success=success)
    detail, status = answer.detail, response.status
    if answer.verdict is Verdict.AMBIGUOUS_401:
        return (
            "the key is wrong, or the limit of requests is used up: the open-source server answers both in the same "
            f"way; try again after a minute without any request ({detail})"
        )
    if answer.verdict is Verdict.LIMITED:
        wait = answer.retry_after
        if wait is None and answer.quota is not None:
            wait = answer.quota.reset_in
        when = "later" if wait is None else f"in {wait:.0f} s"
        return f"no requests are left: try again {when} ({detail})"
    if 300 <= status < 400:
        return f"it {detail.partition('; ')[2]}: usually the app's host instead of the API's; correct {_ADDRESS}"
    if status == 401:
        return f"the key is refused: is {options.API_KEY_VARIABLE} that of the project, and still valid? ({detail})"
    if status == 403:
        return f"the key may not do this: it lacks a scope, or its project was deleted ({detail})"
    if status == 404:
        return f"there is no such endpoint: is the path in {_ADDRESS} right? ({detail})"
    if status == 407:
        return f"the proxy requires a user name and a password: set them in its address ({detail})"
    if status >= 500 or status == 408:
        return f"the server failed: try again later ({detail})"
    if status < 300:
        kind = response.headers.get("content-type", "").partition(";")[0] or "nothing"
        return (
            f"it answers HTTP {status} with {kind}, which is not a response of EmitKit: is {_ADDRESS} the address of "
            "the API, and not of the app?"
        )
    return f"unexpected: {detail}"


def read_quota(response: HttpResponse, *, has_true_limits: bool = True) -> Line:
    """Return how many requests are left in the current rate-limit window."""
    quota = responses.read(response, success=200).quota
    if not has_true_limits:
        return Line(Mark.OK, "the server does not report how many requests are left: the handler counts them itself")
    if quota is None:
        return Line(Mark.OK, "no rate-limit headers: there is no limit, or something between removes the headers")
    mark = Mark.OK if quota.remaining else Mark.WARNING
    left = f"{quota.remaining:,} of {quota.limit:,} requests left"
    return Line(mark, f"{left}, the window ends in {quota.reset_in:.0f} s")


def read_clock(response: HttpResponse, sent: float, received: float) -> Line:
    """Return how this machine's clock differs from the server's.

    Args:
        response: with its `Date`, in whole seconds.
        sent, received: when the request was sent and the response received, in Unix seconds.
    """
    try:
        date = email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return Line(Mark.WARNING, "the server sends no Date: the clock cannot be compared")
    # the server set Date at some moment between the two, and cut it to the second
    least, most = sent - date - 1.0, received - date
    if least <= 0.0 <= most:
        return Line(Mark.OK, "the clock agrees with the server's")
    offset = least if least > 0 else most
    text = f"the clock is {abs(offset):,.0f} s {'ahead of' if offset > 0 else 'behind'} the server's"
    if abs(offset) <= CLOCK_TOLERANCE:
        return Line(Mark.OK, text)
    return Line(Mark.WARNING, f"{text}: events will have a wrong time; set the clock, for example by NTP")


# What errors mean


def explain_error(error: BaseException, timeout: float) -> str:
    """Return what an error in place of a response means, and the remedy; `timeout` is in seconds."""
    chain = list(_chain(error))
    cause = str(chain[-1]) or type(chain[-1]).__name__

    def has(*types: type[BaseException]) -> bool:
        return any(isinstance(each, types) for each in chain)

    if has(exceptions.ProxyError):
        return f"the proxy fails; https_proxy and no_proxy in the environment choose it: {cause}"
    if has(socket.gaierror):
        return f"the host name is unknown: is {_ADDRESS} right, and is there a network? ({cause})"
    if has(ConnectionRefusedError):
        return f"the connection is refused: does the server run, and is the port right? ({cause})"
    if has(ssl.SSLCertVerificationError):
        return f"its certificate is not trusted; REQUESTS_CA_BUNDLE names the file of another authority ({cause})"
    if has(ssl.SSLError, exceptions.SSLError):
        return f"TLS fails: does the server use https at this port? ({cause})"
    if has(TimeoutError, exceptions.TimeoutError):
        return f"no answer within {timeout:g} s: does a firewall or a proxy block it? (--timeout waits longer)"
    return f"{type(chain[-1]).__name__}: {cause}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the first cause last. urllib3 keeps some causes among the arguments."""
    following: list[object] = [error]
    seen: list[BaseException] = []
    while following:
        each = following.pop(0)
        if isinstance(each, BaseException) and not any(each is other for other in seen):
            seen.append(each)
            yield each
            following += [each.__cause__, each.__context__, *each.args]
