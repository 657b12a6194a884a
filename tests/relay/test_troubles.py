"""What goes wrong with Redis: one warning that names the cause, memory as ever, and no loss that is not counted."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from emitkit_logging import EmitKitHandler
from tests.relay.fleet import RedisServer, RelayProcess, counts, is_relayed, until


@pytest.fixture
def warnings():
    """The texts that the library warns with."""
    texts: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    keeper, library = Keeper(), logging.getLogger("emitkit_logging")
    library.addHandler(keeper)
    yield texts
    library.removeHandler(keeper)


@pytest.fixture
def another(tmp_path):
    """Start further Redis servers; all are killed with the test."""
    made = []

    def start(*arguments: str) -> RedisServer:
        folder = tmp_path / f"redis{len(made)}"
        folder.mkdir()
        made.append(RedisServer(folder, *arguments))
        return made[-1]

    yield start
    for server in made:
        server.kill()


def log(logger: logging.Logger, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        logger.info("x", extra={"event": f"name_{number % 5}", "number": number})


def told(warnings: list[str], text: str) -> int:
    return sum(text in warning for warning in warnings)


def test_away(client, edge, logger, redis_server, warnings):
    """Redis is killed and comes back with its data: one warning, one line when it is over, nothing lost or doubled."""
    handler = edge()
    log(logger, 10)
    assert handler.flush(20)
    redis_server.kill()
    log(logger, 30, first=10)
    assert not handler.flush(1)
    until(lambda: told(warnings, "cannot be reached"))
    redis_server.start()
    until(lambda: handler.flush(5))
    until(lambda: told(warnings, "works again"))
    assert handler.stats.delivered == handler.stats.accepted == 40
    assert sum(int(client.hget("emitkit:in:totals", f"{lane}_count") or 0) for lane in ("alerts", "records")) == 40
    assert told(warnings, "cannot be reached") == 1
    assert told(warnings, "lost") == 0


def test_back_without_its_data(client, edge, logger, redis_server, warnings):
    """Redis is restarted empty: the application says how many batches that it had acknowledged are gone."""
    handler = edge()
    log(logger, 10)
    assert handler.flush(20)
    redis_server.kill()
    redis_server.forget()
    redis_server.start()
    log(logger, 5, first=10)
    until(lambda: handler.flush(5))
    assert told(warnings, "has lost") == 1
    assert int(client.hget("emitkit:in:totals", "records_count")) == 5


def test_relay_when_redis_is_back_without_its_data(account, edge, logger, redis_server, relay):
    """The leader says that its state is gone, counts what waited, and goes on."""
    process = relay("--rate-limit", "2")
    process.wait_for("leads: ")
    handler = edge()
    log(logger, 20)
    assert handler.flush(20)
    until(lambda: len(account.stored) >= 1)
    redis_server.kill()
    redis_server.forget()
    redis_server.start()
    process.wait_for("older state")
    with redis_server.client() as client:
        until(lambda: counts(client).get("lost", 0) > 0)
    logger.error("still there")
    assert handler.flush(20)
    until(lambda: any(event["title"] == "still there" for event in account.events))


def test_slow(edge, logger, redis_server, warnings):
    """A Redis that hangs is named as such; what may have arrived is written again and counted once."""
    handler = edge(timeout=0.3)
    log(logger, 3)
    assert handler.flush(20)
    redis_server.signal(signal.SIGSTOP)
    log(logger, 3, first=3)
    until(lambda: told(warnings, "does not answer in time"))
    redis_server.signal(signal.SIGCONT)
    until(lambda: handler.flush(5))
    assert handler.stats.delivered == 6
    with redis_server.client() as client:
        assert int(client.hget("emitkit:in:totals", "records_count")) == 6
    assert told(warnings, "does not answer in time") == 1


def test_full(account, another, client, edge, logger, redis_server, relay, warnings):
    """A Redis without memory refuses: records wait in the application, and a relay still empties it."""
    handler = edge()
    log(logger, 10)
    assert handler.flush(20)
    client.config_set("maxmemory", 1)
    log(logger, 10, first=10)
    until(lambda: told(warnings, "is full"))
    assert handler.stats.pending == 10
    relay("--rate-limit", "0")
    until(lambda: account.total() == 10)
    client.config_set("maxmemory", 0)
    until(lambda: account.total() == 20)
    assert told(warnings, "is full") == 1
    assert handler.stats.delivered == handler.stats.accepted == 20


def test_replica(another, edge, logger, redis_server, warnings):
    """A replica is read-only; once it is the master, what waits goes there."""
    replica = another("--replicaof", "127.0.0.1", str(redis_server.port))
    handler = EmitKitHandler(relay=replica.url, shutdown_timeout=0.5)
    logger.addHandler(handler)
    log(logger, 3)
    until(lambda: told(warnings, "read-only"))
    with replica.client() as client:
        client.replicaof("NO", "ONE")
    until(lambda: handler.flush(5))
    assert handler.stats.delivered == 3
    handler.close()


@pytest.mark.parametrize(("given", "cause"), [("", "wants a password"), (":Q7wrong@", "refuses")])
def test_password(another, given, cause, logger, warnings):
    """A missing or a wrong password is named, and never shown."""
    server = another("--requirepass", "Q7right")
    handler = EmitKitHandler(relay=f"redis://{given}127.0.0.1:{server.port}/0", shutdown_timeout=0)
    logger.addHandler(handler)
    log(logger, 3)
    until(lambda: told(warnings, cause))
    handler.close()
    assert told(warnings, "Q7") == 0
    assert "Q7" not in repr(handler) + repr(vars(handler))


def test_right_password(another, logger):
    """With the password, percent-encoded where it must be, it works."""
    server = another("--requirepass", "Q7/right")
    handler = EmitKitHandler(relay=f"redis://:Q7%2Fright@127.0.0.1:{server.port}/0", shutdown_timeout=0)
    logger.addHandler(handler)
    log(logger, 3)
    assert handler.flush(20)
    handler.close()


def test_queue_in_redis_is_full(account, client, edge, logger, relay, warnings):
    """Without a relay Redis holds `size` lines; more waits in memory, and alerts push the oldest out, counted."""
    client.hset("emitkit:relay:config", "size", 10)
    handler = edge()
    log(logger, 10)
    assert handler.flush(20)
    log(logger, 10, first=10)
    until(lambda: told(warnings, "queue in Redis is full"))
    logger.error("alert")
    until(lambda: int(client.hget("emitkit:in:totals", "alerts") or 0) == 1)
    assert counts(client)["evicted"] > 0
    relay("--rate-limit", "0")
    until(lambda: handler.flush(5))
    until(lambda: is_relayed(client))
    assert account.total() + counts(client)["evicted"] == 21
    assert handler.stats.delivered == 21


def test_memory_is_bounded(edge, logger, redis_server, warnings):
    """While Redis is away, memory folds what it cannot hold; kinds that are too many are dropped, counted."""
    handler = edge(queue_size=100)
    redis_server.kill()
    log(logger, 5_000)
    logger.error("alert")
    assert handler.stats.pending == 5_001
    for number in range(500):
        logger.info("x", extra={"event": f"kind_{number}"})
    stats = handler.stats
    assert stats.dropped["overflow"] > 0
    assert stats.accepted == 5_501 == stats.pending + stats.dropped["overflow"]
    redis_server.start()
    until(lambda: handler.flush(5))
    assert handler.stats.delivered + handler.stats.dropped["overflow"] == 5_501


def test_key_of_the_relay_is_refused(account, client, edge, logger, relay, server):
    """The relay says so once; what waits stays in Redis until the key is right."""
    from tests.server import Reply

    server.script = lambda _: Reply(403, {"success": False, "code": "FORBIDDEN"})
    process = relay()
    edge()
    logger.error("y")
    process.wait_for("API key or the address is wrong")
    assert client.hlen("emitkit:relay:requests") == 1
    process.end()
    server.script = account
    relay()
    until(lambda: account.total() == 1)


def test_lagging_replica_takes_over(account, client, redis_server, relay, logger, edge):
    """The state in Redis goes back in time under the leader: it says so, reads it again, and goes on."""
    process = relay("--rate-limit", "0")
    process.wait_for("leads: ")
    handler = edge()
    log(logger, 3)
    assert handler.flush(20)
    until(lambda: account.total() == 3 and is_relayed(client))
    client.hset("emitkit:relay:state", "revision", 1)
    log(logger, 3, first=3)
    assert handler.flush(20)
    process.wait_for("older state")
    until(lambda: account.total() == 6)


def test_failover_to_a_lagging_replica(account, another, server, logger):
    """A replica that lacks the last changes takes the position of Redis: the rest is sent, and nothing twice."""
    first = another()
    replica = another("--replicaof", "127.0.0.1", str(first.port))
    process = RelayProcess(first.url, server, "--rate-limit", "0")
    handler = EmitKitHandler(relay=first.url, shutdown_timeout=0)
    logger.addHandler(handler)
    log(logger, 3)
    assert handler.flush(20)
    with first.client() as client, replica.client() as lagging:
        until(lambda: account.total() == 3 and is_relayed(client))
        assert client.wait(1, 20_000) == 1
        lagging.replicaof("NO", "ONE")
        log(logger, 3, first=3)
        assert handler.flush(20)
        until(lambda: account.total() == 6)
        lagging.save()
    replica.kill()
    first.kill()
    first.start_with(replica)
    log(logger, 3, first=6)
    assert handler.flush(30)
    process.wait_for("older state")
    until(lambda: account.total() == 9)
    handler.close()
    process.kill()
    assert account.numbers() == dict.fromkeys(range(9), 1)
    assert not account.repeats


EDGE_RULES = """-@all +eval +time +select +get +hget +hlen +exists +xrange +xdel +xadd +hincrby +hset +expire
+zadd +zremrangebyscore ~emitkit:in:* ~emitkit:edge:* %R~emitkit:relay:* ~emitkit:relay:counts"""
RELAY_RULES = "-@all +@read +@write +@pubsub +eval +time +select ~emitkit:* &emitkit:*"


def test_access_rules(account, client, logger, redis_server, server):
    """The rules of the documentation are enough, for applications and relays."""
    text = (Path(__file__).parents[2] / "docs" / "guides" / "fleet.md").read_text(encoding="utf-8")
    for name, rules in (("shop", EDGE_RULES), ("relay", RELAY_RULES)):
        assert " ".join(rules.split()) in " ".join(text.split())
        client.execute_command("ACL", "SETUSER", name, "on", ">Q7", "resetkeys", "resetchannels", *rules.split())
    handler = EmitKitHandler(relay=f"redis://shop:Q7@127.0.0.1:{redis_server.port}/0", shutdown_timeout=0)
    logger.addHandler(handler)
    process = RelayProcess(f"redis://relay:Q7@127.0.0.1:{redis_server.port}/0", server)
    log(logger, 1)
    assert handler.flush(20)
    handler.close()
    until(lambda: account.total() == 1)
    process.kill()


def test_no_permission(another, client, logger, redis_server, warnings):
    """A user without the permissions is named."""
    client.execute_command("ACL", "SETUSER", "other", "on", ">Q7pass", "+ping", "~x:*")
    handler = EmitKitHandler(relay=f"redis://other:Q7pass@127.0.0.1:{redis_server.port}/0", shutdown_timeout=0)
    logger.addHandler(handler)
    log(logger, 1)
    until(lambda: told(warnings, "does not permit"))
    handler.close()
    assert told(warnings, "Q7") == 0
