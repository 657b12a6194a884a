"""That `public_api.py`, which type checkers check, leaves out nothing of what users use."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import emitkit_logging
from emitkit_logging import proxy

PROGRAM = ast.parse(Path(__file__).with_name("public_api.py").read_text(encoding="utf-8"))


def test_names():
    """Every public name is used, except the type of the argument of `enrich_context`."""
    used = {node.id for node in ast.walk(PROGRAM) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(PROGRAM) if isinstance(node, ast.Attribute)}
    assert {*emitkit_logging.__all__, *proxy.__all__} - used <= {"BrowserRequest", "Visit"}


def test_options():
    """Every option of the handler is given, the first one by its position."""
    calls = [node for node in ast.walk(PROGRAM) if isinstance(node, ast.Call)]
    given = {word.arg for call in calls if ast.unparse(call.func) == "EmitKitHandler" for word in call.keywords}
    assert set(inspect.signature(emitkit_logging.EmitKitHandler).parameters) - given == {"api_key"}


def test_stats():
    """Every field of the statistics is read."""
    read = {ast.unparse(node) for node in ast.walk(PROGRAM) if isinstance(node, ast.Attribute)}
    assert {f"stats.{field.name}" for field in dataclasses.fields(emitkit_logging.Stats)} <= read
