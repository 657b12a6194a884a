"""What the golden spool of version 2 holds, and how it was written: `python -m tests.spool.golden`."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from emitkit_logging._api.requests import EVENTS_PATH, ApiRequest
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import Converted, JsonConverter
from emitkit_logging._events.identity import IdentifyCall, Identity
from emitkit_logging._events.kinds import FoldKey
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._outbox.delivery import EventDelivery, IdentifyDelivery
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._outbox.observer import Changes
from emitkit_logging._spool.spool import Spool

FILES = Path(__file__).parents[1] / "data" / "spool-v2"
NAME = "spool.db"
BODY = b'{"channelName":"general","title":"Started","metadata":{"event":"started"}}'
BUDGET = {"starts": [1.5, 2.5], "full_answers": 1, "quota": {"limit": 100, "remaining": 7, "ends_at": 60.5}}
CONVERTER = JsonConverter(Redactor())
FOLD, DIGEST, STARTED, CALL, REJECTED = 3, 5, 6, 8, 7
"""Positions."""


def record(msg: Any = "x", level: int = 20, number: int = 0, **extra: Any) -> CapturedRecord:
    """Return a captured record with the same attributes in every run."""
    attributes = {
        "name": "app",
        "msg": msg,
        "args": (),
        "levelname": {20: "INFO", 40: "ERROR"}[level],
        "levelno": level,
        "pathname": "/srv/app.py",
        "filename": "app.py",
        "module": "app",
        "exc_info": None,
        "exc_text": None,
        "stack_info": None,
        "lineno": 7,
        "funcName": "work",
        "created": 1_800_000_000.5 + number,
        "msecs": 500.0,
        "relativeCreated": 1.0,
        "thread": 1,
        "threadName": "MainThread",
        "processName": "MainProcess",
        "process": 2,
        **extra,
    }
    return CapturedRecord(attributes)


def closely(captured: CapturedRecord, **fields: Any) -> CapturedRecord:
    """Set fields, as `capture` does where a record has more than plain values."""
    captured.is_scalar = False
    for name, value in fields.items():
        setattr(captured, name, value)
    return captured


def committed() -> list[CapturedRecord]:
    """Return the records that the sender has read, at the positions from 1."""
    failed = CapturedException("ValueError", "what", 'Traceback:\n  File "/srv/app.py", line 7\nValueError: what\n')
    types = {"at": Converted("2026-01-02"), "tags": ("a", "b"), "ids": {7}, "odd": {"$set": [1]}, "map": {1: "one"}}
    return [
        record("user_signed_up", event="user_signed_up", plan="pro"),
        closely(record("it failed: %s", 40, 1), exception=failed, text="it failed: 7"),
        closely(record(number=2, event="folded", user_id="ada"), context={"page": {"path": "/"}}),
        record(number=3, event="folded", user_id="bob"),
        record(number=4, event="digested"),
        record(number=5, event="started"),
        record(number=6, event="refused"),
        closely(record(number=7, event="only_identifies", identify={"id": "ada"})),
        closely(record(number=8, event="of_many_types", big=2**70, nan=float("nan"), text="\ud800", **types)),
        record(number=9, event="delivered"),
    ]


def unread() -> list[CapturedRecord]:
    """Return the records that the sender has not read."""
    untrusted = closely(record(number=10, event="cart_viewed", uuid=Converted(str(uuid.UUID(int=1)))), is_trusted=False)
    structured = closely(record({"event": "asked", "fields": [{"a": 1}]}, number=11))
    misfit = closely(record("%s and %s", number=12), text="%s and %s", unused_args=Converted([1]))
    return [untrusted, structured, misfit]


def identity() -> Identity:
    """Return what a journal line says about a user."""
    return Identity("alan", {"plan": "free"}, ("alan@example.com",), 1_800_000_013.0)


def changes_of(records: list[CapturedRecord]) -> Changes:
    """Return a unit of work with every kind of change."""
    changes = Changes()
    for position, captured in enumerate(records, 1):
        changes.came(position, captured)
    fold = Fold(FoldKey("general", 20, ("folded",)), FOLD)
    for position in (FOLD, FOLD + 1):
        fold.add(records[position - 1], records[position - 1].user_id)
        changes.joined(position, fold.position)
    changes.changed(fold)
    digested = Fold(FoldKey("general", 20, ("digested",)), DIGEST)
    digested.add(records[DIGEST - 1], None)
    digest = Digest("general", DIGEST)
    digest.add(digested)
    changes.changed(digest)
    started = EventDelivery(20, STARTED, position=STARTED, event=None, records=1)
    started.request = ApiRequest(EVENTS_PATH, 201, BODY, "key-1")
    changes.attempted(started)
    call = IdentifyCall("ada", {"email": "ada@example.com"}, ("ada", "ada@example.com"))
    changes.attempted(IdentifyDelivery(20, CALL, position=CALL, facts=call, records=1))
    changes.ended(REJECTED, "rejected", "HTTP 400; Invalid")
    known = IdentifyDelivery(20, 11, position=11, facts=IdentifyCall("eve", {"plan": "pro"}, ("eve",)))
    changes.attempted(known)
    changes.ended(11)
    changes.ended(len(records))
    return changes


def write(path: Path) -> None:
    """Write the spool, as a process leaves it that was killed."""
    spool = Spool(path, size=10**6, ttl=10**9, converter=CONVERTER, channel_of=lambda _: "general")
    for captured in committed():
        assert spool.append(captured)
    assert spool.journal.append(b"nonsense\n")
    assert spool.acquire(5.0)
    ((records, _, _),) = spool.read()
    spool.commit(changes_of(list(records)), 11, BUDGET)
    for captured in unread():
        assert spool.append(captured)
    assert spool.append_identity(identity())
    spool.close()


def content(path: Path) -> dict[str, Any]:
    """Return all that the files of a spool hold, but for moments and the process that wrote it."""
    (journal,) = path.parent.glob(f"{NAME}.*.journal")
    origin = journal.name.split(".")[-3]
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = {
            "waiting": "SELECT place, kind, priority, age, CASE kind WHEN 'identify' THEN 0 ELSE since END, channel,"
            " records, shares, data, path, success, key, body FROM waiting ORDER BY place",
            "rejected": "SELECT kind, priority, age, since > 1e9, channel, records, data, body, answer FROM rejected",
            "counts": "SELECT * FROM counts ORDER BY reason",
            "journals": "SELECT * FROM journals",
            "users": "SELECT user_id, facts FROM users",
            "progress": "SELECT * FROM progress",
            "schema": "SELECT name, sql FROM sqlite_master ORDER BY name",
            "marks": "SELECT * FROM pragma_user_version, pragma_application_id",
        }
        held = {name: database.execute(select).fetchall() for name, select in tables.items()}
    held["journal"] = journal.read_bytes().splitlines()
    return json.loads(json.dumps(held, default=bytes.decode).replace(origin, "ORIGIN"))


if __name__ == "__main__":
    FILES.mkdir(exist_ok=True)
    for each in FILES.iterdir():
        each.unlink()
    write(FILES / NAME)
