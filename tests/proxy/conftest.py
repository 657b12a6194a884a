"""Fixtures of the proxy tests."""

from __future__ import annotations

import pytest

from emitkit_logging.proxy import ingest_proxy_events
from tests.proxy.helpers import Collector


@pytest.fixture
def collected(logger):
    """A function that logs the events of a browser and returns the EmitKit events that they become."""

    def collect(*events, options=None, **given):
        collector = Collector(**(options or {}))
        logger.handlers[:] = [collector]
        ingest_proxy_events({"events": list(events)}, logger=logger, **given)
        return collector.events

    return collect
