"""Faults on demand, to try an application under a failing server.

A fault is written as a line: what happens, and to which requests::

    503                 this status, and nothing is stored
    hang 5s             a pause before the request is looked at
    drop-request        the connection is closed, and nothing is stored
    drop-response       the request is carried out, and the connection is closed without a response
    html                200 and a web page, as a proxy in between may answer

`every 10` (the tenth request, the twentieth, …) or `times 3` (the first three) may follow, or both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__tracebackhide__ = True  # the report of a test that asks for an unknown fault shows the test

DROP_REQUEST, DROP_RESPONSE, HTML, HANG, STATUS = "drop-request", "drop-response", "html", "hang", "status"

_LINE = re.compile(
    r"(?:(?P<status>[345]\d\d)|hang\s+(?P<seconds>\d+(?:\.\d+)?)\s*(?P<unit>ms|s)?|(?P<word>drop-request|drop-response|html))"
    r"(?:\s+every\s+(?P<every>[1-9]\d*))?(?:\s+times\s+(?P<times>[1-9]\d*))?",
    re.IGNORECASE,
)


@dataclass
class Fault:
    """One kind of fault.

    Attributes:
        text: the line that it was made from.
        kind: one of the constants above.
        number: the status, or seconds.
        every: it happens to every request whose number is a multiple of this.
        times: how often it happens at most; `None`: no limit.
    """

    text: str
    kind: str
    number: float = 0.0
    every: int = 1
    times: int | None = None
    _requests: int = field(default=0, init=False)
    _happened: int = field(default=0, init=False)

    def count_request(self) -> bool:
        """Count a request, and return whether the fault happens to it."""
        self._requests += 1
        if self._requests % self.every or (self.times is not None and self._happened >= self.times):
            return False
        self._happened += 1
        return True


def parse(text: str) -> Fault:
    """Return the fault that a line describes.

    Raises:
        ValueError: for anything else, with what would be right.
    """
    found = _LINE.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"a fault is a status from 300 up, hang SECONDS, drop-request, drop-response or html, then every N or "
            f"times N or both; not {text!r}"
        )
    every, times = int(found["every"] or 1), int(found["times"]) if found["times"] else None
    if found["status"]:
        return Fault(text, STATUS, int(found["status"]), every, times)
    if found["seconds"]:
        return Fault(text, HANG, float(found["seconds"]) / (1000 if found["unit"] == "ms" else 1), every, times)
    return Fault(text, found["word"].lower(), 0.0, every, times)


class Faults:
    """The faults in force."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._faults: list[Fault] = []
        self.texts = texts

    @property
    def texts(self) -> list[str]:
        """The lines of the faults; setting them starts all counts again.

        Raises:
            ValueError: for a line that describes no fault.
        """
        return [fault.text for fault in self._faults]

    @texts.setter
    def texts(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str):
            raise ValueError(f"faults are a list of texts, not {texts!r}")  # noqa: TRY004 - as for what is in it
        self._faults = [parse(text) for text in texts]

    def count_request(self) -> list[Fault]:
        """Count a request, and return the faults that happen to it, in the order of the list."""
        return [fault for fault in self._faults if fault.count_request()]
