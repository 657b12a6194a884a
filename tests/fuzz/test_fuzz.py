"""Whatever bytes and values come in, nothing raises, hangs or shows a secret.

Each target runs for a moment, and for as long as `FUZZ_SECONDS` says with `make fuzz`. What it has found is kept as an
example.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._context.redacted import redacted
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._outbox.folding import Digest, Fold
from emitkit_logging._spool import codec, rows
from emitkit_logging._spool.reader import JournalReader
from emitkit_logging._spool.spool import Spool
from emitkit_logging.inbox import Inbox
from emitkit_logging.proxy import PayloadError, ingest_proxy_events
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.proxy.helpers import browser_request, track
from tests.secrets.corpus import MARK, SECRETS
from tests.spool import golden

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 400 if SECONDS else 60

KEYS = st.sampled_from(
    ["type", "event", "userId", "user_id", "traits", "properties", "context", "action", "name", "version", "events"]
    + ["page", "user", "email", "aliases", "channelName", "title", "metadata", "actions", "fields", "tags", "notify"]
    + ["id", "label", "url", "occurredAt", "inputProvided", "input", "sessionId", "v", "identity", "identify", "fold"]
    + ["digest", "$set", "$dict", "$tuple", "$float", "$record", "$converted", "records", "count", "key", "samples"]
    + ["callbackUrl", "expiresIn", "resume", "jsonrpc", "method", "params", "arguments", "text", "exception", "kind"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["track", "identify", "pageView", "reset", "\ud800", "\x00", "2", "1e999", "nan", "a" * 300])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5)
)
SECRET_TEXTS = st.lists(
    st.sampled_from(SECRETS) | st.text(max_size=12) | st.sampled_from(list("\"'\\{}[]()<>=:;,&?@/ \n\t%-._")),
    max_size=12,
).map("".join)


def fuzz(run: Callable[[], None]) -> None:
    """Run a property once, or again and again with other examples for `FUZZ_SECONDS`."""
    ends = time.monotonic() + SECONDS
    number = 0
    while True:
        seed(number if SECONDS == 0 else time.time_ns())(run)()
        number += 1
        if time.monotonic() >= ends:
            return


LIMITS = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None, deadline=None)


def test_redaction():
    """Masking ends in time, changes nothing the second time, and a secret between spaces is found in any text."""
    redactor = Redactor()

    @LIMITS
    @given(SECRET_TEXTS, st.sampled_from(SECRETS), SECRET_TEXTS)
    @example("", SECRETS[0], "\\n")
    @example("-----BEGIN PRIVATE KEY----------END Y-----http://c@", SECRETS[0], "")
    @example("://passwd=?9&:@", SECRETS[0], "")
    def run(before: str, secret: str, after: str) -> None:
        began = time.thread_time()
        once = redactor.mask(f"{before} {secret} {after}")
        assert redactor.mask(once) == once
        assert time.thread_time() - began < 1

    fuzz(run)


def test_conversion():
    """Any value becomes JSON, in memory and as it is written to disk, and a secret key's value is in neither."""
    formatter = EmitKitFormatter()
    logger = logging.getLogger("fuzz")

    @LIMITS
    @given(st.dictionaries(st.text(max_size=8), JSON, max_size=5), JSON)
    def run(extra: dict[str, object], message: object) -> None:
        record = logger.makeRecord("fuzz", 40, "f.py", 1, message, (), None)
        record.__dict__.update({f"x_{key}": value for key, value in extra.items()}, password=MARK)
        captured = capture(record, formatter.json_converter)
        written = codec.write_record(redacted(captured, formatter.json_converter), formatter.json_converter)
        assert MARK.encode() not in written
        assert b"\n" not in written
        assert MARK.encode() not in formatter.event(record).encode()
        json.loads(formatter.event(record).encode())
        codec.read_record(written)

    fuzz(run)


def test_codec():
    """Reading what anybody may have written raises nothing but `ValueError`."""

    @LIMITS
    @given(st.binary(max_size=80) | JSON.map(json.dumps).map(str.encode), JSON, JSON)
    @example(b'[2,["a"],[1]]', None, None)
    def run(line: bytes, first: object, second: object) -> None:
        lines = [line, json.dumps([2, first, second]).encode(), json.dumps([2, [first] * 8, {}, second]).encode()]
        lines += [json.dumps({"v": 2, name: first}).encode() for name in ("identity", "identify", "fold", "digest")]
        for each in lines:
            with contextlib.suppress(ValueError):
                codec.read_line(each)
            for kind in ("record", "fold", "digest", "identify", "x"):
                with contextlib.suppress(ValueError):
                    entry = rows.read_entry(kind, each)
                    assert not isinstance(entry, Fold | Digest) or entry.count >= 0

    fuzz(run)


def test_journal_reader(tmp_path):
    """A journal of any bytes is read to its end, and every line of it is counted once."""

    @LIMITS
    @given(st.lists(st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode), max_size=12), st.integers(1, 200))
    def run(lines: list[bytes], most: int) -> None:
        path = tmp_path / "spool.db.1-aa.0.journal"
        content = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
        path.write_bytes(content)
        path.chmod(0o600)
        reader = JournalReader(tmp_path / "spool.db")
        read: list[bytes] = []
        for _ in range(len(content) + 2):
            read += [line for _, found in reader.read(most) for line in found]
        assert read == content.split(b"\n")[:-1]
        reader.close()

    fuzz(run)


def test_spool(tmp_path):
    """A spool with any lines in a journal goes on: what cannot be read is set aside and counted."""
    numbers = iter(range(10**9))
    formatter = EmitKitFormatter()

    @settings(LIMITS, max_examples=max(10, EXAMPLES // 10))
    @given(st.lists(st.binary(min_size=1, max_size=40) | JSON.map(json.dumps).map(str.encode), max_size=8))
    def run(lines: list[bytes]) -> None:
        path = tmp_path / f"{next(numbers)}.db"
        spool = Spool(path, size=10**6, ttl=10**9, converter=formatter.json_converter, channel_of=lambda _: "general")
        clean = [line.replace(b"\n", b" ") for line in lines]
        for line in clean:
            assert spool.journal.append(line + b"\n")
        assert spool.append(golden.record("x", event="x"))
        assert spool.acquire(5.0)
        found = [each for read in spool.read() for each in read[0]]
        assert any(each.attributes["msg"] == "x" for each in found)
        spool.close()

    fuzz(run)


def test_proxy_payload(caplog):
    """Any payload is logged or refused with a reason."""
    caplog.set_level(logging.CRITICAL)
    logger = logging.getLogger("fuzz.pages")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    formatter = EmitKitFormatter()

    class Formatting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            json.loads(formatter.format(record))

    logger.addHandler(handler := Formatting())
    policy = EndpointPolicy(logger=logger, rate_limit=0)

    @LIMITS
    @given(JSON, st.sampled_from([1, 2, None]), st.binary(max_size=40), JSON)
    def run(events: object, version: int | None, raw: bytes, context: object) -> None:
        listed = events if isinstance(events, list) else [events, track(context=context), {**track(), "event": events}]
        payload = {"events": listed} | ({} if version is None else {"version": version})
        for body in (json.dumps(payload).encode(), json.dumps(events).encode(), raw):
            assert policy.accept(browser_request(), body).status in (200, 400, 413)
            with contextlib.suppress(PayloadError):
                ingest_proxy_events(body, logger=logger)
        with contextlib.suppress(PayloadError):
            ingest_proxy_events(payload, logger=logger)

    try:
        fuzz(run)
    finally:
        logger.removeHandler(handler)


PATHS = (
    *(("POST", path) for path in ("/v1/events", "/v1/identify", "/v1/events/x/cancel", "/mcp", "/_inbox/clear")),
    *(("GET", path) for path in ("/v1/events?", "/v1/events/", "/v1/channels?", "/v1/me?", "/_inbox/events?")),
    ("DELETE", "/v1/identities/"),
    ("PUT", "/v1/events"),
)


@pytest.mark.parametrize("generation", ["current", "self-hosted"])
def test_inbox_api(generation):
    """The local EmitKit of today answers any request, and never with a 500; the open-source server has 500s."""
    with Inbox(rate_limit=0, generation=generation) as box:

        @settings(LIMITS, max_examples=EXAMPLES // 2)
        @given(
            st.sampled_from(PATHS),
            JSON | st.fixed_dictionaries({"channelName": st.text(max_size=3), "title": st.text(max_size=3), "x": JSON}),
            st.binary(max_size=30),
            st.booleans(),
            st.text(st.characters(codec="ascii", exclude_characters="\x7f", min_codepoint=33), max_size=12),
        )
        def run(target: tuple[str, str], value: object, raw: bytes, is_json: bool, query: str) -> None:
            method, path = target
            body = json.dumps(value).encode() if is_json else raw
            url = f"{box.url}{path}{urllib.request.quote(query, safe='=&%/') if path[-1] in '?/' else ''}"
            headers = {"Authorization": f"Bearer {box.api_key}", "Content-Type": "application/json"}
            data = body if method in ("POST", "PUT") else None
            request = urllib.request.Request(url, data=data, headers=headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    status = response.status
            except urllib.error.HTTPError as error:
                with error:
                    status = error.code
            assert status < 500 or generation == "self-hosted", (target, body, query)

        fuzz(run)
