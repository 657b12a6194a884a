"""Bounded lists of what came last."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The latest items: at most `keep` of them and, but for the newest, at most `size` bytes."""

    def __init__(self, keep: int, size: int = 128 * 1024 * 1024) -> None:
        self._keep = keep
        self._size = size
        self._held = 0
        self._items: deque[tuple[T, int]] = deque()

    def append(self, item: T, size: int) -> None:
        """Add an item of `size` bytes, and remove the oldest that exceed the bounds."""
        self._items.append((item, size))
        self._held += size
        while len(self._items) > 1 and (len(self._items) > self._keep or self._held > self._size):
            self._held -= self._items.popleft()[1]

    def clear(self) -> None:
        """Remove all items."""
        self._items.clear()
        self._held = 0

    def snapshot(self) -> list[T]:
        """Return the items, oldest first."""
        return [item for item, _ in self._items]


class RequestLog:
    """The latest requests to the API. Safe to use from several threads."""

    def __init__(self, keep: int) -> None:
        self._requests: Recent[dict[str, Any]] = Recent(keep)
        self._lock = threading.Lock()

    def add(self, request: dict[str, Any]) -> None:
        """Add a request; its `status`, which is `None` at first, may be set later."""
        with self._lock:
            self._requests.append(request, len(request["body"]))

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._requests.clear()

    def snapshot(self) -> list[dict[str, Any]]:
        """Return copies of the requests, oldest first."""
        with self._lock:
            return [dict(request) for request in self._requests.snapshot()]
