"""The connection to Redis: what an address means, and how it is shown without its password.

It needs redis-py, the extra `relay`.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - now: an import when the thread looks up a name can be caught by a fork
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from emitkit_logging._relay.keys import DEFAULT_PREFIX
from emitkit_logging._worker import native
from emitkit_logging._worker.descriptors import Identity, identity_of

REDACTED = "[redacted]"


_PREFIX = "prefix"
_PREFIX_FORM = re.compile(r"[^\s*?\[\]^\\]{1,100}")
_NOT_OURS = ("decode_responses", "encoding", "retry_on_timeout", "retry_on_error", "health_check_interval")
"""Options of a connection that would change what is read, or repeat a command that may hang."""


class _OwnDescriptor:
    """Added to a connection class of redis-py.

    Where the application has closed all descriptors, the number of the socket may be that of a file of the application:
    then nothing is written to it, and it is not closed.
    """

    _sock: Any
    _identity: Identity | None = None

    def connect(self, *args: Any, **kwargs: Any) -> None:
        self._leave_foreign()
        native.with_names(functools.partial(super().connect, *args, **kwargs))  # type: ignore[misc]
        self._identity = None if self._sock is None else identity_of(self._sock.fileno())

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._leave_foreign()
        super().disconnect(*args, **kwargs)  # type: ignore[misc]

    def _leave_foreign(self) -> None:
        sock = self._sock
        if sock is not None and self._identity is not None and self._identity != identity_of(sock.fileno()):
            sock.detach()
            self._sock = None


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a Redis server.

    Attributes:
        url: as redis-py reads it; it may have a password.
        timeout: seconds for a connection, and for an answer, unless the address says otherwise.
        prefix: the first part of the names of all keys.
    """

    url: str = field(repr=False)
    timeout: float
    prefix: str = DEFAULT_PREFIX

    def connect(self, timeout: float | None = None) -> redis.Redis:
        """Return a client, which connects when it is first used; a command is tried once, and fails in time.

        Args:
            timeout: seconds, instead of those of the address.
        """
        return redis.Redis(connection_pool=self._pool(timeout))

    def _pool(self, timeout: float | None = None) -> redis.ConnectionPool:
        seconds = self.timeout if timeout is None else timeout
        given: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "protocol": 2}
        given.update(_options_of(self.url))
        for name in _NOT_OURS:
            given.pop(name, None)
        given["retry"] = Retry(NoBackoff(), 0)
        base = given.pop("connection_class", redis.Connection)
        return redis.ConnectionPool(connection_class=type("Connection", (_OwnDescriptor, base), {}), **given)

    @property
    def label(self) -> str:
        """The address for people: without user, password and options."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return unquote(parts.path)
        database = parts.path.strip("/")
        return f"{parts.hostname or 'localhost'}:{parts.port or 6379}" + (f"/{database}" if database else "")

    @property
    def clean(self) -> Callable[[str], str]:
        """A function that removes passwords from a text."""
        found = urlsplit(self.url).password or ""
        secrets = {found, unquote(found)}
        secrets.update(str(value) for name, value in _options_of(self.url).items() if "password" in name)
        secrets.discard("")

        def cleaned(text: str) -> str:
            for secret in sorted(secrets, key=len, reverse=True):
                text = text.replace(secret, REDACTED)
            return text

        return cleaned


def _options_of(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def address_of(option: str, url: str, timeout: float, prefix: str | None = None) -> Address:
    """Return the address that a URL means.

    Args:
        option: what the URL was given as, for messages.
        url: with the options that redis-py reads, and `prefix`, the first part of the names of all keys.
        timeout: seconds for a connection, and for an answer, unless the URL says otherwise.
        prefix: instead of that in the URL.

    Raises:
        ValueError: if it cannot be read; the message has nothing of it but the name of an option.
    """
    try:
        bare, _, query = url.partition("?")
        options = parse_qs(query, keep_blank_values=True)
        given = options.pop(_PREFIX, [DEFAULT_PREFIX])[0]
        found = given if prefix is None else prefix
        address = Address(f"{bare}?{urlencode(options, doseq=True)}" if options else bare, timeout, found)
        address._pool().make_connection()
        _ = address.label
    except Exception as error:  # whatever the parsers and redis-py's connections raise
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        detail = f"redis-py knows no option {unknown[1]!r}" if unknown else type(error).__name__
        text = f"{option}: cannot be read as the address of a Redis server ({detail}); special characters in a"
        raise ValueError(f"{text} password are written as %XX") from None
    if not _PREFIX_FORM.fullmatch(found):
        raise ValueError(f"{option}: a prefix has 1 to 100 characters, no spaces and none of * ? [ ] ^ \\")
    return address
