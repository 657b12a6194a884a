"""When records fold, and when folds become digests, because the budget does not last for all of them.

Pure: the clock is passed in. The other cause is a full memory, see `Backlog.shrink`.
"""

from __future__ import annotations

from collections.abc import Callable

from emitkit_logging._outbox.backlog import ALERT, Backlog, Examined
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.deliveries import Deliveries

_MOST_WINDOWS = 100
"""Windows that a backlog may take if its records are sent one by one; a larger one folds at once."""


class ScarcityPolicy:
    """Folds and digests what cannot be sent one by one.

    Records that are no alerts fold when the budget that is not reserved is used up; alerts fold when the reserve is
    used up, too. What is still more than a whole window takes, even folded, is digested. At exit the time that is left
    counts as well.

    Args:
        backlog: the records that wait.
        deliveries: the events that left the backlog, and how long a request takes.
        budget: decides when a request may start.
        clock: returns seconds of a monotonic clock.

    Attributes:
        is_scarce: whether records that are no alerts fold, and their requests are spread over the window.
    """

    def __init__(
        self, backlog: Backlog, deliveries: Deliveries, budget: RateBudget, clock: Callable[[], float]
    ) -> None:
        self._backlog = backlog
        self._deliveries = deliveries
        self._budget = budget
        self._clock = clock
        self.is_scarce = False
        self._alerts_were_spent = False
        self._others_were_spent = False
        self._exit_at = 0.0

    def apply(self) -> list[Examined]:
        """Fold what cannot be sent by itself, and digest what cannot be sent as a fold.

        Returns:
            What `Backlog.fold` returns.
        """
        if self._budget.closing:
            return self._fold_for_exit()
        return self._fold_others() + self._fold_alerts()

    def _fold_others(self) -> list[Examined]:
        events = self._backlog.events(below=ALERT)
        capacity = self._budget.capacity(alert=False)
        if not events:
            self.is_scarce = False
        elif self._others_are_spent() or events > _MOST_WINDOWS * capacity:
            self.is_scarce = True
        if not self.is_scarce:
            return []
        examined = self._backlog.fold(below=ALERT)
        self._backlog.digest(capacity, below=ALERT)
        return examined

    def _fold_alerts(self) -> list[Examined]:
        if self._backlog.singles() == self._backlog.singles(below=ALERT) or not self._alerts_are_spent():
            return []
        examined = self._backlog.fold()
        self._backlog.digest(self._budget.capacity(alert=True))
        return examined

    def _fold_for_exit(self) -> list[Examined]:
        most = self._budget.available(alert=True) or self._budget.capacity(alert=True)
        if self._deliveries.seconds_each:
            most = min(most, max(1.0, self._exit_at - self._clock()) / self._deliveries.seconds_each)
        most -= self._deliveries.events
        if self._backlog.events() <= most:
            return []
        examined = self._backlog.fold()
        self._backlog.digest(max(most, 1))
        return examined

    # What came in since the last look waited for the budget, even if the budget is back by now

    def _others_are_spent(self) -> bool:
        were_spent, self._others_were_spent = self._others_were_spent, False
        return were_spent or self._budget.is_spent(alert=False)

    def _alerts_are_spent(self) -> bool:
        were_spent, self._alerts_were_spent = self._alerts_were_spent, False
        return were_spent or self._budget.is_spent(alert=True)

    def remember_spent(self) -> None:
        """Take note of whether what comes in from now on has to wait for the budget."""
        self._alerts_were_spent = self._budget.is_spent(alert=True)
        self._others_were_spent = self._budget.is_spent(alert=False)

    def exit_within(self, seconds: float) -> None:
        """Take note that the process ends, and that this much time is left."""
        self._exit_at = self._clock() + seconds
