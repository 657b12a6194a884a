"""What is installed, and what the package says of itself on a package index."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAME = "emitkit-logging"


def setup() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    assert found.read(ROOT / "setup.cfg", encoding="utf-8")
    return found


@pytest.fixture
def installed() -> importlib.metadata.Distribution:
    """The installed distribution; a build may have left metadata beside the source, too."""
    return next(each for each in importlib.metadata.distributions(name=NAME) if each.read_text("RECORD"))


def test_only_the_package_is_installed(installed):
    """Beside the package there are its metadata and the command, and nothing that others could import."""
    files = installed.files
    tops = {file.parts[0] for file in files if file.suffix != ".pyc"}
    strange = {top for top in tops if not re.match(r"(__editable__.*|emitkit_logging|\.\.)", top)}
    assert strange == set()
    assert {file.name for file in files if file.parts[0] == ".."} <= {"emitkit-logging", "emitkit-logging.exe"}


def test_metadata(installed):
    """A package index has the author, the links and the frameworks to find the package by."""
    metadata = installed.metadata
    assert metadata["Author"]
    links = dict(url.split(", ", 1) for url in metadata.get_all("Project-URL", []))
    assert links.keys() == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    classifiers = set(metadata.get_all("Classifier", []))
    for framework in ("Celery", "Django", "FastAPI", "Flask", "Pytest"):
        assert f"Framework :: {framework}" in classifiers
    assert metadata["Requires-Python"] == ">=3.10"


def test_extras_are_for_users():
    """What developers need is in requirements/, and no extra of the package."""
    assert set(setup().options("options.extras_require")) == {"inbox", "demo", "relay", "completion"}


@pytest.mark.skipif(not (ROOT / "requirements").is_dir(), reason="the tests of the wheel have no requirements/")
def test_requirements():
    """Each environment of the Makefile has its requirements, and each file of requirements its environment."""
    environments = set(re.findall(r"\$\(VENV\)/\.(\w+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    files = {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    assert environments - {"demo"} == files  # what the demo needs is an extra


def test_pythons():
    """Each Python that the package names is one that CI runs, and the oldest is the one that it requires."""
    named = re.findall(r"Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.MULTILINE)
    assert named[0] == "3.10"
    ci = ROOT / ".ci" / "run"
    if ci.is_file():
        text = ci.read_text(encoding="utf-8")
        assert [version for version in named if version not in text] == []
