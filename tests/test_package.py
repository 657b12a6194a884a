"""What users see of the package: its names, its options and the cost of the import."""

from __future__ import annotations

import inspect
import json
import pydoc
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import emitkit_logging
from emitkit_logging._api.requests import DISPLAY_STYLES

OPTIONS = {
    "api_key": None,
    "level": 0,
    "base_url": None,
    "allow_http": None,
    "channel_name": "general",
    "category_channel_map": None,
    "level_channel_map": {"ERROR": "alerts", "CRITICAL": "alerts"},
    "notify": True,
    "display_as": "notification",
    "source": "emitkit-logging",
    "plain_level": "ERROR",
    "event_from_message": False,
    "timeout": 5.0,
    "queue_size": 10_000,
    "alias_ttl": 3600.0,
    "alias_cache_size": 10_000,
    "shutdown_timeout": 5.0,
    "rate_limit": None,
    "alert_reserve": 0.1,
    "notify_interval": 300.0,
    "capture_uncaught": False,
    "relay": None,
    "spool": None,
    "spool_size": 64 * 1024 * 1024,
    "spool_ttl": 7 * 86_400.0,
    "redact": None,
    "context": None,
    "debug": False,
    "enabled": None,
}


def run(code: str) -> object:
    """Run `code` in a fresh interpreter and return what it prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_public_names():
    """A public name is added or removed only on purpose."""
    assert sorted(emitkit_logging.__all__) == [
        "EmitKitFormatter",
        "EmitKitHandler",
        "EventFilter",
        "Stats",
        "__version__",
        "bind_event_context",
        "event_context",
        "verify_callback",
    ]
    assert set(emitkit_logging.__all__) <= set(dir(emitkit_logging))


@pytest.mark.parametrize("name", [name for name in emitkit_logging.__all__ if name != "__version__"])
def test_public_names_are_documented(name):
    """Every exported name has a docstring, and so have its public methods."""
    exported = getattr(emitkit_logging, name)
    assert inspect.getdoc(exported)
    for attribute, value in vars(exported).items():
        if not attribute.startswith("_") and callable(value):
            assert inspect.getdoc(value), attribute


def test_help():
    """`help(EmitKitHandler)` shows what is for users: options, methods and properties, nothing of the inside."""
    shown = pydoc.plain(pydoc.render_doc(emitkit_logging.EmitKitHandler))
    own = shown.partition("Methods defined here:")[2].partition("inherited from")[0]
    assert set(re.findall(r"^ \|  (\w+)(?:\(|$)", own, re.MULTILINE)) == {
        "__init__",
        "__repr__",
        *("emit", "handle", "setFormatter", "createLock"),  # of logging
        *("close", "flush", "identify"),
        *("base_url", "enabled", "stats"),
    }
    for option in OPTIONS:
        assert re.search(rf"^ \|      {option}: \S", shown, re.MULTILINE), option
    assert "Literal['notification', 'message']" in shown


@pytest.mark.parametrize("configured", [emitkit_logging.EmitKitHandler, emitkit_logging.EmitKitFormatter])
def test_display_styles(configured):
    """A type checker knows the values that the option takes."""
    hint = typing.get_type_hints(configured.__init__)["display_as"]
    assert typing.get_args(hint) == DISPLAY_STYLES


def test_repr():
    """A handler in a debugger, or in a list of handlers, says where it sends; the key is not in it."""
    key = "emitkit_0123456789abcdefKEY"
    handler = emitkit_logging.EmitKitHandler(key, level="ERROR", base_url="http://127.0.0.1:9/api/")
    assert repr(handler) == "<EmitKitHandler http://127.0.0.1:9/api (ERROR)>"
    assert repr(emitkit_logging.EmitKitHandler(enabled=False)) == "<EmitKitHandler disabled (NOTSET)>"


def test_unknown_name():
    """A misspelt name is an AttributeError that contains it, although names are loaded on first use."""
    with pytest.raises(AttributeError, match="EmitkitHandler"):
        emitkit_logging.EmitkitHandler  # noqa: B018


def test_options_and_defaults():
    """The options and their defaults are a public interface: they change only on purpose."""
    parameters = inspect.signature(emitkit_logging.EmitKitHandler).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == OPTIONS
    assert [name for name, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY] == ["api_key"]


def test_typed():
    """The package is marked as typed."""
    assert (Path(emitkit_logging.__file__).parent / "py.typed").is_file()


def test_import_is_light():
    """Neither the import nor a disabled handler loads an HTTP library; making a handler starts no thread."""
    code = """
import json, sys, threading
import emitkit_logging
light = sorted(name for name in ("requests", "cachetools", "pythonjsonlogger") if name in sys.modules)
emitkit_logging.EmitKitHandler(enabled=False)
disabled = "requests" in sys.modules
emitkit_logging.EmitKitHandler("emitkit_0123456789abcdef", base_url="http://127.0.0.1:9")
print(json.dumps([light, disabled, "requests" in sys.modules, threading.active_count()]))
"""
    assert run(code) == [[], False, True, 1]
