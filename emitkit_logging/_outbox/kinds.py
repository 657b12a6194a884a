"""What is remembered of the kinds of alerts: which are known, how often each may be sent, and when each has pushed.

Pure: the clock is passed in. The rules are those of the design's section *Kinds, repeats, pushes*. What records of one
kind have in common is decided in `_events/kinds.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.text import shorten
from emitkit_logging._events.kinds import FoldKey, RenamedKinds

MOST_PLACES = 5
"""Requests that a kind may use at once."""

PLACE_INTERVAL = 60.0
"""Seconds after which a kind may use one more."""

MOST_KINDS = 1_000
"""Kinds that are remembered; the least recently seen are forgotten."""

MOST_STORMING = 5
"""Kinds that `storming` names."""

_LONGEST_NAME = 100
_LEAST_VALUES = 3
_HEAD = 16
"""Characters of the first part of a kind's name."""


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
        if now >= self.counted_at + (due + 1) * PLACE_INTERVAL:  # rounded as in `place_at`, at which a fold is released
            due += 1
        if self.places + due >= MOST_PLACES:
            self.places, self.counted_at, self.records = MOST_PLACES, now, 0
        elif due > 0:
            self.places += due
            self.counted_at += due * PLACE_INTERVAL

    def add(self, other: _Kind) -> None:
        """Add what is remembered of another kind that is part of this one now."""
        self.places = max(0, self.places + other.places - MOST_PLACES)
        self.counted_at = min(self.counted_at, other.counted_at)
        self.pushed_at = max(self.pushed_at, other.pushed_at)
        self.is_known = self.is_known or other.is_known
        self.records += other.records

    def values(self) -> list[Json]:
        """Return what is remembered as JSON values, for `of`."""
        pushed_at = None if self.pushed_at == -math.inf else self.pushed_at
        return [self.places, self.counted_at, pushed_at, self.records, self.name]

    @classmethod
    def of(cls, values: Sequence[Json], now: float) -> _Kind:
        """Return a known kind with the `values` that another process wrote; those that cannot be read are left out."""
        kind = cls(MOST_PLACES, now, is_known=True)
        places, counted_at, pushed_at = (_number(value, now) for value in values[:3])
        if places is not None and counted_at is not None:
            kind.places, kind.counted_at = max(0, min(MOST_PLACES, int(places))), counted_at
        if pushed_at is not None:
            kind.pushed_at = pushed_at
        records, name = (*values[3:5], None, None)[:2]
        kind.records = records if type(records) is int else 0
        kind.name = name if isinstance(name, str) else ""
        return kind


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
        self._changed: dict[str, None] = {}  # what changed last is at the end

    def __len__(self) -> int:
        return sum(kind.is_known for kind in self._kinds.values())

    def _find(self, key: FoldKey) -> _Kind:
        """Return what is remembered of a kind, as of now; it is the one that was seen last from now on."""
        name, now = _id(key), self._clock()
        kind = self._kinds.pop(name, None)
        if kind is None:
            kind = _Kind(MOST_PLACES, now)
            while len(self._kinds) >= self._size:
                self._forget(next(iter(self._kinds)))
        else:
            kind.refill(now)
        self._kinds[name] = kind
        self._note_change(name)
        return kind

    def _forget(self, name: str) -> None:
        del self._kinds[name]
        self._note_change(name)

    def _note_change(self, name: str) -> None:
        self._changed.pop(name, None)
        self._changed[name] = None

    def is_known(self, key: FoldKey) -> bool:
        """Whether a request for this kind has started before."""
        kind = self._kinds.get(_id(key))
        return kind is not None and kind.is_known

    def started(self, key: FoldKey) -> None:
        """Remember that a request for this kind starts: it is known from now on."""
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
        """Remember that an event of the kind pushes because its record says so."""
        self._find(key).pushed_at = self._clock()

    # Kinds that are generalised

    def rename(self, renamed: RenamedKinds) -> None:
        """Let what is remembered of kinds go on under the names that they have now.

        Of several that are one kind now the used places add up, and the latest push counts.
        """
        latest = {_hash(before): _hash(after) for before, after in renamed.templates.items()}
        now = self._clock()
        for name, kind in [(name, kind) for name, kind in self._kinds.items() if name[:_HEAD] in latest]:
            self._forget(name)
            kind.refill(now)
            after = latest[name[:_HEAD]] + name[_HEAD:]
            general = self._kinds.get(after)
            if general is None:
                general = self._kinds[after] = _Kind(MOST_PLACES, now)
            general.refill(now)
            general.add(kind)
            self._note_change(after)

    # What another process knows

    def pop_learned(self) -> dict[str, Json]:
        """Return what changed since the last call, for `load`: by kind its values, or `None` where it was forgotten.

        The values are places, their time and that of the push in seconds of the machine's monotonic clock, the records
        and the name for people. A kind is named by a hash, since its template may be long.
        """
        changed, self._changed = self._changed, {}
        found = [(name, self._kinds.get(name)) for name in changed]
        return {name: None if kind is None else kind.values() for name, kind in found if kind is None or kind.is_known}

    def learn_again(self) -> None:
        """Let the next `pop_learned` return all that is known."""
        self._changed.update(dict.fromkeys(self._kinds))

    def load(self, learned: Mapping[str, Json]) -> None:
        """Remember what `pop_learned` returned in another process of this machine, in all its calls, and nothing else.

        Args:
            learned: the values by kind, the least recently seen first; what cannot be read is ignored.
        """
        now = self._clock()
        self._kinds.clear()
        for name, values in list(learned.items())[-self._size :]:
            if isinstance(values, list) and len(values) >= _LEAST_VALUES:
                self._kinds[name] = _Kind.of(values, now)


def _id(key: FoldKey) -> str:
    """Return a name of a kind of a fixed length, whose first part is that of logger and template."""
    return _hash(key.kind[:2]) + _hash((key.channel, str(key.level), *key.kind[2:]))


def _hash(parts: Iterable[str]) -> str:
    text = "\x00".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HEAD // 2).hexdigest()


def _number(value: object, now: float) -> float | None:
    """Return a number; `None` for anything else, and for a time of before the machine's last start."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value <= now else None  # type: ignore[arg-type, operator]
