"""The imports between the packages of the inbox run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from emitkit_logging import inbox

INBOX = Path(inbox.__file__).parent
ORDER = ("server", "http", "store", "emulation")
"""Each may import those after it, and none before it."""


def imported(path: Path) -> Iterator[str]:
    """Yield the names that a file imports from modules."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", ORDER[1:])
def test_the_packages_of_the_inbox_have_an_order(package):
    """HTTP uses the store, and the store what is emulated, never the other way round."""
    before = tuple(f"emitkit_logging.inbox.{each}." for each in ORDER[: ORDER.index(package)])
    found = [(path.name, name) for path in sorted((INBOX / package).rglob("*.py")) for name in imported(path)]
    assert any(name.startswith("emitkit_logging.inbox.emulation.") for _, name in found)
    assert [(file, name) for file, name in found if name.startswith(before)] == []
