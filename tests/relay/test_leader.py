"""What the leader reads from Redis and writes to it."""

from __future__ import annotations

from tests.relay.fleet import counts, is_relayed, until


def test_unreadable_rows(account, client, relay):
    """A row that cannot be read, and a request without a row, cost themselves alone, and are counted and removed."""
    client.hset("emitkit:relay:state", mapping={"format": 1, "newest": 9, "revision": 0, "budget": "no JSON"})
    client.hset("emitkit:relay:waiting", mapping={"3": b"r?", "4": b"q", "5": b'f{"count":7}'})
    client.hset("emitkit:relay:requests", mapping={"5": b"[1", "8": b"[40, 1, 1]"})
    process = relay("--rate-limit", "0")
    process.wait_for("cannot be read")
    until(lambda: is_relayed(client))
    assert counts(client)["dropped:unreadable"] == 9


def test_unreadable_parts(account, client, edge, logger, relay):
    """A part of a batch that cannot be read costs itself alone."""
    payload = b"\n".join([b"r{}", b"?", b""])
    client.xadd("emitkit:in:alerts", {"v": 1, "p": "x", "l": 3, "n": 3, "d": payload})
    handler = edge()
    logger.error("good")
    assert handler.flush(20)
    relay("--rate-limit", "0")
    until(lambda: account.total() == 1 and is_relayed(client))
    assert counts(client)["dropped:unreadable"] == 3


def test_users_are_remembered(account, client, edge, logger, relay, server):
    """Another leader knows what the server knows of a user, and does not send it again."""
    first = relay("--rate-limit", "0")
    handler = edge()
    handler.identify("u", {"email": "a@b.example"})
    assert handler.flush(20)
    until(lambda: client.hlen("emitkit:relay:users") == 1)
    first.kill()
    relay("--rate-limit", "0")
    other = edge()
    other.identify("u", {"email": "a@b.example"})
    assert other.flush(20)
    logger.error("x")
    until(lambda: account.total() >= 1 and is_relayed(client))
    assert sum(seen.path.endswith("identify") for seen in server.requests) == 1
