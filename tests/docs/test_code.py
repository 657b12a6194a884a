"""The code in the README and in docs/ runs, and its configurations keep the console.

The blocks of a page that name no file are one program, which is run here. Those that name a file belong to an
application: the page's story (`tests/stories/`, or `test_libraries.py` here) makes that application and runs it.
"""

from __future__ import annotations

import ast
import configparser
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.pages import PAGES, README, ROOT, Block, blocks, blocks_of, commands, program
from tests.programs import run

PROGRAMS = [page for page in PAGES if program(page) and page != "guides/tests.md"]  # a test: test_pytest_plugin.py
TOLD = [page for page in PAGES if any(block.file for block in blocks(page))]
EVERYWHERE = ("cd", "pip", "export", "make", "emitkit-logging", "curl", ".", "python")
"""Programs that test_console.py runs, or that the stories run on many pages."""


def configurations(block: Block) -> Iterator[dict[str, Any]]:
    """Yield the configurations of logging that a block contains."""
    if block.language == "json":
        found = json.loads(block.text)
        if "version" in found and "handlers" in found:
            yield found
    elif block.language == "python":
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Dict) and "version" in [getattr(key, "value", None) for key in node.keys]:
                yield ast.literal_eval(node)


@pytest.mark.parametrize("page", PROGRAMS)
def test_program(page, emitkit_inbox, tmp_path):
    """The blocks of a page run one after the other, as a program, in a folder of its own."""
    run("-c", program(page), folder=tmp_path)


@pytest.mark.parametrize("page", ["../README.md", *PAGES])
def test_every_configuration_keeps_the_console(page):
    """Whoever copies a configuration still sees the log, and no logger of the application is disabled."""
    for block in blocks(page):
        for found in configurations(block):
            assert found["disable_existing_loggers"] is False
            assert "StreamHandler" in found["handlers"]["console"]["class"]
            assert found["root"]["handlers"][0] == "console"
            assert found["root"]["level"] == "INFO"
        if block.language == "ini":
            parser = configparser.ConfigParser()
            parser.read_string(block.text)
            assert parser["handlers"]["keys"].startswith("console")
            assert parser["logger_root"]["handlers"].startswith("console")


@pytest.mark.parametrize("page", TOLD)
def test_every_file_has_a_story(page):
    """The story of a page makes each of the page's files, and runs each of its commands."""
    name = page.removesuffix(".md").split("/")[-1]
    stories = [ROOT / f"tests/stories/test_{name}.py", ROOT / "tests/docs/test_libraries.py"]
    story = next(path for path in stories if path.exists() and name in path.read_text("utf-8")).read_text("utf-8")
    assert [block.file for block in blocks(page) if block.file and block.file not in story] == []
    programs = {command.split()[0] for command in commands(page)} - set(EVERYWHERE)
    assert [each for each in sorted(programs) if each not in story] == []


@pytest.mark.parametrize("page", PAGES)
def test_json(page):
    """Blocks of JSON are JSON."""
    for block in blocks(page, "json"):
        json.loads(block.text)


def test_readme(emitkit_inbox, tmp_path):
    """The configuration of the README and its two calls do what the text says."""
    code = "\n".join(block.text for block in blocks_of(README.read_text(encoding="utf-8"), "python"))
    done = run("-c", code, folder=tmp_path)
    assert done.stderr == "user_signed_up\npayment provider is down\n"
    assert {(event["channelName"], event["title"]) for event in emitkit_inbox.events} == {
        ("user-activity", "User Signed Up"),
        ("alerts", "payment provider is down"),
    }


def test_context(emitkit_inbox, tmp_path):
    """The events of the guide on context carry what its text says."""
    run("-c", program("guides/context.md"), folder=tmp_path)
    viewed, failed = emitkit_inbox.wait_for(title="Page Viewed"), emitkit_inbox.wait_for(channel="alerts")
    for event in (viewed, failed):
        assert event["userId"] == "user-123"
        assert event["metadata"]["page"] == {"path": "/dashboard", "title": "Dashboard"}
        assert event["metadata"]["utm"] == {"source": "google", "medium": "cpc"}
    assert ("tenant" in viewed["metadata"], failed["metadata"]["tenant"]) == (False, "acme")
    assert emitkit_inbox.wait_for(title="Plan Changed")["userId"] == "user-123"
    assert [call["user_id"] for call in emitkit_inbox.identifies] == ["user-123"]
