"""Celery with Redis as its broker: the context of the sender travels with the message."""

from __future__ import annotations

from tests.examples.test_frameworks import check_celery


def test_celery(emitkit_inbox, broker):
    """Two prefork workers run three tasks, one of which fails; each event has the context of its sender."""
    check_celery(emitkit_inbox, CELERY_BROKER=broker)
