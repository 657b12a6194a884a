"""Read the fields of objects that people log, where that is cheap and has no effect.

What is read is what an object holds already: nothing is computed, loaded or queried. So properties are not asked, an
ORM row gives its loaded columns, and a response does not read its body. Classes of other packages are recognised by
what their classes look like, and never imported.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Fields: TypeAlias = "dict[str, Any]"

_MOST_FIELDS = 5_000
"""Fields that are looked at of a model that takes any."""

_HTTP_PACKAGES = frozenset(
    ("requests", "httpx", "urllib3", "aiohttp", "django", "flask", "werkzeug", "starlette", "fastapi")
)
_HTTP_FIELDS: Mapping[str, tuple[str, ...]] = {
    "method": ("method", "_method"),
    "url": ("url", "_url"),
    "path": ("path", "path_info"),
    "status": ("status_code", "status", "_status_code"),
    "reason": ("reason", "_reason_phrase"),
}
_NAMESPACES = (types.SimpleNamespace, argparse.Namespace)
_SQLALCHEMY_STATE = "_sa_instance_state"
_DJANGO_STATE = "_state"
_ROW_MAPPING = "_mapping"  # documented by SQLAlchemy as a part of its interface


def fields_of(value: Any) -> Fields | None:
    """Return the fields of an object by name, or `None` if it is not of a known kind.

    Args:
        value: any object.
    """
    kind = type(value)
    for read in _READERS:
        fields = read(value, kind)
        if fields is not None:
            return fields
    return None


def _class_attribute(kind: type, name: str) -> Any:
    """Return an attribute of a class as it stands in the class: no descriptor and no metaclass is asked."""
    for each in type.__getattribute__(kind, "__mro__"):
        namespace = type.__getattribute__(each, "__dict__")
        if name in namespace:
            return namespace[name]
    return None


def _held(value: Any) -> Fields:
    """Return what an object holds in its `__dict__`, without asking its class."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:  # a class with `__slots__` alone
        return {}
    return held if type(held) is dict else {}


def _present(value: Any, names: Iterable[str]) -> Fields:
    """Return the fields of these names, without those that are not set or would have to be computed or loaded."""
    held, found = _held(value), {}
    for name in names:
        if name in held:
            found[name] = held[name]
            continue
        declared = _class_attribute(type(value), name)
        if type(declared) is types.MemberDescriptorType:  # of `__slots__`
            with contextlib.suppress(AttributeError):
                found[name] = declared.__get__(value, type(value))
    return found


def _hidden(kind: type) -> set[str]:
    """Return the fields of a dataclass that its author keeps out of its text."""
    declared = _class_attribute(kind, "__dataclass_fields__")
    return {name for name, field in declared.items() if not field.repr} if type(declared) is dict else set()


def _dataclass(value: Any, kind: type) -> Fields | None:
    if type(_class_attribute(kind, "__dataclass_fields__")) is not dict:
        return None
    hidden = _hidden(kind)
    return _present(value, (field.name for field in dataclasses.fields(kind) if field.name not in hidden))


def _attrs(value: Any, kind: type) -> Fields | None:
    declared = _class_attribute(kind, "__attrs_attrs__")
    if not isinstance(declared, tuple):
        return None
    return _present(value, (each.name for each in declared if getattr(each, "repr", True) is not False))


def _pydantic(value: Any, kind: type) -> Fields | None:
    declared = _class_attribute(kind, "__pydantic_fields__") or _class_attribute(kind, "__fields__")
    is_model = any(each.__name__ == "BaseModel" and each.__module__.startswith("pydantic.") for each in kind.__mro__)
    if not is_model or not isinstance(declared, Mapping):
        return None
    hidden = {name for name, field in declared.items() if getattr(field, "repr", True) is False}
    extra = _present(value, ("__pydantic_extra__",)).get("__pydantic_extra__")
    fields = itertools.chain(_held(value).items(), extra.items() if type(extra) is dict else ())
    return {name: item for name, item in itertools.islice(fields, _MOST_FIELDS) if name not in hidden}


def _namespace(value: Any, kind: type) -> Fields | None:
    return _held(value) if issubclass(kind, _NAMESPACES) else None


def _namedtuple(value: Any, kind: type) -> Fields | None:
    names = _class_attribute(kind, "_fields")
    if not issubclass(kind, tuple) or type(names) is not tuple or not all(type(name) is str for name in names):
        return None
    return dict(zip(names, tuple.__iter__(value), strict=False))


def _orm_row(value: Any, kind: type) -> Fields | None:
    """Return what is loaded of a row: SQLAlchemy's and Django's models hold it in their `__dict__`."""
    held = _held(value)
    if _SQLALCHEMY_STATE in held or (_DJANGO_STATE in held and _class_attribute(kind, "_meta") is not None):
        hidden = _hidden(kind)
        return {
            name: item
            for name, item in held.items()
            if type(name) is str and not name.startswith("_") and name not in hidden
        }
    if kind.__name__ == "Row" and kind.__module__ == "sqlalchemy.engine.row":
        return dict(getattr(value, _ROW_MAPPING))
    return None


def http_fields(value: Any) -> Fields | None:
    """Return method, URL and status of an HTTP request or response, or `None` if the object is neither.

    Args:
        value: an object of one of the packages that Python applications commonly use for HTTP.
    """
    kind = type(value)
    if not any(_is_http(each) for each in type.__getattribute__(kind, "__mro__")):
        return None
    held = _held(value)
    sources = [held, _held(held.get("request", held.get("_request")))]
    scope = held.get("scope")
    if type(scope) is dict:  # ASGI
        sources.append(scope)
    found: Fields = {}
    for name, places in _HTTP_FIELDS.items():
        item = next((each[place] for each in sources for place in places if each.get(place) is not None), None)
        if item is not None:
            found[name] = item if type(item) in (int, str) else str(item)
    return found


def _is_http(kind: type) -> bool:
    module = kind.__module__
    is_known = type(module) is str and module.partition(".")[0] in _HTTP_PACKAGES
    return is_known and kind.__name__.endswith(("Request", "Response"))


_READERS: tuple[Callable[[Any, type], Fields | None], ...] = (
    _orm_row,
    _dataclass,
    _attrs,
    _pydantic,
    _namespace,
    _namedtuple,
)
