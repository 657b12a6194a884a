"""Fixtures of the middleware tests."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging import context
from tests.middleware.helpers import Collector


@pytest.fixture(autouse=True)
def collector():
    """The events of all records of the test, which must leave no context behind."""
    root, collector = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.INFO)
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)
    assert context.current() is None
