"""Objects that people log are sent by their fields, without secrets and without effects."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import decimal
import types
import uuid
from typing import NamedTuple

import attrs
import httpx
import pydantic
import pytest
import requests
import sqlalchemy
from sqlalchemy import orm

from emitkit_logging._events.converter import Converted, JsonConverter
from emitkit_logging._events.objects import fields_of
from emitkit_logging._events.redaction import Redactor

converter = JsonConverter(Redactor())


@dataclasses.dataclass
class Data:
    name: str
    password: str
    hidden: str = dataclasses.field(default="x", repr=False)


@dataclasses.dataclass
class Slotted:
    __slots__ = ("name", "password")
    name: str
    password: str


@attrs.define
class Attrs:
    name: str
    password: str
    hidden: str = attrs.field(default="x", repr=False)


class Model(pydantic.BaseModel):
    name: str
    password: str
    hidden: str = pydantic.Field(default="x", repr=False)


class Extra(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    name: str


class Named(NamedTuple):
    name: str
    password: str


Account = collections.namedtuple("Account", "name password")  # noqa: PYI024 - the form that applications use


@pytest.mark.parametrize(
    "value",
    [
        Data("ada", "hunter2"),
        Slotted("ada", "hunter2"),
        Attrs("ada", "hunter2"),
        Model(name="ada", password="hunter2"),
        Extra(name="ada", password="hunter2"),
        Named("ada", "hunter2"),
        Account("ada", "hunter2"),
        types.SimpleNamespace(name="ada", password="hunter2"),
        argparse.Namespace(name="ada", password="hunter2"),
        types.MappingProxyType({"name": "ada", "password": "hunter2"}),
        collections.UserDict(name="ada", password="hunter2"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": (value,)}])
def test_fields(value, wrap):
    """Each is a JSON object of its fields, wherever it stands, without secrets and what its author hides."""
    expected = converter.value(wrap({"name": "ada", "password": "[redacted]"}))
    assert converter.value(wrap(value)) == expected
    assert converter.value(converter.snapshot(wrap(value))) == expected


@pytest.mark.parametrize(
    "make", [Data, Attrs, Named, lambda *a: collections.deque(a), lambda *a: types.SimpleNamespace(a=a)]
)
def test_inner_values(make):
    """What is inside is converted like anything else, texts are masked, and nothing wrapped is left of the snapshot."""
    snapshot = converter.snapshot(make(uuid.UUID(int=1), [decimal.Decimal("9.5"), "postgres://u:hunter2@h/db"]))
    assert type(snapshot) is Converted
    assert "hunter2" not in str(snapshot.value)
    assert "Converted" not in str(snapshot.value)
    assert converter.value(snapshot) == snapshot.value


class Base(orm.DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]
    password: orm.Mapped[str]
    notes: orm.Mapped[str] = orm.mapped_column(deferred=True)


def test_orm_row():
    """A row gives what is loaded of it, and asks the database for nothing."""
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(User(id=1, name="ada", password="hunter2", notes="long"))
        session.commit()
        user = session.execute(sqlalchemy.select(User)).scalar_one()
        row = session.execute(sqlalchemy.select(User.name, User.password)).one()
        queries: list[str] = []
        sqlalchemy.event.listen(
            engine, "before_cursor_execute", lambda _c, _x, statement, *_: queries.append(statement)
        )
        assert converter.value(user) == {"id": 1, "name": "ada", "password": "[redacted]"}
        assert converter.value(row) == {"name": "ada", "password": "[redacted]"}
        session.expire(user)
        assert converter.value(user) == {}
    assert queries == []
    engine.dispose()


def test_requests():
    """A response gives method, URL and status, and no secret of the URL's query."""
    response = requests.Response()
    response.status_code, response.reason, response.url = 502, "Bad Gateway", "https://h/x?token=hunter2&a=1"
    response.request = requests.Request("POST", response.url).prepare()
    address = "https://h/x?token=[redacted]&a=1"
    assert converter.value(response) == {"method": "POST", "url": address, "status": 502, "reason": "Bad Gateway"}
    assert converter.value(response.request) == {"method": "POST", "url": address}


def test_httpx():
    """The same holds for httpx."""
    request = httpx.Request("GET", "https://u:hunter2@h/x?token=hunter2")
    address = "https://u:[redacted]@h/x?token=[redacted]"
    assert converter.value(request) == {"method": "GET", "url": address}
    assert converter.value(httpx.Response(404, request=request)) == {"method": "GET", "url": address, "status": 404}


def test_starlette():
    """A Starlette request is a mapping of its scope; it gives method and path alone."""
    from starlette.requests import Request

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"cookie", b"hunter2")]}
    assert converter.value(Request(scope)) == {"method": "GET", "path": "/x"}


def test_nothing_is_computed():
    """A property is not asked, nor a default of the class, nor `__getattr__`."""

    class Computing(types.SimpleNamespace):
        @property
        def total(self):
            raise AssertionError

        def __getattr__(self, name):
            raise AssertionError

    assert fields_of(Computing(a=1)) == {"a": 1}
    assert fields_of(object()) is None


def test_range():
    """A long range is shortened as any sequence."""
    value = converter.value(range(10**9))
    assert (value[:2], value[-1]) == ([0, 1], "… 999999901 more")
