"""What a request to list events asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emitkit_logging._api.limits import LONGEST_CHANNEL
from emitkit_logging._api.moments import read_moment
from emitkit_logging._api.rules import Problem
from emitkit_logging._api.text import units
from emitkit_logging.inbox.emulation.current import DEFAULT_PAGE, LARGEST_PAGE
from emitkit_logging.inbox.emulation.refusals import Invalid
from emitkit_logging.inbox.store.events import EventQuery


@dataclass(frozen=True)
class Listing:
    """What to list.

    Attributes:
        query: which events.
        most: how many of them, at most.
    """

    query: EventQuery
    most: int


def read_listing(query: Mapping[str, str], number_of: Callable[[str], int | None]) -> Listing:
    """Return what the query of `GET /v1/events` asks for.

    Args:
        query: its parameters.
        number_of: returns the number of an event by its id; `None` where there is none.

    Raises:
        Invalid: when a parameter is wrong.
    """
    problems: list[Problem] = []
    found: dict[str, Any] = {"channel": query.get("channel")}
    most = DEFAULT_PAGE
    if "channel" in query and not 1 <= units(query["channel"]) <= LONGEST_CHANNEL:
        problems.append({"path": ["channel"], "message": f"Must have 1 to {LONGEST_CHANNEL} characters"})
    for name, by_time, by_number in (("since", "since", "after"), ("before", "until", "before")):
        if name not in query:
            continue
        number, moment = number_of(query[name]), read_moment(query[name])
        if number is not None:
            found[by_number] = number
        elif moment is not None:
            found[by_time] = moment
        else:
            problems.append({"path": [name], "message": "Must be an ISO 8601 date-time or an event's id"})
    if "limit" in query:
        most = _whole(query["limit"])
        if not 1 <= most <= LARGEST_PAGE:
            problems.append({"path": ["limit"], "message": f"Must be a whole number from 1 to {LARGEST_PAGE}"})
    if problems:
        raise Invalid(problems)
    return Listing(EventQuery(**found), most)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
