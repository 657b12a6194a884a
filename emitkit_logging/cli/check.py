"""Check: what of the configuration works, as lines for a person.

`check` asks the server; all else is pure: what a response or an error means (API contract, its *Errors* and *The
open-source server, as observed*), and what is to be done about it.
"""

from __future__ import annotations

import dataclasses
import email.utils
import enum
import json
import os
import socket
import ssl
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from urllib3 import exceptions

from emitkit_logging import __version__
from emitkit_logging import _options as options
from emitkit_logging._api import responses
from emitkit_logging._api.requests import EVENTS_PATH, ApiRequest
from emitkit_logging._api.responses import HttpResponse, Verdict
from emitkit_logging._events.event import Event
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._worker.client import FAILURES, Client

ME_PATH = "/v1/me"

CLOCK_TOLERANCE = 5.0
"""Seconds that two machines' clocks may differ before it is worth a warning."""

_CHANNEL = "general"

_SCOPES: Mapping[str, tuple[bool, str]] = {
    "events:write": (True, "no event can be sent"),
    "identities:write": (False, "users cannot be identified"),
}
"""The scopes that the handler needs: whether nothing works without, and what does not."""


class Mark(enum.Enum):
    """How a line is meant."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Line:
    """One finding: its mark and a sentence."""

    mark: Mark
    text: str

    def __str__(self) -> str:
        return f"{self.mark.value:8} {self.text}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a response means.

    Attributes:
        lines: for people.
        is_ours: whether a server of EmitKit has taken the key, or may yet: whether asking on makes sense.
        is_truthful: whether its rate-limit headers mean what they say, which those of the open-source server do not.
    """

    lines: tuple[Line, ...]
    is_ours: bool
    is_truthful: bool = True


def check(*, sends: bool = False, timeout: float = 5.0, allow_http: bool = False) -> int:
    """Print what works of the key and the address in the environment.

    Args:
        sends: whether to send a test event, too.
        timeout: seconds for one request.
        allow_http: as the handler's option.

    Returns:
        The exit status: 0 when the key was accepted and nothing is in the way of an event, else 1. A warning changes
        nothing; that the key could not be checked does.
    """
    is_well = True
    mask = _Mask(os.environ.get(options.API_KEY_VARIABLE, "").strip())
    for line in _ask(mask, sends=sends, timeout=timeout, allow_http=allow_http):
        is_well = is_well and line.mark in (Mark.OK, Mark.WARNING)
        encoding = sys.stdout.encoding or "utf-8"
        print(mask(str(line)).encode(encoding, "replace").decode(encoding), flush=True)
    return 0 if is_well else 1


def _ask(mask: _Mask, *, sends: bool, timeout: float, allow_http: bool) -> Iterator[Line]:
    key, no_key = _checked(lambda: options.api_key(None, required=True))
    url, no_url = _checked(lambda: options.base_url(None, allow_http=allow_http))
    yield from (Line(Mark.PROBLEM, wrong) for wrong in (no_key, no_url) if wrong)
    if not key or not url:
        return
    if doubt := options.doubt(key):
        yield Line(Mark.WARNING, doubt)
    client = Client(base_url=url, api_key=key, timeout=timeout, user_agent=f"emitkit-logging/{__version__}")
    try:
        yield from _talk(client, url, mask, sends=sends, timeout=timeout)
    finally:
        client.close()


def _checked(option: Callable[[], str]) -> tuple[str, str]:
    try:
        return option(), ""
    except ValueError as error:
        return "", str(error)


def _talk(client: Client, url: str, mask: _Mask, *, sends: bool, timeout: float) -> Iterator[Line]:
    way = f", through the proxy {client.proxy}" if client.proxy else ""
    began, asked = time.perf_counter(), time.time()
    try:
        response = mask.response(client.exchange("GET", ME_PATH))
    except FAILURES as error:
        yield Line(Mark.PROBLEM, f"{url} cannot be reached{way}: {trouble(error, timeout)}")
        return
    took, received = time.perf_counter() - began, time.time()
    yield Line(Mark.OK, f"{url} answers in {1000 * took:.0f} ms{way}")
    finding = of_me(response, sends=sends)
    yield from finding.lines
    if not finding.is_ours:
        return
    if sends:
        request = _test_event()
        try:
            asked = time.time()
            response = mask.response(client.exchange("POST", request.path, request.body, request.key))
        except FAILURES as error:
            yield Line(Mark.PROBLEM, f"the test event may not have arrived: {trouble(error, timeout)}")
        else:
            received = time.time()
            yield from of_event(response)
    yield budget(response, is_truthful=finding.is_truthful)
    yield clock(response, asked, received)


def _test_event() -> ApiRequest:
    event = Event(
        channel=_CHANNEL,
        title="Test Event",
        description="sent by emitkit-logging check",
        icon="🔌",
        notify=False,
    )
    return ApiRequest(EVENTS_PATH, 201, event.encode(), uuid.uuid4().hex)


def of_me(response: HttpResponse, *, sends: bool = False) -> Finding:
    """Return what the response to ``GET /v1/me`` means; `sends` is whether a test event follows."""
    answer = responses.read(response, success=200)
    if answer.verdict is Verdict.ACCEPTED:
        return Finding(tuple(_account(responses.json_object(response.body).get("data"))), is_ours=True)
    if response.status == 404 and "html" in response.headers.get("content-type", ""):
        lines = [Line(Mark.OK, f"the server has no {ME_PATH}, like EmitKit's open-source server")]
        if not sends:
            why = "such a server cannot say without side effects; --send finds out, with a test event"
            lines.append(Line(Mark.UNKNOWN, f"whether the key is accepted: {why}"))
        return Finding(tuple(lines), is_ours=True, is_truthful=False)
    goes_on = response.status == 403 or response.status >= 500  # perhaps only of this endpoint
    return Finding((Line(Mark.PROBLEM, refusal(response, success=200)),), is_ours=goes_on)


def _account(data: object) -> Iterator[Line]:
    yield Line(Mark.OK, "the key is accepted, by a server of the current generation")
    account = data if isinstance(data, dict) else {}
    names = [(what, _name(account.get(what))) for what in ("organization", "project")]
    scopes = account.get("scopes")
    if isinstance(scopes, list):
        names.append(("scopes", ", ".join(map(str, scopes)) or "none"))
    if any(name for _, name in names):
        yield Line(Mark.OK, "; ".join(f"{what} {name}" for what, name in names if name))
    if isinstance(scopes, list):
        for scope, (is_needed, lost) in _SCOPES.items():
            if scope not in scopes:
                mark = Mark.PROBLEM if is_needed else Mark.WARNING
                yield Line(mark, f"the key lacks the scope {scope}: {lost}; make a key that has it")


def _name(value: object) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in ("name", "slug", "id") if isinstance(value.get(key), str)), None)
    return value if isinstance(value, str) else ""


def of_event(response: HttpResponse) -> Iterator[Line]:
    """Yield what the response to the test event means."""
    if responses.read(response, success=201).verdict is not Verdict.ACCEPTED:
        yield Line(Mark.PROBLEM, f"the test event was not taken: {refusal(response, success=201)}")
        return
    data = responses.json_object(response.body).get("data")
    told = data if isinstance(data, dict) else {}
    channel = told.get("channelName")
    event_id = f", as {told['id']}" if isinstance(told.get("id"), str) else ""
    where = channel if isinstance(channel, str) else _CHANNEL
    yield Line(Mark.OK, f"a test event was accepted: it is in {where}{event_id}")


def refusal(response: HttpResponse, *, success: int) -> str:
    """Return what a response that is no success means, and what to do about it."""
    answer = responses.read(response, success=success)
    detail, status = answer.detail, response.status
    if answer.verdict is Verdict.AMBIGUOUS_401:
        return (
            f"the key is wrong, or the limit of requests is used up, which the open-source server does not tell apart: "
            f"try again after a minute without any request ({detail})"
        )
    if answer.verdict is Verdict.LIMITED:
        wait = answer.retry_after
        if wait is None and answer.quota is not None:
            wait = answer.quota.reset_in
        when = "later" if wait is None else f"in {wait:.0f} s"
        return f"no requests are left: try again {when} ({detail})"
    if 300 <= status < 400:
        return f"it {detail.partition('; ')[2]}: usually the app's host instead of the API's; mend {_ADDRESS}"
    if status == 401:
        return f"the key is refused: is {options.API_KEY_VARIABLE} that of the project, and still valid? ({detail})"
    if status == 403:
        return f"the key may not do this: it lacks a scope, or its project is gone ({detail})"
    if status == 404:
        return f"there is no such endpoint: is the path in {_ADDRESS} right? ({detail})"
    if status == 407:
        return f"the proxy wants a name and a password: set them in its address ({detail})"
    if status >= 500 or status == 408:
        return f"the server failed: try again later ({detail})"
    if status < 300:
        kind = response.headers.get("content-type", "").partition(";")[0] or "nothing"
        return f"it answers HTTP {status} with {kind} that is not EmitKit's: is {_ADDRESS} the API's and not the app's?"
    return f"unexpected: {detail}"


_ADDRESS = options.BASE_URL_VARIABLE


def budget(response: HttpResponse, *, is_truthful: bool = True) -> Line:
    """Return what is left of the rate limit's window."""
    quota = responses.read(response, success=200).quota
    if not is_truthful:
        return Line(Mark.OK, "how many requests are left this server does not tell: the handler counts for itself")
    if quota is None:
        return Line(Mark.OK, "no rate-limit headers: there is no limit, or something in between takes them away")
    ends = f"the window ends in {quota.reset_in:.0f} s"
    mark = Mark.OK if quota.remaining else Mark.WARNING
    return Line(mark, f"{quota.remaining:,} of {quota.limit:,} requests left, {ends}")


def clock(response: HttpResponse, asked: float, received: float) -> Line:
    """Return how this machine's clock differs from the server's.

    Args:
        response: with its `Date`, in whole seconds.
        asked, received: when the request was sent and the response was there, in Unix seconds.
    """
    try:
        date = email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return Line(Mark.WARNING, "the server sends no Date: whether the clocks agree is unknown")
    # Date was the time at some moment in between, cut to its second
    least, most = asked - date - 1.0, received - date
    if least <= 0.0 <= most:
        return Line(Mark.OK, "the clock agrees with the server's")
    offset = least if least > 0 else most
    text = f"the clock is {abs(offset):,.0f} s {'ahead of' if offset > 0 else 'behind'} the server's"
    if abs(offset) <= CLOCK_TOLERANCE:
        return Line(Mark.OK, text)
    return Line(Mark.WARNING, f"{text}: events tell a wrong time; set it, by NTP for example")


def trouble(error: BaseException, timeout: float) -> str:
    """Return what an error instead of a response means, and what to do about it; `timeout` is in seconds."""
    chain = list(_chain(error))
    said = str(chain[-1]) or type(chain[-1]).__name__

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    if has(exceptions.ProxyError):
        return f"the proxy fails, which the environment (https_proxy, no_proxy) sets: {said}"
    if has(socket.gaierror):
        return f"its name is not known: is {_ADDRESS} right, and is there a network? ({said})"
    if has(ConnectionRefusedError):
        return f"the connection is refused: does the server run, and is the port right? ({said})"
    if has(ssl.SSLCertVerificationError):
        return f"its certificate is not trusted; REQUESTS_CA_BUNDLE names the file of another authority ({said})"
    if has(ssl.SSLError, exceptions.SSLError):
        return f"TLS fails: does the server speak https at this port? ({said})"
    if has(TimeoutError, exceptions.TimeoutError):
        return f"no answer within {timeout:g} s: is a firewall or a proxy in between? (--timeout waits longer)"
    return f"{type(chain[-1]).__name__}: {said}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came of, the first cause last; urllib3 keeps some among the arguments."""
    following: list[object] = [error]
    seen: list[BaseException] = []
    while following:
        each = following.pop(0)
        if isinstance(each, BaseException) and not any(each is other for other in seen):
            seen.append(each)
            yield each
            following += [each.__cause__, each.__context__, *each.args]


class _Mask:
    """Takes the key out of whatever a server, a proxy or an error says, and what could drive a terminal."""

    def __init__(self, key: str) -> None:
        self._redactor = Redactor(literals=_spellings(key) if key else ())

    def __call__(self, text: str) -> str:
        return "".join(char if char.isprintable() else " " for char in self._redactor.mask(text))

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key: its text is cut later, and half a key could no longer be told."""
        body = response.body
        content = responses.json_object(body)
        if content:
            body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        headers = {name: self._redactor.mask(value) for name, value in response.headers.items()}
        text = self._redactor.mask(body.decode("utf-8", "replace"))
        return dataclasses.replace(response, headers=headers, body=text.encode())


def _spellings(key: str) -> Iterable[str]:
    spellings: tuple[Callable[[str], str], ...] = (
        str,
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: json.dumps(text)[1:-1],
    )
    return dict.fromkeys(spell(key) for spell in spellings)
