"""Fixtures of the tests of the spool."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spool.processes import Account, Other


@pytest.fixture
def account(server):
    server.script = account = Account()
    return account


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def others(server, path):
    """Start other processes on the same spool; all are ended with the test."""
    made: list[Other] = []

    def start(**options) -> Other:
        made.append(Other(server, path, **options))
        made[-1]("i")  # it is up
        return made[-1]

    yield start
    for other in made:
        other.process.kill()
        other.process.communicate()
