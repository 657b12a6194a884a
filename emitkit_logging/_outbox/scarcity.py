"""When records fold, and when folds become digests, because the budget does not last for all of them.

Pure: the clock is passed in. The other cause is a full memory, see `Backlog.shrink`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from emitkit_logging._events.captured import UNTRUSTED_PRIORITY
from emitkit_logging._outbox.admission import Examined
from emitkit_logging._outbox.backlog import ALERT, Backlog
from emitkit_logging._outbox.budget import WINDOW, RateBudget
from emitkit_logging._outbox.deliveries import Deliveries
from emitkit_logging._outbox.delivery import Delivery

_MOST_WINDOWS = 100
"""Windows that a backlog may take if its records are sent one by one; a larger one folds at once."""

_MANY = 64
"""So many fold as they come in, if records fold anyway. A flood goes on while so many come in in `_CALM` seconds."""

_CALM = 1.0
"""Seconds with fewer than `_MANY` new records that end a flood."""

_MOST_KEPT = 2
"""Requests of each window that are kept for folds and digests while more waits than the window can take, at most."""

_REQUESTS_FOR_EACH_KEPT = 10
"""Requests that a window must have for each that is kept."""

_MOST_BEHIND_FIRST = 256
"""Alerts that are looked at after the first one of a kind, before that is sent; in a storm many thousands may wait."""


class ScarcityPolicy:
    """Folds and digests what cannot be sent one by one.

    Records fold when the budget that is not reserved is used up, and in a flood: from when more wait than a hundred
    windows take until hardly any come in. The first alerts of new kinds may use the reserve;
    more of them than a whole window takes are digested. Of all others, what is still more than a whole window takes,
    even folded, is digested. At exit the time that is left counts as well.

    Args:
        backlog: the records that wait.
        deliveries: the events that left the backlog, and how long a request takes.
        budget: decides when a request may start.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(
        self, backlog: Backlog, deliveries: Deliveries, budget: RateBudget, clock: Callable[[], float]
    ) -> None:
        self._backlog = backlog
        self._deliveries = deliveries
        self._budget = budget
        self._clock = clock
        self._is_folding = False
        self._firsts_were_spent = False
        self._others_were_spent = False
        self._untrusted_starts: deque[float] = deque()
        self._exit_at = 0.0
        self._flood_ends = -math.inf
        self._taken = 0

    @property
    def is_scarce(self) -> bool:
        """Whether records that are no alerts fold, and their requests are spread over the window."""
        return self._is_folding or self.until_calm < math.inf

    @property
    def until_calm(self) -> float:
        """The seconds until a flood is over, if hardly anything more comes in; infinite: there is none."""
        left = self._flood_ends - self._clock()
        return left if left > 0 else math.inf

    def apply(self) -> list[Examined]:
        """Fold what cannot be sent by itself, and digest what cannot be sent as a fold.

        Returns:
            What `Backlog.fold` returns.
        """
        backlog = self._backlog
        examined = backlog.admit(most_behind_first=math.inf if self._budget.closing else _MOST_BEHIND_FIRST)
        if self._budget.closing:
            backlog.release()
            return examined + self._fold_for_exit()
        backlog.release_due(self._clock())
        is_spent = self._others_are_spent()
        examined += self._fold_untrusted() + self._fold_others(is_spent=is_spent)
        if is_spent and self._others_are_spent():
            examined += self._fold_repeats()
        return examined + self._fold_firsts()

    def fold_arrived(self) -> list[Examined]:
        """Fold what has come in, if records fold anyway and many wait.

        The next `apply` would fold it, but may come only after a request that hangs. Until then, records of the series
        join these folds when they come in.
        """
        if not self.is_scarce or self._backlog.singles(below=ALERT) < _MANY:
            return []
        examined = self._backlog.fold(below=ALERT)
        self._backlog.join_series(is_wanted=True)
        return examined

    def _fold_others(self, *, is_spent: bool) -> list[Examined]:
        events = self._backlog.events(below=ALERT)
        capacity = self._budget.capacity(alert=False)
        is_flood = self._is_flood(starts=events > _MOST_WINDOWS * capacity)
        if not events:
            self._is_folding = False
        elif is_flood or is_spent:
            self._is_folding = True
        if not self.is_scarce:
            self._backlog.join_series(is_wanted=False)
            return []
        examined = self._backlog.fold(below=ALERT)
        self._backlog.digest(capacity, below=ALERT)
        self._backlog.join_series(is_wanted=True)
        return examined

    def _is_flood(self, *, starts: bool) -> bool:
        now, taken = self._clock(), self._backlog.taken
        if starts or (now < self._flood_ends and taken - self._taken >= _MANY):
            self._flood_ends, self._taken = now + _CALM, taken
        return now < self._flood_ends

    def _fold_repeats(self) -> list[Examined]:
        backlog = self._backlog
        examined = backlog.fold() if backlog.singles() > backlog.singles(below=ALERT) else []
        backlog.digest(self._budget.capacity(alert=False) + backlog.news())
        return examined

    def _fold_firsts(self) -> list[Examined]:
        backlog, capacity = self._backlog, self._budget.capacity(alert=True)
        if backlog.news() <= capacity or not self._firsts_are_spent():
            return []
        examined = backlog.fold_firsts()
        backlog.digest(capacity)
        return examined

    def _fold_for_exit(self) -> list[Examined]:
        most = self._budget.available(alert=True) or self._budget.capacity(alert=True)
        if self._deliveries.seconds_each:
            most = min(most, max(1.0, self._exit_at - self._clock()) / self._deliveries.seconds_each)
        most -= self._deliveries.events
        if self._backlog.events() <= most:
            return []
        examined = self._backlog.fold()
        if self._backlog.events() > most:
            examined += self._backlog.fold_firsts()
        self._backlog.digest(max(most, 1))
        return examined

    def kept(self, *, is_new: bool) -> int:
        """Return how many requests of the window are kept for folds and digests, while more waits than it can take.

        A process that ends in a used-up window can then still deliver all that it logged, folded.

        Args:
            is_new: whether to ask for the first alert of a kind, which may use the reserve.
        """
        if self._budget.is_unlimited:
            return 0
        news = self._backlog.news()
        events = news if is_new else self._backlog.events() - news
        is_enough = self._budget.closing or events <= self._budget.available(alert=is_new)
        return 0 if is_enough else int(min(_MOST_KEPT, self._budget.capacity(alert=is_new) // _REQUESTS_FOR_EACH_KEPT))

    # What came in since the last look waited for the budget, even if the budget is back by now

    def _others_are_spent(self) -> bool:
        return self._others_were_spent or self._budget.is_spent(alert=False, kept=self.kept(is_new=False))

    def _firsts_are_spent(self) -> bool:
        return self._firsts_were_spent or self._budget.is_spent(alert=True, kept=self.kept(is_new=True))

    def started(self, delivery: Delivery) -> None:
        """Remember that a request starts: what comes in from now on did not wait for the budget."""
        self._others_were_spent = self._firsts_were_spent = False
        if delivery.priority <= UNTRUSTED_PRIORITY:
            self._untrusted_starts.append(self._clock())

    # Events of untrusted sources

    def untrusted_wait(self) -> float:
        """Return the seconds until an event of an untrusted source may start.

        They may use half of the requests that are not reserved, and none of the last ones of a window.
        """
        if self._budget.closing:
            return 0.0
        now, starts, share = self._clock(), self._untrusted_starts, self._untrusted_share()
        while starts and now - starts[0] >= WINDOW:
            starts.popleft()
        own = starts[-int(share)] + WINDOW - now if len(starts) >= share else 0.0
        return max(own, self._budget.wait(alert=False, kept=int(min(_MOST_KEPT, share / 2))))

    def _untrusted_share(self) -> float:
        capacity = self._budget.capacity(alert=False)
        return capacity if capacity == math.inf else max(1.0, capacity // 2)

    def state(self) -> dict[str, Any]:
        """Return which requests of untrusted sources were started, as JSON values, for `resume`."""
        share = self._untrusted_share()
        if share == math.inf or not self._untrusted_starts:
            return {}
        return {"untrusted_starts": list(self._untrusted_starts)[-int(share) :]}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over what another process of this machine has started.

        A state from before the machine's last start is ignored: the monotonic clock began anew.

        Args:
            state: what `state` returned.
        """
        starts, now = state.get("untrusted_starts"), self._clock()
        if isinstance(starts, list):
            found = [start for start in starts if isinstance(start, int | float) and start <= now]
            self._untrusted_starts = deque(sorted(found) if len(found) == len(starts) else [])

    def _fold_untrusted(self) -> list[Examined]:
        if not self._backlog.events(below=UNTRUSTED_PRIORITY + 1) or self.untrusted_wait() <= 0:
            return []
        examined = self._backlog.fold(below=UNTRUSTED_PRIORITY + 1)
        self._backlog.digest(self._untrusted_share(), below=UNTRUSTED_PRIORITY + 1)
        return examined

    def remember_spent(self) -> None:
        """Remember whether what comes in from now on has to wait for the budget."""
        self._firsts_were_spent = self._budget.is_spent(alert=True)
        self._others_were_spent = self._budget.is_spent(alert=False)

    def exit_within(self, seconds: float) -> None:
        """Remember that the process ends, and that this much time is left."""
        self._exit_at = self._clock() + seconds
