"""The command line itself: its commands, their arguments, and the ways to start it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shlex
import subprocess
import sys

import pytest

from emitkit_logging import cli
from emitkit_logging.cli.arguments import make_parser

COMMANDS = ("check", "tail", "spool", "kinds", "relay", "inbox", "demo", "completion")
EXAMPLE = re.compile(r"emitkit-logging ([^|>)]*?)(?:\s{3,}.*|\s*[|>)].*)?$")
"""A line of examples: before the command there may be variables, after it a pipe or what it does."""


def examples(capsys, *command: str) -> list[str]:
    """Return the arguments of each example in a help."""
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    _, _, section = capsys.readouterr().out.partition("\nexamples:\n")
    lines = section.partition("\n\n")[0].splitlines()
    found = [EXAMPLE.search(line) for line in lines]
    assert None not in found, lines
    return [each.group(1) for each in found]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_help(capsys):
    """The help lists each command with its purpose."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^ +{name}\s+\w", output, re.MULTILINE), output


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("check", "--send"),
        ("tail", "--channel"),
        ("spool", "--requeue"),
        ("kinds", "--json"),
        ("inbox", "--rate-limit"),
        ("demo", "--keep"),
        ("completion", "fish"),
    ],
)
def test_help_of_a_command(capsys, command, option):
    """Each command has a help of its own."""
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert option in capsys.readouterr().out


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_teaches_by_example(capsys, command):
    """Each help has examples that the parser accepts, and the exit statuses."""
    given = examples(capsys, *command)
    assert given
    for arguments in given:
        if "COMMAND" not in arguments:
            options = make_parser().parse_args(shlex.split(arguments))
            assert command in ((), (options.command,))
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    shown = capsys.readouterr().out.partition("\nexit status:\n")[2]
    assert re.findall(r"^  ([01]) +\w", shown, re.MULTILINE) == ["0", "1"]


def test_version(capsys):
    """The version is that of the installed package."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"emitkit-logging {importlib.metadata.version('emitkit-logging')}\n"


def test_interrupted(monkeypatch, capsys):
    """Ctrl-C in the middle of a command is no traceback, and the status is the one that shells know."""

    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("emitkit_logging.cli.check.check", interrupt)
    assert cli.main(["check"]) == 130
    assert capsys.readouterr().err == ""


def test_a_closed_pipe(tmp_path):
    """When the reader has seen enough, no command prints a traceback."""
    log = tmp_path / "app.log"
    log.write_text("".join(f"kind number {'x' * number}\n" for number in range(1, 3000)), encoding="utf-8")
    command = f"{shlex.quote(sys.executable)} -m emitkit_logging kinds --json {shlex.quote(str(log))} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


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


@pytest.mark.parametrize("arguments", [["spool", "{}"], ["kinds", "{}"], ["check", "{}"], ["{}"]])
def test_errors_control_no_terminal(capsys, arguments):
    """An argument that an error repeats cannot control the terminal."""
    with pytest.raises(SystemExit) as caught:
        cli.main([each.format("missing\x1b[31m\x9b\r\u202e") for each in arguments])
    assert caught.value.code
    printed = capsys.readouterr().err
    assert "missing" in printed
    assert all(char.isprintable() or char == "\n" for char in printed)
