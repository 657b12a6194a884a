"""The folds and digests that wait.

Pure. When records fold, and folds are digested, is decided in `backlog.py` and `scarcity.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.kinds import FoldKey, RenamedKinds
from emitkit_logging._events.series import Series
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import BacklogObserver

DigestKey: TypeAlias = "tuple[str, bool]"
"""What folds of one digest have in common: the channel, and whether browsers sent them."""


class Folds:
    """The folds by what their records have in common, and the digests of each channel.

    A fold of alerts is held until its kind has a place, see `KindMemory`.

    Args:
        kinds: what is remembered of the kinds of alerts.
        observer: receives the reports of where each record is.

    Attributes:
        by_key: the folds.
        samples: how many records all folds keep.
        series: the series whose records join their fold as they come in, by the name of their event: see `Fold.series`.
    """

    def __init__(self, kinds: KindMemory, observer: BacklogObserver) -> None:
        self._kinds = kinds
        self._observer = observer
        self._digests: dict[DigestKey, Digest] = {}
        self._release_at = math.inf
        self.by_key: dict[FoldKey, Fold] = {}
        self.series: dict[object, Series] = {}
        self.samples = 0

    def __iter__(self) -> Iterator[Fold | Digest]:
        """Yield all folds and digests, also those that are held."""
        yield from self.by_key.values()
        yield from self._digests.values()

    def sendable(self) -> Iterator[Fold | Digest]:
        """Yield the folds and digests that are not held."""
        return (entry for entry in self if not entry.is_held)

    @property
    def records(self) -> int:
        """How many log records wait here."""
        return sum(entry.count for entry in self)

    @property
    def held_in_memory(self) -> int:
        """How much is held in memory: the samples, and each digest as one."""
        return self.samples + len(self._digests)

    def add(self, key: FoldKey, position: int) -> Fold:
        """Add an empty fold."""
        fold = self.by_key[key] = Fold(key, position)
        return fold

    def join(self, fold: Fold, position: int, captured: CapturedRecord, user_id: object) -> None:
        """Add a record to a fold. That the fold has changed is reported by the caller, once for many records."""
        self.samples += fold.add(captured, user_id)
        self._observer.joined(position, fold.position)

    def merge(self, fold: Fold, other: Fold) -> None:
        """Add the records of another fold to one that waits; that it has changed is reported by the caller."""
        is_new, is_held = fold.is_new, fold.is_held
        self.samples += fold.absorb(other)
        fold.is_new, fold.is_held = is_new, is_held

    def rename(self, renamed: RenamedKinds) -> None:
        """Let folds whose kinds are one now become one, the oldest of them."""
        self.series.clear()
        for fold in sorted(self.by_key.values(), key=lambda fold: fold.position):
            latest = renamed.of(fold.key)
            if latest != fold.key:
                del self.by_key[fold.key]
                fold.key = latest
                self._unite(fold, self.by_key.get(latest, fold))
        self._release_at = -math.inf  # the places of their kinds have changed

    def _unite(self, *folds: Fold) -> None:
        """Make one fold, the oldest, of two of one kind; they may be the same."""
        older, newer = sorted(folds, key=lambda fold: fold.position)
        if older is not newer:
            self.samples += older.absorb(newer) - len(newer.samples)
            newer.is_gone = True
            self._observer.joined(newer.position, older.position)
        self.by_key[older.key] = older
        self._observer.changed(older)

    def remove(self, entry: Fold | Digest) -> None:
        """Take out a fold or a digest."""
        self.series.clear()
        if isinstance(entry, Digest):
            del self._digests[_digest_key(entry)]
        else:
            entry.is_gone = True
            del self.by_key[entry.key]
            self.samples -= len(entry.samples)

    def thin(self, fold: Fold) -> None:
        """Leave a fold one sample."""
        if len(fold.samples) > 1:
            self.samples -= len(fold.samples) - 1
            fold.keep_samples(1)
            self._observer.changed(fold)

    def digest_of(self, fold: Fold) -> Digest | DigestKey:
        """Return the digest that a fold would join, or the key of that digest while there is none."""
        key = _digest_key(fold)
        return self._digests.get(key, key)

    def digest(self, fold: Fold, *, is_push_due: bool = False) -> None:
        """Move a fold into its channel's digest.

        Args:
            fold: the fold.
            is_push_due: whether its kind has not pushed lately.
        """
        key = _digest_key(fold)
        digest = self._digests.get(key)
        if digest is None:
            digest = self._digests[key] = Digest(fold.channel, fold.position)
        digest.add(fold)
        digest.is_push_due = digest.is_push_due or is_push_due
        self.remove(fold)
        self._observer.joined(fold.position, digest.position)
        self._observer.changed(digest)

    def resume(self, entry: Fold | Digest) -> None:
        """Take over what waited in another outbox."""
        if isinstance(entry, Digest):
            self._digests[_digest_key(entry)] = entry
            return
        self.by_key[entry.key] = entry
        self.samples += len(entry.samples)

    def clear(self) -> None:
        """Forget all."""
        self.series.clear()
        for fold in self.by_key.values():
            fold.is_gone = True
        self.by_key.clear()
        self._digests.clear()
        self.samples = 0

    # Folds that wait for a place of their kind

    def hold(self, fold: Fold) -> None:
        """Let a fold wait until its kind has a place."""
        fold.is_held = True
        self._release_at = min(self._release_at, self._kinds.place_at(fold.key))

    def release_due(self, now: float) -> None:
        """Release the folds whose kinds have a place at `now`."""
        if now < self._release_at:
            return
        held = [fold for fold in self.by_key.values() if fold.is_held]
        for fold in held:
            fold.is_held = not self._kinds.take_place(fold.key)
        self._release_at = min((self._kinds.place_at(fold.key) for fold in held if fold.is_held), default=math.inf)

    def release(self, folds: Iterable[Fold] | None = None) -> None:
        """Release folds, by default all, whether or not their kinds have a place."""
        for fold in self.by_key.values() if folds is None else folds:
            if fold.is_held:
                fold.is_held = False
                self._kinds.take_place(fold.key)

    @property
    def release_at(self) -> float:
        """When a fold may be released, in seconds of the clock; infinite: none is held."""
        return self._release_at


def _digest_key(entry: Fold | Digest) -> DigestKey:
    """Return what is digested together: of each channel the trusted records, and those from browsers."""
    return entry.channel, entry.priority < 0
