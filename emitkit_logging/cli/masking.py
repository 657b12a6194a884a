"""No secret is shown, whatever a server, a proxy, an error or a file says, and no terminal controlled."""

from __future__ import annotations

import json

from emitkit_logging._api.responses import HttpResponse
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._worker.client import encodings, masked


class Mask:
    """Removes secrets, the key among them, and characters that control a terminal.

    Args:
        key: the API key, or an empty text where there is none.
    """

    def __init__(self, key: str = "") -> None:
        self._redactor = Redactor(literals=encodings(key) if key else ())

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        return "".join(char if char.isprintable() else " " for char in self._redactor.mask(text))

    def json(self, value: object) -> str:
        """Return a value as JSON, in which characters that control a terminal are escaped."""
        text = self._redactor.mask(json.dumps(value, ensure_ascii=False))
        return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key and other secrets."""
        return masked(response, self._redactor)
