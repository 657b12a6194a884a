"""`emitkit-logging demo`: how it judges the events, and a whole run as of `make demo`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from emitkit_logging.cli import demo, main
from tests.programs import EXAMPLES

PATIENCE = 60.0
COMMAND = [sys.executable, "-m", "emitkit_logging", "demo"]


def event(channel: str, title: str, user: str | None = None, **metadata: object) -> dict[str, object]:
    return {"channelName": channel, "title": title, "userId": user, "metadata": metadata}


def everything() -> list[dict[str, object]]:
    events = []
    for server in ("uvicorn", "gunicorn"):
        events.append(event("general", "Page View"))
        events += [event("user-activity", "User Signed Up", f"{server}-{name}") for name in ("ada", "bob")]
        events.append(event("revenue", "Purchase Completed", f"{server}-ada"))
        events.append(event("alerts", "it failed", exception={"stacktrace": "in charge"}))
    return events


def test_everything():
    """The events that the requests to both servers cause are complete, each once."""
    assert demo.problems_of(everything()) == []
    assert demo.summary(everything(), 1.26) == [
        "10 events in 1.3 s",
        "       2 in alerts",
        "       2 in general",
        "       2 in revenue",
        "       4 in user-activity",
        "everything arrived, once",
    ]


def test_missing_and_doubled():
    """A missing event is reported, and one that came twice."""
    events = everything()
    doubled = [*events[1:], events[1]]
    assert demo.problems_of(doubled) == [
        "1 × ('general', 'Page View', '') missing",
        "1 × ('user-activity', 'User Signed Up', 'uvicorn') too many",
    ]
    assert demo.summary(doubled, 1)[-3:] == [
        "PROBLEM: 1 × ('general', 'Page View', '') missing",
        "PROBLEM: 1 × ('user-activity', 'User Signed Up', 'uvicorn') too many",
        "something is missing",
    ]


@pytest.mark.parametrize(
    ("alerts", "problem"),
    [
        ([], "0 alerts, 0 with a traceback, instead of 2"),
        ([event("alerts", "x")] * 2, "2 alerts, 0 with a traceback, instead of 2"),
        ([event("alerts", "x", exception={"stacktrace": "in charge"})] * 3, "3 alerts, 3 with a traceback"),
    ],
)
def test_alerts(alerts, problem):
    """Each server has one alert, with the traceback of what the application raised."""
    others = [each for each in everything() if each["channelName"] != "alerts"]
    assert [each.startswith(problem) for each in demo.problems_of(others + alerts)] == [True]


def test_next_steps():
    """It ends with what to do next, as commands that can be copied; the page is named unless it is there already."""
    assert demo.next_steps(".venv/bin/emitkit-logging", keeps=False) == [
        "next:",
        "  .venv/bin/emitkit-logging demo --keep   the same, and a page with the events",
        "  .venv/bin/emitkit-logging inbox         a local EmitKit for your own application",
        "  .venv/bin/emitkit-logging check --send  with EMITKIT_API_KEY set: is the key right?",
        "  .venv/bin/emitkit-logging --help        all commands",
    ]
    assert "--keep" not in "".join(demo.next_steps("emitkit-logging", keeps=True))


def test_next_steps_can_be_run():
    """The commands are written as they can be called where the demo was."""
    environment = {**os.environ, "PATH": os.defpath}
    done = subprocess.run(
        [sys.executable, "-c", "from emitkit_logging.cli import demo; print(demo._command())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    shown = subprocess.run(
        [*done.stdout.split(), "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert shown.stdout.startswith("emitkit-logging ")


def test_obstacle():
    """Where the demo cannot run, it reports why, or what to install."""
    assert demo.obstacle("linux", []) is None
    assert "gunicorn, which does not run on Windows" in demo.obstacle("win32", [])
    assert demo.obstacle("linux", ["uvicorn", "gunicorn"]) == (
        "the demo needs uvicorn, gunicorn: pip install 'emitkit-logging[demo]'"
    )


def test_not_installed(monkeypatch, capsys):
    """A missing package is reported in one line, and nothing is started."""
    monkeypatch.setattr(demo, "NEEDED", ("emitkit_not_there",))
    assert main(["demo"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "the demo needs emitkit_not_there: pip install 'emitkit-logging[demo]'\n"


def test_application_is_in_the_package():
    """The application that the demo runs is installed with the package; the examples refer to it."""
    assert demo.FOLDER.is_relative_to(Path(demo.__file__).parent)
    for name in ("shop.py", "logging.json"):
        assert (demo.FOLDER / name).read_text(encoding="utf-8") == (EXAMPLES / name).read_text(encoding="utf-8")


def test_silent_program(tmp_path, capsys):
    """Waiting for a line ends when the program ends."""
    (tmp_path / "short.py").write_text("print('hello')")
    program = demo._Program("short", "short", folder=tmp_path)
    with pytest.raises(SystemExit, match="short printed no line with 'goodbye'"):
        program.wait_for("goodbye")
    program.stop()
    assert capsys.readouterr().out == "   short | hello\n"


def test_stubborn_program(tmp_path, monkeypatch):
    """A program that ignores SIGTERM is killed."""
    monkeypatch.setattr(demo, "PATIENCE", 0.5)
    (tmp_path / "stubborn.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('(ready)')\ntime.sleep(60)"
    )
    program = demo._Program("stubborn", "stubborn", folder=tmp_path)
    with monkeypatch.context() as patient:
        patient.setattr(demo, "PATIENCE", 20.0)
        assert program.wait_for(r"\((ready)\)") == "ready"
    program.stop()
    assert program.process.returncode == -signal.SIGKILL


def test_demo(tmp_path):
    """The demo ends by itself and finds each event once, in any folder and with a proxy in the environment."""
    environment = {**os.environ, "HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything arrived, once" in done.stdout.splitlines()


def test_demo_that_stays(tmp_path):
    """With `--keep` the local EmitKit keeps its page open until Ctrl-C."""
    process = subprocess.Popen(
        [*COMMAND, "--keep"],
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # a shell in the background has its children ignore the interrupt
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    with process:
        found = next(filter(None, (re.match(r"see them at (http://\S+)", line) for line in process.stdout)))
        with urllib.request.urlopen(found.group(1), timeout=PATIENCE) as page:
            assert (page.status, page.headers.get_content_type()) == (200, "text/html")
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    watchdog.cancel()
    assert (process.returncode, "Traceback" in rest) == (0, False)


def test_interrupted(tmp_path):
    """SIGTERM to the demo also ends the programs that it has started."""
    environment = {**os.environ, "HOME": str(tmp_path)}
    process = subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    found = next(filter(None, (re.search(r"listening on (http://\S+)", line) for line in process.stdout)))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()  # until the last of them has let go of the output
    watchdog.cancel()
    assert (process.returncode, errors) == (1, "interrupted\n")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(found.group(1), timeout=PATIENCE)
