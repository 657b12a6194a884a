"""The README and docs/: their code runs, their tables match the code, and their links have targets."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from emitkit_logging.proxy.policy import EndpointPolicy
from tests.programs import run

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPOSITORY = re.compile(
    r"https://(?:github\.com/emitkit/emitkit-logging/(?:blob|tree)|raw\.githubusercontent\.com/emitkit/emitkit-logging)"
    r"/main/([^)#]+)"
)
"""A link to a file of the repository, as a package index needs it."""
PAGES = sorted(path.name for path in DOCS.glob("*.md"))


def text(page):
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [name for name in PAGES if "```python" in text(name)])
def test_code(page, emitkit_inbox):
    """The blocks of a page run one after the other, as a program."""
    blocks = re.findall(r"```python\n(.*?)```", text(page), re.DOTALL)
    run("-c", "\n".join(blocks))


def test_context_example(emitkit_inbox):
    """The events of the example in context.md carry what its text says."""
    (block,) = re.findall(r"```python\n(.*?)```", text("context.md"), re.DOTALL)
    run("-c", block)
    viewed, failed = emitkit_inbox.wait_for(title="Page Viewed"), emitkit_inbox.wait_for(channel="alerts")
    for event in (viewed, failed):
        assert event["userId"] == "user-123"
        assert event["metadata"]["page"] == {"path": "/dashboard", "title": "Dashboard"}
        assert event["metadata"]["utm"] == {"source": "google", "medium": "cpc"}
    assert ("tenant" in viewed["metadata"], failed["metadata"]["tenant"]) == (False, "acme")


def test_options():
    """The table of the endpoint's options has each option with its default."""
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text("browsers.md"), re.MULTILINE))
    options = {
        name: one.default for name, one in inspect.signature(EndpointPolicy).parameters.items() if name != "clock"
    }
    assert listed.keys() == options.keys()
    assert listed["rate_limit"] == f"`{options['rate_limit']:_}`"
    for name in ("channels", "trusted_proxies", "allowed_origins"):
        assert (listed[name], options[name]) == ("none", ())


@pytest.mark.parametrize("page", ["../README.md", *PAGES])
def test_links(page):
    """Each relative link has a target, and so has its heading."""
    here = (DOCS / page).resolve()
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", here.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        linked = (here.parent / name).resolve() if name else here
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings]


def test_readme_on_a_package_index():
    """A package index shows the README without the repository's files: every link is absolute, and has a target."""
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    files = [found.group(1) for target in targets if (found := REPOSITORY.match(target))]
    assert {"docs/day.svg", "docs/inbox.png"} <= set(files)
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_page_is_linked():
    """The first page of docs/ links to every other."""
    linked = re.findall(r"\((\w+\.md)\)", text("README.md"))
    assert {*linked, "README.md"} == set(PAGES)
