"""What a web request tells of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.middleware._request import Told, describe, utm_of


def told(path="/", query="", **headers):
    none = dict.fromkeys(("referrer", "user_agent", "languages", "request_id"))
    where = {"method": "GET", "scheme": "https", "host": "shop.example", "path": path, "query": query}
    return describe(**where, **{**none, **headers})


def test_all_of_it():
    """Each part by the names of the seed document's metadata; a title is unknown here."""
    headers = {"referrer": "https://a.example/", "user_agent": "Mozilla", "languages": "de-CH,de;q=0.9"}
    assert told("/cärt/a b", "utm_source=news&utm_campaign=spring&q=1", request_id="r-1", **headers) == {
        "page": {
            "url": "https://shop.example/c%C3%A4rt/a%20b?utm_source=news&utm_campaign=spring&q=1",
            "host": "shop.example",
            "path": "/cärt/a b",
            "protocol": "https",
            "referrer": "https://a.example/",
            "search": "?utm_source=news&utm_campaign=spring&q=1",
        },
        "device": {"userAgent": "Mozilla", "language": "de-CH"},
        "server": {"requestId": "r-1", "method": "GET"},
        "utm": {"source": "news", "campaign": "spring"},
    }


def test_little_of_it():
    """What a request does not say is absent; its number is made up, a new one each time."""
    one, other = told(), told(languages="*", request_id="two words")
    assert set(one) == set(other) == {"page", "server"}
    assert one["page"] == {"url": "https://shop.example/", "host": "shop.example", "path": "/", "protocol": "https"}
    assert len({one["server"]["requestId"], other["server"]["requestId"], "two words"}) == 3


@pytest.mark.parametrize(
    ("query", "utm"),
    [
        ("", {}),
        ("utm_source=a&utm_source=b", {"source": "a"}),
        ("utm_medium=c+p%20c", {"medium": "c p c"}),
        ("utm_nonsense=1", {}),
        ("utm_source=&utm_source=b&q=utm_medium=c", {"source": "b"}),
        ("utm_source=%ff", {"source": "\ufffd"}),
    ],
)
def test_utm(query, utm):
    """The first of each that says anything, decoded."""
    assert utm_of(query) == utm


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["referrer", "languages", "request_id"]), st.text()))
def test_anything(path, query, headers):
    """Whatever a request says, there is a page and a number of the request."""
    said = told(path.encode(errors="replace").decode(), query.encode(errors="replace").decode(), **headers)
    assert said["page"]["host"] == "shop.example"
    assert said["server"]["requestId"].isprintable()


def test_worked_out_when_asked():
    """Once for what the request tells, anew for what the framework comes to know."""
    asked, known = [], {}
    context = Told(lambda: asked.append(1) or {"server": {"method": "GET"}}, lambda: dict(known))
    assert asked == []
    assert context() == {"server": {"method": "GET"}}
    known.update(route="/x/<id>", user_id=7)
    assert context() == {"server": {"method": "GET", "route": "/x/<id>"}, "user_id": 7}
    known["user_id"] = None
    assert context()["server"]["route"] == "/x/<id>"
    assert asked == [1]


def test_logged_out():
    """Who is no longer known is no longer named."""
    known = {"user_id": 7}
    context = Told(dict, lambda: dict(known))
    assert context() == {"user_id": 7}
    known.clear()
    assert "user_id" not in context()


def test_a_request_that_raises():
    """What goes wrong with a request is no reason not to log."""

    def broken():
        raise RuntimeError("broken")

    assert Told(broken, broken)() == {}
    assert Told(lambda: {"page": {"path": "/"}}, broken)() == {"page": {"path": "/"}}
