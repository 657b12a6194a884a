"""What is remembered of the kinds of alerts: which are known, how often each may be sent, and when each has pushed.

Pure: the clock is passed in. The rules are those of the design's section *Kinds, repeats, pushes*. What records of one
kind have in common is decided in `_events/kinds.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emitkit_logging._api.text import shorten
from emitkit_logging._events.kinds import FoldKey

MOST_PLACES = 5
"""Requests that a kind may use at once."""

PLACE_INTERVAL = 60.0
"""Seconds after which a kind may use one more."""

MOST_KINDS = 1_000
"""Kinds that are remembered; the least recently seen are forgotten."""

MOST_STORMING = 5
"""Kinds that `storming` names."""

_LONGEST_NAME = 100


@dataclass(slots=True)
class _Kind:
    """What is remembered of one kind.

    Attributes:
        places: how many requests it may use now.
        counted_at: when `places` was right, in seconds of the clock.
        pushed_at: when it pushed last, in seconds of the clock.
        is_known: whether a request for it has started.
        records: log records since `places` was full.
        name: as people read it; empty until it is seen by this process.
    """

    places: int
    counted_at: float
    pushed_at: float = -math.inf
    is_known: bool = False
    records: int = 0
    name: str = ""

    def refill(self, now: float) -> None:
        """Give back the places that are due at `now`."""
        due = int((now - self.counted_at) // PLACE_INTERVAL)
        if self.places + due >= MOST_PLACES:
            self.places, self.counted_at, self.records = MOST_PLACES, now, 0
        elif due > 0:
            self.places += due
            self.counted_at += due * PLACE_INTERVAL


class KindMemory:
    """Remembers the kinds of alerts.

    Args:
        notify_interval: seconds between two pushes of one kind; 0: each event pushes.
        clock: returns seconds of a monotonic clock, the same one in all processes of the machine.
        size: how many kinds are remembered.
    """

    def __init__(self, *, notify_interval: float, clock: Callable[[], float], size: int = MOST_KINDS) -> None:
        self._notify_interval = notify_interval
        self._clock = clock
        self._size = size
        self._kinds: dict[str, _Kind] = {}  # the least recently seen first

    def __len__(self) -> int:
        return sum(kind.is_known for kind in self._kinds.values())

    def _find(self, key: FoldKey) -> _Kind:
        """Return what is remembered of a kind, as of now; it is the one that was seen last from now on."""
        name, now = _id(key), self._clock()
        kind = self._kinds.pop(name, None)
        if kind is None:
            kind = _Kind(MOST_PLACES, now)
            while len(self._kinds) >= self._size:
                del self._kinds[next(iter(self._kinds))]
        else:
            kind.refill(now)
        self._kinds[name] = kind
        return kind

    def is_known(self, key: FoldKey) -> bool:
        """Whether a request for this kind has started before."""
        kind = self._kinds.get(_id(key))
        return kind is not None and kind.is_known

    def started(self, key: FoldKey) -> None:
        """Take note that a request for this kind starts: it is known from now on."""
        self._find(key).is_known = True

    def count(self, key: FoldKey, records: int) -> None:
        """Count records of a kind."""
        kind = self._find(key)
        kind.records += records
        kind.name = kind.name or shorten(key.name, _LONGEST_NAME)

    def storming(self) -> dict[str, int]:
        """Return the kinds that have no place left, the largest five, and the records of each since it had all."""
        now = self._clock()
        found: dict[str, int] = {}
        for kind in self._kinds.values():
            kind.refill(now)
            if not kind.places and kind.name:
                found[kind.name] = found.get(kind.name, 0) + kind.records
        return dict(sorted(found.items(), key=lambda entry: -entry[1])[:MOST_STORMING])

    # How often a kind may be sent

    def take_place(self, key: FoldKey) -> bool:
        """Take a place of the kind, if it has one."""
        kind = self._find(key)
        if not kind.places:
            return False
        kind.places -= 1
        return True

    def return_place(self, key: FoldKey) -> None:
        """Give back a place that was not used."""
        kind = self._find(key)
        kind.places = min(MOST_PLACES, kind.places + 1)

    def place_at(self, key: FoldKey) -> float:
        """Return when the kind has a place, in seconds of the clock."""
        kind = self._find(key)
        return self._clock() if kind.places else kind.counted_at + PLACE_INTERVAL

    # Pushes

    def push(self, key: FoldKey) -> bool:
        """Return whether an event of the kind pushes now; if so, the next may after `notify_interval` seconds."""
        now, kind = self._clock(), self._find(key)
        if now - kind.pushed_at < self._notify_interval:
            return False
        kind.pushed_at = now
        return True

    def pushed(self, key: FoldKey) -> None:
        """Take note that an event of the kind pushes because its record says so."""
        self._find(key).pushed_at = self._clock()

    # What another process knows

    def state(self) -> dict[str, Any]:
        """Return what is remembered as JSON values, for `resume`: by kind places, their time and that of the push.

        Times are seconds of the machine's monotonic clock. A kind is named by a hash, since its template may be long.
        """
        return {
            name: [kind.places, kind.counted_at, None if kind.pushed_at == -math.inf else kind.pushed_at]
            for name, kind in self._kinds.items()
            if kind.is_known
        }

    def resume(self, state: object) -> None:
        """Take over what another process of this machine remembers; what cannot be read is ignored.

        Args:
            state: what `state` returned.
        """
        if not isinstance(state, Mapping):
            return
        now = self._clock()
        for name, entry in list(state.items())[-self._size :]:
            if not isinstance(entry, list | tuple) or len(entry) < 3:
                continue
            places, counted_at, pushed_at = (_number(value, now) for value in entry[:3])
            kind = _Kind(MOST_PLACES, now, is_known=True)
            if places is not None and counted_at is not None:
                kind.places, kind.counted_at = max(0, min(MOST_PLACES, int(places))), counted_at
            if pushed_at is not None:
                kind.pushed_at = pushed_at
            self._kinds[str(name)] = kind


def _id(key: FoldKey) -> str:
    """Return a name of a kind of a fixed length."""
    text = "\x00".join((key.channel, str(key.level), *key.kind))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _number(value: object, now: float) -> float | None:
    """Return a number; `None` for anything else, and for a time of before the machine's last start."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value <= now else None  # type: ignore[arg-type, operator]
