"""Ledger: what the outbox tells of where each record is, for whoever keeps that beyond the process.

Every record comes in at a *place*, a number that grows. It may join what waits at another place, and ends delivered or
dropped; nothing else can become of it, so whoever follows these calls knows at every moment where each record is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from emitkit_logging._outbox.delivery import Delivery
    from emitkit_logging._outbox.folding import Digest, Fold


class BacklogObserver(Protocol):
    """Keeps what the outbox tells."""

    def came(self, place: int, captured: dict[str, Any]) -> None:
        """Note that a record waits at `place`."""

    def joined(self, place: int, into: int) -> None:
        """Note that what waited at `place` is a part of what waits at `into`."""

    def changed(self, entry: Fold | Digest) -> None:
        """Note that a fold or a digest has become more."""

    def attempted(self, attempt: Delivery) -> None:
        """Note an identify that waits, or a request that is about to start."""

    def ended(self, place: int, reason: str | None = None, detail: str = "") -> None:
        """Note that what waited at `place` was delivered, or dropped for a reason."""
