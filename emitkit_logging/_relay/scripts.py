"""The Lua scripts that change Redis; each file says what it guarantees."""

from __future__ import annotations

from importlib import resources


def _script(name: str) -> str:
    return (resources.files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


APPEND = _script("append")
ACQUIRE = _script("acquire")
RELEASE = _script("release")
COMMIT = _script("commit")
