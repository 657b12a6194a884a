"""Checks of the options that a user may configure.

Each function takes an option's name and value, and returns the value in the form in which the library uses it. A wrong
value is a `ValueError`, a value of a wrong type a `TypeError`. The message names the option and the values allowed, and
never contains the API key.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from emitkit_logging import _log
from emitkit_logging._api.hosts import is_loopback
from emitkit_logging._api.limits import LONGEST_CHANNEL
from emitkit_logging._api.requests import DISPLAY_STYLES

API_KEY_VARIABLE = "EMITKIT_API_KEY"
BASE_URL_VARIABLE = "EMITKIT_BASE_URL"
ENABLED_VARIABLE = "EMITKIT_ENABLED"
ALLOW_HTTP_VARIABLE = "EMITKIT_ALLOW_HTTP"
DEFAULT_BASE_URL = "https://api.emitkit.com"
DEFAULT_LEVEL_CHANNELS: Mapping[str | int, str] = {"ERROR": "alerts", "CRITICAL": "alerts"}
_FLAGS = {
    **dict.fromkeys(("0", "false", "no", "off"), False),
    **dict.fromkeys(("1", "true", "yes", "on"), True),
}
_RELAY_SCHEMES = ("redis://", "rediss://", "unix://")
LONGEST_SOURCE = 50
"""Characters that the open-source server's database stores. The API's own limit is higher."""


def level(option: str, value: object) -> int:
    """Return the number of a level, which may be a name in any case, a number or a string of digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        name = value.strip()
        if name.isdigit():
            return int(name)
        number = logging.getLevelName(name.upper())
        if not isinstance(number, int):
            number = logging.getLevelName(name)
        if isinstance(number, int):
            return number
        raise ValueError(f"{option}: {value!r} is not a level; use a name such as 'ERROR' or a number")
    raise TypeError(f"{option}: a level is a name such as 'ERROR' or a number, not {value!r}")


def text(option: str, value: object, longest: int) -> str:
    """Return a string that is not blank and has at most `longest` characters."""
    if not isinstance(value, str):
        raise TypeError(f"{option}: must be a string, not {value!r}")
    if not value.strip() or len(value) > longest:
        raise ValueError(f"{option}: must have 1 to {longest} characters, not {len(value)}")
    return value


def flag(option: str, value: object) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise TypeError(f"{option}: must be True or False, not {value!r}")
    return value


def _flag_of(variable: str) -> bool | None:
    """Return what a variable of the environment says, or `None` if it is not set or says neither yes nor no."""
    return _FLAGS.get(os.environ.get(variable, "").strip().lower())


def enabled(value: object) -> bool:
    """Return whether the handler works: the option's value, else that of `EMITKIT_ENABLED`, else `True`."""
    return _flag_of(ENABLED_VARIABLE) is not False if value is None else flag("enabled", value)


def allow_http(value: object) -> bool:
    """Return whether plain http is allowed: the option's value, else that of `EMITKIT_ALLOW_HTTP`, else `False`."""
    return _flag_of(ALLOW_HTTP_VARIABLE) is True if value is None else flag("allow_http", value)


def number(option: str, value: object, *, least: float = 0.0, most: float = math.inf, above: bool = False) -> float:
    """Return a finite number from `least` to `most`; with `above`, `least` itself is not allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{option}: must be a number, not {value!r}")
    if not math.isfinite(value) or value < least or value > most or (above and value == least):
        bound = f"above {least:g}" if above else f"at least {least:g}"
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{option}: must be {bound}{upper}, not {value!r}")
    return float(value)


def count(option: str, value: object, *, least: int) -> int:
    """Return a whole number that is not less than `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option}: must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{option}: must be at least {least}, not {value!r}")
    return value


def display_as(option: str, value: object) -> str:
    """Return one of `DISPLAY_STYLES`."""
    if value not in DISPLAY_STYLES:
        raise ValueError(f"{option}: must be 'notification' or 'message', not {value!r}")
    return str(value)


def names(option: str, value: object) -> tuple[str, ...]:
    """Return a collection of strings as a tuple; `None` is an empty collection."""
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{option}: must be a list of strings, not {value!r}")
    found = tuple(value)
    if not all(isinstance(name, str) for name in found):
        raise TypeError(f"{option}: must contain only strings, not {value!r}")
    return found


def channel_map(option: str, value: object) -> dict[str, str]:
    """Return a map from category to channel; `None` is an empty map."""
    return {
        text(f"{option} key", key, 10_000): text(f"{option}[{key!r}]", channel, LONGEST_CHANNEL)
        for key, channel in _mapping(option, value).items()
    }


def level_channel_map(option: str, value: object) -> dict[int, str]:
    """Return a map from level number to channel; `None` is an empty map."""
    return {
        level(option, key): text(f"{option}[{key!r}]", channel, LONGEST_CHANNEL)
        for key, channel in _mapping(option, value).items()
    }


def _mapping(option: str, value: object) -> Mapping[object, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{option}: must be a dict, not {value!r}")
    return value


def context(value: object) -> Mapping[str, object]:
    """Return the values of a static event context; `None` is an empty one."""
    values = _mapping("context", value)
    if not all(isinstance(key, str) for key in values):
        raise TypeError(f"context: its keys must be strings, not {value!r}")
    return values  # type: ignore[return-value]


def api_key(value: object, *, required: bool) -> str:
    """Return the API key: the option's value, else that of `EMITKIT_API_KEY`.

    Args:
        value: the option's value; `None` and an empty string count as absent.
        required: whether a missing key is an error. If not, it is an empty string.

    Raises:
        ValueError: if the key is missing but required, or is not valid in an HTTP header.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"api_key: must be a string, not {type(value).__name__}")
    key = (value or os.environ.get(API_KEY_VARIABLE, "")).strip()
    if not key and required:
        raise ValueError(
            f"api_key: missing; set the environment variable {API_KEY_VARIABLE} or pass api_key; to send nothing, set "
            f"{ENABLED_VARIABLE}=0 or pass enabled=False"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("api_key: has characters that are not allowed in an HTTP header")
    return key


def base_url(value: object, *, allow_http: bool) -> str:
    """Return the server's address without a trailing slash.

    Args:
        value: the option's value; else the address is that of `EMITKIT_BASE_URL`, else `DEFAULT_BASE_URL`.
        allow_http: whether plain `http` to another machine is allowed. It sends the key unencrypted.

    Raises:
        ValueError: if it is not an http or https address, if it has a user, a password, a query or a fragment, or if
            it is plain `http` to another machine without `allow_http`.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"base_url: must be a string, not {value!r}")
    url = (value or os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or any(ord(char) <= 32 for char in url):
        raise ValueError("base_url: must be an address such as 'https://api.emitkit.com'")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("base_url: must not have a user, a password, a query or a fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise ValueError(
            f"base_url: plain http to {host} would send the API key unencrypted; use https, or allow_http=True "
            f"({ALLOW_HTTP_VARIABLE}=1)"
        )
    return url


def key_warning(key: str) -> str:
    """Return a warning about a key that does not start as EmitKit's keys do (seed document), else an empty string."""
    if not key or key.startswith("emitkit_"):
        return ""
    return "api_key: does not start with 'emitkit_'; is it the key of an EmitKit project?"


def warn_unusual_key(key: str) -> None:
    """Log the `key_warning`, if there is one, on the logger `emitkit_logging`."""
    if warning := key_warning(key):
        _log.warn("%s", warning)


def spool(value: object) -> Path | None:
    """Return the absolute path of a spool.

    A file that cannot be used is not an error of the configuration: records then stay in memory (design, *Spool*).
    """
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"spool: must be a path, not {value!r}")
    name = os.fspath(value)
    if not isinstance(name, str) or not name.strip() or "\x00" in name:
        raise ValueError("spool: must be the path of a file")
    return Path(name).expanduser().absolute()


def relay(value: object, *, spool: object = None) -> str | None:
    """Return the address of the Redis server of a fleet; its options are read where redis-py is.

    No message contains the address, which may have a password.

    Args:
        value: the option's value.
        spool: the value of the option `spool`.

    Raises:
        ValueError: if it is no such address, or there is a spool as well.
        ImportError: if the package that it needs is not installed.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"relay: must be an address such as 'redis://host:6379/0', not {type(value).__name__}")
    if spool is not None:
        raise ValueError(
            "relay: cannot be used with spool; with a relay, Redis is the place where records survive the process"
        )
    url = value.strip()
    if not url.startswith(_RELAY_SCHEMES) or any(ord(char) <= 32 for char in url):
        raise ValueError("relay: must be an address such as 'redis://host:6379/0', 'rediss://host' or 'unix:///path'")
    try:
        importlib.import_module("redis")
    except ImportError as error:
        raise ImportError("relay: needs the package redis; pip install 'emitkit-logging[relay]'") from error
    return url
