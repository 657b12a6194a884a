"""The direction of imports between the packages, and that no module reaches into another's private attributes.

The rules are read from the source, not from what happens to be loaded: imports inside functions and for type checkers
count, too. Each rule has a test on made-up source that breaks it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import emitkit_logging

PACKAGE = "emitkit_logging"
EVERYTHING = frozenset({"*"})

DECIDING = frozenset({"_api", "_events", "_outbox"})
DELIVERING = DECIDING | {"_log", "_worker", "_spool", "_relay", "stats"}
DESCRIBING = frozenset({"_log", "_api", "_events", "_options", "_context", "context"})

ALLOWED: Mapping[str, frozenset[str]] = {
    # a record's way, from the last step to the first
    "_api": frozenset(),
    "_events": frozenset({"_api"}),
    "_outbox": frozenset({"_api", "_events", "stats"}),
    "_worker": DECIDING | {"stats", "_log"},
    "_spool": DECIDING | {"stats", "_worker", "_log"},  # it implements the worker's store
    "_relay": DECIDING | {"stats", "_worker", "_log"},  # the same
    # what users import
    "": EVERYTHING,  # the package itself, which loads each public name on first use
    "handler": DELIVERING | DESCRIBING | {"formatter", "_assembly", "_servers", "_uncaught"},
    "_servers": frozenset(),
    "_uncaught": frozenset({"_events", "_worker"}),
    "_assembly": DELIVERING | DESCRIBING | {"formatter"},
    "formatter": DESCRIBING,
    "filter": DESCRIBING | {"formatter"},
    "context": frozenset({"_api", "_events", "_context"}),  # narrowed below
    "_context": frozenset({"_api", "_events"}),  # the same
    "callbacks": frozenset({"_api"}),
    "stats": frozenset(),
    "_options": frozenset({"_api", "_log"}),
    "_log": frozenset({"_events"}),  # narrowed below
    # around web applications
    "middleware": DESCRIBING | {"_worker"},  # a task queue's process is ended without exit hooks
    "proxy": DESCRIBING | {"filter", "formatter", "middleware"},
    # in a terminal and in tests
    "inbox": frozenset({"_api"}),
    "cli": EVERYTHING,
    "__main__": frozenset({"cli"}),
    "command": frozenset({"cli"}),
    "pytest_plugin": frozenset({"_api", "_options", "handler", "inbox"}),
}
"""For each package or module of the package what it may import beside itself (CONTRIBUTING)."""

OF_EVENTS: Mapping[str, frozenset[str]] = {
    "_log": frozenset({"faults", "redaction"}),
    "context": frozenset({"converter", "extras", "merging", "redaction"}),
    "_context": frozenset(
        {"captured", "converter", "entries", "extras", "merging", "minimal", "redaction", "series", "tracebacks"}
    ),
}
"""The modules of `_events` that the event context may import."""

INBOX_IMPORTERS = frozenset({"cli", "pytest_plugin"})
"""The only importers of `inbox`. They import it inside functions, since it needs the packages of an extra."""

LOADED_LATE = frozenset({"pytest_plugin.inbox", "pytest_plugin.report"})
"""Modules that are themselves imported inside functions only, when the inbox is there."""

IMPORTS_NOTHING_EARLY = frozenset({"pytest_plugin"})
"""Modules whose every import is inside a function: pytest loads the plugin in each of its runs."""

STANDARD_PRIVATE = frozenset(
    {
        "logging._lock",  # the lock that dictConfig holds while it closes handlers; no public name leads to it
        "logging._lock._is_owned",  # whether this thread holds it; no public method answers that
        "threading._active",  # the threads by number, where gevent has replaced the function that returns the number
        "threading._shutdown",  # the last that a child of multiprocessing calls when its threads have ended
        "sys._getframe",  # the call stack; the public inspect.stack reads source files
    }
)
"""Private names of the standard library that are used because there is no public one."""


@dataclass(frozen=True)
class Import:
    """One import of a module of the package.

    Attributes:
        importer, target: dotted names below the package; the package itself is the empty string.
        line: where it stands.
        is_lazy: whether it stands inside a function, or under `if TYPE_CHECKING`.
    """

    importer: str
    target: str
    line: int
    is_lazy: bool

    def __str__(self) -> str:
        return f"{self.importer or PACKAGE}:{self.line} imports {self.target or PACKAGE}"


def sources() -> dict[str, str]:
    """Return the source of each module of the package by its dotted name below the package."""
    root = Path(emitkit_logging.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "demo_app" not in parts:  # an application, which the demo runs
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def exports(source: str) -> dict[str, str]:
    """Return the public names of the package by the module that holds each, as its `if TYPE_CHECKING` says."""
    return {
        alias.name: (node.module or "").partition(".")[2]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}.")
        for alias in node.names
    }


def imports(modules: Mapping[str, str], packages: frozenset[str]) -> Iterator[Import]:
    """Yield each import that one of the modules makes of another.

    Args:
        modules: source by dotted name below the package.
        packages: those of them that are packages, against which relative imports are resolved.
    """
    public = exports(modules.get("", ""))

    def targets(node: ast.AST, importer: str) -> Iterator[str]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, below = alias.name.partition(".")
                if top == PACKAGE:
                    yield below
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, importer, is_package=importer in packages)
            if base is None:
                return
            for alias in node.names:
                if (base, alias.name) == ("", "__version__"):  # a constant of the package, which is loaded already
                    continue
                inner = f"{base}.{alias.name}".strip(".")
                if inner in modules:
                    yield inner
                else:
                    yield base or public.get(alias.name, "")

    def walk(node: ast.AST, importer: str, *, is_lazy: bool) -> Iterator[Import]:
        for target in targets(node, importer):
            yield Import(importer, target, getattr(node, "lineno", 0), is_lazy)
        for child in ast.iter_child_nodes(node):
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_type_checkers(node, child)
            yield from walk(child, importer, is_lazy=is_lazy or inside)

    for name, source in modules.items():
        yield from walk(ast.parse(source), name, is_lazy=False)


def _absolute(node: ast.ImportFrom, importer: str, *, is_package: bool) -> str | None:
    """Return the name below the package that an import names, or `None` when it is none of ours."""
    module = node.module or ""
    if not node.level:
        top, _, below = module.partition(".")
        return below if top == PACKAGE else None
    parts = importer.split(".") if importer else []
    up = node.level - is_package
    return ".".join([*parts[: len(parts) - up], *filter(None, [module])])


def _is_for_type_checkers(parent: ast.AST, child: ast.AST) -> bool:
    return isinstance(parent, ast.If) and "TYPE_CHECKING" in ast.unparse(parent.test) and child in parent.body


def against_the_direction(modules: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[str]:
    """Return the imports that `ALLOWED` does not allow, or that should be lazy, as sentences."""
    return [f"{each}: {reason}" for each in imports(modules, packages) if (reason := _objection(each))]


def _objection(each: Import) -> str:
    importer, target = each.importer.partition(".")[0], each.target.partition(".")[0]
    if importer == target:
        return ""
    allowed = ALLOWED.get(importer)
    if allowed is None:
        return "it has no rule in ALLOWED"
    if target not in allowed and allowed is not EVERYTHING:
        return "this is not allowed"
    if importer in OF_EVENTS and target == "_events" and each.target.rpartition(".")[2] not in OF_EVENTS[importer]:
        return f"of _events only {', '.join(sorted(OF_EVENTS[importer]))}"
    if target == "inbox" and importer not in INBOX_IMPORTERS:
        return "only cli and pytest_plugin may"
    is_late = each.is_lazy or each.importer in LOADED_LATE
    if (target == "inbox" or importer in IMPORTS_NOTHING_EARLY) and not is_late:
        return "only inside a function"
    return ""


def private_accesses(modules: Mapping[str, str]) -> list[str]:
    """Return each use of a private attribute that the same module does not define, as a sentence."""
    found = []
    for name, source in modules.items():
        tree = ast.parse(source)
        own = _defined(tree)
        for node in ast.walk(tree):
            found += [
                f"{name or PACKAGE}:{node.lineno} uses {used}"
                for used in _private_names(node)
                if used.rpartition(".")[2] not in own and used not in STANDARD_PRIVATE
            ]
    return found


def _private_names(node: ast.AST) -> Iterator[str]:
    """Yield the private names that a node takes from an object or a module other than `self` and `cls`."""
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            if _is_private(alias.name) and f"{node.module}.{alias.name}" not in MODULE_NAMES:
                yield f"{node.module}.{alias.name}"
        return
    dotted = _dotted(node)
    owner, _, attribute = dotted.rpartition(".")
    if owner and owner not in ("self", "cls") and _is_private(attribute) and f"{PACKAGE}.{attribute}" != dotted:
        yield dotted


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _dotted(node: ast.AST) -> str:
    """Return an expression such as `a.b` or `getattr(a, "b")` as `a.b`; what else is in it as `…`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr", "delattr"):
        return f"{_dotted(node.args[0])}.{getattr(node.args[1], 'value', '…')}"
    return "…"


def _defined(tree: ast.Module) -> set[str]:
    """Return the names of functions, classes, fields, slots and attributes that a module itself defines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                names.add(node.attr)
        elif isinstance(node, ast.Assign) and any(ast.unparse(target) == "__slots__" for target in node.targets):
            names.update(str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant))
    return names


SOURCES = sources()
PACKAGES = frozenset(
    name for name in SOURCES if (Path(emitkit_logging.__file__).parent / name.replace(".", "/")).is_dir()
)
MODULE_NAMES = frozenset(f"{PACKAGE}.{name}" for name in SOURCES)


def test_direction():
    """Imports run one way: from what delivers to what decides, and from there to what only knows the API."""
    assert against_the_direction(SOURCES, PACKAGES) == []


def test_private_attributes():
    """No module depends on what another one keeps to itself."""
    assert private_accesses(SOURCES) == []


def test_the_exceptions_are_needed():
    """A private name of the standard library that is used no longer leaves the list."""
    used = {
        used for source in SOURCES.values() for node in ast.walk(ast.parse(source)) for used in _private_names(node)
    }
    assert used >= STANDARD_PRIVATE


def test_every_import_is_seen():
    """The rules look at the package as it is: they find the imports that are certainly there."""
    found = {(each.importer, each.target, each.is_lazy) for each in imports(SOURCES, PACKAGES)}
    assert ("__main__", "cli", False) in found
    assert ("", "handler", True) in found  # under TYPE_CHECKING
    assert ("pytest_plugin.inbox", "inbox.server", False) in found
    assert ("pytest_plugin", "_options", True) in found
    assert any(importer.startswith("_outbox.") and target.startswith("_events.") for importer, target, _ in found)


@pytest.mark.parametrize(
    ("module", "source", "objection"),
    [
        ("_api.text", "from emitkit_logging._events import event", "not allowed"),
        ("_api.text", "import emitkit_logging.stats", "not allowed"),
        ("_events.event", "from emitkit_logging._outbox.folding import Fold", "not allowed"),
        ("_events.event", "from .._outbox import folding", "not allowed"),
        ("_events.captured", "from emitkit_logging import context", "not allowed"),
        ("_outbox.outbox", "from emitkit_logging._worker import worker", "not allowed"),
        ("_outbox.outbox", "def f():\n    from emitkit_logging import EmitKitHandler", "not allowed"),
        ("_outbox.outbox", "if TYPE_CHECKING:\n    from emitkit_logging._spool.store import Spool", "not allowed"),
        ("_worker.worker", "from emitkit_logging._spool import store", "not allowed"),
        ("context", "from emitkit_logging._events.captured import capture", "of _events only"),
        ("context", "from emitkit_logging._outbox import outbox", "not allowed"),
        ("middleware.asgi", "from emitkit_logging._outbox import outbox", "not allowed"),
        ("proxy.policy", "from emitkit_logging._outbox.budget import RateBudget", "not allowed"),
        ("inbox.server", "from emitkit_logging._events import event", "not allowed"),
        ("inbox.server", "from emitkit_logging import EmitKitFormatter", "not allowed"),
        ("inbox.server", "from emitkit_logging import stats, __version__", "not allowed"),
        ("handler", "def f():\n    from emitkit_logging.inbox import Inbox", "not allowed"),
        ("cli", "from emitkit_logging.inbox import Inbox", "only inside a function"),
        ("pytest_plugin", "import emitkit_logging.inbox.server", "only inside a function"),
        ("", "def f():\n    from emitkit_logging.inbox import Inbox", "only cli and pytest_plugin may"),
        ("novelty", "import emitkit_logging.stats", "no rule"),
    ],
)
def test_against_the_direction(module, source, objection):
    """An import against the direction is found, wherever it stands and however it is written."""
    modules = {**dict.fromkeys(SOURCES, ""), "": SOURCES[""], module: source}
    (sentence,) = against_the_direction(modules, PACKAGES)
    assert objection in sentence


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("_outbox.outbox", "from emitkit_logging._events.event import Event\nfrom . import folding"),
        ("context", "from emitkit_logging._events.redaction import Redactor"),
        ("_spool.store", "from emitkit_logging._worker import store"),
        ("cli", "def f():\n    from emitkit_logging.inbox import Inbox"),
        ("pytest_plugin", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import emitkit_logging.inbox"),
        ("_api.text", "import json\nfrom requests import Session"),
        ("inbox.openapi", "from emitkit_logging import __version__"),
    ],
)
def test_in_the_direction(module, source):
    """What is allowed is not complained of."""
    assert against_the_direction({**dict.fromkeys(SOURCES, ""), module: source}, PACKAGES) == []


@pytest.mark.parametrize(
    "source",
    [
        "spool._connection.close()",
        "def f(listener):\n    return listener._queue",
        "import json\njson._default_encoder",
        "getattr(handler, '_lock_of_ours')",
        "from emitkit_logging.proxy.policy import _private",
        "other._x = 1",
        "import os\nos._exit(1)",
        "class A:\n    def f(self):\n        return self.spool._connection",
    ],
)
def test_reaching_in(source):
    """A private attribute of something else is found, read or written."""
    assert len(private_accesses({"module": source})) == 1


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self):\n        return self._x",
        "class A:\n    def __init__(self):\n        self._x = 1\n\n    def same(self, other):\n        return other._x",
        "class A:\n    __slots__ = ('_x',)\n\ndef f(a):\n    return a._x",
        "class A:\n    _x: int = 1\n\ndef f(a):\n    return a._x",
        "import logging\nlogging._lock",
        "value.__class__",
        "from emitkit_logging import _options",
    ],
)
def test_own_attributes(source):
    """A module may use what it defines itself, and the few private names of the standard library that are listed."""
    assert private_accesses({"module": source}) == []
