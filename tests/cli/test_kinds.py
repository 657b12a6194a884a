"""`emitkit-logging kinds`: what kinds of records a log has."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import pytest

from emitkit_logging import cli
from emitkit_logging.cli.kinds import LogKinds
from emitkit_logging.cli.log_lines import records_of

NAMES = ["ada", "bob", "carol", "dmitri", "eve", "farid", "grace"]


@pytest.fixture
def show(tmp_path, capsys):
    def show(*lines, options=()):
        path = tmp_path / "app.log"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        assert cli.main(["kinds", *options, str(path)]) == 0
        return capsys.readouterr().out

    return show


def kinds_of(show, *lines):
    return [json.loads(line) for line in show(*lines, options=["--json"]).splitlines()]


def test_kinds(show):
    """It prints count, template and an example of each kind, the most frequent first."""
    orders = [f"2026-11-26 11:59:{number:02},000 ERROR shop: order {number} failed" for number in range(30)]
    output = show("INFO:shop:started", *orders)
    assert output.splitlines() == [
        "31 lines, 2 kinds",
        "       30  ERROR shop: order … failed",
        "           order 0 failed",
        "        1  INFO shop: started",
    ]


def test_generalised_kinds(show):
    """A kind that was generalised has its earlier lines, too."""
    assert "7  user … cannot log in" in show(*[f"user {name} cannot log in" for name in NAMES])


def test_json(show):
    """Each line has its kind by what is known at the end of the input."""
    lines = kinds_of(show, *[f"user {name} cannot log in" for name in NAMES], "disk is full")
    assert [line["line"] for line in lines] == list(range(1, 9))
    assert {line["template"] for line in lines[:7]} == {"user … cannot log in"}
    assert len({line["kind"] for line in lines[:7]}) == 1
    assert lines[7] == {"line": 8, "kind": lines[7]["kind"], "template": "disk is full"}
    assert lines[7]["kind"] != lines[0]["kind"]


def test_ids_last(show):
    """A kind has the same id in every run."""
    assert kinds_of(show, "disk is full")[0]["kind"] == kinds_of(show, "x y", "disk is full")[1]["kind"]


def test_levels_and_loggers(show):
    """Records of two levels or loggers are of two kinds."""
    lines = kinds_of(show, "ERROR:a:it failed", "INFO:a:it failed", "ERROR:b:it failed", "ERROR:a:it failed")
    assert len({line["kind"] for line in lines}) == 3
    assert lines[0]["kind"] == lines[3]["kind"]


def traceback_of(error, function):
    return ["Traceback (most recent call last):", f'  File "a.py", line 3, in {function}', "    x()", error]


def test_tracebacks(show):
    """The lines of a traceback are of the kind of their record, which its exception and place decide."""
    parts = [("ValueError: 1", "f"), ("ValueError: 2", "f"), ("KeyError: 1", "f"), ("ValueError: 1", "g")]
    lines = kinds_of(show, *[line for part in parts for line in ("ERROR:a:it failed", *traceback_of(*part))])
    kinds = [line["kind"] for line in lines]
    assert len(lines) == 20
    assert all(len(set(kinds[start : start + 5])) == 1 for start in range(0, 20, 5))
    assert kinds[0] == kinds[5]
    assert len(set(kinds)) == 3
    assert "it failed [ValueError in a.py:f]" in show("ERROR:a:it failed", *traceback_of(*parts[0]))


def test_merged_kinds_with_exceptions():
    """A template that was generalised takes along the kinds of each exception."""
    found = LogKinds(keeps_lines=True)
    log = [
        line
        for name in NAMES
        for error in ("ValueError: 1", "KeyError: 1")
        for line in (f"user {name} cannot log in", *traceback_of(error, "f"))
    ]
    for record in records_of(log):
        found.add(record)
    assert [(kind.count, kind.exception[0]) for kind in found.kinds()] == [(7, "ValueError"), (7, "KeyError")]
    assert len({kind.id for _, kind in found.lines()}) == 2


def test_control_characters(show):
    """A log cannot control the terminal."""
    output = show("\x1b[31mred\x1b]0;title\x07 \u202e alert 1")
    assert all(character.isprintable() or character == "\n" for character in output)


def test_standard_input():
    """It reads standard input where no file is named, and for `-`."""
    for arguments in ([], ["-"]):
        command = [sys.executable, "-m", "emitkit_logging", "kinds", *arguments]
        done = subprocess.run(command, input=b"order 1 failed\norder 2 failed", capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"2 lines, 1 kind\n" in done.stdout


def test_several_files(tmp_path, capsys):
    """The kinds of several logs are counted together."""
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("order 1 failed\n")
    assert cli.main(["kinds", str(tmp_path / "a.log"), str(tmp_path / "b.log")]) == 0
    assert "2  order … failed" in capsys.readouterr().out


def test_no_file(tmp_path, capsys):
    """A file that is not there is named, without a traceback."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["kinds", str(tmp_path / "none.log")])
    assert caught.value.code == 1
    assert "none.log" in capsys.readouterr().err


def test_reader_that_stops():
    """A reader such as `head`, which closes the pipe early, causes no error."""
    code = "import sys; from emitkit_logging.cli import main; sys.exit(main(['kinds', '--json']))"
    log = b"order 1 failed\n" * 50_000
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(log)
        process.stdin.close()
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 0)


def test_memory():
    """Beside the kinds, a line costs the eight bytes of a number."""
    found = LogKinds(keeps_lines=True)

    def add(count):
        for record in records_of(f"order {number} failed" for number in range(count)):
            found.add(record)

    add(10_000)
    tracemalloc.start()
    try:
        add(100_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000 * 16
    assert sum(1 for _ in found.lines()) == 110_000
