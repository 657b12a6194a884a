"""Lists that are bounded in number and in bytes."""

from __future__ import annotations

from emitkit_logging.inbox.store.recent import Recent, RequestLog


def test_recent_is_bounded_in_bytes_too():
    """A few large items are bounded as many small ones are; the newest always stays."""
    recent: Recent[str] = Recent(10, size=100)
    for name, size in (("a", 60), ("b", 40), ("c", 1), ("d", 500)):
        recent.append(name, size)
    assert recent.snapshot() == ["d"]
    recent.append("e", 1)
    assert recent.snapshot() == ["e"]


def test_the_request_log_is_bounded_and_hands_out_copies():
    """The latest requests stay; what a reader does with them changes nothing."""
    log = RequestLog(2)
    for status in (201, 400, 429):
        log.add({"status": status, "body": b""})
    log.snapshot()[0]["status"] = None
    assert [request["status"] for request in log.snapshot()] == [400, 429]
    log.clear()
    assert log.snapshot() == []
