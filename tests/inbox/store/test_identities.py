"""Users and their aliases."""

from __future__ import annotations

from emitkit_logging.inbox.store.feed import Feed

from .feeds import add, identify


def test_identify_merges_or_replaces():
    """The current server merges properties, the open-source server replaces them; a returned dict never changes."""
    feed = Feed()
    first = identify(feed, "u", plan="pro", name="Jane")
    assert identify(feed, "u", plan="basic")["properties"] == {"plan": "basic", "name": "Jane"}
    assert first["properties"] == {"plan": "pro", "name": "Jane"}
    assert identify(feed, "u", merge=False, plan="free")["properties"] == {"plan": "free"}
    assert feed.identities["u"]["id"] == first["id"]


def test_aliases_resolve_and_move():
    """An alias belongs to the identity that named it last; the id of a user is resolved to that user first."""
    feed = Feed()
    identify(feed, "one", "a@example.com", "shared")
    moved = identify(feed, "two", "shared", "shared", "two", "one")
    assert moved["aliases"] == {"created": ["shared", "two", "one"]}
    sent = ("a@example.com", "shared", "one", "unknown", None)
    assert [add(feed, userId=name)["userId"] for name in sent] == ["one", "two", "one", "unknown", None]
    assert feed.identities["one"]["aliases"] == ["a@example.com"]
    assert feed.identities["two"]["aliases"] == ["shared", "two", "one"]


def test_a_removed_identity_is_returned():
    """It is returned as it was, with its aliases, and an alias removes nothing."""
    feed = Feed()
    identify(feed, "one", "a@example.com")
    assert feed.erase("a@example.com") is None
    assert feed.erase("one")["aliases"] == ["a@example.com"]
    assert feed.erase("one") is None
