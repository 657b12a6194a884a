"""The context that is derived from a web request, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging.middleware._request import RequestContext, describe, utm_of


def described(path="/", query="", **headers):
    none = dict.fromkeys(("referrer", "user_agent", "languages", "request_id"))
    where = {"method": "GET", "scheme": "https", "host": "shop.example", "path": path, "query": query}
    return describe(**where, **{**none, **headers})


def test_complete_request():
    """All parts have the names of the seed document's metadata. The title of a page is not known here."""
    headers = {"referrer": "https://a.example/", "user_agent": "Mozilla", "languages": "de-CH,de;q=0.9"}
    assert described("/cärt/a b", "utm_source=news&utm_campaign=spring&q=1", request_id="r-1", **headers) == {
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


def test_minimal_request():
    """What a request does not have is absent. A request without a valid id gets a random one."""
    one, other = described(), described(languages="*", request_id="two words")
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
    """The first value of each parameter that is not empty counts, decoded."""
    assert utm_of(query) == utm


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["referrer", "languages", "request_id"]), st.text()))
def test_any_request(path, query, headers):
    """For any request there are a page and a printable id."""
    values = described(path.encode(errors="replace").decode(), query.encode(errors="replace").decode(), **headers)
    assert values["page"]["host"] == "shop.example"
    assert values["server"]["requestId"].isprintable()


def test_created_when_used():
    """The description of the request is created once, on first use; `lookup` is called each time."""
    calls, known = [], {}
    context = RequestContext(lambda: calls.append(1) or {"server": {"method": "GET"}}, lambda: dict(known))
    assert calls == []
    assert context() == {"server": {"method": "GET"}}
    known.update(route="/x/<id>", user_id=7)
    assert context() == {"server": {"method": "GET", "route": "/x/<id>"}, "user_id": 7}
    known["user_id"] = None
    assert context()["server"]["route"] == "/x/<id>"
    assert calls == [1]


def test_logged_out():
    """A user whom `lookup` does not return any more is removed."""
    known = {"user_id": 7}
    context = RequestContext(dict, lambda: dict(known))
    assert context() == {"user_id": 7}
    known.clear()
    assert "user_id" not in context()


def test_functions_that_raise():
    """An error in `describe` or `lookup` does not raise; their values are missing."""

    def broken():
        raise RuntimeError("broken")

    assert RequestContext(broken, broken)() == {}
    assert RequestContext(lambda: {"page": {"path": "/"}}, broken)() == {"page": {"path": "/"}}
