"""The book in docs/: its code runs, its tables are the code's, its links lead somewhere."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from emitkit_logging.proxy.policy import EndpointPolicy
from tests.programs import run

DOCS = Path(__file__).parents[1] / "docs"
CHAPTERS = sorted(path.name for path in DOCS.glob("*.md"))


def text(chapter):
    return (DOCS / chapter).read_text(encoding="utf-8")


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if "```python" in text(name)])
def test_code(chapter, emitkit_inbox):
    """The blocks of a chapter run one after the other, as a program."""
    blocks = re.findall(r"```python\n(.*?)```", text(chapter), re.DOTALL)
    run("-c", "\n".join(blocks))


def test_what_the_first_chapter_promises(emitkit_inbox):
    """Its example's events say what it says of them."""
    (block,) = re.findall(r"```python\n(.*?)```", text("context.md"), re.DOTALL)
    run("-c", block)
    viewed, failed = emitkit_inbox.wait_for(title="Page Viewed"), emitkit_inbox.wait_for(channel="alerts")
    for event in (viewed, failed):
        assert event["userId"] == "user-123"
        assert event["metadata"]["page"] == {"path": "/dashboard", "title": "Dashboard"}
        assert event["metadata"]["utm"] == {"source": "google", "medium": "cpc"}
    assert ("tenant" in viewed["metadata"], failed["metadata"]["tenant"]) == (False, "acme")


def test_options():
    """The table of the endpoint's options has each of them, with its default."""
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text("browsers.md"), re.MULTILINE))
    taken = {name: one.default for name, one in inspect.signature(EndpointPolicy).parameters.items() if name != "clock"}
    assert told.keys() == taken.keys()
    assert told["rate_limit"] == f"`{taken['rate_limit']:_}`"
    for name in ("channels", "trusted_proxies", "allowed_origins"):
        assert (told[name], taken[name]) == ("none", ())


@pytest.mark.parametrize("chapter", ["../README.md", *CHAPTERS])
def test_links(chapter):
    """Each link to a file or a heading of ours leads there."""
    here = (DOCS / chapter).resolve()
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", here.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        linked = (here.parent / name).resolve() if name else here
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings]


def test_every_chapter_is_in_the_book():
    """The first page leads to each."""
    linked = re.findall(r"\((\w+\.md)\)", text("README.md"))
    assert {*linked, "README.md"} == set(CHAPTERS)
