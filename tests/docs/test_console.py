"""The commands of the library in the console blocks of the README and of docs/, typed as they stand."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT, Block, blocks, blocks_of, commands
from tests.programs import PATIENCE, environment, run, started

BIN = Path(sys.executable).parent
VARIABLES = {"EMITKIT_API_KEY", "EMITKIT_BASE_URL", "EMITKIT_CALLBACK_SECRET"}
COMMANDS = sorted(
    {
        *(line for page in PAGES for line in commands(page)),
        *(line for block in blocks_of(README.read_text("utf-8"), "console") for line in block.commands),
    }
)


def starting_with(name: str) -> list[str]:
    return [command for command in COMMANDS if command.split()[0] == name]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the programs of this environment; what it prints is in `stdout`."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("command", starting_with("pip"))
def test_pip(command):
    """The extras that are installed exist."""
    known = set(importlib.metadata.metadata("emitkit-logging").get_all("Provides-Extra") or ())
    wanted = re.search(r"emitkit-logging\[([\w,]+)\]", command)
    assert wanted is None or set(wanted.group(1).split(",")) <= known


@pytest.mark.parametrize("command", starting_with("export"))
def test_export(command):
    """The library reads these variables."""
    assert command.split()[1].partition("=")[0] in VARIABLES


@pytest.mark.parametrize("command", starting_with("make"))
def test_make(command):
    """The target exists."""
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [each for each in starting_with("emitkit-logging") if " inbox" in each])
def test_inbox(command, tmp_path):
    """The local EmitKit starts, here at a free port."""
    arguments = [str(BIN / "emitkit-logging"), *shlex.split(command)[1:], "--port", "0"]
    with started(r"(http://[\d.]+:\d+)", arguments, tmp_path, []) as url:
        assert url.startswith("http://127.0.0.1:")


def test_check(emitkit_inbox, tmp_path):
    """The output of `check --send` has the documented form."""
    (block,) = [block for block in blocks("reference/cli.md", "console") if "check" in block.text]
    done = shell(block.commands[0], tmp_path)
    assert done.returncode == 0, done.stdout

    def form(lines: list[str]) -> list[str]:
        return [re.sub(r"https?://\S+|event_\w+|[\d,]+|organization .*", "…", line) for line in lines]

    assert form(done.stdout.splitlines()) == form(block.text.splitlines()[1:])


def test_spool(emitkit_inbox, tmp_path):
    """Each command of the guide works on the spool that its configuration makes."""
    (block,) = blocks("guides/processes.md", "python")
    run("-c", f"{block.text}\nlogging.error('it failed')", folder=tmp_path)
    (console,) = blocks("guides/processes.md", "console")
    for command in console.commands:
        assert shell(command, tmp_path).returncode == 0


def test_tail(emitkit_inbox, tmp_path):
    """The errors that have arrived are shown."""
    run(
        "-c", "import logging, emitkit_logging as e; logging.root.addHandler(e.EmitKitHandler()); logging.error('down')"
    )
    done = shell(next(each for each in starting_with("emitkit-logging") if " tail" in each), tmp_path)
    assert done.returncode == 0, done.stdout
    assert "down" in done.stdout


def test_completion(tmp_path):
    """A script is printed."""
    pytest.importorskip("shtab")
    done = shell(next(each for each in starting_with("emitkit-logging") if " completion" in each), tmp_path)
    assert (done.returncode, "complete" in done.stdout) == (0, True)


def log() -> str:
    """Return the log whose kinds the documentation shows."""
    traceback = (
        'Traceback (most recent call last):\n  File "/srv/shop/orders.py", line 7, in place\n    check(order)\n'
        "ValueError: it is empty\n"
    )
    lines = [
        *(f"ERROR shop.orders: order {n} for user{n}@example.com failed\n{traceback}" for n in range(34, 4734)),
        *(f"WARNING shop.stock: only {1 + n % 5} left of SKU-{8810 + n}\n" for n in range(2, 305)),
        *("ERROR shop.payments: disk is full on the replica\n" for _ in range(40)),
    ]
    return "".join(f"2026-11-26 10:00:00,000 {line}" for line in lines)


def test_kinds(tmp_path):
    """The kinds of a log are printed as documented."""
    (tmp_path / "app.log").write_text(log(), "utf-8")
    for block in blocks("reference/cli.md", "console"):
        for command in (each for each in block.commands if " kinds" in each):
            done = shell(command, tmp_path)
            assert done.returncode == 0, done.stdout
            printed, documented = (re.sub(r"\b[0-9a-f]{12}\b", "…", each) for each in (done.stdout, block.text))
            assert printed.startswith(documented.partition("\n")[2])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_faults(tmp_path, emitkit_inbox):
    """The local EmitKit takes faults at runtime."""
    (block,) = [block for block in blocks("guides/inbox.md", "console") if "curl" in block.text]
    (command,) = block.commands
    done = shell(command.replace("http://127.0.0.1:8025", emitkit_inbox.url) + " --silent --fail", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "503 every 10" in str(done.stdout)


def test_every_command_is_run():
    """Each `emitkit-logging` command of the documentation is one that a test above runs."""
    known = ("check --s", "spool emitkit.db", "kinds ", "inbox", "tail ", "completion ")
    known += ("relay --redis redis://127.0.0.1:6379/0",)  # tests/relay/test_docs.py
    assert [each for each in starting_with("emitkit-logging") if not each.partition(" ")[2].startswith(known)] == []


def test_blocks_of_a_console():
    """The lines after the prompt are commands, without the remark behind them; the other lines are output."""
    assert Block("console", "$ make demo    # it takes a while\nok\n$ ls\n").commands == ["make demo", "ls"]
