"""The imports of the inbox run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import emitkit_logging

PACKAGE = Path(emitkit_logging.__file__).parent
INBOX = PACKAGE / "inbox"
ORDER = ("server", "http", "store", "emulation")
"""Each may import those after it, and none before it."""


def imported(path: Path) -> Iterator[str]:
    """Yield the names of the modules of this library that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "emitkit_logging":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", modules(INBOX), ids=lambda path: str(path.relative_to(INBOX)))
def test_the_inbox_imports_the_api_only(path):
    """The inbox shares the rules of EmitKit's API with the sender, and depends on nothing of the sender."""
    allowed = ("emitkit_logging.inbox", "emitkit_logging._api")
    assert [name for name in imported(path) if name != "emitkit_logging" and not name.startswith(allowed)] == []


@pytest.mark.parametrize("package", ORDER[1:])
def test_the_packages_of_the_inbox_have_an_order(package):
    """HTTP uses the store, and the store what is emulated, never the other way round."""
    before = tuple(f"emitkit_logging.inbox.{each}" for each in ORDER[: ORDER.index(package)])
    for path in modules(INBOX / package):
        assert [name for name in imported(path) if name.startswith(before)] == [], path


def test_the_api_imports_nothing_else():
    """The rules of EmitKit's API depend on nothing else of the library."""
    for path in modules(PACKAGE / "_api"):
        assert [name for name in imported(path) if not name.startswith("emitkit_logging._api")] == [], path


def test_nothing_else_imports_the_inbox():
    """Only the command line and the pytest plugin import the inbox, inside a function."""
    for path in modules(PACKAGE):
        names = list(imported(path))
        if INBOX in path.parents or path.name == "pytest_plugin.py" or path.parent == PACKAGE / "cli":
            continue
        assert [name for name in names if name.startswith("emitkit_logging.inbox")] == [], path
    for path in (PACKAGE / "pytest_plugin.py", *modules(PACKAGE / "cli")):
        top = ast.parse(path.read_text("utf-8")).body
        assert not [node for node in top if isinstance(node, ast.ImportFrom) and "inbox" in (node.module or "")], path
