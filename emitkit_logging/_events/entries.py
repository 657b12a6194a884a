"""Read the first entries of any container, without a look at the others."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any

_TRIES = 3
_SETS_AND_LISTS = (list, tuple, set, frozenset)


def pairs_of(mapping: Mapping[Any, Any], most: int) -> tuple[list[tuple[object, object]], int]:
    """Return the first keys of a mapping with their values, and how many there are."""
    if isinstance(mapping, dict):
        return first_entries(dict.items(mapping), most), dict.__len__(mapping)
    if isinstance(mapping, collections.ChainMap):  # which makes a whole dict to iterate or to count
        size = sum(map(len, mapping.maps))
        keys = dict.fromkeys(islice(chain.from_iterable(reversed(mapping.maps)), most))
        return [(key, mapping[key]) for key in keys], len(keys) if size <= most else size
    return [(key, mapping[key]) for key in islice(mapping, most)], len(mapping)


def first_entries(values: Iterable[Any], most: int) -> list[Any]:
    """Return the first entries of a dict's items or of a set, which other threads may change meanwhile."""
    for _ in range(_TRIES):
        with contextlib.suppress(RuntimeError):  # it was changed between two of them
            return list(islice(values, most))
    return list(values)[:most]  # one step for the interpreter, but as long as all of them take


def entries_of(values: Iterable[object], most: int) -> tuple[list[object], int]:
    """Return the first entries of a sequence or a set, and how many there are."""
    if type(values) in (list, tuple):
        return list(values[:most]), len(values)  # type: ignore[index, arg-type]
    if type(values) in _SETS_AND_LISTS:
        return first_entries(values, most), len(values)  # type: ignore[arg-type]
    return list(islice(values, most)), len(values)  # type: ignore[arg-type]


def ordered(values: set[Any] | frozenset[Any], most: int) -> tuple[list[object], int]:
    """Return some entries of a set in an order that does not vary between processes, and how many there are."""
    some, size = entries_of(values, most)
    try:
        return sorted(some), size  # type: ignore[type-var]
    except TypeError:
        return sorted(some, key=lambda value: (type(value).__name__, str(value))), size


def untaken(name: str, taken: Mapping[Any, object]) -> str:
    """Return `name`, or with a suffix where `taken` has it already."""
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
