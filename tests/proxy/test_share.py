"""Anonymous events take at most their share of the limit, and push only where the endpoint says so."""

from __future__ import annotations

import json
import logging

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox
from emitkit_logging.proxy import ingest_proxy_events
from emitkit_logging.proxy.policy import EndpointPolicy
from tests.proxy.helpers import track


@pytest.fixture
def box():
    with Inbox() as made:
        yield made


def start(box: Inbox, logger: logging.Logger, **options) -> EmitKitHandler:
    logger.handlers[:] = [EmitKitHandler(box.api_key, base_url=box.url, **options)]
    return logger.handlers[0]


def send(logger: logging.Logger, number: int, **options) -> None:
    """Log the events of pages, two payloads of them."""
    names = [f"clicked_{index % 50}" for index in range(number)]
    for part in (names[: number // 2], names[number // 2 :]):
        payload = json.dumps({"events": [track(name) for name in part]})
        assert ingest_proxy_events(payload, logger=logger, **options) == len(part)


def test_two_hundred_anonymous_events(box, logger):
    """200 anonymous events within the default limit push no phone, and the server's own event waits for no window."""
    made = start(box, logger)
    send(logger, 200)
    box.wait_for(30, timeout=30)
    logger.info("x", extra={"event": "invoice_paid"})
    assert box.wait_for(title="Invoice Paid", timeout=30)["notify"] is True
    assert [event["title"] for event in box.events if event["notify"]] == ["Invoice Paid"]
    made.close()


def test_share_after_a_restart(box, logger, tmp_path):
    """A process that goes on with a spool goes on with the share."""
    spool = tmp_path / "spool.db"
    first = start(box, logger, spool=spool, shutdown_timeout=0.0)
    send(logger, 100)
    box.wait_for(40, timeout=30)
    first.close()
    second = start(box, logger, spool=spool)
    send(logger, 100)
    logger.info("x", extra={"event": "invoice_paid"})
    assert box.wait_for(title="Invoice Paid", timeout=30)
    of_pages = [request for request in box.requests if b"clicked" in request["body"].lower()]
    assert len(of_pages) <= 45
    second.close()


@pytest.mark.parametrize(
    ("options", "properties", "pushes"),
    [
        ({}, {}, False),
        ({"notify": False}, {}, False),
        ({"notify": True}, {}, True),
        ({"notify": True}, {"__emitkit_notify": False}, True),  # without a channel it has no effect
        ({"notify": True, "channels": ["feedback"]}, {"__emitkit_channel": "feedback"}, True),
        (
            {"notify": True, "channels": ["feedback"]},
            {"__emitkit_channel": "feedback", "__emitkit_notify": False},
            False,
        ),
        ({"channels": ["feedback"]}, {"__emitkit_channel": "feedback", "__emitkit_notify": True}, False),
        ({"enrich_context": {"notify": True}}, {}, True),
        ({"notify": True, "enrich_context": {"notify": False}}, {}, False),
    ],
)
def test_push(box, logger, options, properties, pushes):
    """What the endpoint says decides; a page may only keep its own event from pushing."""
    made = start(box, logger)
    payload = json.dumps({"events": [track("clicked", properties=properties)]})
    ingest_proxy_events(payload, logger=logger, **options)
    assert made.flush(20)
    (event,) = box.events
    assert event["notify"] is pushes
    made.close()


def test_page_views_never_push(box, logger):
    """A page view is no notification, whatever the endpoint says."""
    made = start(box, logger)
    payload = json.dumps({"events": [{"type": "pageView", "properties": {}, "context": {}}]})
    ingest_proxy_events(payload, logger=logger, notify=True)
    assert made.flush(20)
    assert box.events[0]["notify"] is False
    made.close()


def test_option_is_checked():
    """A wrong value is an error when the endpoint is made."""
    with pytest.raises(TypeError, match="notify"):
        EndpointPolicy(notify="yes")
    with pytest.raises(TypeError, match="notify"):
        ingest_proxy_events({"events": []}, notify=1)
    EndpointPolicy(notify=True)
