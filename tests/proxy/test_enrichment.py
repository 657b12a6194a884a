"""The values of the server in the events of a browser, and which user an event belongs to."""

from __future__ import annotations

import uuid

import pytest

from emitkit_logging import event_context
from emitkit_logging.proxy import BrowserRequest
from tests.proxy.helpers import CONTEXT, track


def test_enrich_context(collected):
    """The server's values win over the browser's; the function is called once for a payload."""
    requests = []

    def enrich(request: BrowserRequest):
        requests.append(request)
        return {
            "page": {"section": "shop"},
            "server": {"region": request.headers["X-Region"]},
            "properties": {"ab": 1},
            "tenant": 7,
        }

    made = collected(
        track(properties={"ab": 2, "c": 3}),
        {"type": "pageView"},
        headers=[("x-region", "eu"), ("X-Region", "west"), ("user-agent", "UA")],
        enrich_context=enrich,
        client_ip="192.0.2.1",
        source="raw",
    )
    (request,) = requests
    assert (request.client_ip, request.source, "x-REGION" in request.headers) == ("192.0.2.1", "raw", True)
    for event in made:
        assert event.metadata["server"] == {"region": "eu, west", "userAgent": "UA"}
        assert event.metadata["page"]["section"] == "shop"
        assert (event.metadata["tenant"], event.metadata["ab"]) == (7, 1)
    assert (made[0].metadata["c"], made[0].metadata["page"]["path"]) == (3, "/pricing")


def test_enrich_context_as_a_dict(collected):
    """A dict is accepted in place of a function."""
    assert collected(track(), enrich_context={"session_id": "mine"})[0].metadata["sessionId"] == "mine"


def test_enrich_context_that_raises(collected):
    """An exception in the function is reported, and the events are logged without its values."""
    errors = []
    assert len(collected(track(), enrich_context=lambda request: 1 / 0, on_error=errors.append)) == 1
    assert isinstance(errors[0], ZeroDivisionError)


def test_enrich_context_with_a_forbidden_key(collected):
    """A key that logging forbids in `extra` loses the events; each is reported and nothing raises."""
    errors = []
    assert collected(track(), track(), enrich_context={"message": "x"}, on_error=errors.append) == []
    assert [type(error) for error in errors] == [KeyError, KeyError]


# Users


CLAIM = {**CONTEXT, "user": {"userId": "admin", "traits": {"email": "evil@example.com"}}}


@pytest.mark.parametrize("known", [{"user_id": "u-1"}, {"user": {"id": "u-1", "email": "a@x"}}])
@pytest.mark.parametrize("by_context", [True, False])
def test_user_of_the_server_wins(collected, known, by_context):
    """Events belong to the user who is logged in, and no other user is identified."""
    errors = []
    events = [track(userId="admin", context=CLAIM), {"type": "pageView"}, {"type": "identify", "userId": "admin"}]
    with event_context(page={"path": "/api/analytics"}, **(known if by_context else {})):
        made = collected(*events, enrich_context=None if by_context else known, on_error=errors.append)
    assert [event.user_id for event in made] == ["u-1", "u-1"]
    assert "evil@example.com" not in str([event.identities for event in made])
    assert [str(error) for error in errors] == ["an identify names another user than the one who is logged in"]
    assert "page" not in made[1].metadata


def test_other_user_in_the_context_is_ignored(collected):
    """An event with the right user id and another user in its context does not identify the other one."""
    claim = {"userId": "victim", "email": "evil@x", "traits": {"plan": "x"}}
    (made,) = collected(track(userId="u-1", context={"user": claim}), enrich_context={"user_id": "u-1"})
    assert (made.user_id, made.identities) == ("u-1", ())


def failing(request):
    raise KeyError("no session store")


@pytest.mark.parametrize(
    ("known", "user_id"),
    [
        ({"user_id": uuid.UUID(int=7)}, str(uuid.UUID(int=7))),
        ({"user": {"email": "me@x"}}, "me@x"),
        ({"user": {"username": "me"}}, "me"),
        (failing, None),
        (lambda request: ["no dict"], None),
    ],
)
def test_unverified_user_is_ignored(collected, known, user_id):
    """When the server's user has no comparable id, or is unknown after an error, the browser's user is ignored."""
    errors = []
    (made,) = collected(
        {"type": "identify", "userId": "victim", "traits": {"email": "evil@x"}},
        track(userId="victim", context={"user": {"userId": "victim", "email": "evil@x"}}),
        enrich_context=known,
        on_error=errors.append,
    )
    assert made.user_id == user_id
    assert "victim" not in {person.user_id for person in made.identities}
    assert "an identify names another user than the one who is logged in" in list(map(str, errors))


@pytest.mark.parametrize("known", [{"user_id": None}, {"user": {}}, {"user_id": ""}, {}, None])
def test_nobody_is_logged_in(collected, known):
    """When the server says that nobody is logged in, the browser's user is used."""
    identified, made = collected(
        {"type": "identify", "userId": "u-1", "traits": {"plan": "x"}}, track(userId="u-1"), enrich_context=known
    )
    assert (identified.identities[0].user_id, made.user_id) == ("u-1", "u-1")


def test_traits_of_the_same_user(collected):
    """A browser may add traits to the user who is logged in."""
    context = {**CONTEXT, "user": {"userId": "u-1", "traits": {"plan": "pro"}}}
    tracked, identify = collected(
        track(context=context),
        {"type": "identify", "userId": "u-1", "traits": {"a": 1}},
        enrich_context={"user_id": "u-1"},
    )
    assert dict(tracked.identities[0].properties) == {"plan": "pro"}
    assert dict(identify.identities[0].properties) == {"a": 1}
