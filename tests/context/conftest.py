"""Fixtures of the context tests."""

from __future__ import annotations

import pytest

from emitkit_logging import context


@pytest.fixture(autouse=True)
def no_context():
    """Each test begins and ends without a context."""
    assert context.current() is None
    yield
    assert context.current() is None
