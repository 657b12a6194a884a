"""The API key is never shown, whatever a server, a proxy or an error says."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from collections.abc import Iterable

from emitkit_logging._api import responses
from emitkit_logging._api.responses import HttpResponse
from emitkit_logging._events.redaction import Redactor


class Mask:
    """Removes the key from the text of a server, a proxy or an error, and characters that control a terminal."""

    def __init__(self, key: str) -> None:
        self._redactor = Redactor(literals=_encodings(key) if key else ())

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        return "".join(char if char.isprintable() else " " for char in self._redactor.mask(text))

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key. Its text is shortened later, and a part of the key is not found then."""
        body = response.body
        content = responses.json_object(body)
        if content:
            body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        headers = {name: self._redactor.mask(value) for name, value in response.headers.items()}
        text = self._redactor.mask(body.decode("utf-8", "replace"))
        return dataclasses.replace(response, headers=headers, body=text.encode())


def _encodings(key: str) -> Iterable[str]:
    """Return the key as it is, and as it appears in a URL and in JSON."""
    return dict.fromkeys((key, urllib.parse.quote(key, safe=""), json.dumps(key)[1:-1]))
