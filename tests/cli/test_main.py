"""The command line itself: its commands, their arguments, and the ways to start it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

from emitkit_logging import cli


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_help(capsys):
    """The help lists each command with its purpose."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    for name in ("check", "spool", "kinds", "inbox", "demo"):
        assert re.search(rf"^ +{name} +\w", output, re.MULTILINE), output


@pytest.mark.parametrize(
    ("command", "option"),
    [("check", "--send"), ("spool", "--requeue"), ("kinds", "--json"), ("inbox", "--rate-limit"), ("demo", "--keep")],
)
def test_help_of_a_command(capsys, command, option):
    """Each command has a help of its own."""
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert option in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["chek"], ["spool"], ["spool", "x", "--flush", "--export"]])
def test_wrong_usage(capsys, arguments):
    """A missing or unknown command, a missing path and two actions at once are usage errors."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: emitkit-logging" in capsys.readouterr().err


def test_module():
    """`python -m emitkit_logging` is the same command line."""
    done = run("-m", "emitkit_logging", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: emitkit-logging")


def test_help_is_light():
    """Parsing loads neither an HTTP library nor what an extra installs."""
    code = (
        "import sys; from emitkit_logging.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'requests', 'uvicorn', 'starlette'} & set(sys.modules))"
    )
    assert run("-c", code).stdout.endswith("set()\n")


def test_deprecated_module(monkeypatch):
    """`emitkit_logging.command` still has `main`, and warns that it has moved."""
    monkeypatch.delitem(sys.modules, "emitkit_logging.command", raising=False)
    with pytest.warns(DeprecationWarning, match=r"moved to emitkit_logging\.cli"):
        moved = importlib.import_module("emitkit_logging.command")
    assert moved.main is cli.main


def test_deprecated_program():
    """`python -m emitkit_logging.command` still runs, with a warning for those who ask for warnings."""
    done = run("-W", "always", "-m", "emitkit_logging.command", "--help")
    assert (done.returncode, done.stdout.split()[1]) == (0, "emitkit-logging")
    assert "DeprecationWarning" in done.stderr
