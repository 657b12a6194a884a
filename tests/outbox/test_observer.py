"""What an outbox reports to a store."""

from __future__ import annotations

from emitkit_logging._outbox.delivery import EventDelivery
from emitkit_logging._outbox.folding import Digest
from emitkit_logging._outbox.observer import NO_OBSERVER, Changes, Ended
from tests.outbox.support import Harness, record


def test_changes_collect():
    """Changes keep what came, joined, changed, was attempted and ended; a position does not join itself."""
    changes = Changes()
    assert changes.is_empty
    captured, digest, delivery = record("a"), Digest("c", 2), EventDelivery(20, 1, position=3, event=None)
    changes.came(1, captured)
    changes.joined(1, 2)
    changes.joined(2, 2)
    changes.changed(digest)
    changes.attempted(delivery)
    changes.ended(3, "rejected", "HTTP 400")
    assert changes == Changes({1: captured}, [(1, 2)], {2: digest}, {3: delivery}, [Ended(3, "rejected", "HTTP 400")])
    assert not changes.is_empty


def test_a_request_is_reported_before_it_starts():
    """A store can write the key and the bytes of a request before it is sent."""
    changes = Changes()
    harness = Harness(observer=changes)
    harness.put("a")
    request = harness.start()
    assert changes.deliveries[1].request is request
    assert not changes.ends


def test_nobody():
    """Without a store the reports are ignored."""
    harness = Harness(observer=NO_OBSERVER)
    harness.put("a", "a")
    assert [harness.send(), harness.send()] == ["a", "a"]
