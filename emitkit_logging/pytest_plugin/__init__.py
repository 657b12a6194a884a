"""Pytest plugin: the fixture `emitkit_inbox`, a local EmitKit for a test, whose contents a failed test's report shows.

Every run of pytest in an environment with this library loads this module, so it loads nothing more before the fixture
is used. The fixture needs the extra ``inbox``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emitkit_logging.pytest_plugin.inbox import EmitKitInbox

SECTION = "EmitKit inbox"
"""The title of the section in a failed test's report."""

_INBOX: pytest.StashKey[EmitKitInbox] = pytest.StashKey()


@pytest.fixture
def emitkit_inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmitKitInbox]:
    """Return a local EmitKit without a rate limit; during the test its key and address are in the environment.

    `emitkit_inbox.wait_for(title="User Signed Up")` waits for an event and returns it, `emitkit_inbox.events` has all.
    `emitkit_inbox.attach(logger)` adds a handler to a logger that was configured before the test. When the test fails,
    its report lists the events and the refused requests.
    """
    from emitkit_logging._options import API_KEY_VARIABLE, BASE_URL_VARIABLE  # noqa: PLC0415
    from emitkit_logging.pytest_plugin.inbox import EmitKitInbox  # noqa: PLC0415 - see above

    try:
        inbox = EmitKitInbox()
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
        from emitkit_logging.pytest_plugin.report import account, elsewhere  # noqa: PLC0415 - see above

        lines = account(inbox)
        if report.when != "teardown":  # then the handlers of the test are gone
            lines += elsewhere(inbox)
        report.sections.append((SECTION, "\n".join(lines)))
