"""What `tail` asks for, when, and which events are new: with a made-up server and a clock of the test's own."""

from __future__ import annotations

import email.utils
import json
import urllib.parse

import pytest

from emitkit_logging._api.responses import HttpResponse
from emitkit_logging.cli.following import LARGEST_PAGE, LONGEST_PAUSE, MOST_PAGES, Follower

NOW = 1_800_000_000


def event(number: int, **fields: object) -> dict[str, object]:
    return {"id": f"event_{number}", "createdAt": f"2026-11-26T10:{number // 60:02}:{number % 60:02}.000Z", **fields}


def listed(*numbers: int, cursor: str | None = None, quota: tuple[int, float] | None = None) -> HttpResponse:
    """Return a response with events, newest first; `quota`: requests that are left, and seconds until the reset."""
    headers = {"date": email.utils.formatdate(NOW, usegmt=True)}
    if quota is not None:
        remaining, reset_in = quota
        headers["x-ratelimit-limit"] = "100"
        headers["x-ratelimit-remaining"] = str(remaining)
        headers["x-ratelimit-reset"] = str(NOW + reset_in)
    data = {"events": [event(number) for number in sorted(numbers, reverse=True)], "nextCursor": cursor}
    return HttpResponse(200, headers, json.dumps({"success": True, "data": data}).encode())


def refused(status: int, code: str = "no", **headers: str) -> HttpResponse:
    body = json.dumps({"success": False, "error": "no", "code": code}).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def ids(step) -> list[str]:
    return [each["id"].removeprefix("event_") for each in step.events]


def query(follower: Follower) -> dict[str, str]:
    path, _, text = follower.path.partition("?")
    assert path == "/v1/events"
    return dict(urllib.parse.parse_qsl(text))


def test_begins_with_the_latest():
    """It begins with as many of the latest events as wanted, oldest first, and one request."""
    follower = Follower(lines=2)
    assert query(follower) == {"limit": "100"}
    step = follower.receive(listed(1, 2, 3, cursor="event_1"), 0.0)
    assert (ids(step), step.is_whole, step.is_news) == (["2", "3"], True, False)


@pytest.mark.parametrize("lines", [0, 1, 3, 100])
def test_number_of_lines(lines):
    """None, fewer than there are, as many, and more."""
    step = Follower(lines=lines).receive(listed(1, 2, 3), 0.0)
    assert ids(step) == ["1", "2", "3"][max(0, 3 - lines) :]


def test_each_event_once():
    """What is asked for again is shown once, and what was stored late is not missed."""
    follower = Follower()
    follower.receive(listed(1, 4), 0.0)
    assert query(follower)["since"] == "2026-11-26T10:00:02.000Z"
    assert ids(follower.receive(listed(3, 4, 5), 3.0)) == ["3", "5"]
    assert ids(follower.receive(listed(3, 4, 5), 6.0)) == []
    assert ids(follower.receive(listed(), 9.0)) == []


def test_from_an_empty_feed():
    """All events of a feed that was empty are new, however many lines were wanted."""
    follower = Follower(lines=1)
    assert ids(follower.receive(listed(), 0.0)) == []
    assert "since" not in query(follower)
    assert ids(follower.receive(listed(1, 2, 3), 3.0)) == ["1", "2", "3"]


def test_filters():
    """Only events of interest are shown, and counted as lines; one channel is asked of the server."""
    follower = Follower(shows=lambda event: event["id"] != "event_3", channel="user activity", lines=2)
    assert query(follower)["channel"] == "user activity"
    assert ids(follower.receive(listed(1, 2, 3), 0.0)) == ["1", "2"]
    assert ids(follower.receive(listed(3, 4), 0.0)) == ["4"]


def test_several_pages():
    """More events than a response holds are asked for page by page, and shown in order."""
    follower = Follower()
    follower.receive(listed(1), 0.0)
    step = follower.receive(listed(4, 5, cursor="event_4"), 3.0)
    assert (ids(step), step.pause) == ([], 0.0)
    assert (query(follower)["before"], query(follower)["limit"]) == ("event_4", str(LARGEST_PAGE))
    assert ids(follower.receive(listed(2, 3), 3.0)) == ["2", "3", "4", "5"]
    assert "before" not in query(follower)


def test_a_page_with_a_known_event_is_the_last():
    """Older pages than the one with a known event are not asked for."""
    follower = Follower()
    follower.receive(listed(1, 2), 0.0)
    assert ids(follower.receive(listed(2, 3, cursor="event_2"), 3.0)) == ["3"]


def test_too_many_pages():
    """A flood does not use up the rate limit: after a few pages, the rest is left out, and that is reported."""
    follower = Follower()
    follower.receive(listed(0), 0.0)
    for page in range(MOST_PAGES):
        step = follower.receive(listed(100 - page, cursor=f"event_{page}"), 3.0)
    assert len(step.events) == MOST_PAGES
    assert step.is_news
    assert "left out" in step.notice


@pytest.mark.parametrize(
    ("quota", "pause"),
    [
        (None, 3.0),
        ((99, 60.0), 60 / 19.8),
        ((100, 10.0), 3.0),
        ((50, 60.0), 6.0),
        ((10, 60.0), 30.0),
        ((4, 60.0), 60.0),
        ((0, 42.0), 42.0),
    ],
)
def test_polling_budget(quota, pause):
    """It uses a fifth of what is left of the window, and nothing of the last few requests."""
    assert Follower(interval=3.0).receive(listed(1, quota=quota), 0.0).pause == pytest.approx(pause)


def test_budget_of_a_whole_window():
    """With nobody else at work, a fifth of a window's requests is used at most, by a fast interval too."""
    follower, used, now = Follower(interval=0.1), 0, 0.0
    while now < 60.0:
        used += 1
        now += follower.receive(listed(1, quota=(100 - used, 60.0 - now)), now).pause
    assert used <= 21


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "0"}, 1.0),
        ({}, LONGEST_PAUSE),
        (
            {
                "date": email.utils.formatdate(NOW, usegmt=True),
                "x_ratelimit_limit": "100",
                "x_ratelimit_remaining": "0",
                "x_ratelimit_reset": str(NOW + 23),
            },
            23.0,
        ),
    ],
)
def test_rate_limit(headers, pause):
    """A 429 is waited for as long as the server says; that is reported once, and only when it takes long."""
    follower = Follower()
    step = follower.receive(refused(429, "rate_limited", **headers), 0.0)
    assert (step.pause, step.is_over, step.is_news) == (pause, False, pause > 5.0)
    assert not follower.receive(refused(429, "rate_limited", **headers), pause).is_news
    assert not follower.receive(listed(1), 2 * pause).is_news


def test_outage():
    """An outage is reported once, is tried more and more rarely, and its end is reported."""
    follower = Follower()
    follower.receive(listed(1), 0.0)
    steps = [follower.fail("refused", 10.0 + number) for number in range(9)]
    assert [step.is_news for step in steps] == [False, True] + [False] * 7
    assert [step.pause for step in steps] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert steps[1].notice == "refused; it is tried again"
    step = follower.receive(listed(1, 2), 52.0)
    assert (ids(step), step.notice, step.is_news) == (["2"], "the server answers again, after 42 s", True)


def test_a_long_outage():
    """An outage of days, with and without `Retry-After`, is reported once and ends like any other."""
    follower = Follower()
    follower.receive(listed(1), 0.0)
    assert follower.receive(refused(503, retry_after="9"), 0.0).is_news
    steps = [follower.fail("refused", 60.0 * number) for number in range(3_000)]
    assert not any(step.is_news for step in steps)
    assert steps[-1].pause == LONGEST_PAUSE
    assert "answers again" in follower.receive(listed(1, 2), 180_000.0).notice


def test_one_failure_is_no_outage():
    """The server may have closed the connection while it was idle: nothing is reported."""
    follower = Follower()
    follower.receive(listed(1), 0.0)
    assert not follower.fail("closed", 3.0).is_news
    assert not follower.receive(listed(2), 4.0).is_news


def test_a_failing_server():
    """A 503 is an outage whose `Retry-After` is obeyed; what is no list of events is one too."""
    follower = Follower()
    assert follower.receive(refused(503, retry_after="9"), 0.0).pause == 9.0
    odd = HttpResponse(200, {}, b'{"success": true, "data": []}')
    assert not follower.receive(odd, 9.0).is_over
    assert not follower.receive(HttpResponse(200, {}, b"<html>"), 9.0).is_over


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 302])
def test_refused_at_the_beginning(status):
    """A wrong key or address ends it at once, with the remedy."""
    step = Follower(explain=lambda response: f"remedy for {response.status}").receive(refused(status), 0.0)
    assert (step.is_over, step.notice) == (True, f"remedy for {status}")


def test_refused_later():
    """The same after a success is an outage: a deployment of the server may cause it."""
    follower = Follower()
    follower.receive(listed(1), 0.0)
    step = follower.receive(refused(401, "unauthorized"), 3.0)
    assert (step.is_over, step.pause, step.is_news) == (False, LONGEST_PAUSE, True)


def test_odd_events():
    """What has no id is no event, and a time that cannot be read does not stop it."""
    data = {"events": [7, {"title": "x"}, {"id": "event_1", "createdAt": "0001-01-01T00:00:00Z"}, {"id": "event_2"}]}
    body = json.dumps({"success": True, "data": data}).encode()
    follower = Follower()
    assert ids(follower.receive(HttpResponse(200, {}, body), 0.0)) == ["2", "1"]
    assert query(follower)["since"] == "1970-01-01T00:00:00.000Z"
