"""Build the worker of a handler: store, outbox, client and thread, from checked options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emitkit_logging import __version__
from emitkit_logging._api.encoding import Json
from emitkit_logging._events.captured import CapturedRecord, restore
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.event import Event
from emitkit_logging._events.faults import is_fault
from emitkit_logging._events.kinds import FoldKey, PlainKinds
from emitkit_logging._events.merging import Values, merge
from emitkit_logging._outbox.budget import RateBudget
from emitkit_logging._outbox.identifies import KnownUsers
from emitkit_logging._outbox.kinds import KindMemory
from emitkit_logging._outbox.observer import NO_OBSERVER, BacklogObserver
from emitkit_logging._outbox.outbox import Outbox
from emitkit_logging._worker import own_calls
from emitkit_logging._worker.clock import monotonic
from emitkit_logging._worker.store import MemoryStore, Store
from emitkit_logging._worker.worker import Worker
from emitkit_logging.formatter import EmitKitFormatter

if TYPE_CHECKING:
    from emitkit_logging._relay.connection import Address
    from emitkit_logging._worker.client import Client

_ABOUT_PLACES = frozenset(("page", "device", "utm", "server"))
"""Keys of a context that do not change what a record folds by."""


@dataclass(frozen=True)
class Settings:
    """A handler's options, checked, as far as they concern delivery; their meaning is that of `EmitKitHandler`'s."""

    base_url: str
    api_key: str = field(repr=False)
    timeout: float
    queue_size: int
    alias_ttl: float
    alias_cache_size: int
    rate_limit: int | None
    alert_reserve: float
    notify_interval: float
    spool: Path | None
    spool_size: int
    spool_ttl: float
    relay: Address | None
    debug: bool


class Formatting:
    """Makes events with the formatter that a handler has at the moment. It does not refer to the handler.

    Args:
        formatter: the formatter to begin with.
        context: the outermost event context, under what a record has; it is added here and not at the call, which
            should cost no more for it.
    """

    def __init__(self, formatter: EmitKitFormatter, context: Values | None = None) -> None:
        self._templates = formatter.plain_kinds.templates
        self._formatter = formatter
        self._context = context or {}
        self._is_context_of_kinds = not _ABOUT_PLACES.issuperset(self._context)

    @property
    def formatter(self) -> EmitKitFormatter:
        """The formatter; one that is set goes on with the templates of the one before it."""
        return self._formatter

    @formatter.setter
    def formatter(self, formatter: EmitKitFormatter) -> None:
        formatter.plain_kinds.templates = self._templates
        self._formatter = formatter

    @property
    def plain_kinds(self) -> PlainKinds:
        """The formatter's finder of kinds."""
        return self.formatter.plain_kinds

    @property
    def shows_revenue(self) -> bool:
        """Whether amounts and currencies are not secret."""
        return self.formatter.shows_revenue

    @property
    def converter(self) -> JsonConverter:
        """The formatter's converter."""
        return self.formatter.json_converter

    @property
    def fold_key(self) -> Callable[[CapturedRecord], FoldKey | None]:
        """Returns what a record folds by."""
        return self._fold_key if self._is_context_of_kinds else self.formatter.fold_key

    def _fold_key(self, captured: CapturedRecord) -> FoldKey | None:
        self._add_context(captured)
        return self.formatter.fold_key(captured)

    def _add_context(self, captured: CapturedRecord) -> None:
        """Put the outermost context under that of a record; to do so again changes nothing."""
        if self._context:
            captured.context = merge(self._context, captured.context) if captured.context else self._context

    def event(self, captured: CapturedRecord) -> Event:
        """Return a record's event, which can be encoded; a minimal one if anything raises.

        What an application's own formatter logs meanwhile is no event.
        """
        try:
            self._add_context(captured)
            with own_calls.inside():
                return self._usable(self.formatter.event(restore(captured)))
        except BaseException as error:
            if not is_fault(error):
                raise
            return self.formatter.minimal_event(captured, error)

    def _usable(self, event: Event) -> Event:
        if type(self.formatter) is not EmitKitFormatter:  # what an application's own formatter made may be no event
            event.encode()
            if type(event.level) is not int:
                raise TypeError(f"the level of an event is an integer, not {event.level!r}")
            hash(event.fold_key)
        return event

    def summary(
        self, channel: str | None, level: int, title: str, description: str, metadata: dict[str, Json]
    ) -> Event:
        """Return an event that stands for no single record, see `EventBuilder.summary`."""
        return self.formatter.summary(channel, level, title, description, metadata)


def make_worker(settings: Settings, formatting: Formatting) -> Worker:
    """Return a worker that has not started: for a relay or with a spool where one is configured, else in memory."""
    if settings.relay is not None:
        return _edge_worker(settings, settings.relay, formatting)

    def make_outbox(observer: BacklogObserver = NO_OBSERVER) -> Outbox:
        budget = RateBudget(rate_limit=settings.rate_limit, alert_reserve=settings.alert_reserve, clock=monotonic)
        users = KnownUsers(ttl=settings.alias_ttl, size=settings.alias_cache_size, clock=monotonic)
        return Outbox(
            size=settings.queue_size,
            budget=budget,
            users=users,
            kinds=KindMemory(notify_interval=settings.notify_interval, clock=monotonic),
            factory=formatting,
            clock=monotonic,
            observer=observer,
        )

    store = _spool_store(settings, make_outbox, formatting) or MemoryStore(make_outbox())
    return Worker(store, _client(settings), size=settings.queue_size, debug=settings.debug)


def relay_address(url: str, timeout: float) -> Address:
    """Return the address of a fleet's Redis; its options are checked.

    Args:
        url: as `relay` has it.
        timeout: seconds for a connection, and for an answer, unless the URL says otherwise.

    Raises:
        ValueError: if it cannot be read.
    """
    from emitkit_logging._relay.connection import address_of  # noqa: PLC0415 - redis-py is for those who want a relay

    return address_of("relay", url, timeout)


def _edge_worker(settings: Settings, address: Address, formatting: Formatting) -> Worker:
    from emitkit_logging._relay.edge_store import make_edge_store  # noqa: PLC0415 - redis-py, as above
    from emitkit_logging._relay.transport import make_transport  # noqa: PLC0415

    users = KnownUsers(ttl=settings.alias_ttl, size=settings.alias_cache_size, clock=monotonic)
    store = make_edge_store(address, formatting, size=settings.queue_size, users=users, clock=monotonic)
    transport = make_transport(address, formatting, debug=settings.debug)
    return Worker(store, transport, size=settings.queue_size, debug=False)  # the transport says more


def _client(settings: Settings) -> Client:
    # not imported before a handler is made, and not in a thread: an import there can be caught by a fork
    from emitkit_logging._worker.client import Client  # noqa: PLC0415

    agent = f"emitkit-logging/{__version__}"
    return Client(base_url=settings.base_url, api_key=settings.api_key, timeout=settings.timeout, user_agent=agent)


def _spool_store(
    settings: Settings, make_outbox: Callable[[BacklogObserver], Outbox], formatting: Formatting
) -> Store | None:
    if settings.spool is None:
        return None
    from emitkit_logging._spool.store import open_store  # noqa: PLC0415 - sqlite3 is for those who want a spool

    return open_store(
        settings.spool,
        make_outbox,
        formatting,
        converter=formatting.converter,
        size=settings.queue_size,
        spool_size=settings.spool_size,
        ttl=settings.spool_ttl,
        timeout=settings.timeout,
    )
