"""Idempotency keys, by a clock that stands still."""

from __future__ import annotations

import pytest

from emitkit_logging.inbox.emulation.idempotency import LIFETIME, IdempotencyKeys
from emitkit_logging.inbox.emulation.refusals import Conflict


def test_a_key_replays_its_first_response_for_a_day():
    """The same request gets the first response for 24 hours."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    assert keys.begin("api", "key", b"request", 0.0) is None
    keys.finish("api", "key", "answer")
    assert keys.begin("api", "key", b"request", LIFETIME - 1) == "answer"
    assert keys.begin("api", "key", b"request", LIFETIME) is None


def test_a_key_conflicts_while_it_runs_and_with_another_request():
    """A second request with the key is a conflict while the first runs, and always when it is different."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    keys.begin("api", "key", b"request", 0.0)
    with pytest.raises(Conflict):
        keys.begin("api", "key", b"request", 1.0)
    keys.finish("api", "key", "answer")
    with pytest.raises(Conflict):
        keys.begin("api", "key", b"another", 2.0)


def test_a_key_is_scoped_and_free_again_when_abandoned():
    """Keys of different API keys are independent, and a request that created nothing frees its key."""
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    assert keys.begin("one", "key", b"request", 0.0) is None
    assert keys.begin("other", "key", b"different", 0.0) is None
    keys.abandon("one", "key")
    assert keys.begin("one", "key", b"different", 0.0) is None


def test_keys_are_bounded():
    """The oldest key is forgotten first, even when its request still runs."""
    keys: IdempotencyKeys[str] = IdempotencyKeys(keep=2)
    for name in "abc":
        keys.begin("api", name, b"request", 0.0)
    keys.finish("api", "a", "late")
    keys.finish("api", "c", "answer")
    assert keys.begin("api", "c", b"request", 0.0) == "answer"
