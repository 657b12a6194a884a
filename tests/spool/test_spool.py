"""The spool: what was accepted survives the process, and is delivered once, by any process."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import multiprocessing
import sqlite3
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._outbox.folding import Fold
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._spool import codec, listing, tables
from emitkit_logging._spool.spool import Spool
from tests.server import Reply
from tests.spool import golden
from tests.spool.processes import EVENT, records_waiting, until, waits


def test_delivery(account, handler, logger, path):
    """With a spool events arrive as without one."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info(
        "user_signed_up", extra={"event": "user_signed_up", "number": 1, "tags": ("a", "b"), "at": uuid.UUID(int=1)}
    )
    try:
        raise ValueError("what")
    except ValueError:
        logger.exception("it failed: %s", {"a": 1})
    assert made.flush(10)
    failed, signed = sorted(account.events, key=lambda event: event["channelName"])
    assert signed["tags"] == ["user", "a", "b"]
    assert signed["metadata"]["at"] == str(uuid.UUID(int=1))
    assert failed["channelName"] == "alerts"
    assert "in test_delivery" in failed["metadata"]["exception"]["stacktrace"]
    stats = made.stats
    assert (stats.accepted, stats.delivered, stats.pending, stats.dropped) == (2, 2, 0, {})
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in path.parent.iterdir())
    made.close()
    assert made.stats == stats
    assert [entry.name for entry in path.parent.iterdir()] == ["spool.db"]


def test_left_for_the_next(account, server, handler, logger, path):
    """What cannot be delivered stays, and the next process that opens the spool delivers it without being asked."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.2)
    logger.addHandler(made)
    for number in range(20):
        logger.info("x", extra={**EVENT, "number": number})
    made.identify("ada", {"plan": "pro"})
    made.close()
    assert (made.stats.accepted, made.stats.pending) == (20, 20)
    handler(spool=path, rate_limit=0)
    server.wait_for(21)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(20)]
    until(lambda: records_waiting(path) == 0)
    assert [seen.body["user_id"] for seen in server.requests if seen.path.endswith("identify")] == ["ada"]


def test_every_kind_of_record(account, handler, logger, path):
    """Whatever can be in a record comes through the spool as it comes through memory."""
    records = [
        logging.makeLogRecord({"msg": {"event": "asked", "fields": ({"a": 1},)}, "event": "x", "lineno": {1}}),
        logging.makeLogRecord({"msg": "%s", "args": (object,), "event": "y", "__emitkit_kind": "set", "s": {1, 2}}),
        logging.makeLogRecord(
            {"msg": "x" * 20_000, "event": "z", "surrogate": "\ud800", "big": 2**70, "nan": float("nan")}
        ),
        logging.makeLogRecord({"msg": "plain", "levelno": 40, "levelname": "ERROR", "exc_text": "E: what"}),
    ]
    memory, spooled = handler(rate_limit=0), handler(rate_limit=0, spool=path)
    bodies = []
    for made in (memory, spooled):
        account.stored.clear()
        for record in records:
            made.handle(record)
        assert made.flush(10)
        assert made.stats.delivered == len(records)
        bodies.append(sorted((event["title"], event) for event in account.events))
    assert bodies[0] == bodies[1]


def test_folds_survive(account, server, handler, logger, path):
    """Folds and digests go on in the next process, and the sums are exact."""
    made = handler(spool=path, rate_limit=4, shutdown_timeout=0.1)
    logger.addHandler(made)
    for number in range(3_000):
        logger.info("x", extra={"event": f"name_{number % 7}", "channel": f"channel-{number % 2}"})
    server.wait_for(1)
    until(lambda: records_waiting(path) + account.total() == 3_000)
    made._worker.give_up()  # as if it had ended here: nothing is folded for an exit
    again = handler(spool=path, rate_limit=0)
    logger.handlers[:] = [again]
    logger.info("x", extra={"event": "name_0", "channel": "channel-0"})
    until(lambda: account.total() == 3_001)
    until(lambda: not waits(path))
    assert (made.stats.accepted, again.stats.accepted) == (3_000, 1)
    names: Counter = Counter()
    for event in account.events:
        metadata = event["metadata"]
        names.update(metadata.get("digest") or {metadata["event"]: metadata.get("occurrences", 1)})
    assert names == Counter(f"name_{number % 7}" for number in range(3_000)) + Counter(["name_0"])


def test_budget_survives(account, server, handler, logger, path):
    """The next process knows what the one before it has sent in this minute."""
    for _ in range(3):
        made = handler(spool=path, rate_limit=6, shutdown_timeout=0.1)
        logger.handlers[:] = [made]
        for number in range(10):
            logger.info("x", extra={"event": f"name_{number}"})
        made.flush(0.5)
        made.close()
    assert len(server.requests) <= 6


def test_users_survive(server, handler, logger, path):
    """One alias cache: the next process does not identify the same user again."""
    for _ in range(2):
        made = handler(spool=path, rate_limit=0)
        logger.handlers[:] = [made]
        logger.info("x", extra={**EVENT, "user": {"id": "ada", "email": "ada@example.com"}})
        assert made.flush(10)
        made.close()
    assert [seen.path.rpartition("/")[2] for seen in server.requests] == ["identify", "events", "events"]


def test_stats_of_each(account, path, others):
    """Each process counts its own records, whichever process delivers them."""
    first, second = others(), others()
    for _ in range(5):
        first("i")
    assert second("i")[0] == 2
    assert first("f") == [6, 6, 0]
    assert second("f") == [2, 2, 0]
    assert account.total() == 8


def test_flush_of_another_process(account, handler, logger, path, others):
    """What the sender would hold back until its kind has a place goes when the process that logged it flushes."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for _ in range(7):  # more than the places of a kind
        logger.error("it failed", extra={"event": "failed"})
    until(lambda: account.total() == 5)
    other = others()
    other("e")
    assert other("f") == [2, 2, 0]  # within 10 s, and a position is free after 60 s
    assert made.stats.pending == 0
    assert account.total() == 9


def test_fork(account, handler, logger, path):
    """A forked child has a journal of its own, and neither loses nor doubles what the parent holds."""
    made = handler(spool=path, rate_limit=0, shutdown_timeout=5.0)
    logger.addHandler(made)
    context = multiprocessing.get_context("fork")

    def work(first: int) -> None:
        for number in range(first, first + 20):
            logger.info("x", extra={**EVENT, "number": number})
        made.close()

    logger.info("x", extra={**EVENT, "number": 0})
    children = [context.Process(target=work, args=(100 * child,)) for child in (1, 2, 3)]
    for child in children:
        child.start()
        logger.info("x", extra={**EVENT, "number": child.pid * 1000})
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    assert made.flush(10)
    until(lambda: len(account.numbers()) == 64)
    assert set(account.numbers().values()) == {1}
    assert made.stats.accepted == 4


def test_journal_takes_nothing(account, handler, logger, path, monkeypatch):
    """Where the journal takes nothing any more, records go on from memory."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    monkeypatch.setattr(made._worker._store._spool.journal, "append", lambda _: False)
    for number in range(10):
        logger.info("x", extra={**EVENT, "number": number})
    made.identify("ada", {"plan": "pro"})
    assert made.flush(10)
    assert sorted(account.numbers().items()) == [(number, 1) for number in range(10)]
    assert (made.stats.accepted, made.stats.delivered, made.stats.identifies) == (10, 10, 1)


def test_more_bytes_than_may_wait(account, handler, logger, path):
    """More bytes than may wait fold, then the least important are given up, counted."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", spool_size=100_000, shutdown_timeout=0.1)
    logger.addHandler(made)
    for number in range(2_000):
        logger.info("x", extra={"event": f"name_{number}", "channel": f"channel-{number}", "text": "x" * 200})
    logger.error("it matters", extra={**EVENT, "number": 1})
    until(lambda: made.stats.dropped.get("overflow", 0) > 0)
    made.close()
    stats = made.stats
    assert stats.accepted == 2_001
    with contextlib.closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("SELECT sum(length(data)) FROM waiting").fetchone()
        assert database.execute("SELECT count(*) FROM waiting WHERE priority = 40").fetchone()[0] == 1
    assert size <= 100_000
    assert sum(row.records for row in listing.rows(path)) == stats.pending  # some may still be in the journal


def test_old_rows(account, handler, logger, path):
    """What has waited longer than `spool_ttl` is given up, counted."""
    made = handler(spool=path, base_url="http://127.0.0.1:9", shutdown_timeout=0.1)
    logger.addHandler(made)
    old = logger.makeRecord("app", 20, __file__, 1, "old", (), None, "f", {**EVENT, "number": 1})
    old.created -= 100
    made.handle(old)
    logger.info("new", extra={**EVENT, "number": 2})
    made.close()
    handler(spool=path, rate_limit=0, spool_ttl=50.0)
    until(lambda: records_waiting(path) == 0)
    assert account.numbers() == {2: 1}


def test_clock_set_back(account, handler, logger, path, monkeypatch):
    """A wall clock that jumps changes nothing of who sends, or when."""
    now = time.time()
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    for number, shift in enumerate((0, -86_400, 86_400, -10 * 365 * 86_400)):
        monkeypatch.setattr(time, "time", lambda shift=shift: now + shift)
        logger.info("x", extra={**EVENT, "number": number})
        assert made.flush(10)
    assert len(account.numbers()) == 4


def test_rejected_are_kept(server, handler, logger, path):
    """An event that the server refuses is kept with its answer, and counts as dropped."""
    server.script = [
        Reply(400, {"success": False, "error": "Invalid", "details": [{"path": ["title"], "message": "bad"}]})
    ]
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    logger.info("x", extra={**EVENT, "number": 1})
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (0, {"rejected": 1})
    with contextlib.closing(sqlite3.connect(path)) as database:
        records, body, answer = database.execute("SELECT records, body, answer FROM rejected").fetchone()
    assert (records, json.loads(body)["metadata"]["number"]) == (1, 1)
    assert "title: bad" in answer


def test_rejected_are_bounded(server, handler, logger, path):
    """What was rejected is kept up to a share of the spool's size."""
    server.script = lambda _: Reply(400, {"success": False, "error": "Invalid"})
    logger.addHandler(made := handler(spool=path, rate_limit=0, spool_size=160_000))
    for number in range(30):
        logger.info("x" * 500, extra={**EVENT, "number": number})
    assert made.flush(20)

    def kept() -> list[int]:
        return [len(row.data) + len(row.body) for row in listing.rows(path) if row.answer]

    until(lambda: len(kept()) < 30)
    assert 0 < sum(kept()) <= 20_000
    assert made.stats.dropped == {"rejected": 30}


def test_not_in_the_way(server, handler, logger, path):
    """No row, journal or thread is left behind by a process that has logged nothing."""
    made = handler(spool=path)
    made.close()
    assert [each.name for each in path.parent.iterdir()] == ["spool.db"]
    until(lambda: "emitkit-logging" not in [thread.name for thread in threading.enumerate()])


# The unit of work


def opened(path: Path, **options) -> Spool:
    return Spool(
        path,
        **{
            "size": 10**6,
            "ttl": 10**9,
            "converter": golden.CONVERTER,
            "channel_of": lambda captured: "general",
            **options,
        },
    )


@pytest.fixture
def spool(path) -> Iterator[Spool]:
    made = opened(path)
    yield made
    made.close()


def read(spool: Spool, *records: CapturedRecord) -> Changes:
    """Return changes with records that went through the journal."""
    for captured in records:
        assert spool.append(captured)
    assert spool.acquire(5.0)
    changes = Changes()
    position = 0
    while position == 0 or spool.is_behind:
        for found, _, _ in spool.read():
            for captured in found:
                position += 1
                changes.came(position, captured)
    return changes


def query(path: Path, select: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        return database.execute(select).fetchall()


def test_commit_that_fails_is_repeated(path, spool):
    """A commit that failed is given again, grown: everything is written once, and counted once."""
    changes = read(spool, *golden.committed()[:4])
    changes.joined(2, 1)
    changes.ended(3)
    changes.ended(4, "overflow")
    before = spool.size_with(changes)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                spool.commit(changes, 4, {})
            assert spool.counts(changes) == (1, {"overflow": 1})
        other.execute("ROLLBACK")
    assert spool.size_with(changes) == before > 0
    changes.ended(1)
    spool.commit(changes, 4, {})
    assert spool.counts() == (3, {"overflow": 1})
    assert query(path, "SELECT count(*) FROM waiting") == [(0,)]
    assert spool.size_with(Changes()) == 0


def test_nothing_is_written_twice(path, spool):
    """A commit without news writes nothing; the one after a change writes that change alone."""
    changes = read(spool, *golden.committed()[:2])
    spool.commit(changes, 2, {})
    spool.commit(Changes(), 99, {})
    assert query(path, "SELECT newest FROM progress") == [(2,)]
    (position,) = [position for position, captured in changes.came_at.items() if captured.level == 40]
    ended = Changes()
    ended.ended(position)
    spool.commit(ended, 2, {})
    assert spool.counts() == (1, {})
    assert [kind for (kind,) in query(path, "SELECT kind FROM waiting")] == ["record"]


def test_shares_move(path, spool):
    """What joined counts where it ends, over several commits, for the process that logged it."""
    first = read(spool, *golden.committed()[:3])
    first.joined(2, 1)
    first.changed(fold(first, 1))
    spool.commit(first, 3, {})
    second = Changes()
    second.joined(3, 1)
    second.changed(fold(first, 1))
    spool.commit(second, 3, {})
    assert [json.loads(shares) for (shares,) in query(path, "SELECT shares FROM waiting")] == [
        {spool.journal.origin: 3}
    ]
    third = Changes()
    third.ended(1, "expired")
    spool.commit(third, 3, {})
    assert spool.counts() == (0, {"expired": 3})


def test_shares_stay(path, spool):
    """An entry that changes without a join, as a fold that becomes a digest at its position, keeps its shares."""
    first = read(spool, *golden.committed()[:2])
    first.joined(2, 1)
    first.changed(fold(first, 1))
    spool.commit(first, 2, {})
    second = Changes()
    second.changed(fold(first, 1))
    spool.commit(second, 2, {})
    ended = Changes()
    ended.ended(1)
    spool.commit(ended, 2, {})
    assert spool.counts() == (2, {})


def fold(changes: Changes, position: int) -> Fold:
    made = Fold(FoldKey("general", 20, ("name",)), position)
    made.add(changes.came_at[position], None)
    return made


def test_size(spool):
    """The size is that of what would wait: without what ends or joins, with what comes."""
    records = golden.committed()
    changes = read(spool, *records)
    whole = spool.size_with(changes)
    assert whole == sum(len(codec.write_record(each, golden.CONVERTER)) for each in records)
    changes.joined(2, 1)
    assert spool.size_with(changes) == whole - len(codec.write_record(records[1], golden.CONVERTER))
    changes.ended(1)
    spool.commit(changes, len(records), {})
    assert spool.size_with(Changes()) == sum(len(codec.write_record(each, golden.CONVERTER)) for each in records[2:])


def test_users_are_bounded(path, spool, monkeypatch):
    """Of the users whom the server knows, those of whom nothing was sent for longest are forgotten first."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for number in range(100):
            monkeypatch.setattr(time, "time", lambda number=number: 1e9 + number)
            tables.put_users(database, {f"user{number}": "{}" * 50})
        tables.limit_users(database, 5_000)
        left = [user_id for (user_id,) in database.execute("SELECT user_id FROM users ORDER BY at")]
    assert left == [f"user{number}" for number in range(100 - len(left), 100)]
    assert 30 < len(left) < 50


def test_lines_that_cannot_be_read(path, spool):
    """One line that cannot be read costs that line alone: counted as rejected, and kept."""
    long = b"[2," + b"x" * 100_000
    for line in (b"nonsense", long, b'[3,["a"],{}]', b'[2,["app","x","INFO",20,"",1,"f",{"$float":"nan"}],{}]'):
        assert spool.journal.append(line + b"\n")
    changes = read(spool, golden.committed()[0])
    assert len(changes.came_at) == 1
    assert spool.counts(changes) == (0, {"rejected": 4})
    spool.commit(changes, 1, {})
    spool.commit(changes_with_end(1), 1, {})
    assert spool.counts() == (1, {"rejected": 4})
    kept = [row for row in listing.rows(path) if row.kind == "line"]
    assert sorted(row.data[:8] for row in kept) == sorted([b"nonsense", long[:8], b'[3,["a"]', b'[2,["app'])
    assert all(row.answer for row in kept)
    assert max(len(row.data) for row in kept) < len(long)


def changes_with_end(position: int) -> Changes:
    changes = Changes()
    changes.ended(position)
    return changes


@pytest.mark.parametrize(
    "damage",
    [
        "data = X'00'",
        "data = 5",
        "kind = CAST(X'ff' AS TEXT)",
        "kind = 'unknown'",
        "shares = 'nonsense', data = X'7b7d'",
        "since = 'long ago'",
        "priority = 'high'",
        "age = 'old'",
    ],
)
def test_rows_that_cannot_be_read(path, account, handler, damage):
    """One row that cannot be read costs that row alone: it is kept, all others are delivered."""
    golden.write(path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE waiting SET {damage} WHERE place = 1")
    handler(spool=path, rate_limit=0, spool_ttl=1e9)
    until(lambda: not waits(path))
    assert account.total() == 9
    assert "User Signed Up" not in [event["title"] for event in account.events]
    assert any("row" in row.answer for row in listing.rows(path))


@pytest.mark.parametrize(
    "damage", ["'{}'", "'nonsense'", "'[]'", "5", """'{"last_start":"x","starts":5,"quota":[1]}'""", "X'ff'"]
)
def test_budget_that_cannot_be_read(path, account, handler, damage):
    """A budget with missing or wrong fields never stops the delivery."""
    golden.write(path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE progress SET budget = {damage}")
        database.execute("UPDATE users SET facts = 'nonsense'")
    handler(spool=path, spool_ttl=1e9)
    until(lambda: not waits(path))
    assert account.total() == 10


@pytest.mark.parametrize("level", [2**63, -(2**70), 10**400])
def test_levels_that_sqlite_does_not_have(path, account, handler, logger, level):
    """A record with a level of more than 64 bits waits and arrives like any other."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    made.setLevel(-(2**80))
    made.handle(logging.makeLogRecord({"levelno": level, "levelname": "ODD", "msg": "x", **EVENT}))
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert account.total() == 2


@pytest.mark.parametrize("created", [math.nan, math.inf, None, "now"])
def test_times_that_are_none(path, account, handler, logger, created):
    """A record whose time is none arrives, as do the others."""
    logger.addHandler(made := handler(spool=path, rate_limit=0))
    record = logging.makeLogRecord({"levelno": 20, "msg": "x", **EVENT})
    record.created = created
    made.handle(record)
    logger.info("x", extra=EVENT)
    assert made.flush(10)
    assert (made.stats.delivered, made.stats.dropped) == (2, {})
    assert [each for each in path.parent.iterdir() if "unusable" in each.name] == []


def test_formatter_that_raises(path):
    """A channel that cannot be found out, for a formatter of the application's own raises, is left empty."""

    def raising(_: CapturedRecord) -> str:
        raise RuntimeError

    with contextlib.closing(opened(path, channel_of=raising)) as spool:
        spool.commit(read(spool, golden.committed()[0]), 1, {})
    assert query(path, "SELECT channel FROM waiting") == [("",)]


# Any sequence of changes


class FailingBudget(dict):
    """A budget that cannot be written: the transaction fails when nearly all of it is done."""

    def items(self):
        raise sqlite3.OperationalError("database or disk is full")


STEPS = st.lists(st.sampled_from(["came", "came", "joined", "ended", "dropped", "failed", "committed"]), max_size=40)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, chance=st.randoms(use_true_random=False))
def test_any_sequence_of_changes(tmp_path, steps, chance):
    """Whatever comes, joins and ends, whichever commits fail: each record waits at one position or is counted once."""
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "spool.db"
    waiting: dict[int, int] = {}
    counts: Counter = Counter()
    changes, position = Changes(), 0
    with contextlib.closing(opened(path)) as spool:
        assert spool.acquire(60.0)
        for step in [*steps, "committed"]:
            if step == "came":
                assert spool.append(golden.record(event="x"))
                ((records, _, _),) = spool.read()
                position += 1
                waiting[position] = 1
                changes.came(position, records[0])
            elif step == "joined" and len(waiting) > 1:
                into, gone = sorted(chance.sample(sorted(waiting), 2))
                waiting[into] += waiting.pop(gone)
                changes.joined(gone, into)
                entry = Fold(FoldKey("general", 20, ("x",)), into)
                entry.count = waiting[into]
                changes.changed(entry)
            elif step in ("ended", "dropped") and waiting:
                gone = chance.choice(sorted(waiting))
                reason = chance.choice(["overflow", "expired", "rejected"]) if step == "dropped" else None
                counts[reason] += waiting.pop(gone)
                changes.ended(gone, reason)
            elif step == "failed" and not changes.is_empty:
                with pytest.raises(sqlite3.OperationalError):
                    spool.commit(changes, position, FailingBudget(x=1))
            elif step == "committed":
                spool.commit(changes, position, {})
                changes = Changes()
            delivered, dropped = spool.counts(changes)
            assert (delivered, dropped) == (counts[None], {reason: n for reason, n in counts.items() if reason and n})
        rows = query(path, "SELECT place, records, shares FROM waiting")
        assert {number: records for number, records, _ in rows} == waiting
        assert all(json.loads(shares) == {spool.journal.origin: records} for _, records, shares in rows)
        kept = query(path, "SELECT coalesce(sum(records), 0) FROM rejected")
        assert kept == [(counts["rejected"],)]
        assert spool.size_with(Changes()) == sum(size for (size,) in query(path, "SELECT length(data) FROM waiting"))
