"""Fixtures shared by all tests: a scripted server, and handlers that are closed again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from emitkit_logging import EmitKitHandler

from .server import Server

KEY = "emitkit_0123456789abcdefKEY"

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def enabled_loggers() -> Iterator[None]:
    """Enable the loggers again that a test's configuration of logging has disabled."""
    yield
    for each in list(logging.root.manager.loggerDict.values()):
        if isinstance(each, logging.Logger):
            each.disabled = False


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def handler(server: Server) -> Iterator[Callable[..., EmitKitHandler]]:
    """Make handlers that send to the scripted server."""
    made: list[EmitKitHandler] = []

    def make(**options) -> EmitKitHandler:
        made.append(EmitKitHandler(**{"api_key": KEY, "base_url": server.url, "shutdown_timeout": 0.5, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """Return a logger of the test's own."""
    logger = logging.getLogger(f"test.{request.node.name}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
