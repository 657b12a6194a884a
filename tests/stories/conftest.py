"""What the stories share: a project in an empty folder, a local EmitKit, and Redis (`broker`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from emitkit_logging.inbox import Inbox
from tests.broker.conftest import broker
from tests.stories.project import Project

__all__ = ["broker"]


@pytest.fixture
def inbox(emitkit_inbox: Inbox) -> Inbox:
    """The local EmitKit whose key and address are in the environment of each program."""
    return emitkit_inbox


@pytest.fixture
def project(inbox: Inbox, tmp_path: Path) -> Project:
    """An empty folder."""
    return Project(tmp_path)
