"""The API key is never shown, whatever a server, a proxy or an error says."""

from __future__ import annotations

from emitkit_logging._api.responses import HttpResponse
from emitkit_logging._events.redaction import Redactor
from emitkit_logging._worker.client import encodings, masked


class Mask:
    """Removes the key from the text of a server, a proxy or an error, and characters that control a terminal."""

    def __init__(self, key: str) -> None:
        self._redactor = Redactor(literals=encodings(key) if key else ())

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        return "".join(char if char.isprintable() else " " for char in self._redactor.mask(text))

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key and other secrets."""
        return masked(response, self._redactor)
