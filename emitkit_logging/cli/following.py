"""What `tail` asks the server for, when, and which events are new. Pure: the clock is passed in."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeAlias

from emitkit_logging._api import responses
from emitkit_logging._api.moments import read_moment
from emitkit_logging._api.requests import EVENTS_PATH
from emitkit_logging._api.responses import ApiResponse, HttpResponse, Quota, Verdict

Event: TypeAlias = dict[str, Any]

SHARE = 0.2
"""Of a window's requests, and of those that are left: the application that sends events needs the others."""

WINDOW = 60.0
"""Seconds of a window of the rate limit (API contract)."""

LARGEST_PAGE = 100
"""Events in one response (API contract)."""

MOST_PAGES = 5
"""Requests for the events of one interval."""

OVERLAP = 2.0
"""Seconds that are asked for again: events of one moment are not all stored at that moment."""

REMEMBERED = 1_000
"""Ids by which events that are asked for again are known."""

FIRST_RETRY = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two requests while the server does not answer: they grow from the first to the second."""

NOTEWORTHY = 5.0
"""Seconds of a pause that the rate limit causes, above which it is reported."""


@dataclass(frozen=True)
class Step:
    """What one request has brought.

    Attributes:
        events: the new ones, oldest first.
        pause: seconds until the next request.
        notice: what a person may want to know, or an empty string.
        is_news: whether that is to be printed while the events are followed.
        is_over: whether further requests make no sense, as the notice says.
        is_whole: whether the events so far have been asked for.
    """

    events: list[Event]
    pause: float
    notice: str = ""
    is_news: bool = False
    is_over: bool = False
    is_whole: bool = False


class Follower:
    """Follows the events of a server.

    Args:
        shows: whether an event is of interest.
        channel: the only channel to ask the server for, or `None`.
        lines: events of interest to begin with.
        interval: seconds between two requests.
        explain: returns what a refusal means, and the remedy.
    """

    def __init__(
        self,
        *,
        shows: Callable[[Event], bool] = lambda _: True,
        channel: str | None = None,
        lines: int = 10,
        interval: float = 3.0,
        explain: Callable[[HttpResponse], str] = lambda response: f"HTTP {response.status}",
    ) -> None:
        self._shows = shows
        self._channel = channel
        self._lines = lines
        self._interval = interval
        self._explain = explain
        self._known: dict[str, None] = {}
        self._newest: float | None = None
        self._pages: list[list[Event]] = []
        self._cursor: str | None = None
        self._has_begun = False
        self._failures = 0
        self._failing_since = 0.0
        self._has_warned = False
        self._is_limited = False

    @property
    def path(self) -> str:
        """The path and the query of the next request."""
        query: dict[str, str] = {"limit": str(LARGEST_PAGE)}
        if self._channel is not None:
            query["channel"] = self._channel
        if self._newest is not None:
            query["since"] = _iso(max(0.0, self._newest - OVERLAP))
        if self._cursor is not None:
            query["before"] = self._cursor
        return f"{EVENTS_PATH}?{urllib.parse.urlencode(query)}"

    def receive(self, response: HttpResponse, now: float) -> Step:
        """Return what a response means.

        Args:
            response: to a request for `path`.
            now: seconds of any clock that goes on evenly.
        """
        answer = responses.read(response, success=200)
        page = _events(response)
        if answer.verdict is Verdict.ACCEPTED and page is not None:
            return self._accept(page, _cursor(response), answer.quota, now)
        if answer.verdict is Verdict.LIMITED:
            return self._wait(answer)
        if answer.verdict in (Verdict.FAILED, Verdict.ACCEPTED):
            return self.fail(answer.detail or "it lists no events", now, answer.retry_after)
        if not self._has_begun:
            return Step([], 0.0, self._explain(response), is_news=True, is_over=True)
        return self.fail(answer.detail, now, LONGEST_PAUSE)

    def fail(self, reason: str, now: float, retry_after: float | None = None) -> Step:
        """Return what follows when there was no response, or none of use.

        Args:
            reason: for a person.
            now: as for `receive`.
            retry_after: seconds that the server asks to wait, or `None`.
        """
        self._failures += 1
        if self._failures == 1:
            self._failing_since = now
        backoff = FIRST_RETRY * 2.0 ** min(self._failures - 1, 10)
        pause = min(backoff, LONGEST_PAUSE) if retry_after is None else retry_after
        # the first may be a connection that was closed while it was idle
        is_news = not self._has_warned and (self._failures > 1 or retry_after is not None)
        self._has_warned = self._has_warned or is_news
        return Step([], max(pause, FIRST_RETRY), f"{reason}; it is tried again", is_news=is_news)

    def _wait(self, answer: ApiResponse) -> Step:
        reset = None if answer.quota is None else answer.quota.reset_in
        asked = next((each for each in (answer.retry_after, reset) if each is not None), LONGEST_PAUSE)
        pause = max(asked, FIRST_RETRY)
        is_news = pause > NOTEWORTHY and not self._is_limited
        self._is_limited = True
        return Step([], pause, f"the rate limit is used up: wait {pause:.0f} s", is_news=is_news)

    def _accept(self, page: list[Event], cursor: str | None, quota: Quota | None, now: float) -> Step:
        notice = ""
        if self._has_warned:
            notice = f"the server answers again, after {now - self._failing_since:.0f} s"
        self._failures, self._has_warned, self._is_limited = 0, False, False
        self._pages.append(page)
        is_first = not self._has_begun
        overlaps = any(event["id"] in self._known for event in page)
        if cursor is not None and not is_first and not overlaps and len(self._pages) < MOST_PAGES:
            self._cursor = cursor
            return Step([], _pause(quota, 0.0), notice, is_news=bool(notice))
        if cursor is not None and not is_first and not overlaps:
            notice = f"more than {MOST_PAGES * LARGEST_PAGE} events at once: older ones are left out"
        events = self._collected()
        if is_first:
            events = events[len(events) - self._lines :] if self._lines < len(events) else events
        self._has_begun = True
        return Step(events, _pause(quota, self._interval), notice, is_news=bool(notice), is_whole=True)

    def _collected(self) -> list[Event]:
        """Return the events of interest on the pages that are new, oldest first, and begin anew."""
        pages, self._pages, self._cursor = self._pages, [], None
        found: list[Event] = []
        for event in reversed([event for page in pages for event in page]):
            if event["id"] in self._known:
                continue
            self._known[event["id"]] = None
            moment = read_moment(str(event.get("createdAt")))
            if moment is not None and (self._newest is None or moment > self._newest):
                self._newest = moment
            if self._shows(event):
                found.append(event)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return found


def _pause(quota: Quota | None, interval: float) -> float:
    """Return the seconds until the next request, so that no more than `SHARE` is used."""
    if quota is None:
        return interval
    share = quota.remaining * SHARE
    return max(interval, WINDOW / (quota.limit * SHARE), quota.reset_in / share if share >= 1.0 else quota.reset_in)


def _events(response: HttpResponse) -> list[Event] | None:
    """Return the events of a response, or `None` if it has no list of them."""
    data = responses.json_object(response.body).get("data")
    events = data.get("events") if isinstance(data, Mapping) else None
    if not isinstance(events, list):
        return None
    return [event for event in events if isinstance(event, dict) and isinstance(event.get("id"), str)]


def _cursor(response: HttpResponse) -> str | None:
    cursor = responses.json_object(response.body)["data"].get("nextCursor")
    return cursor if isinstance(cursor, str) else None


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
