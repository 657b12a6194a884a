"""What goes wrong with Redis, for people: a cause for each error, one warning for each trouble, and one at its end.

Pure: the clock is passed in, and errors are told apart by their texts and their base classes alone, so that redis-py
need not be loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

WARNING_PAUSE = 60.0
"""Seconds between two warnings of the same cause."""

_CAUSES = (
    ("OOM ", "is full: it refuses to write (maxmemory)"),
    ("used memory > 'maxmemory'", "is full: it refuses to write (maxmemory)"),
    ("READONLY", "is a replica, which is read-only"),
    ("read only replica", "is a replica, which is read-only"),
    ("WRONGPASS", "refuses the user or the password"),
    ("invalid username-password", "refuses the user or the password"),
    ("invalid password", "refuses the user or the password"),
    ("NOAUTH", "wants a password"),
    ("unauthenticated", "wants a password"),
    ("Authentication required", "wants a password"),
    ("without any password configured", "has no password, but one is given"),
    ("NOPERM", "does not permit it to this user"),
    ("No permissions", "does not permit it to this user"),
    ("no permissions", "does not permit it to this user"),
    ("LOADING", "is loading its data"),
    ("is loading the dataset", "is loading its data"),
    ("BUSY", "is busy with a script"),
    ("MISCONF", "cannot write to its disk"),
    ("MASTERDOWN", "is a replica without its master"),
    ("NOREPLICAS", "has too few replicas"),
    ("CLUSTER", "is a cluster, which is not supported"),
    ("MOVED", "is a cluster, which is not supported"),
    ("CROSSSLOT", "is a cluster, which is not supported"),
    ("WRONGTYPE", "has other data under the keys of the relay; use another prefix"),
    ("unknown command", "does not know a command that is needed: it is no Redis of version 6.2 or later"),
    ("max number of clients", "has too many clients"),
    ("DB index is out of range", "does not have that database"),
)


def cause_of(error: Exception) -> str:
    """Return what an error says about Redis, to stand behind its address."""
    text = str(error)
    for needle, cause in _CAUSES:
        if needle in text:
            return cause
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__ or "timed out" in text.lower():
        return "does not answer in time"
    if isinstance(error, OSError) or "ConnectionError" in type(error).__name__:
        return "cannot be reached"
    return "does not work"


class TroubleLog:
    """Says once that something goes wrong, and once when it is over.

    Args:
        address: what names Redis in messages; without a password.
        clean: removes secrets from an error's text.
        clock: returns seconds of a monotonic clock.

    Attributes:
        reason: what is wrong, for people; empty where nothing is.
        failures: how often in a row.
    """

    def __init__(self, address: str, clean: Callable[[str], str], clock: Callable[[], float]) -> None:
        self._address = address
        self._clean = clean
        self._clock = clock
        self._notices: list[str] = []
        self._warned_at: dict[str, float] = {}
        self._told = ""
        self._began_at = 0.0
        self.reason = ""
        self.failures = 0

    def failed(self, error: Exception, consequence: str) -> None:
        """Remember an error.

        The first one in a row is no trouble yet: a server closes connections that were idle, and the next try succeeds.

        Args:
            error: what happened.
            consequence: what it means for log records.
        """
        cause = cause_of(error)
        detail = self._clean(" ".join(str(error).split()))[:200]
        self.begin(cause, f"Redis at {self._address} {cause}: {detail}", consequence)

    def begin(self, cause: str, text: str, consequence: str) -> None:
        """Remember a trouble, as `failed` does.

        Args:
            cause: tells troubles apart.
            text: what is wrong.
            consequence: what it means for log records.
        """
        now = self._clock()
        if not self.failures:
            self._began_at = now
        self.failures += 1
        self.reason = text
        if self.failures < 2 or cause == self._told:  # the first one in a row is no trouble yet
            return
        self._told = cause
        if now - self._warned_at.get(cause, -math.inf) >= WARNING_PAUSE:
            self._warned_at[cause] = now
            self._notices.append(f"{text}; {consequence}")

    def warn(self, text: str) -> None:
        """Add a warning that its cause itself limits."""
        self._notices.append(text)

    def over(self) -> None:
        """Remember that it works."""
        if self._told:
            lasted = self._clock() - self._began_at
            self._notices.append(f"Redis at {self._address} works again, after {lasted:.0f} seconds")
        self._told = self.reason = ""
        self.failures = 0

    def take(self) -> list[str]:
        """Return the lines for the log since the last call."""
        notices, self._notices = self._notices, []
        return notices
