"""What a page says of users: never an alias, never a fact that the application itself has told otherwise."""

from __future__ import annotations

import json
import logging

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox
from emitkit_logging.proxy import ingest_proxy_events

ALICE = {"id": "alice-1", "email": "alice@example.com", "username": "alice", "plan": "pro"}
NAMES = ("alice@example.com", "alice")


class Site:
    """An application with an endpoint for browsers, and the local EmitKit that it sends to."""

    def __init__(self, box: Inbox, logger: logging.Logger, **options) -> None:
        self.box = box
        self.logger = logger
        self.handler = EmitKitHandler(box.api_key, base_url=box.url, **options)
        logger.handlers[:] = [self.handler]

    def server(self, **extra) -> None:
        self.logger.info("x", extra={"event": "invoice_paid", **extra})
        assert self.handler.flush(20)

    def page(self, *events, **known) -> None:
        payload = json.dumps({"events": events})
        ingest_proxy_events(payload, logger=self.logger, enrich_context=known or None)
        assert self.handler.flush(20)

    def owner(self, name: str) -> str:
        """Return whose event one of the server's is that names a user so."""
        self.server(user_id=name)
        return self.box.events[-1]["userId"]

    @property
    def aliases(self) -> dict[str, set[str]]:
        return {user: set(each["aliases"]) for user, each in self.box.identities.items()}


@pytest.fixture(params=["current", "self-hosted"])
def site(request, logger):
    with Inbox(rate_limit=0, generation=request.param) as box:
        made = Site(box, logger, rate_limit=0)
        yield made
        made.handler.close()


def identify(user_id, /, **traits):
    return {"type": "identify", "userId": user_id, "traits": traits}


def track(user_id=None, **context):
    event = {"action": "clicked", "category": "engagement", "properties": {}}
    return {"type": "track", "event": event | ({"userId": user_id} if user_id else {}), "context": context}


NAMED = {"email": "alice@example.com", "username": "alice", "aliases": ["alice-1", *NAMES], "id": "alice-1"}
CLAIMS = [
    identify("mallory", **NAMED),
    identify("alice@example.com"),
    identify("alice", plan="free"),
    identify("alice@example.com", **NAMED, user_id="alice-1"),
    track("mallory", user={"userId": "mallory", "email": "alice@example.com", "traits": NAMED}),
    track("alice@example.com", user={"userId": "alice@example.com", "traits": {"plan": "free"}}),
    track(user={"userId": "mallory", "email": "alice@example.com"}, identify={"id": "mallory", **NAMED}),
    track(user={"email": "alice@example.com"}, aliases=list(NAMES), user_id="mallory"),
    {**track(), "event": {"action": "x", "properties": {"user": {"id": "mallory", **NAMED}, "identify": NAMED}}},
    {**track(), "event": {"action": "x", "properties": {"extra": {"identify": {**NAMED, "id": "mallory"}}}}},
    {
        "type": "pageView",
        "properties": {"identify": {**NAMED, "id": "m"}},
        "context": {"user": {"userId": "m", **NAMED}},
    },
]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("known", [None, "mallory", "alice@example.com"])
def test_names_stay_with_their_user(site, claim, known):
    """Whatever a page claims to be, alone or logged in as somebody else, events that name Alice are hers."""
    site.server(user=ALICE)
    before = site.aliases["alice-1"]
    site.page(claim, **({"user_id": known} if known and known != claim.get("userId") else {}))
    assert site.aliases["alice-1"] == before
    others = [names for user, names in site.aliases.items() if user != "alice-1"]
    assert not before.intersection(set().union(*others))
    assert [site.owner(name) for name in ("alice-1", *NAMES)] == ["alice-1"] * 3


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if '"userId": "alice' not in json.dumps(claim)])
def test_claims_before_the_user_is_known(site, claim):
    """A page that was first has no name of the user's either."""
    site.page(claim)
    site.server(user=ALICE)
    assert [site.owner(name) for name in ("alice-1", *NAMES)] == ["alice-1"] * 3


def test_facts_of_the_application_win(site):
    """What the application says of a user is not changed by a page; what it does not say is added."""
    site.server(user=ALICE)
    site.page(identify("alice-1", plan="free", email="mallory@example.com", theme="dark"))
    assert site.box.identities["alice-1"]["properties"] == {
        "email": "alice@example.com",
        "username": "alice",
        "plan": "pro",
        "theme": "dark",
    }
    site.page(identify("alice-1", theme="light"))
    assert site.box.identities["alice-1"]["properties"]["theme"] == "light"
    site.server(user={"id": "alice-1", "theme": "blue"})
    site.page(identify("alice-1", theme="dark"))
    assert site.box.identities["alice-1"]["properties"]["theme"] == "blue"


def test_a_claim_is_overwritten(site):
    """What only a page has said gives way to what the application says, whichever was first."""
    site.page(identify("alice-1", plan="free", email="mallory@example.com"))
    assert site.box.identities["alice-1"]["aliases"] == []
    site.server(user=ALICE)
    person = site.box.identities["alice-1"]
    assert person["properties"] == {"email": "alice@example.com", "username": "alice", "plan": "pro"}
    assert set(person["aliases"]) == {"alice-1", *NAMES}


def test_users_that_the_server_names(site):
    """The user that `enrich_context` names has the names that it gives."""
    site.page(track(), user={"id": "ada-1", "email": "ada@example.com"})
    assert site.owner("ada@example.com") == "ada-1"


def test_claims_push_out_no_known_user(logger):
    """However many users pages claim to be, those that the application has named are remembered."""
    with Inbox(rate_limit=0, generation="self-hosted") as box:
        site = Site(box, logger, rate_limit=0, alias_cache_size=4)
        site.server(user=ALICE)
        for number in range(20):
            site.page(identify(f"claimed-{number}", plan="free"))
        site.server(user={"id": "alice-1", "seats": 3})
        assert box.identities["alice-1"]["properties"]["plan"] == "pro"
        site.page(identify("alice@example.com"))
        assert site.owner("alice@example.com") == "alice-1"
        site.handler.close()


def test_claims_survive_a_restart_as_claims(logger, tmp_path):
    """With a spool, the next process knows what only a page has said, and whose the names are."""
    with Inbox(rate_limit=0) as box:
        first = Site(box, logger, spool=tmp_path / "spool.db", rate_limit=0)
        first.server(user=ALICE)
        first.page(identify("alice-1", plan="free", theme="dark"), identify("bob", plan="free"))
        first.handler.close()
        second = Site(box, logger, spool=tmp_path / "spool.db", rate_limit=0)
        second.page(identify("alice-1", plan="free", theme="light"), identify("alice@example.com"))
        second.page(identify("bob", plan="basic"))
        assert box.identities["alice-1"]["properties"]["plan"] == "pro"
        assert box.identities["alice-1"]["properties"]["theme"] == "light"
        assert box.identities["bob"]["properties"] == {"plan": "basic"}
        assert box.identities["bob"]["aliases"] == []
        assert second.owner("alice@example.com") == "alice-1"
        second.handler.close()


def test_formatter_prints_no_alias_of_a_claim(logger):
    """Lines of JSON say the same as the requests."""
    from emitkit_logging import EmitKitFormatter

    lines = []

    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(json.loads(self.format(record)))

    handler = Lines()
    handler.setFormatter(EmitKitFormatter())
    logger.handlers[:] = [handler]
    ingest_proxy_events(json.dumps({"events": [identify("alice@example.com", **NAMED)]}), logger=logger)
    (line,) = lines
    assert line["identify"][0]["aliases"] == []
