"""The seed document's example of aliases, end to end: an event right after an identify is that user's."""

from __future__ import annotations

import logging

import pytest

from emitkit_logging import EmitKitHandler
from emitkit_logging.inbox import Inbox


@pytest.mark.parametrize("generation", ["current", "self-hosted"])
@pytest.mark.parametrize("is_spooled", [False, True])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, 35])
def test_event_right_after_identify(logger, tmp_path, generation, is_spooled, level):
    """`handler.identify`, then at once an event by the email: the server knows the alias when the event comes."""
    with Inbox(generation=generation) as inbox:
        handler = EmitKitHandler(
            inbox.api_key, base_url=inbox.url, spool=tmp_path / "spool.db" if is_spooled else None, shutdown_timeout=30
        )
        logger.addHandler(handler)
        for number in range(5):
            traits = {"email": f"john{number}@example.com", "name": "John Doe", "username": f"johndoe{number}"}
            handler.identify(f"user-{number}", {**traits, "plan": "pro"})
            extra = {"event": "feature_used", "feature": "export", "user_id": f"john{number}@example.com"}
            logger.log(level, "feature_used", extra=extra)
        assert handler.flush(30)
        handler.close()
        assert sorted(str(event["userId"]) for event in inbox.events) == [f"user-{number}" for number in range(5)]


def test_event_and_its_user(logger):
    """An event that names the user itself is that user's, under the canonical id."""
    with Inbox() as inbox:
        handler = EmitKitHandler(inbox.api_key, base_url=inbox.url, shutdown_timeout=30)
        logger.addHandler(handler)
        user = {"id": "user-123", "email": "john@example.com", "username": "johndoe", "traits": {"plan": "pro"}}
        logger.info("plan_changed", extra={"event": "plan_changed", "user": user})
        logger.info("feature_used", extra={"event": "feature_used", "user_id": "johndoe"})
        assert handler.flush(30)
        handler.close()
        assert {event["userId"] for event in inbox.events} == {"user-123"}
