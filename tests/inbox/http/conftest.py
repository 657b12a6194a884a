"""Fixtures for the tests over HTTP."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox import Inbox


@pytest.fixture
def fresh(clock, connect):
    """A client of an inbox of the test's own, whose clock stands still."""
    with Inbox(rate_limit=0, clock=clock) as inbox:
        yield connect(inbox)
