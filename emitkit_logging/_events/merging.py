"""Merge the values of an event context with those of another context, or of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from emitkit_logging._events import extras

MERGED = ("page", "device", "server")
"""Keys whose dicts are merged key by key. The inner context replaces the values of all other keys."""

_PAGE_IDENTITY = ("path", "url")
_USER = ("user", "user_id")

Values: TypeAlias = "dict[str, Any]"


def merge(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Values:
    """Return the values of two contexts together. Where both have a key, the inner value wins.

    `device` and `server` are merged key by key. So is `page`, unless the inner page has its own `path` or `url`: it is
    another page then. If the inner context names a user, the outer user is dropped, unless both have the same id.

    Args:
        outer: the values of the outer context; not changed.
        inner: the values of the inner context, or of a record; not changed.
    """
    result = dict(inner)
    names_users = not outer.keys().isdisjoint(_USER) and not inner.keys().isdisjoint(_USER)
    drops_user = names_users and not _is_same_user(outer, inner)
    for key, value in outer.items():
        if key not in inner:
            if not (drops_user and key in _USER):
                result[key] = value
        elif _is_mergeable(key, value, inner[key]):
            result[key] = {**value, **inner[key]}
    return result


def _is_mergeable(key: str, outer: object, inner: object) -> bool:
    if key not in MERGED or type(outer) is not dict or type(inner) is not dict:
        return False
    return key != "page" or not any(name in inner for name in _PAGE_IDENTITY)


def _is_same_user(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    user_id = person_id(outer)
    return user_id is not None and user_id == person_id(inner)


def person_id(values: Mapping[str, Any]) -> str | None:
    """Return the id of the user that a context names, or `None`."""
    user = values.get("user")
    user_id = values.get("user_id")
    if user_id is None:
        user_id = (user.get("id") or user.get("user_id")) if isinstance(user, dict) else user
    return extras.id_text(user_id) if extras.is_id(user_id) else None
