"""Pytest plugin: the fixture `emitkit_inbox`, a local EmitKit for a test, whose contents a failed test's report shows.

Every run of pytest in an environment with this library loads this module, so it loads nothing more before the fixture
is used. The fixture needs the extra ``inbox``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emitkit_logging.inbox import Inbox
    from emitkit_logging.inbox.emulation.base import Call

SECTION = "EmitKit inbox"
"""The title of the section in a failed test's report."""

MOST_SHOWN = 50
"""Events, and refused requests, in a report: the latest."""

UNLIMITED = 1_000_000
"""Requests a minute. Without any limit there would be no headers, and a handler would keep to its default of 100."""

_LONGEST_BODY = 300
_CALLS: dict[str, Call] = {"/v1/events": "event", "/v1/identify": "identify"}

_INBOX: pytest.StashKey[Inbox] = pytest.StashKey()


@pytest.fixture
def emitkit_inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """Return a local EmitKit without a rate limit; during the test its key and address are in the environment.

    `emitkit_inbox.wait_for(title="User Signed Up")` waits for an event and returns it, `emitkit_inbox.events` has all.
    When the test fails, its report lists the events and the refused requests.
    """
    from emitkit_logging._options import API_KEY_VARIABLE, BASE_URL_VARIABLE  # noqa: PLC0415
    from emitkit_logging.inbox import Inbox  # noqa: PLC0415 - see above

    try:
        inbox = Inbox(rate_limit=UNLIMITED)
    except ImportError as error:
        pytest.fail(f"emitkit_inbox: {error}", pytrace=False)
    with inbox:
        request.node.stash[_INBOX] = inbox
        monkeypatch.setenv(API_KEY_VARIABLE, inbox.api_key)
        monkeypatch.setenv(BASE_URL_VARIABLE, inbox.url)
        for name in ("no_proxy", "NO_PROXY"):  # a proxy of the environment cannot reach this machine's loopback
            monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
        yield inbox


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the contents of the inbox to the report of a test that failed."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    inbox = item.stash.get(_INBOX, None)
    if report.failed and inbox is not None:
        report.sections.append((SECTION, "\n".join(account(inbox))))


def account(inbox: Inbox) -> list[str]:
    """Return the events of an inbox and the requests that it refused, as lines without its API key."""
    from emitkit_logging.inbox.terminal import event_line  # noqa: PLC0415 - see above

    events = inbox.events
    lines = [*_left_out(len(events), "events")] if events else ["no events"]
    # masked before the line is cut, because the key could be cut with it
    lines += [event_line(json.loads(_masked(json.dumps(event), inbox))) for event in events[-MOST_SHOWN:]]
    refused = [request for request in inbox.requests if (request["status"] or 0) >= 400]
    lines += _left_out(len(refused), "refused requests")
    return [*lines, *(_refusal_line(request, inbox) for request in refused[-MOST_SHOWN:])]


def _refusal_line(request: dict[str, Any], inbox: Inbox) -> str:
    from emitkit_logging.inbox.terminal import safe  # noqa: PLC0415 - see above

    body = _masked(request["body"].decode("utf-8", "replace"), inbox)
    shown = body if len(body) <= _LONGEST_BODY else f"{body[:_LONGEST_BODY]}…"
    reason = _masked(_reason(request), inbox)
    line = f"{request['method']} {_masked(request['path'], inbox)} {shown}"
    return safe(f"refused with {request['status']}{reason and f' ({reason})'}: {line}").rstrip()


def _masked(text: str, inbox: Inbox) -> str:
    from emitkit_logging.inbox.masking import mask_keys  # noqa: PLC0415 - see above

    return mask_keys(text, (inbox.api_key,))


def _left_out(count: int, what: str) -> list[str]:
    return [f"… {count - MOST_SHOWN:,} {what} before"] if count > MOST_SHOWN else []


def _reason(request: dict[str, Any]) -> str:
    """Return what is wrong with a refused request, as far as the request alone shows it; the response is not kept."""
    from emitkit_logging.inbox.emulation.current import Current  # noqa: PLC0415 - see above
    from emitkit_logging.inbox.emulation.refusals import Invalid  # noqa: PLC0415

    if request["status"] == 401:
        return "another key than the inbox's"
    call = _CALLS.get(request["path"])
    try:
        if request["status"] == 400 and call is not None:
            Current().read(call, request["body"], "application/json")
    except Invalid as error:
        return str(error)
    return ""
