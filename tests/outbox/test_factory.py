"""Making events, whatever an application's formatter raises."""

from __future__ import annotations

from emitkit_logging._outbox.factory import SafeEventFactory
from tests.outbox.support import Factory, record


def test_safe():
    """A formatter that raises gives no event, and its exception is kept for the message."""
    factory = SafeEventFactory(Factory())
    assert factory.event(record("a")).title == "a"
    assert factory.error is None
    assert factory.event(record("a", raises=True)) is None
    assert isinstance(factory.error, RuntimeError)


def test_fold_key():
    """The key comes from the factory as it is at the time: a handler's formatter can be exchanged."""
    made = Factory()
    factory = SafeEventFactory(made)
    made.fold_key = lambda captured: "another"
    assert factory.fold_key(record("a")) == "another"
