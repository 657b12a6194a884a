"""`emitkit-logging completion`: scripts that the shells themselves run."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from emitkit_logging.cli import main
from emitkit_logging.cli.arguments import SHELLS


def script_of(shell: str, capsys) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_names_every_command(capsys, shell):
    """The script of each shell has the commands and options of the parser."""
    script = script_of(shell, capsys)
    for word in ("tail", "no-follow", "completion", "rate-limit", "requeue"):
        assert word in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_syntax(capsys, tmp_path, shell):
    """The shell itself accepts the script."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script_of(shell, capsys), encoding="utf-8")
    subprocess.run([shell, "-n", str(path)], check=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ta", {"tail"}),
        ("tail --no", {"--no-follow"}),
        ("tail --level E", {"ERROR"}),
        ("completion f", {"fish"}),
        ("spool spo", {"spool.db"}),
        ("inbox --db spo", {"spool.db"}),
        ("kinds spo", {"spool.db"}),
    ],
)
def test_completes(capsys, tmp_path, typed, completed):
    """bash completes commands, options, choices and files."""
    (tmp_path / "spool.db").touch()
    path = tmp_path / "script"
    path.write_text(script_of("bash", capsys), encoding="utf-8")
    words = f"emitkit-logging {typed}"
    program = f"""
source {path}
completer=$(complete -p emitkit-logging | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$completer emitkit-logging "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert {line.strip() for line in done.stdout.splitlines()} == completed


def test_without_the_extra(monkeypatch, capsys):
    """Without shtab the message names the extra."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err == "completion needs shtab: pip install 'emitkit-logging[completion]'\n"


def test_unknown_shell(capsys):
    """An unknown shell is a usage error that lists the others."""
    with pytest.raises(SystemExit) as caught:
        main(["completion", "cmd"])
    assert caught.value.code == 2
    assert "fish" in capsys.readouterr().err
