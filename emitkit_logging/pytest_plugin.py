"""Plugin of pytest: the fixture `emitkit_inbox`, a local EmitKit for a test, and what it got when the test fails.

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

SECTION = "EmitKit inbox"
"""The title of what a failed test's report tells."""

MOST_SHOWN = 50
"""Events, and refused requests, in a report: the latest."""

UNLIMITED = 1_000_000
"""Requests a minute: none at all would leave a handler with its own count of 100, as no header tells it of more."""

_LONGEST_BODY = 300

_INBOX: pytest.StashKey[Inbox] = pytest.StashKey()


@pytest.fixture
def emitkit_inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """Return a local EmitKit without a rate limit; during the test its key and address are in the environment.

    `emitkit_inbox.wait_for(title="User Signed Up")` waits for an event and returns it, `emitkit_inbox.events` has all.
    When the test fails, its report tells the events and the refused requests.
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
        for name in ("no_proxy", "NO_PROXY"):  # a proxy of the environment has no way to this machine's loopback
            monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
        yield inbox


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add what the inbox got to the report of a test that failed."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    inbox = item.stash.get(_INBOX, None)
    if report.failed and inbox is not None:
        report.sections.append((SECTION, "\n".join(account(inbox))))


def account(inbox: Inbox) -> list[str]:
    """Return as lines, without its key, what an inbox got: the events, and the requests that it refused."""
    from emitkit_logging.inbox.terminal import event_line, plain  # noqa: PLC0415 - see above

    events = inbox.events
    lines = [*_left_out(len(events), "events")] if events else ["no events"]
    # masked before the line is cut, and with it perhaps the key
    lines += [event_line(json.loads(_masked(json.dumps(event), inbox))) for event in events[-MOST_SHOWN:]]
    refused = [request for request in inbox.requests if (request["status"] or 0) >= 400]
    lines += _left_out(len(refused), "refused requests")
    for request in refused[-MOST_SHOWN:]:
        body = _masked(request["body"].decode("utf-8", "replace"), inbox)
        shown = body if len(body) <= _LONGEST_BODY else f"{body[:_LONGEST_BODY]}…"
        asked = f"{request['method']} {_masked(request['path'], inbox)}"
        why = _masked(_reason(request), inbox)
        lines.append(plain(f"refused with {request['status']}{why and f' ({why})'}: {asked} {shown}").rstrip())
    return lines


def _masked(text: str, inbox: Inbox) -> str:
    return text.replace(inbox.api_key, "[api key]")


def _left_out(count: int, what: str) -> list[str]:
    return [f"… {count - MOST_SHOWN:,} {what} before"] if count > MOST_SHOWN else []


def _reason(request: dict[str, Any]) -> str:
    """Return what is wrong with a refused request, as far as the request itself says; the answer is not kept."""
    from emitkit_logging._api import contract  # noqa: PLC0415 - see above

    if request["status"] == 401:
        return "another key than the inbox's"
    read = {"/v1/events": contract.CURRENT.read_event, "/v1/identify": contract.CURRENT.read_identify}
    try:
        if request["status"] == 400 and request["path"] in read:
            read[request["path"]](contract.mend(contract.parse(request["body"])))
    except contract.Invalid as error:
        return str(error)
    return ""
