"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
"""The names of all pages, such as `guides/django.md`."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.\w+|Dockerfile)(, at the end)?\n")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: of the fence, such as `python`.
        text: what is between the fences.
    """

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the first line names, or `None`."""
        found = _FILE.match(self.text)
        return found.group(1) if found else None

    @property
    def is_appended(self) -> bool:
        """Whether the first line says that the block belongs to the end of its file."""
        found = _FILE.match(self.text)
        return bool(found and found.group(2))

    @property
    def commands(self) -> list[str]:
        """The lines of a console block that a person types."""
        return [line[2:].partition("    # ")[0] for line in self.text.splitlines() if line.startswith("$ ")]


def text(page: str) -> str:
    """Return a page, by its name."""
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page that are in one of `languages`; all of them if there are none."""
    return blocks_of(text(page), *languages)


def blocks_of(markdown: str, *languages: str) -> list[Block]:
    """Return the blocks of a text."""
    found = [Block(*match.groups()) for match in _BLOCK.finditer(markdown)]
    return [block for block in found if not languages or block.language in languages]


def program(page: str) -> str:
    """Return the blocks of Python of a page that belong to no file, one after the other."""
    return "\n".join(block.text for block in blocks(page, "python") if block.file is None)


def commands(page: str) -> list[str]:
    """Return all that the console blocks of a page say to type."""
    return [command for block in blocks(page, "console") for command in block.commands]
