"""The README and docs/: links have targets, tables match the code, and a package index can show the README."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from emitkit_logging import EmitKitHandler, EventFilter
from emitkit_logging.cli import main
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.docs.pages import DOCS, PAGES, README, ROOT, text

REPOSITORY = re.compile(
    r"https://(?:github\.com/emitkit/emitkit-logging/(?:blob|tree)|raw\.githubusercontent\.com/emitkit/emitkit-logging)"
    r"/main/([^)#]+)"
)
"""A link to a file of the repository, as a package index needs it."""


def table(page: str, heading: str) -> dict[str, str]:
    """Return the first two columns of the table below a heading, where the first one is code."""
    part = re.split(rf"^#+ {heading}$", text(page), maxsplit=1, flags=re.MULTILINE)[1]
    part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([\w-]+)[^|`]*`[^|]* \| ([^|]+?) \|", part, re.MULTILINE))


def headings(markdown: str) -> list[str]:
    """Return the anchors of the headings of a page."""
    found = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return [re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in found]


@pytest.mark.parametrize("page", ["../README.md", "../CONTRIBUTING.md", *PAGES])
def test_links(page):
    """Each link to a file of the repository has a target, and so has its heading."""
    here = (DOCS / page).resolve()
    for target in re.findall(r"\]\(([^)]+)\)", here.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        absolute = REPOSITORY.match(target)
        if target.startswith("http") and not absolute:
            continue
        linked = ROOT / absolute.group(1) if absolute else (here.parent / name).resolve() if name else here
        assert linked.exists(), target
        if heading:
            assert heading in headings(linked.read_text(encoding="utf-8")), target


def test_every_page_is_linked():
    """Each page is in the index of its part, both in the text that people read and in the navigation."""
    for index in [name for name in PAGES if name.endswith("index.md")]:
        part = Path(index).parent
        children = {
            str(Path(name).relative_to(part))
            for name in PAGES
            if (name != index and Path(name).parent == part) or (index == "index.md" and name.endswith("/index.md"))
        }
        navigation = re.findall(
            r"^([\w/-]+)$", "".join(re.findall(r"```{toctree}\n(.*?)```", text(index), re.DOTALL)), re.MULTILINE
        )
        assert set(re.findall(r"\]\(([\w/-]+\.md)", text(index))) == children
        assert {f"{name}.md" for name in navigation} == children


def test_readme_on_a_package_index():
    """A package index shows the README without the repository's files: every link is absolute."""
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert [target for target in targets if not target.startswith("https://")] == []
    assert any(target.endswith("/docs/pictures/feed.png") for target in targets)


def test_readme_is_one_page():
    """The README is short; what does not fit belongs to the documentation."""
    assert len(re.sub(r"\]\([^)]+\)", "]", README.read_text(encoding="utf-8")).split()) < 650


def test_options_of_the_handler():
    """The table has exactly the options that exist, in their order."""
    assert list(table("reference/options.md", "EmitKitHandler")) == list(inspect.signature(EmitKitHandler).parameters)


def test_options_of_the_filter():
    """The table has exactly the options that exist."""
    assert table("reference/options.md", "EventFilter").keys() == inspect.signature(EventFilter).parameters.keys()


def test_options_of_the_endpoint():
    """The table of the endpoint's options has each option with its default."""
    listed = table("guides/browsers.md", "Events of browsers")
    options = {
        name: one.default for name, one in inspect.signature(EndpointPolicy).parameters.items() if name != "clock"
    }
    assert listed.keys() == options.keys()
    assert listed["rate_limit"] == f"`{options['rate_limit']:_}`"
    for name in ("channels", "trusted_proxies", "allowed_origins"):
        assert (listed[name], options[name]) == ("none", ())


@pytest.mark.parametrize("command", ["check", "tail", "spool", "kinds", "inbox", "demo", "completion"])
def test_options_of_the_command_line(command, capsys):
    """The section of each command names each of its options."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    listed = capsys.readouterr().out.partition("\noptions:\n")[2].partition("\n\n")[0]
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", listed, re.MULTILINE)) - {"--help"}
    section = text("reference/cli.md").partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    assert options == set(re.findall(r"--[a-z][a-z-]*", section))
