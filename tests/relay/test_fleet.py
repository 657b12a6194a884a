"""From an application through Redis and a relay to the server, with all three real."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
import trustme

from emitkit_logging import EmitKitHandler
from tests.relay.fleet import RedisServer, application, counts, is_relayed, until


def test_event(account, edge, logger, relay):
    """A record arrives as its own process shapes it, with no key in that process."""
    handler = edge(channel_name="ops", category_channel_map={"user": "people"}, redact=["plan_code"], source="shop")
    relay()
    logger.info("hello", extra={"event": "user_signed_up", "user_id": 42, "plan_code": "x9", "n": 1})
    assert handler.flush(20)
    assert handler.stats.delivered == handler.stats.accepted == 1
    until(lambda: account.events)
    (event,) = account.events
    assert (event["channelName"], event["title"], event["userId"]) == ("people", "User Signed Up", "42")
    assert (event["source"], event["description"]) == ("shop", "hello")
    assert event["metadata"]["plan_code"] == "[redacted]"


def test_same_as_without_a_relay(account, edge, handler, logger, relay, server):
    """The body of an event is the one that a handler without a relay sends."""
    extra = {"event": "order_paid", "amount": 12.5, "currency": "EUR", "tags": ["a"], "notify": False, "user_id": "u"}
    extra["context"] = {"page": {"path": "/x"}}
    direct = handler()
    logger.addHandler(direct)
    edge()
    relay()
    logger.info("paid %s", "x", extra=extra)
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception("order %s failed", 7)
    until(lambda: len(account.stored) == 4)

    def bodies(title: str) -> list[dict]:
        return [event for event in account.events if event["title"] == title]

    for title in ("Order Paid", "order 7 failed"):
        first, second = bodies(title)
        assert first == second


def test_identifies_once(account, edge, logger, relay, server):
    """The facts of a user are sent once for the whole fleet, before the event."""
    first, second = edge(), edge()
    relay()
    for number in range(3):
        logger.info("x", extra={"event": f"name_{number}", "user": {"id": "u1", "email": "a@b.example"}})
    second.identify("u1", {"email": "a@b.example"})
    assert first.flush(20)
    assert second.flush(20)
    until(lambda: len(account.stored) == 6)
    identifies = [seen.body for seen in server.requests if seen.path.endswith("identify")]
    assert [each["user_id"] for each in identifies] == ["u1"]


def test_one_push_for_a_fleet(account, edge, logger, relay):
    """One failure in several processes is one new kind, which pushes once."""
    handlers = [edge() for _ in range(4)]
    relay()
    logger.error("payment provider is down")
    assert all(each.flush(20) for each in handlers)
    until(lambda: account.total() == 4)
    assert [event["notify"] for event in account.events].count(True) == 1


def test_alert_is_there_within_a_second(account, edge, logger, relay, server):
    """An alert of a new kind waits for nothing, while the budget is used up and a million INFO could wait."""
    server.script = account
    edge()
    process = relay("--rate-limit", "20")
    process.wait_for("leads: ")
    for number in range(3_000):
        logger.info("chatter", extra={"event": f"chatter_{number % 50}"})
    until(lambda: len(account.stored) >= 16)
    began = time.monotonic()
    logger.error("disk is full")
    until(lambda: any(event["title"] == "disk is full" for event in account.events))
    assert time.monotonic() - began < 5  # a second on a machine that does nothing else


def test_edge_folds_while_the_budget_is_used_up(account, client, edge, logger, relay):
    """What passes Redis grows with the kinds and not with the records, and the account is exact."""
    handler = edge()
    process = relay("--rate-limit", "10")
    process.wait_for("leads: ")
    for number in range(40):
        logger.info("x", extra={"event": "fill", "n": number})
    assert handler.flush(20)
    until(lambda: client.get("emitkit:relay:signal") == b"scarce")
    logger.info("x", extra={"event": "fill"})
    assert handler.flush(20)  # its answer says so
    before = handler.stats.requests
    for number in range(5_000):
        logger.info("x", extra={"event": f"name_{number % 3}", "amount": 1, "currency": "EUR"})
    assert handler.flush(20)
    assert handler.stats.requests - before < 20
    assert handler.stats.delivered == handler.stats.accepted == 5_041
    until(lambda: counts(client).get("received") == 5_041)


def test_relay_dies(account, client, edge, logger, relay):
    """A leader is killed: the other takes over soon, nothing is lost or doubled."""
    first = relay("--rate-limit", "0")
    first.wait_for("leads: ")
    second = relay("--rate-limit", "0")
    second.wait_for("stands by")
    handler = edge()
    for number in range(50):
        logger.info("x", extra={"event": f"name_{number}", "number": number})
    assert handler.flush(20)
    first.kill()
    began = time.monotonic()
    second.wait_for("leads: ")
    assert time.monotonic() - began < 5  # the lease is longer; a second on a machine that does nothing else
    until(lambda: is_relayed(client))
    assert set(account.numbers().values()) == {1}
    assert account.total() == 50


def test_relay_stands_still(account, client, edge, logger, relay):
    """A leader that stands still loses the lease, and changes nothing when it goes on."""
    first = relay("--rate-limit", "0", "--timeout", "0.5")
    first.wait_for("leads: ")
    second = relay("--rate-limit", "0", "--timeout", "0.5")
    second.wait_for("stands by")
    first.process.send_signal(signal.SIGSTOP)
    handler = edge()
    for number in range(20):
        logger.info("x", extra={"event": f"name_{number}", "number": number})
    assert handler.flush(20)
    second.wait_for("leads: ")
    first.process.send_signal(signal.SIGCONT)
    first.wait_for("leads no more")
    until(lambda: is_relayed(client))
    assert account.total() == 20


def test_relay_ends(account, client, edge, logger, relay, server):
    """At SIGTERM the request under way is finished, and another relay leads at once."""
    first = relay()
    first.wait_for("leads: ")
    second = relay()
    second.wait_for("stands by")
    account.waits = 1.0
    edge()
    logger.error("slow")
    server.wait_for(1)
    assert first.end() == 0
    second.wait_for("leads: 0 log records wait")
    assert len(account.stored) == len(server.requests) == 1


def test_status(account, client, edge, logger, redis_server, relay, server):
    """`--status` shows what waits, who writes and who leads, and exits with 1 when nobody leads."""

    def status() -> tuple[int, dict]:
        command = [sys.executable, "-m", "emitkit_logging", "relay", "--redis", redis_server.url, "--status", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout)

    handler = edge()
    logger.info("x", extra={"event": "x"})
    logger.error("y")
    assert handler.flush(20)
    code, found = status()
    assert (code, found["leader"]) == (1, None)
    assert found["unread"] == {"alerts": 1, "records": 1}
    assert [(each["channel"], each["level"], each["records"]) for each in found["waiting"]] == [
        ("alerts", "ERROR", 1),
        ("general", "INFO", 1),
    ]
    relay()
    until(lambda: len(account.stored) == 2 and is_relayed(client))
    code, found = status()
    assert code == 0
    assert found["leader"]
    assert found["waiting"] == []
    assert found["budget"]["capacity"] == 100
    assert found["counts"]["delivered"] == 2
    (process,) = found["processes"]
    assert process["records"] == 2


def test_lost_answer_counts_once(client, edge, logger, redis_server, monkeypatch):
    """A batch whose acknowledgement did not arrive is written again, and is in Redis once."""
    from emitkit_logging._relay import transport

    handler = edge()
    failures = iter([True, True, False])
    original = transport.read_reply

    def read(answer):
        reply = original(answer)
        if next(failures, False):
            raise ConnectionError("the answer is lost")
        return reply

    monkeypatch.setattr(transport, "read_reply", read)
    for number in range(10):
        logger.info("x", extra={"event": "x", "number": number})
    assert handler.flush(20)
    assert handler.stats.delivered == 10
    assert int(client.hget("emitkit:in:totals", "records_count")) == 10


def test_exit_of_a_short_program(account, redis_server, relay):
    """A program that logs and ends delivers to Redis on its way out; its uncaught exception too."""
    relay("--rate-limit", "0")
    with application("log.info('x', extra={'event': 'x', 'number': 1})\nlog.error('y')", redis_server.url) as process:
        assert process.wait(60) == 0
    until(lambda: account.total() == 2)


def test_tls_and_socket_file(logger, tmp_path):
    """`rediss://` with a certificate of one's own, and `unix://`; a certificate that is not trusted is refused."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    folder = tmp_path / "data"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = ["--tls-cert-file", tmp_path / "cert.pem", "--tls-key-file", tmp_path / "key.pem"]
    files += ["--tls-ca-cert-file", tmp_path / "ca.pem", "--tls-auth-clients", "no", "--unixsocket", tmp_path / "s"]
    server = RedisServer(folder, "--tls-port", str(port), *map(str, files))
    try:
        for url, works in (
            (f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}", True),
            (f"rediss://127.0.0.1:{port}/0", False),
            (f"unix://{tmp_path / 's'}?db=0&prefix=other", True),
        ):
            handler = EmitKitHandler(relay=url, shutdown_timeout=0)
            logger.addHandler(handler)
            logger.error("x")
            assert handler.flush(20 if works else 0.5) == works
            logger.removeHandler(handler)
            handler.close()
        with server.client() as client:
            assert client.xlen("other:in:alerts") == client.xlen("emitkit:in:alerts") == 1
    finally:
        server.kill()


def test_fork(account, redis_server, relay):
    """Parent and child each deliver what they log, once."""
    code = """
for number in range(20):
    log.info("x", extra={"event": f"p{number}", "number": number})
child = os.fork()
for number in range(20, 40):
    log.info("x", extra={"event": f"p{number}", "number": number + (1000 if child else 0)})
handler.flush(20)
if not child:
    os._exit(0)
os.waitpid(child, 0)
"""
    relay("--rate-limit", "0")
    with application(code, redis_server.url) as process:
        assert process.wait(60) == 0
    expected = {*range(20), *range(20, 40), *range(1020, 1040)}
    until(lambda: expected <= set(account.numbers()))
    assert set(account.numbers().values()) == {1}


def test_closed_descriptors(account, redis_server, relay, tmp_path):
    """In a process that closes all descriptors, a file that gets the number of the connection is left alone."""
    code = f"""
log.info("x", extra={{"event": "x", "number": 1}})
handler.flush(20)
time.sleep(0.2)
os.closerange(3, 256)
files = [open({str(tmp_path)!r} + f"/{{n}}", "w+b", buffering=0) for n in range(40)]
log.info("x", extra={{"event": "y", "number": 2}})
done = handler.flush(20)
sizes = [os.fstat(each.fileno()).st_size for each in files]
say(f"{{done}} {{sum(sizes)}}")
"""
    relay("--rate-limit", "0")
    with application(code, redis_server.url) as process:
        assert process.stdout.read() == "True 0\n"
    until(lambda: set(account.numbers()) == {1, 2})


def test_no_call_waits_for_redis(edge, logger, redis_server):
    """A Redis that hangs costs the application's calls nothing, and `close` not more than its time."""
    handler = edge(timeout=0.5)
    logger.info("x", extra={"event": "x"})
    assert handler.flush(20)
    redis_server.signal(signal.SIGSTOP)
    try:
        slowest = 0.0
        for _ in range(500):
            began = time.monotonic()
            logger.info("x", extra={"event": "x"})
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 0.4
        began = time.monotonic()
        assert not handler.flush(0.2)
        assert handler.stats.pending == 500
        handler.close()
        assert time.monotonic() - began < 5
        assert handler.stats.dropped == {"shutdown": 500}
    finally:
        redis_server.signal(signal.SIGCONT)


def test_redis_in_another_version(client, edge, logger, relay):
    """Data of a newer version is left where it is: the relay says so once, and leads no more."""
    client.xadd("emitkit:in:alerts", {"v": 99, "p": "x", "l": 1, "n": 1, "d": b"?"})
    process = relay()
    process.wait_for("newer version")
    assert client.xlen("emitkit:in:alerts") == 1


@pytest.mark.parametrize("options", [{"enabled": False}, {}])
def test_spool_and_relay(options, tmp_path):
    """Both at once is an error of the configuration that says why, also for a disabled handler."""
    with pytest.raises(ValueError, match="Redis is the place"):
        EmitKitHandler(relay="redis://h", spool=tmp_path / "s", **options)


@pytest.mark.parametrize(
    "url",
    ["http://h", "redis:/h", "redis://h:x", "redis://:Q7/zz@h:1", "redis://h?foo=1", "redis://h?prefix=a*b", "", "a b"],
)
def test_bad_address(url):
    """An address that cannot be used is refused at once; the message has nothing of it."""
    for options in ({}, {"enabled": False}):
        with pytest.raises(ValueError, match="relay") as caught:
            EmitKitHandler(relay=url, **options)
        assert "Q7" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_missing_package(monkeypatch):
    """Without redis-py the message names the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)
    for options in ({}, {"enabled": False}):
        with pytest.raises(ImportError, match=r"emitkit-logging\[relay\]"):
            EmitKitHandler(relay="redis://h", **options)


def test_no_key_is_read(monkeypatch):
    """With a relay the key of the environment is neither needed nor used."""
    monkeypatch.setenv("EMITKIT_API_KEY", "not a key\n")
    handler = EmitKitHandler(relay="redis://127.0.0.1:9", shutdown_timeout=0)
    handler.close()


def test_relay_process_type(redis_server, server):
    """A relay without a key is told so, and exits with 2."""
    command = [sys.executable, "-m", "emitkit_logging", "relay", "--redis", redis_server.url]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "EMITKIT_API_KEY" in done.stderr
