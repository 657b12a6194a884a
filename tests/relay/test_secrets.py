"""What is written into Redis has no secret, by the options of the application that wrote it."""

from __future__ import annotations

from typing import Any

import redis

from tests.secrets.corpus import MARK
from tests.secrets.test_ways_out import ALL, assert_clean, extra, log_all

NAMED = f"{MARK} under a name of the application's own"


def content(client: redis.Redis[bytes]) -> list[bytes]:
    """Return all keys of a Redis, and what is under them."""
    readers: dict[bytes, Any] = {
        b"stream": client.xrange,
        b"hash": client.hgetall,
        b"string": client.get,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
    }
    return [part for key in client.keys("*") for part in (key, *_parts(readers[client.type(key)](key)))]


def _parts(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [part for pair in value.items() for part in _parts(pair)]
    return [part for each in value for part in _parts(each)] if isinstance(value, list | tuple | set) else []


def test_redis(edge, logger, client, capfd):
    """A walk with secrets in every position leaves none in Redis, whoever reads it."""
    handler = edge(redact=["codename"], shutdown_timeout=30.0)
    log_all(logger)
    logger.error("it failed", extra={"codename": NAMED, "user": {"id": "u", "traits": {"codename": NAMED}}})
    logger.info("x", extra={"event": "order_paid", **extra(ALL), "codename": NAMED, "properties": {"codename": NAMED}})
    logger.info("x", extra={"identify": {"id": "u2", "codename": NAMED, "note": ALL}})
    handler.identify("u3", {"codename": NAMED, "note": ALL, "password": MARK})
    assert handler.flush(30)
    written = content(client)
    assert sum(map(len, written)) > 100_000
    assert_clean(*written, *capfd.readouterr())


def test_warnings(edge, logger, redis_server, capfd, caplog):
    """The password of Redis is in no warning about it."""
    handler = edge(relay=f"redis://u:{MARK}@127.0.0.1:{redis_server.port}/0", shutdown_timeout=0.5)
    logger.error("it cannot be written")
    handler.flush(5)
    handler.close()
    printed = capfd.readouterr()
    assert "127.0.0.1" in printed.err
    assert_clean(*printed, *(record.getMessage() for record in caplog.records), repr(handler))
