"""Exceptions whose text is being asked for.

The text of an exception may log the exception itself, as that of a proxy object does which reports each access. Then it
would be asked again for each record that it logs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

_asked: set[tuple[int, int]] = set()  # thread and object


def is_asked(error: BaseException) -> bool:
    """Whether this thread is asking an exception for its text."""
    return (threading.get_ident(), id(error)) in _asked


@contextlib.contextmanager
def asking(values: Iterable[object]) -> Iterator[None]:
    """A context in which those of some objects that are exceptions are asked for their text."""
    thread = threading.get_ident()
    marks = {(thread, id(value)) for value in values if issubclass(type(value), BaseException)} - _asked
    _asked.update(marks)
    try:
        yield
    finally:
        _asked.difference_update(marks)
