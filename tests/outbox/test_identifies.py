"""Which identify requests are due."""

from __future__ import annotations

from emitkit_logging._events.identity import Identity
from emitkit_logging._outbox.identifies import MOST_ALIASES, KnownUsers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def users(clock=None, size=10, ttl=100.0) -> KnownUsers:
    return KnownUsers(ttl=ttl, size=size, clock=clock or Clock())


def tell(known: KnownUsers, created: float = 0.0, aliases: tuple = (), **properties):
    facts = known.learn(Identity("u", properties, aliases, created))
    if facts is not None:
        known.succeeded(facts)
    return facts and dict(facts.properties)


def test_union_and_cache():
    """The same facts are sent once; new ones together with all that is known."""
    known = users()
    assert tell(known, plan="pro") == {"plan": "pro"}
    assert tell(known, plan="pro") is None
    assert tell(known, seats=2) == {"plan": "pro", "seats": 2}
    assert tell(known, plan="pro") is None


def test_back_and_forth():
    """The same means the same as sent last."""
    known = users()
    assert [tell(known, n, plan=plan) for n, plan in enumerate(["pro", "basic", "pro"])] == [
        {"plan": "pro"},
        {"plan": "basic"},
        {"plan": "pro"},
    ]


def test_older_record():
    """A record that was logged earlier does not overwrite what a later one said."""
    known = users()
    tell(known, 2.0, plan="basic")
    assert tell(known, 1.0, plan="pro") is None


def test_ttl():
    """After the TTL the same facts are sent again."""
    clock = Clock()
    known = users(clock)
    tell(known, plan="pro")
    clock.now = 99.0
    assert tell(known, plan="pro") is None
    clock.now = 101.0
    assert tell(known, plan="pro") == {"plan": "pro"}


def test_only_success_counts():
    """Facts that did not arrive are due again."""
    known = users()
    assert known.learn(Identity("u", {"a": 1})) == known.learn(Identity("u", {"a": 1}))


def test_failed_alias():
    """A failed alias is tried with the next record, then at most once a minute."""
    clock = Clock()
    known = users(clock)
    person = Identity("u", {}, ("a", "b"))
    known.succeeded(known.learn(person), ["b"])
    facts = known.learn(person)
    assert facts.aliases == ("u", "a", "b")
    known.succeeded(facts, ["b"])
    assert known.learn(person) is None
    clock.now = 61.0
    facts = known.learn(person)
    known.succeeded(facts)
    clock.now = 99.0
    assert known.learn(person) is None


def test_bounds():
    """Users, aliases and properties that are remembered are bounded; the id is always among the aliases."""
    known = users(size=2)
    for n in range(5):
        known.learn(Identity(str(n), {"n": n}))
    facts = known.learn(Identity("4", {}, tuple(f"a{n}" for n in range(80))))
    assert (len(facts.aliases), facts.aliases[0], facts.aliases[-1]) == (MOST_ALIASES, "4", "a79")
    assert known.learn(Identity("0", {"m": 1})).properties == {"m": 1}
    facts = known.learn(Identity("4", {str(n): n for n in range(500)}))
    assert len(facts.properties) == 100


def test_body():
    """The request uses the one spelling that every server takes."""
    facts = users().learn(Identity("u", {"a": 1}, ("b",)))
    assert facts.body() == {"user_id": "u", "properties": {"a": 1}, "aliases": ["u", "b"]}
