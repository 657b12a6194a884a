"""Why a server does not carry out a request that has a valid API key."""

from __future__ import annotations

from emitkit_logging._api.rules import Problem


class Refusal(Exception):  # noqa: N818 (an answer, not an error)
    """A request that is not carried out. Its subclasses are the reasons."""


class Invalid(Refusal):
    """The request breaks the contract (400).

    Attributes:
        problems: each thing that is wrong, and where.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{_dotted(each['path'])}: {each['message']}" for each in problems))
        self.problems = problems


class TooLarge(Refusal):
    """The body or the stored event is over the limit that the message names (413)."""


class Conflict(Refusal):
    """The idempotency key belongs to a different request, or to one that is still running (409)."""


class NotWaiting(Refusal):
    """The event never asked anything (409)."""


class NotPending(Refusal):
    """The event was answered, has expired or was canceled before (409)."""


class Unstorable(Refusal):
    """The self-hosted server's validation accepts the request and its database does not (500 at every try)."""


def _dotted(path: list[str | int]) -> str:
    return ".".join(map(str, path)) or "body"
